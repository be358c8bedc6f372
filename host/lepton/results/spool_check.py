"""The check of one spool: its segments one by one in the order of their sequence numbers, and then as a whole.

A segment follows the one before it by number and digest. What is missing is compared with the signed head and with the
losses that the device has counted.
"""

from collections import deque
from dataclasses import dataclass, field

from . import segment as segments
from .errors import SegmentError, StoreError, UnknownSignerError
from .head import Head
from .keyring import Keyring
from .reading import Source
from .verify_report import SpoolReport, VerifyReport

Place = tuple[str, str, str]  # tenant, device, spool
Outcome = tuple[str, segments.Segment | None, SegmentError | None]  # key of a segment, and what reading it gave

_KEPT_ERRORS = 1000  # of one spool; further ones are only counted


class SegmentReader:
    """Reads a segment: its header, after all checks for which there are keys, or the error."""

    def __init__(self, store: Source, keyring: Keyring):
        self._store = store
        self._keyring = keyring

    def __call__(self, key: str) -> Outcome:
        try:
            segment = segments.parse(self._store.get(key), key)
        except (SegmentError, StoreError) as error:
            return key, None, error if isinstance(error, SegmentError) else SegmentError(str(error))
        try:
            segment.check_signature(self._keyring)
            if segment.digest in self._keyring.data_keys \
                    or set(segment.envelope.recipients) & set(self._keyring.readers):
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


@dataclass
class _SpoolScan:
    """The records of a run so far. `parts`: first and last number and key of its segments."""

    lowest: int
    highest: int
    records: int = 0
    parts: list[tuple[int, int, str]] = field(default_factory=list)


class SpoolCheck:
    """Checks the segments of one spool in the order of their sequence numbers."""

    def __init__(self, place: Place, head: Head | None, run: str | None, read: SegmentReader,
                 expired: Head | None = None):
        self.report = SpoolReport(*place)
        self._head = head
        self._expired = expired
        self._only = run
        self._read = read
        self._before: tuple[segments.Header, str, str] | None = None  # header, key, digest
        self._runs: dict[str, _SpoolScan] = {}
        self._repeated = 0
        self._unknown: list[UnknownSignerError] = []
        self._gaps: list[tuple[int, int]] = []
        self._given = deque(map(tuple, head.ranges if head else ()))
        self._given_records = 0
        self._first = -1

    def take(self, outcome: Outcome) -> None:
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
        found = self._runs.setdefault(header.run, _SpoolScan(header.first, header.last))
        overlapping = [part for part in found.parts if part[0] <= header.last and part[1] >= header.first] \
            if header.first <= found.highest else []
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
            deleted = _overlap(self._expired.ranges, first, final) if self._expired else []
            for start, end in deleted:
                self.report.notes.append(f"segments {start} to {end} are not here: the service has deleted them by "
                                         "its rules of retention")
            for start, end in _without(given, deleted):
                self._error(f"segments {start} to {end} are missing: the device's signed head says that they were "
                            "stored here")
            if given or deleted == [(first, final)]:
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
        if head is not None and self._only is None and not mine.errors and self._expired is None \
                and sum(last - first + 1 for first, last in head.ranges) == head.segments \
                and self._given_records != head.records:
            self._error(f"the signed head says {head.records} records, the segments have {self._given_records}")

    def _error(self, text: str) -> None:
        if len(self.report.errors) < _KEPT_ERRORS:
            self.report.errors.append(text)


def _without(ranges: list[tuple[int, int]], removed: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """`ranges` without the numbers of `removed`; both ascend."""
    left = []
    for first, last in ranges:
        for start, end in removed:
            if start <= last and end >= first:
                if start > first:
                    left.append((first, start - 1))
                first = max(first, end + 1)
        if first <= last:
            left.append((first, last))
    return left


def _overlap(ranges: list[list[int]], first: int, last: int) -> list[tuple[int, int]]:
    return [(max(first, start), min(last, end)) for start, end in ranges if start <= last and end >= first]
