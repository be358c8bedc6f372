"""Checks a store: signatures, digests, and whether any segment or record is missing. No secret key is needed.

Each spool's signed head says which segments the store was given; the chain of digests and the numbers of the records
are checked besides. A missing record is an error, unless the device has counted it as lost: then it is a note. With a
recipient's key in the keyring the contents are read too.

Segments are read by several threads, and only a few are in memory at a time.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from . import head as heads
from . import segment as segments
from .errors import SegmentError, StoreError, UnknownSignerError
from .head import Head
from .keyring import Keyring
from .reading import Source
from .spool_check import Place, SegmentReader, SpoolCheck
from .verify_report import VerifyReport

WORKERS = 4  # threads that read and check: what takes their time releases Python's lock
_AHEAD = 4 * WORKERS  # segments that may be in memory, up to 64 MiB each, in practice below 1 MiB

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def verify(store: Source, keyring: Keyring, *, device: str | None = None, run: str | None = None,
           known: Mapping[str, int] | None = None) -> VerifyReport:
    """Check all segments of the store, or those of one `device` or `run`.

    `known`: `VerifyReport.known` of an earlier call: a spool that has less than then was set back, which is an error.
    Raises `Unavailable` if the store does not answer, and `StoreError` if it has nothing to check. Errors in its
    contents are in the report.
    """
    report = VerifyReport()
    places, keys = _grouped(store, device, report)
    signed, expired = _heads(store, keyring, device, report)
    if not keys and not signed and not report.errors:
        which = f" of device {device!r}" if device else ""
        raise StoreError(f"{store.where} has no results{which}; give the folder or URL of another store")
    earlier = {place: value for place, value in (known or {}).items() if device in (None, place.split("/")[1])}
    read = SegmentReader(store, keyring)
    with ThreadPoolExecutor(WORKERS) as pool:
        for place in sorted({*places, *signed, *(_place(name) for name in earlier)}):
            checked = SpoolCheck(place, signed.get(place), run, read, expired.get(place))
            for outcome in _ahead(pool, read, places.get(place, [])):
                checked.take(outcome)
            checked.finish(report, earlier.get("/".join(place)))
    if run is not None and not any(spool.records for spool in report.spools):
        report.errors.append(f"the store {store.where!r} has no record of run {run!r}")
    _check_signers(keyring, report, device, run)
    return report


def read(store: Source, keyring: Keyring, device: str | None = None) -> Iterator[tuple[segments.Header, list[dict]]]:
    """(header, records) of the stored segments in order. Raises `SegmentError` for a damaged or untrusted one."""
    for key in segments.in_order(store.keys(device)):
        segment = segments.parse(store.get(key), key)
        yield segment.header, segment.open(keyring)


def _grouped(store: Source, device: str | None, report: VerifyReport) -> tuple[dict[Place, list[str]], int]:
    """The keys of each spool, by sequence number, and their number."""
    found: dict[Place, list[str]] = {}
    count = 0
    for key in store.keys(device):
        count += 1
        try:
            parts = segments.split_key(key)
        except SegmentError as error:
            report.errors.append(str(error))
            continue
        found.setdefault((parts.tenant, parts.device, parts.spool), []).append(key)
    for keys in found.values():
        keys.sort(key=lambda key: segments.split_key(key).sequence)
    return found, count


def _heads(store: Source, keyring: Keyring, device: str | None, report: VerifyReport
           ) -> tuple[dict[Place, Head], dict[Place, Head]]:
    """The heads that are signed by a trusted key, and the records of deleted segments."""
    found: dict[Place, Head] = {}
    expired: dict[Place, Head] = {}
    for key in store.heads():
        try:
            place = heads.split_key(key)
            if device not in (None, place[1]):
                continue
            signed = heads.parse(store.get(key), key)
            signed.check(keyring)
            (expired if heads.is_expiry(key) else found)[place] = signed.head
        except UnknownSignerError as error:
            report.unchecked.setdefault((place[1], error.signer), 0)
        except (SegmentError, StoreError) as error:
            report.errors.append(str(error))
    return found, expired


def _check_signers(keyring: Keyring, report: VerifyReport, device: str | None, run: str | None) -> None:
    """Whoever names a device's key expects something of that device."""
    signed = {signer for spool in report.spools for signer in spool.signers}
    if device is None and run is None and not signed and not report.errors and report.spools:
        report.errors.append("no segment is signed by one of the given keys")


def _place(name: str) -> Place:
    tenant, device, spool = name.split("/")
    return tenant, device, spool


def _ahead(pool: ThreadPoolExecutor, work: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """Results of `work` in order; at most `_AHEAD` are computed in advance."""
    left = iter(items)
    pending = deque(pool.submit(work, item) for item in itertools.islice(left, _AHEAD))
    while pending:
        result = pending.popleft().result()
        pending.extend(pool.submit(work, item) for item in itertools.islice(left, 1))
        yield result
