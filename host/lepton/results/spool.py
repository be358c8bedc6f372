"""The spool: what it has acknowledged is on disk, and leaves only when the target has it.

Producers number their records per run. The spool remembers the last number of each run, so a producer that died
before it saw the acknowledgement can append again without storing anything twice. Threads that
append at the same time share one commit: the first to get the lock takes the others' records along.
"""

import json
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import records as lines
from . import segment as segments
from .database import SLACK_PAGES, NoRoom, SpoolDatabase
from .errors import RecordError, SpoolDamaged, SpoolError, SpoolFull
from .schema import PAGE, run_crc
from .state import SpoolState

POLICIES = ("block", "reject", "drop_oldest")
DEFAULT_MAX_BYTES = 256 << 20
KEPT_RUNS = 10_000  # whose last numbers are remembered
TARGET_NOTE = "target "  # before the place of a target, in the names of notes
_POLL_SECONDS = 0.02
_NAME_BYTES = 64 + 40  # of a line, for the name of its run and its number


@dataclass(frozen=True)
class SpoolStatus:
    """What is in the spool, and what became of everything that was. `counters`: see `state.COUNTERS`."""

    device: str
    path: str
    policy: str
    waiting: int  # records that are not in a segment yet
    sealed: int  # records in segments that are not stored yet
    refused: int  # records in segments that the target will not take
    file_bytes: int
    max_bytes: int
    counters: dict[str, int]
    upload: dict[str, str]  # what the uploader last noted


@dataclass(eq=False)
class _Request:
    """One call of `append_many`."""

    run: str
    bodies: list[bytes | None]  # None where a record was refused; only where records have numbers of their own
    refused: int  # records besides those
    first: int | None
    origin: str | None
    size: int
    taken: int | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.taken is not None or self.error is not None


@dataclass
class _Queue:
    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: list[_Request] = field(default_factory=list)


class Spool:
    """A spool file. Threads may share one object, processes one file; a fork opens the file again.

    `device` names the device in keys; a new spool without a name makes one up, an existing one keeps its name.
    `max_bytes` caps the spool's files together. `policy` says what `append_many` does when the cap, or
    the disk, leaves no room: "block" until the uploader has made some, "reject" the new records, or
    "drop_oldest" of those that no target has been offered. The last two count every loss.
    `key` (32 bytes) encrypts the file. Raises `SpoolError`, or `SpoolDamaged` for a file that is not intact.
    """

    def __init__(self, path: str | Path, *, device: str | None = None, max_bytes: int = DEFAULT_MAX_BYTES,
                 policy: str = "reject", key: bytes | None = None):
        if policy not in POLICIES:
            raise SpoolError(f"policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        self.policy = policy
        self.database = SpoolDatabase(path, device=device, max_bytes=max_bytes, key=key)
        self.path, self.device, self.max_bytes = self.database.path, self.database.device, max_bytes
        self._queue = _Queue()
        self._uncounted = 0  # rejected while not even the counter could be written

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        self.database.close()

    def append_many(self, run: str, records: Sequence[Mapping], *, first: int | None = None,
                    origin: Mapping[str, str] | None = None, timeout: float | None = None) -> int:
        """Append records of a run; when this returns they are on disk. Returns how many were new.

        Records are numbered from `first` (default: after the last of the run); those whose number the run has
        passed are duplicates and ignored. `origin` says what makes the run's results, in the headers of
        their segments. Raises `SpoolFull` (nothing was taken) as the policy says, or after
        `timeout` seconds of blocking, and `SpoolError` for a request that can never be taken. A single record that
        can never be stored (see `records`) is left out and counted as rejected, and its number, if it has one, is
        passed over; `RecordError` is raised when the others are on disk.
        """
        bodies: list[bytes | None] = []
        reasons: list[str] = []
        for i, record in enumerate(records):
            try:
                bodies.append(self.encode(record))
            except RecordError as error:
                bodies.append(None)
                reasons.append(f"record {i} of {len(records)} was refused: {error}")
        taken = self.append_encoded(run, bodies, first=first, origin=origin, timeout=timeout)
        if reasons:
            more = f" ({len(reasons)} were refused)" if len(reasons) > 1 else ""
            raise RecordError(f"{reasons[0]}{more}; {taken} others are stored")
        return taken

    def encode(self, record: Mapping) -> bytes:
        """A record as `append_encoded` takes it. Raises `RecordError` for one that this spool can never store."""
        body = lines.encode(record)
        if (size := self.stored_bytes(body)) > self.database.max_batch_bytes:
            raise RecordError(f"a record may take {self.database.max_batch_bytes} bytes of this spool (a sixteenth of "
                              f"max_bytes), not {size}; give the spool a larger max_bytes")
        return body

    @staticmethod
    def stored_bytes(body: bytes) -> int:
        """Upper estimate of the bytes that an encoded record takes of a batch and of the file."""
        return lines.stored_bytes(body) + _NAME_BYTES

    def append_encoded(self, run: str, bodies: Sequence[bytes | None], *, first: int | None = None,
                       origin: Mapping[str, str] | None = None, timeout: float | None = None) -> int:
        """`append_many` for what `encode` has returned; None stands for a record that was refused."""
        request = self._request(run, bodies, first, origin)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._commit(request)
            if not isinstance(request.error, NoRoom):
                if request.error is not None:
                    raise request.error
                return request.taken
            if self.policy != "block" or (deadline is not None and time.monotonic() >= deadline):
                self.count_rejected(len(bodies))
                why = "they were rejected" if self.policy != "block" else f"none was made within {timeout} s"
                raise SpoolFull(f"the spool {str(self.path)!r} has no room for {len(bodies)} records "
                                f"{request.error.where}; {why}") from request.error
            request.error = None
            time.sleep(_POLL_SECONDS)

    def append(self, run: str, record: Mapping, *, number: int | None = None, timeout: float | None = None) -> int:
        """Append one record, durably; 1 if it was new."""
        return self.append_many(run, [record], first=number, timeout=timeout)

    def last_number(self, run: str) -> int:
        """Number of the last record taken of a run, -1 if there is none."""
        with self.database.reading():
            return self._last(run)[0]

    def last_record(self) -> int:
        """Identity of the youngest record ever appended; 0 if none was."""
        with self.database.reading():
            return self.database.value("SELECT seq FROM sqlite_sequence WHERE name = 'records'", default=0)

    def left_until(self, record: int) -> int:
        """How many records up to this identity are still in the spool (a segment counts whole)."""
        with self.database.reading():
            return (self.database.value("SELECT count(*) FROM records WHERE id <= ?", record)
                    + self.database.value("SELECT coalesce(sum(records), 0) FROM segments WHERE first_record <= ?",
                                          record))

    def note(self, **values: str) -> None:
        """Keep what the uploader says about itself, for `status` in any process."""
        with self.database.transaction():
            self.database.db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", values.items())

    def target_identity(self, place: str) -> str | None:
        """The identity that the target at `place` had when it was first used, None if it has not been."""
        with self.database.reading():
            return self.database.value("SELECT value FROM notes WHERE name = ?", TARGET_NOTE + place)

    def remember_target(self, place: str, identity: str) -> None:
        self.note(**{TARGET_NOTE + place: identity})

    def forget_target(self, place: str) -> bool:
        """Let whatever is at `place` next be the target; False if the spool knew none there."""
        with self.database.transaction():
            self.database.db.execute("DELETE FROM notes WHERE name = ?", (TARGET_NOTE + place,))
            return self.database.db.changes() > 0

    def targets(self) -> list[str]:
        """Places of the targets that it has used."""
        with self.database.reading() as db:
            return [name.removeprefix(TARGET_NOTE) for name, in db.execute(
                "SELECT name FROM notes WHERE name LIKE ? || '%' ORDER BY name", (TARGET_NOTE,)).fetchall()]

    def status(self) -> SpoolStatus:
        with self.database.reading() as db, db:  # one snapshot for all figures
            sealed, refused = next(iter(db.execute(
                "SELECT coalesce(sum(records) FILTER (WHERE refused IS NULL), 0), "
                "coalesce(sum(records) FILTER (WHERE refused IS NOT NULL), 0) FROM segments")))
            return SpoolStatus(
                self.device, str(self.path), self.policy, self.database.value("SELECT count(*) FROM records"), sealed,
                refused, self.file_bytes(), self.max_bytes, self.database.state().counters,
                dict(db.execute("SELECT name, value FROM notes WHERE name NOT LIKE ? || '%'", (TARGET_NOTE,))))

    def file_bytes(self) -> int:
        """Size of the spool's files on disk."""
        return self.database.file_bytes()

    def _request(self, run: str, bodies: Sequence[bytes | None], first: int | None,
                 origin: Mapping[str, str] | None) -> _Request:
        text = None
        with self.database.translated():
            segments.check_name(run, "run")
            if origin is not None:
                given = {str(name): str(value)[:256] for name, value in origin.items()}
                segments.check_map("origin", given, str)
                text = json.dumps(given, sort_keys=True)
        if first is not None and first < 0:
            raise SpoolError(f"records are numbered from 0, not {first}")
        kept = list(bodies) if first is not None else [body for body in bodies if body is not None]
        size = sum(self.stored_bytes(body) for body in kept if body is not None)
        limit = self.database.max_batch_bytes
        if size > limit:
            raise SpoolError(f"a batch may have {limit} bytes (a sixteenth of max_bytes), not {size}; "
                             "append fewer records at once or give the spool a larger max_bytes")
        return _Request(run, kept, len(bodies) - len(kept), first, text, size)

    def _commit(self, request: _Request) -> None:
        """See to it that the request is done: by this thread, or by one that held the lock before."""
        self.database.check_process()
        with self._queue.lock:
            self._queue.requests.append(request)
        with self.database.lock:
            while not request.done:
                group = self._next_group()
                try:
                    while group:
                        self._take(group)
                finally:  # where this thread was interrupted, another goes on
                    with self._queue.lock:
                        self._queue.requests[:0] = group

    def _next_group(self) -> list[_Request]:
        """Whole requests in order, as many as one transaction may hold."""
        group, size = [], 0
        with self._queue.lock:
            waiting = self._queue.requests
            while waiting and (not group or size + waiting[0].size <= self.database.max_batch_bytes):
                group.append(waiting.pop(0))
                size += group[-1].size
        return group

    def _take(self, group: list[_Request]) -> None:
        """One transaction for the group; who is done leaves it. One that finds no room leaves alone."""
        current, taken = group[0], []
        try:
            with self.database.transaction(grows=sum(request.size for request in group) or 1) as state:
                for current in group:
                    taken.append(self._append(state, current))
                state.count("rejected", self._uncounted)
            self._uncounted = 0
            for request, count in zip(group, taken, strict=True):
                request.taken = count
        except Exception as error:
            for request in [current] if isinstance(error, NoRoom) else group:
                request.error = error
        group[:] = [request for request in group if not request.done]

    def _append(self, state: SpoolState, request: _Request) -> int:
        run, db = request.run, self.database.db
        last, origin = self._last(run)
        first = last + 1 if request.first is None else request.first
        known = max(0, min(len(request.bodies), last + 1 - first))
        state.count("duplicate", known)
        offered = list(enumerate(request.bodies[known:], first + known))
        new = [lines.line(body, run, number) for number, body in offered if body is not None]
        state.count("rejected", request.refused + len(offered) - len(new))
        if not offered:
            return 0
        self._make_room(state, -(-request.size // PAGE) + SLACK_PAGES)
        now = time.time_ns() // 1_000_000
        db.executemany("INSERT INTO records (time_ms, crc, line) VALUES (?, ?, ?)",
                       ((now, zlib.crc32(line), line) for line in new))
        number, origin = first + len(request.bodies) - 1, request.origin or origin
        # `touched` orders runs by use without a clock, which may jump
        db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
                   (run, number, db.last_insert_rowid(), origin, run_crc(run, number, origin)))
        if last < 0:  # forget old runs, but none that still has records here
            db.execute("DELETE FROM runs WHERE run IN (SELECT run FROM runs ORDER BY touched DESC LIMIT -1 OFFSET ?) "
                       "AND touched < (SELECT min(id) FROM records)", (KEPT_RUNS,))
        state.count("appended", len(new))
        state.waiting += len(new)
        state.waiting_bytes += sum(map(len, new))
        return len(new)

    def _last(self, run: str) -> tuple[int, str]:
        """Last number and origin of a run."""
        for last, origin, crc in self.database.db.execute("SELECT last, origin, crc FROM runs WHERE run = ?",
                                                          (run,)).fetchall():
            if run_crc(run, last, origin) != crc:
                raise SpoolDamaged(f"what it knows of run {run!r} is altered")
            return last, origin
        return -1, "{}"

    def _make_room(self, state: SpoolState, pages: int) -> None:
        """Raise `NoRoom` unless so many pages can be taken; with "drop_oldest", make it so."""
        while self.database.pages_used() + pages > self.database.limit_pages:
            if self.policy != "drop_oldest" or not (self._drop_segment(state) or self._drop_records(state)):
                raise NoRoom(self.path, self.database.cap_text)

    def _drop_segment(self, state: SpoolState) -> bool:
        """The oldest segment, unless a target may have it: then it would be counted as lost and be there."""
        db = self.database.db
        for sequence, count in db.execute("SELECT sequence, records FROM segments WHERE sequence > ? "
                                          "ORDER BY sequence LIMIT 1", (state.offered,)).fetchall():
            db.execute("DELETE FROM segments WHERE sequence = ?", (sequence,))
            self._check_changes(1)
            state.count("dropped", count)
            return True
        return False

    def _drop_records(self, state: SpoolState) -> bool:
        db = self.database.db
        old = list(db.execute("SELECT id, length(line) FROM records ORDER BY id LIMIT 64"))
        if old:
            db.execute("DELETE FROM records WHERE id <= ?", (old[-1][0],))
            self._check_changes(len(old))
            state.count("dropped", len(old))
            state.waiting -= len(old)
            state.waiting_bytes -= sum(size or 0 for _, size in old)
        return bool(old)

    def _check_changes(self, count: int) -> None:
        if self.database.db.changes() != count:
            raise SpoolDamaged("rows that it lists cannot be found")

    def count_rejected(self, count: int) -> None:
        """Count records that are lost without having been taken; where this cannot be written, it is later."""
        with self.database.lock:
            self._uncounted += count
            try:
                with self.database.transaction() as state:
                    state.count("rejected", self._uncounted)
            except SpoolError:
                return  # the disk has no room for a counter: with the next commit
            self._uncounted = 0
