"""The uploader's side of the spool: makes segments of records, and keeps them until the target has confirmed them.

One transaction replaces a batch of records by its segment. After a crash at any moment the spool has either the records
or exactly the bytes that may have reached the target.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import head as heads
from . import segment as segments
from .batch import Batch, oldest
from .errors import MixedOutputs, NoRoom, SegmentError, SpoolDamaged, SpoolError
from .keys import DeviceKeys
from .spool import Spool
from .state import SpoolState


@dataclass(frozen=True)
class Sealed:
    """A segment of the outbox: `data` is stored under `key`. A damaged file can give values of other types."""

    sequence: int
    key: str
    records: int
    data: bytes

    @property
    def digest(self) -> str:
        return segments.split_key(self.key).digest

    @property
    def intact(self) -> bool:
        """Whether the bytes have the digest that the key names."""
        if not (isinstance(self.data, bytes) and isinstance(self.key, str) and isinstance(self.records, int)):
            return False
        with contextlib.suppress(SegmentError):
            key = segments.split_key(self.key)
            return (key.sequence, key.digest) == (self.sequence, segments.sha256(self.data))
        return False


class _Raced(Exception):
    """Another uploader has sealed the records, or they were dropped."""


class Outbox:
    """The segments of a spool, signed with a device's keys and encrypted for its recipients.

    Several processes may use one spool. `tenant` is that of the device in the ingest service.
    """

    def __init__(self, spool: Spool, keys: DeviceKeys, tenant: str = segments.TENANT):
        self.spool = spool
        self.keys = keys
        self.tenant = segments.check_name(tenant, "tenant")
        self._database = spool.database

    def seal(self, max_records: int, max_bytes: int) -> Sealed | None:
        """Make a segment of the oldest records of one run, durably; None if no records wait.

        If no records wait but losses have not been reported, the segment has only the counters. Records are compressed
        outside of transactions, so that producers do not wait.
        """
        # half: zstd adds little to data that it cannot compress, and the header has at most 64 KiB
        max_bytes = min(max_bytes, self._database.max_batch_bytes, segments.MAX_OBJECT_BYTES // 2)
        while True:
            with self._database.consistent():
                state = self._database.state()
                batch = oldest(self._database, max_records, max_bytes)
            if not batch.ids and state.losses == state.reported:
                self._correct_waiting()
                return None
            counters = dict(state.counters)
            counters["damaged"] += batch.damaged
            try:
                with self._database.translated():
                    made = segments.seal(self.keys, batch.lines, device=state.device, spool=state.spool,
                                         sequence=state.next_segment, previous=state.previous, counters=counters,
                                         tenant=self.tenant, **batch.about)
            except MixedOutputs as mixed:
                max_records = batch.ids.index(batch.good[mixed.count])
                continue
            try:
                return self._replace(batch, made, state.next_segment, counters)
            except _Raced:
                continue
            except NoRoom as error:
                if len(batch.ids) > 1:  # a smaller segment may fit, and makes room when it has been sent
                    max_records = len(batch.ids) // 2
                    continue
                raise SpoolError(f"the spool {str(self.spool.path)!r} has no room to make a segment; "
                                 "free space on its disk") from error

    def next(self, limit: int = 1) -> list[Sealed]:
        """The oldest unconfirmed segments, up to `limit`, without damaged ones."""
        return [sealed for sequence in self.sequences(limit) if (sealed := self.read(sequence)) is not None]

    def sequences(self, limit: int, *, after: int = -1) -> list[int]:
        """Sequence numbers of the oldest unconfirmed segments `after` one, up to `limit`."""
        with self._database.snapshot() as db:
            return [sequence for sequence, in db.execute(
                "SELECT sequence FROM segments WHERE refused IS NULL AND sequence > ? ORDER BY sequence LIMIT ?",
                (after, limit))]

    def read(self, sequence: int) -> Sealed | None:
        """A segment; None if the spool no longer has it, or if it is damaged, which is counted. Waits for no writer."""
        with self._database.snapshot() as db:
            rows: list[tuple[Any, ...]] = db.execute(
                "SELECT sequence, key, records, data FROM segments WHERE sequence = ?", (sequence,)).fetchall()
        for sealed in (Sealed(*row) for row in rows):
            if sealed.intact:
                return sealed
            self._give_up(sealed)
        return None

    def offer(self, sequence: int) -> None:
        """Record that a target may have this segment and those before it: they are not dropped any more."""
        self.exchange((), sequence)

    def confirm(self, sealed: Sequence[Sealed], place: str = "") -> None:
        """Delete segments that the target has stored. Repeating it has no effect."""
        self.exchange(sealed, -1, place)

    def exchange(self, stored: Sequence[Sealed], offered: int, place: str = "") -> None:
        """Confirm the `stored` segments, and offer those up to a sequence number, with one wait for the disk.

        `place`: that of the target whose ledger gets the stored segments, if it has one.
        """
        with self._database.reading():
            if not stored and offered <= self._database.state().offered:
                return
        with self._database.transaction() as state:
            state.offered = max(state.offered, offered)
            if stored:
                self._forget(stored, state)
            if stored and place:
                ledger = self._ledger(place) or heads.Ledger()
                for sealed in sorted(stored, key=lambda sealed: sealed.sequence):
                    if segments.split_key(sealed.key).spool == state.spool:  # otherwise saved from a spool before it
                        ledger.add(sealed.sequence, sealed.records, sealed.digest)
                self._database.db.execute("INSERT OR REPLACE INTO ledgers VALUES (?, ?, ?)", (place, *ledger.pack()))

    def head(self, place: str) -> tuple[str, bytes] | None:
        """Key and bytes of the signed head for the target at `place`; None if it has confirmed nothing."""
        with self._database.reading():
            ledger = self._ledger(place)
            state = self._database.state()
        if ledger is None or not ledger.ranges:
            return None
        return heads.seal(self.keys, ledger, tenant=self.tenant, device=state.device, spool=state.spool)

    def _ledger(self, place: str) -> heads.Ledger | None:
        for row in self._database.rows("SELECT body, crc FROM ledgers WHERE place = ?", place):
            return heads.Ledger.unpack(*row)
        return None

    def _forget(self, stored: Sequence[Sealed], state: SpoolState) -> None:
        """Delete segments with few statements: after each one the thread waits for the interpreter lock."""
        named = json.dumps([(s.sequence, s.key) for s in stored])
        which = "sequence IN (SELECT value->>0 FROM json_each(?1)) AND key IN (SELECT value->>1 FROM json_each(?1))"
        db = self._database.db
        for count, records in self._database.rows(
                f"SELECT count(*), coalesce(sum(records), 0) FROM segments WHERE {which}", named):
            state.count("segments", count)
            state.count("stored", records)
        db.execute(f"DELETE FROM segments WHERE {which}", (named,))
        if db.changes() < len(stored):  # another uploader was faster; otherwise the index is damaged
            self._check_gone([s.sequence for s in stored])

    def _check_gone(self, sequences: Sequence[int]) -> None:
        """Raise `SpoolDamaged` if a scan of the table (`+` keeps SQLite from using the key) finds one of them."""
        if self._database.value("SELECT count(*) FROM segments WHERE +sequence IN (SELECT value FROM json_each(?))",
                                json.dumps(sequences)):
            raise SpoolDamaged("a segment that it lists cannot be found")

    def refuse(self, sealed: Sealed, reason: str) -> None:
        """Set aside a segment that the target refuses permanently, so that others can be sent."""
        with self._database.transaction():
            self._database.db.execute("UPDATE segments SET refused = ? WHERE sequence = ? AND key = ?",
                                      (reason, sealed.sequence, sealed.key))

    def offer_refused(self) -> None:
        """Let refused segments be sent again."""
        with self._database.reading():
            refused = self._database.value("SELECT count(*) FROM segments WHERE refused IS NOT NULL")
        if refused:
            with self._database.transaction():
                self._database.db.execute("UPDATE segments SET refused = NULL")

    def waiting(self) -> tuple[int, int]:
        """Number of records that are not in a segment, at least 1 while a loss is unreported; bytes of their lines."""
        with self._database.reading():
            state = self._database.state()
            return state.waiting or int(state.losses > state.reported), state.waiting_bytes

    def backlog(self) -> bool:
        """Whether there is a segment to be sent."""
        with self._database.reading():
            return bool(self._database.value("SELECT EXISTS (SELECT 1 FROM segments WHERE refused IS NULL)"))

    def settled(self, record: int) -> bool:
        """Whether all records up to this identity, and all losses, have been sent or refused."""
        with self._database.consistent():
            state = self._database.state()
            left = self._database.value(
                "SELECT EXISTS (SELECT 1 FROM records WHERE id <= ?) OR "
                "EXISTS (SELECT 1 FROM segments WHERE refused IS NULL AND first_record <= ?)", record, record)
        return state.losses == state.reported and not left

    def _replace(self, batch: Batch, made: segments.Segment, sequence: int, counters: dict[str, int]) -> Sealed:
        db = self._database.db
        with self._database.transaction() as state:
            if (state.next_segment, state.counters["dropped"]) != (sequence, counters["dropped"]):
                raise _Raced
            for first, last in batch.ranges():
                db.execute("DELETE FROM records WHERE id BETWEEN ? AND ?", (first, last))
                if db.changes() != last - first + 1:
                    raise SpoolDamaged("records that it lists cannot be found")
            state.waiting = max(0, state.waiting - len(batch.ids))
            state.waiting_bytes = max(0, state.waiting_bytes - batch.size)
            state.count("damaged", batch.damaged)
            state.next_segment = sequence + 1
            state.previous = made.digest
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
        """Set the sums of waiting records to 0 if there are none: after damage to the file they may be wrong."""
        with self._database.reading():
            if not self._database.state().waiting:
                return
        with self._database.transaction() as state:
            if not self._database.value("SELECT EXISTS (SELECT 1 FROM records)"):
                state.waiting = state.waiting_bytes = 0
