"""Checks a store's segments: signatures, digests, and whether any segment or record is missing.

A missing record is an error, unless the device has counted it as lost: then it is a note.
"""

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from . import segment as segments
from . import segment_v1
from .errors import SegmentError, UnknownSignerError
from .keys import Keyring
from .store import Store


@dataclass
class SpoolReport:
    """The segments of one spool of a device. `holes`: number of missing records, over all runs."""

    device: str
    spool: str
    signers: set[str] = field(default_factory=set)
    segments: int = 0
    records: int = 0
    runs: int = 0
    holes: int = 0
    counters: dict[str, int] = field(default_factory=dict)
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


@dataclass(frozen=True)
class _Piece:
    """A segment's place in its spool, and run, number and digest of each record."""

    key: str
    sequence: int
    previous: str
    signer: str
    counters: dict[str, int]
    records: list[tuple[str, int, bytes]]

    @property
    def digest(self) -> str:
        return self.key.rpartition("-")[2]


def verify(store: Store, keyring: Keyring, *, device: str | None = None, run: str | None = None) -> VerifyReport:
    """Check all segments of the store, or those of one `device` or `run`.

    Raises `Unavailable` if the store does not answer. Errors in its contents are in the report.
    """
    report = VerifyReport()
    pieces: dict[tuple[str, str], list[_Piece]] = defaultdict(list)
    unknown: dict[tuple[str, str], list[UnknownSignerError]] = defaultdict(list)
    for key in store.keys(device):
        try:
            owner, piece = _read(key, store.get(key), keyring, unknown)
        except SegmentError as error:
            report.errors.append(str(error))
            continue
        if piece is not None:
            pieces[owner].append(piece)
    for (name, spool), errors in unknown.items():
        if (name, spool) in pieces:  # other segments of the spool have a known signer
            report.errors += map(str, errors)
            continue
        for unsigned in errors:
            report.unchecked[name, unsigned.signer] = report.unchecked.get((name, unsigned.signer), 0) + 1
    for (name, spool), found in sorted(pieces.items()):
        found.sort(key=lambda piece: piece.sequence)
        if run is None or any(run == r for piece in found for r, _, _ in piece.records):
            report.spools.append(_check_spool(SpoolReport(name, spool), found, run))
    if run is not None and not report.spools:
        report.errors.append(f"the store {store.where!r} has no record of run {run!r}")
    return report


def read(store: Store, keyring: Keyring, device: str | None = None) -> Iterator[tuple[segments.Header, list[dict]]]:
    """(header, records) of the stored segments in order. Raises `SegmentError` for a damaged or untrusted one."""
    for key in store.keys(device):
        segment = segments.parse(store.get(key), key)
        yield segment.header, segment.open(keyring)


def _read(key: str, data: bytes, keyring: Keyring, unknown: dict[tuple[str, str], list[UnknownSignerError]]
          ) -> tuple[tuple[str, str], _Piece | None]:
    """The (device, spool) of a segment and its piece; None, and an entry in `unknown`, for an unknown signer."""
    if data.startswith(segment_v1.MAGIC):
        old, records = segment_v1.decode(key, data)
        return (old["device"], old["spool"]), _Piece(key, old["sequence"], old["previous"], "", old["counters"],
                                                     _digests(records))
    segment = segments.parse(data, key)
    header = segment.header
    owner = header.device, header.spool
    try:
        records = segment.open(keyring)
    except UnknownSignerError as error:
        segment.check_signature({header.signer})
        unknown[owner].append(error)
        return owner, None
    return owner, _Piece(key, header.sequence, header.previous, header.signer, header.counters, _digests(records))


def _digests(records: list[dict]) -> list[tuple[str, int, bytes]]:
    return [(r["run"], r["number"], hashlib.sha256(json.dumps(r, sort_keys=True).encode()).digest()) for r in records]


def _check_spool(report: SpoolReport, pieces: list[_Piece], run: str | None) -> SpoolReport:
    report.segments = len(pieces)
    report.counters = pieces[-1].counters
    report.signers = {piece.signer for piece in pieces if piece.signer}
    if unsigned := sum(not piece.signer for piece in pieces):
        report.notes.append(f"{unsigned} segments of format 1 are not signed")
    explained = report.counters.get("dropped", 0) + report.counters.get("damaged", 0)
    _check_sequences(report, pieces, explained)
    # a rejected record may have had a number, although it is in no segment
    _check_numbers(report, pieces, run, explained + report.counters.get("rejected", 0))
    return report


def _check_sequences(report: SpoolReport, pieces: list[_Piece], explained: int) -> None:
    if first := pieces[0].sequence:
        report.notes.append(f"begins with segment {first}: earlier ones were sent to another store")
    for before, piece in itertools.pairwise(pieces):
        missing = piece.sequence - before.sequence - 1
        if missing < 0:
            report.errors.append(f"segment {piece.sequence} is stored twice: {before.key} and {piece.key}")
        elif missing:
            text = f"segments {before.sequence + 1} to {piece.sequence - 1} are missing"
            if explained:
                report.notes.append(f"{text}; the device has counted {explained} records as lost")
            else:
                report.errors.append(f"{text}, and the device has counted no loss")
        elif piece.previous != before.digest:
            report.errors.append(f"segment {piece.sequence} does not follow the stored one before it, {before.key}: "
                                 "it names another digest")


def _check_numbers(report: SpoolReport, pieces: list[_Piece], run: str | None, explained: int) -> None:
    seen: dict[str, dict[int, bytes]] = defaultdict(dict)
    repeated = 0
    for piece in pieces:
        for name, number, digest in piece.records:
            if run not in (None, name):
                continue
            known = seen[name].setdefault(number, digest)
            if known is not digest:
                repeated += 1
                if known != digest:
                    report.errors.append(f"record {number} of run {name} is stored twice with different contents")
    report.runs = len(seen)
    report.records = sum(map(len, seen.values()))
    if repeated and report.counters.get("damaged", 0):
        report.notes.append(f"{repeated} records are stored twice: a damaged spool has sent them again")
    elif repeated:
        report.errors.append(f"{repeated} records are stored twice")
    whole = pieces[0].sequence == 0  # otherwise a run may have begun in segments that are in another store
    report.holes = sum(max(numbers) + 1 - (0 if whole else min(numbers)) - len(numbers) for numbers in seen.values())
    if report.holes > explained:
        report.errors.append(f"{report.holes} records are missing; the device has counted only {explained} as lost")
    elif report.holes:
        report.notes.append(f"{report.holes} records are missing; the device has counted {explained} as lost")
