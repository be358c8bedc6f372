"""The uploader's side of the spool: records become segments, and segments leave.

A batch of records is replaced by its segment in one transaction, so that a crash at any moment leaves either the
records or the very bytes that may have reached the target.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from . import records as lines
from . import segment as segments
from .database import NoRoom
from .errors import SegmentError, SpoolDamaged, SpoolError
from .keys import DeviceKeys
from .schema import run_crc
from .spool import Spool
from .state import SpoolState


@dataclass(frozen=True)
class Sealed:
    """A segment on its way: `data` belongs under `key`."""

    sequence: int
    key: str
    records: int
    data: bytes

    @property
    def digest(self) -> str:
        return self.key.rpartition("-")[2]

    @property
    def intact(self) -> bool:
        """Whether it has a key, and its bytes are what the key says; a damaged file can hold anything."""
        if not (isinstance(self.data, bytes) and isinstance(self.key, str) and isinstance(self.records, int)):
            return False
        with contextlib.suppress(SegmentError):
            return segments.split_key(self.key)[1:] == (self.sequence, segments.sha256(self.data))
        return False


@dataclass(frozen=True)
class _Batch:
    """Consecutive rows that make a segment, the `damaged` ones among them left out."""

    ids: list[int]
    lines: list[bytes]
    size: int  # bytes of all lines, damaged ones included
    damaged: int
    about: dict


class _Raced(Exception):
    """Another uploader was faster, or the records were dropped."""


class Outbox:
    """Segments of a spool, signed and encrypted with a device's keys. Several processes may have one."""

    def __init__(self, spool: Spool, keys: DeviceKeys):
        self.spool, self.keys = spool, keys
        self._database = spool.database

    def seal(self, max_records: int, max_bytes: int) -> Sealed | None:
        """Turn the oldest records, of one run, into a segment, durably; None if there are none.

        Where losses have not been reported and no records wait, the segment has only the counters. Compression
        happens outside of transactions, so that producers do not wait for it.
        """
        max_bytes = min(max_bytes, self._database.max_batch_bytes, segments.MAX_OBJECT_BYTES // 2)
        while True:
            with self._database.reading() as db, db:
                state = self._database.state()
                batch = self._oldest(state, max_records, max_bytes)
            if not batch.ids and state.losses == state.reported:
                self._correct_waiting()
                return None
            counters = dict(state.counters)
            counters["damaged"] += batch.damaged
            with self._database.translated():
                made = segments.seal(self.keys, batch.lines, device=state.device, spool=state.spool,
                                     sequence=state.next_segment, previous=state.previous, counters=counters,
                                     **batch.about)
            try:
                return self._replace(batch, made, state.next_segment, counters)
            except _Raced:
                continue
            except NoRoom as error:
                if len(batch.ids) > 1:  # a smaller one may find room, and makes some when it has left
                    max_records = len(batch.ids) // 2
                    continue
                raise SpoolError(f"the spool {str(self.spool.path)!r} has no room to make a segment; "
                                 "free space on its disk") from error

    def next(self, limit: int = 1) -> list[Sealed]:
        """The oldest segments that are not confirmed, up to `limit`, less those that turn out to be damaged."""
        return [sealed for sequence in self.sequences(limit) if (sealed := self.read(sequence)) is not None]

    def sequences(self, limit: int, *, after: int = -1) -> list[int]:
        """Of the oldest segments that are not confirmed, up to `limit`, of those `after` a sequence number."""
        with self._database.snapshot() as db:
            return [sequence for sequence, in db.execute(
                "SELECT sequence FROM segments WHERE refused IS NULL AND sequence > ? ORDER BY sequence LIMIT ?",
                (after, limit))]

    def read(self, sequence: int) -> Sealed | None:
        """A segment; None if it is not there any more, or damaged, and then counted so. Waits for no writer."""
        with self._database.snapshot() as db:
            rows = db.execute("SELECT sequence, key, records, data FROM segments WHERE sequence = ?",
                              (sequence,)).fetchall()
        for sealed in (Sealed(*row) for row in rows):
            if sealed.intact:
                return sealed
            self._give_up(sealed)
        return None

    def offer(self, sequence: int) -> None:
        """A target may have this segment from now on, so neither it nor those before are dropped any more."""
        self.exchange((), sequence)

    def confirm(self, sealed: Sequence[Sealed]) -> None:
        """The target has the segments: forget them. Does nothing the second time."""
        self.exchange(sealed, -1)

    def exchange(self, stored: Sequence[Sealed], offered: int) -> None:
        """Confirm some, and offer others up to a sequence number, with one wait for the disk."""
        with self._database.reading():
            if not stored and offered <= self._database.state().offered:
                return
        with self._database.transaction() as state:
            state.offered = max(state.offered, offered)
            if stored:
                self._forget(stored, state)

    def _forget(self, stored: Sequence[Sealed], state: SpoolState) -> None:
        """Few statements for all of them: between statements a thread waits for Python's lock."""
        named = json.dumps([(s.sequence, s.key) for s in stored])
        which = "sequence IN (SELECT value->>0 FROM json_each(?1)) AND key IN (SELECT value->>1 FROM json_each(?1))"
        db = self._database.db
        for count, records in db.execute(f"SELECT count(*), coalesce(sum(records), 0) FROM segments WHERE {which}",
                                         (named,)).fetchall():
            state.count("segments", count)
            state.count("stored", records)
        db.execute(f"DELETE FROM segments WHERE {which}", (named,))
        if db.changes() < len(stored):  # another uploader was faster; if not, a scan still finds them
            self._check_gone([s.sequence for s in stored])

    def _check_gone(self, sequences: Sequence[int]) -> None:
        if self._database.value("SELECT count(*) FROM segments WHERE +sequence IN (SELECT value FROM json_each(?))",
                                json.dumps(sequences)):
            raise SpoolDamaged("a segment that it lists cannot be found")

    def refuse(self, sealed: Sealed, reason: str) -> None:
        """The target will never take the segment: set it aside, so that others can leave."""
        with self._database.transaction():
            self._database.db.execute("UPDATE segments SET refused = ? WHERE sequence = ? AND key = ?",
                                      (reason, sealed.sequence, sealed.key))

    def offer_refused(self) -> None:
        """Refused segments are to be tried again."""
        with self._database.reading():
            refused = self._database.value("SELECT count(*) FROM segments WHERE refused IS NOT NULL")
        if refused:
            with self._database.transaction():
                self._database.db.execute("UPDATE segments SET refused = NULL")

    def waiting(self) -> tuple[int, int]:
        """Records that are not in a segment, and the bytes of their lines; at least 1 while losses are not reported."""
        with self._database.reading():
            state = self._database.state()
            return state.waiting or int(state.losses > state.reported), state.waiting_bytes

    def backlog(self) -> bool:
        """Whether there is a segment to be sent."""
        with self._database.reading():
            return bool(self._database.value("SELECT EXISTS (SELECT 1 FROM segments WHERE refused IS NULL)"))

    def settled(self, record: int) -> bool:
        """Whether nothing up to this identity is left to be sent, losses included."""
        with self._database.reading() as db, db:
            state = self._database.state()
            return state.losses == state.reported and not self._database.value(
                "SELECT EXISTS (SELECT 1 FROM records WHERE id <= ?) OR "
                "EXISTS (SELECT 1 FROM segments WHERE refused IS NULL AND first_record <= ?)", record, record)

    def _oldest(self, state: SpoolState, max_records: int, max_bytes: int) -> _Batch:
        """The oldest rows as far as they are of one run in ascending number."""
        ids, good, times, size, damaged = [], [], [], 0, 0
        run, numbers = None, []
        for identity, time_ms, crc, line in self._database.db.execute(
                "SELECT id, time_ms, crc, line FROM records ORDER BY id LIMIT ?", (max_records,)):
            named = lines.tail(line) if lines.sound(line, crc) else None
            length = len(line) if named else 0
            if ids and (size + length > max_bytes or
                        (named and run and (named[0] != run or named[1] <= numbers[-1]))):
                break
            ids.append(identity)
            size += length
            if named is None:
                damaged += 1
                continue
            run = named[0]
            numbers.append(named[1])
            good.append(line)
            times.append(time_ms if isinstance(time_ms, int) else 0)
        about = {"run": run or "", "first": numbers[0] if numbers else 0, "last": numbers[-1] if numbers else -1,
                 "from_ms": max(0, times[0]) if times else 0, "to_ms": max(0, times[-1]) if times else 0,
                 "origin": self._origin(run) if run else {}}
        return _Batch(ids, good, size, damaged, about)

    def _origin(self, run: str) -> dict[str, str]:
        for last, origin, crc in self._database.db.execute("SELECT last, origin, crc FROM runs WHERE run = ?",
                                                           (run,)).fetchall():
            if run_crc(run, last, origin) == crc:
                return json.loads(origin)
        return {}  # forgotten or altered; each record has it too

    def _replace(self, batch: _Batch, made: segments.Segment, sequence: int, counters: dict[str, int]) -> Sealed:
        db = self._database.db
        with self._database.transaction() as state:
            if (state.next_segment, state.counters["dropped"]) != (sequence, counters["dropped"]):
                raise _Raced
            for first, last in _ranges(batch.ids):
                db.execute("DELETE FROM records WHERE id BETWEEN ? AND ?", (first, last))
                if db.changes() != last - first + 1:
                    raise SpoolDamaged("records that it lists cannot be found")
            state.waiting = max(0, state.waiting - len(batch.ids))
            state.waiting_bytes = max(0, state.waiting_bytes - batch.size)
            state.count("damaged", batch.damaged)
            state.next_segment, state.previous = sequence + 1, made.digest
            state.reported = sum(counters[name] for name in ("rejected", "dropped", "damaged"))
            first_record = batch.ids[0] if batch.ids else 0
            db.execute("INSERT INTO segments VALUES (?, ?, ?, ?, NULL, ?)",
                       (sequence, made.key, len(batch.lines), first_record, made.data))
        return Sealed(sequence, made.key, len(batch.lines), made.data)

    def _give_up(self, damaged: Sealed) -> None:
        with self._database.transaction() as state:
            self._database.db.execute("DELETE FROM segments WHERE sequence = ?", (damaged.sequence,))
            if self._database.db.changes():
                state.count("damaged", damaged.records if isinstance(damaged.records, int) else 0)
            else:
                self._check_gone([damaged.sequence])

    def _correct_waiting(self) -> None:
        """After damage the sums may be off; they only say when to look."""
        with self._database.reading():
            if not self._database.state().waiting:
                return
        with self._database.transaction() as state:
            if not self._database.value("SELECT EXISTS (SELECT 1 FROM records)"):
                state.waiting = state.waiting_bytes = 0


def _ranges(ids: list[int]) -> list[tuple[int, int]]:
    """Ascending identities as runs without holes."""
    found: list[tuple[int, int]] = []
    for identity in ids:
        if found and identity == found[-1][1] + 1:
            found[-1] = (found[-1][0], identity)
        else:
            found.append((identity, identity))
    return found
