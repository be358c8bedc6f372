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
from dataclasses import dataclass, field
from typing import TypeVar

from . import head as heads
from . import segment as segments
from .errors import SegmentError, StoreError, UnknownSignerError
from .head import Head
from .keys import Keyring
from .reading import Source

WORKERS = 4  # threads that read and check: what takes their time releases Python's lock
_AHEAD = 4 * WORKERS  # segments that may be in memory, up to 64 MiB each, in practice below 1 MiB
_KEPT_ERRORS = 1000  # of one spool; further ones are only counted

Place = tuple[str, str, str]  # tenant, device, spool
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass
class SpoolReport:
    """The segments of one spool of a device. `holes`: number of missing records, over all runs.

    `head`: the last sequence number of the signed head and its time in ms since 1970, None without one.
    """

    tenant: str
    device: str
    spool: str
    signers: set[str] = field(default_factory=set)
    segments: int = 0
    records: int = 0
    runs: int = 0
    holes: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    head: tuple[int, int] | None = None
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass
class VerifyReport:
    """`errors` are those of objects that belong to no spool; each of the `spools` has its own.

    `unchecked`: number of segments by (device, signer), for spools without any segment signed by a key of the keyring.
    """

    spools: list[SpoolReport] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unchecked: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether everything could be checked and is right."""
        return not (self.errors or self.unchecked or any(spool.errors for spool in self.spools))

    @property
    def records(self) -> int:
        return sum(spool.records for spool in self.spools)

    def known(self) -> dict[str, int]:
        """What `verify(known=...)` compares with later: the last sequence number of each spool's head."""
        return {"/".join((spool.tenant, spool.device, spool.spool)): spool.head[0]
                for spool in self.spools if spool.head is not None}


@dataclass
class _Run:
    """The records of a run so far. `parts`: first and last number and key of its segments."""

    lowest: int
    highest: int
    records: int = 0
    parts: list[tuple[int, int, str]] = field(default_factory=list)


def verify(store: Source, keyring: Keyring, *, device: str | None = None, run: str | None = None,
           known: Mapping[str, int] | None = None) -> VerifyReport:
    """Check all segments of the store, or those of one `device` or `run`.

    `known`: `VerifyReport.known` of an earlier call: a spool that has less than then was set back, which is an error.
    Raises `Unavailable` if the store does not answer, and `StoreError` if it has nothing to check. Errors in its
    contents are in the report.
    """
    report = VerifyReport()
    places, keys = _grouped(store, device, report)
    signed = _heads(store, keyring, device, report)
    if not keys and not signed and not report.errors:
        which = f" of device {device!r}" if device else ""
        raise StoreError(f"{store.where} has no results{which}; give the folder or URL of another store")
    earlier = {place: value for place, value in (known or {}).items() if device in (None, place.split("/")[1])}
    read = _Reader(store, keyring)
    with ThreadPoolExecutor(WORKERS) as pool:
        for place in sorted({*places, *signed, *(_place(name) for name in earlier)}):
            checked = _SpoolCheck(place, signed.get(place), run, read)
            for outcome in _ahead(pool, read, places.get(place, [])):
                checked.take(outcome)
            checked.finish(report, earlier.get("/".join(place)))
    if run is not None and not any(spool.records for spool in report.spools):
        report.errors.append(f"the store {store.where!r} has no record of run {run!r}")
    _check_signers(keyring, report, device, run)
    return report


class _Reader:
    """Reads a segment: its header, after all checks for which there are keys, or the error."""

    def __init__(self, store: Source, keyring: Keyring):
        self._store = store
        self._keyring = keyring

    def __call__(self, key: str) -> "tuple[str, segments.Segment | None, SegmentError | None]":
        try:
            segment = segments.parse(self._store.get(key), key)
        except (SegmentError, StoreError) as error:
            return key, None, error if isinstance(error, SegmentError) else SegmentError(str(error))
        try:
            segment.check_signature(self._keyring)
            if set(segment.envelope.recipients) & set(self._keyring.readers):
                segment.table(self._keyring)
        except UnknownSignerError as error:
            return key, segment, error
        except SegmentError as error:
            return key, None, error
        return key, segment, None

    def different(self, run: str, keys: list[str]) -> list[int] | None:
        """Numbers of the records of `run` that differ between segments; None if they cannot be read."""
        seen: dict[int, str] = {}
        found = []
        try:
            for key in keys:
                segment = segments.parse(self._store.get(key), key)
                for record in segment.open(self._keyring):
                    if seen.setdefault(record["number"], repr(record)) != repr(record):
                        found.append(record["number"])
        except SegmentError:
            return None
        return found


class _SpoolCheck:
    """Checks the segments of one spool in the order of their sequence numbers."""

    def __init__(self, place: Place, head: Head | None, run: str | None, read: _Reader):
        self.report = SpoolReport(*place)
        self._head = head
        self._only = run
        self._read = read
        self._before: tuple[segments.Header, str, str] | None = None  # header, key, digest
        self._runs: dict[str, _Run] = {}
        self._repeated = 0
        self._unknown: list[UnknownSignerError] = []
        self._gaps: list[tuple[int, int]] = []
        self._given = deque(map(tuple, head.ranges if head else ()))
        self._given_records = 0
        self._first = -1

    def take(self, outcome: "tuple[str, segments.Segment | None, SegmentError | None]") -> None:
        key, segment, error = outcome
        if isinstance(error, UnknownSignerError):
            self._unknown.append(error)
            return
        if segment is None:
            self._error(str(error))
            return
        header = segment.header
        self.report.signers.add(segment.signer)
        self.report.segments += 1
        self._follow(header, key)
        self._before = (header, key, segment.digest)
        self._first = header.sequence if self._first < 0 else self._first
        if self._in_head(header.sequence):
            self._given_records += header.records
        if header.records and self._only in (None, header.run):
            self._count(header, key)

    def finish(self, report: VerifyReport, known: int | None) -> None:
        """Check what only the end shows, and add the spool to the report."""
        mine = self.report
        if self._unknown and not mine.segments and self._head is None:
            for unsigned in self._unknown:
                place = (mine.device, unsigned.signer)
                report.unchecked[place] = report.unchecked.get(place, 0) + 1
            report.errors += mine.errors
            return
        for unsigned in self._unknown:
            self._error(str(unsigned))
        if self._before is not None:
            mine.counters = self._before[0].counters
        lost = mine.counters.get("dropped", 0) + mine.counters.get("damaged", 0)
        self._check_head(known)
        self._check_gaps(lost)
        self._check_numbers(lost + mine.counters.get("rejected", 0))
        if self._only is None or self._runs:
            report.spools.append(mine)

    def _follow(self, header: segments.Header, key: str) -> None:
        if self._before is None:
            if header.sequence:
                self._gaps.append((0, header.sequence - 1))
            return
        before, before_key, digest = self._before
        missing = header.sequence - before.sequence - 1
        if missing < 0:
            self._error(f"segment {header.sequence} is stored twice: {before_key} and {key}")
        elif missing:
            self._gaps.append((before.sequence + 1, header.sequence - 1))
        elif header.previous != digest:
            self._error(f"segment {header.sequence} does not follow the stored one before it, {before_key}: it names "
                        "another digest")

    def _in_head(self, sequence: int) -> bool:
        while self._given and self._given[0][1] < sequence:
            self._given.popleft()
        return bool(self._given) and self._given[0][0] <= sequence

    def _count(self, header: segments.Header, key: str) -> None:
        found = self._runs.setdefault(header.run, _Run(header.first, header.last))
        overlapping = [part for part in found.parts if part[0] <= header.last and part[1] >= header.first]
        if overlapping:
            repeated = sum(min(last, header.last) - max(first, header.first) + 1 for first, last, _ in overlapping)
            self._repeated += min(repeated, header.records)
            numbers = self._read.different(header.run, [*(part[2] for part in overlapping), key])
            for number in numbers or ():
                self._error(f"record {number} of run {header.run} is stored twice with different contents")
        else:
            repeated = 0
        found.lowest = min(found.lowest, header.first)
        found.highest = max(found.highest, header.last)
        found.records += max(0, header.records - repeated)
        found.parts.append((header.first, header.last, key))

    def _check_head(self, known: int | None) -> None:
        head = self._head
        if head is None:
            self._error("the device's signed head is missing, so missing segments at the end cannot be noticed")
        else:
            self.report.head = (head.last, head.time_ms)
            if self._before is not None and self._before[0].sequence > head.last:
                newer = self._before[0].sequence - head.last
                self.report.notes.append(f"{newer} segments are newer than the signed head; an upload may be under way")
            if self._before is not None and self._before[0].sequence == head.last and self._before[2] != head.digest:
                self._error(f"segment {head.last} is not the one that the signed head names")
        if known is not None and (head is None or head.last < known):
            self._error(f"the store was set back: an earlier check found a head up to segment {known}, now it is "
                        f"{head.last if head else 'missing'}")

    def _check_gaps(self, lost: int) -> None:
        head = self._head
        last = self._before[0].sequence if self._before is not None else -1
        gaps = list(self._gaps)
        if head is not None and head.last > last:
            gaps.append((last + 1, head.last))
        for first, final in gaps:
            given = _overlap(head.ranges, first, final) if head else []
            for start, end in given:
                self._error(f"segments {start} to {end} are missing: the device's signed head says that they were "
                            "stored here")
            if given:
                continue
            text = f"segments {first} to {final} are missing"
            if head is not None and final <= head.last:
                reason = f"; the device has counted {lost} records as lost" if lost else ""
                self.report.notes.append(f"{text}: by the signed head they were never stored here, but in another "
                                         f"store, refused or lost{reason}")
            elif lost:
                self.report.notes.append(f"{text}; the device has counted {lost} records as lost")
            else:
                self._error(f"{text}, and the device has counted no loss")

    def _check_numbers(self, explained: int) -> None:
        mine = self.report
        mine.runs = len(self._runs)
        mine.records = sum(run.records for run in self._runs.values())
        if self._repeated and mine.counters.get("damaged", 0):
            mine.notes.append(f"{self._repeated} records are stored twice: a damaged spool has sent them again")
        elif self._repeated:
            self._error(f"{self._repeated} records are stored twice")
        whole = self._first == 0  # otherwise a run may have begun in segments that are in another store
        mine.holes = sum(run.highest + 1 - (0 if whole else run.lowest) - run.records for run in self._runs.values())
        elsewhere = bool(self._gaps) and self._head is not None  # in segments of which `_check_gaps` has told already
        if mine.holes > explained and not elsewhere:
            self._error(f"{mine.holes} records are missing; the device has counted only {explained} as lost")
        elif mine.holes:
            mine.notes.append(f"{mine.holes} records are missing; the device has counted {explained} as lost")
        head = self._head
        if head is not None and self._only is None and not mine.errors \
                and sum(last - first + 1 for first, last in head.ranges) == head.segments \
                and self._given_records != head.records:
            self._error(f"the signed head says {head.records} records, the segments have {self._given_records}")

    def _error(self, text: str) -> None:
        if len(self.report.errors) < _KEPT_ERRORS:
            self.report.errors.append(text)


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


def _heads(store: Source, keyring: Keyring, device: str | None, report: VerifyReport) -> dict[Place, Head]:
    """The heads that are signed by a trusted key."""
    found = {}
    for key in store.heads():
        try:
            place = heads.split_key(key)
            if device not in (None, place[1]):
                continue
            signed = heads.parse(store.get(key), key)
            signed.check(keyring)
            found[place] = signed.head
        except UnknownSignerError as error:
            report.unchecked.setdefault((place[1], error.signer), 0)
        except (SegmentError, StoreError) as error:
            report.errors.append(str(error))
    return found


def _check_signers(keyring: Keyring, report: VerifyReport, device: str | None, run: str | None) -> None:
    """Whoever names a device's key expects something of that device."""
    signed = {signer for spool in report.spools for signer in spool.signers}
    if device is None and run is None and not signed and not report.errors and report.spools:
        report.errors.append("no segment is signed by one of the given keys")


def _overlap(ranges: list[list[int]], first: int, last: int) -> list[tuple[int, int]]:
    return [(max(first, start), min(last, end)) for start, end in ranges if start <= last and end >= first]


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
