"""How records get into the spool: requests of several threads share one transaction (group commit).

The first thread that gets the lock commits its own request together with those that wait, so that threads which append
at the same time share one wait for the disk.
"""

import threading
import time
import zlib
from dataclasses import dataclass, field

from . import records as lines
from .database import SLACK_PAGES, SpoolDatabase
from .errors import NoRoom, SpoolDamaged, SpoolError
from .schema import PAGE, run_crc
from .state import SpoolState

KEPT_RUNS = 10_000  # runs whose last number is remembered; some 4 MB, as a row has about 400 bytes (its origin)
DROPPED_AT_ONCE = 64  # records: with their 80 bytes of overhead each they free a page of 4096 bytes even if empty


@dataclass(eq=False)
class AppendRequest:
    """One call of `Spool.append_many`."""

    run: str
    bodies: list[bytes] | list[bytes | None]  # None for a refused record; only where records have numbers of their own
    refused: int  # refused records that are not in `bodies`
    first: int | None
    origin: str | None
    size: int
    taken: int | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.taken is not None or self.error is not None


@dataclass
class _AppendQueue:
    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: list[AppendRequest] = field(default_factory=list)


class Appender:
    """Commits requests to `database`; `drop_oldest` makes room by dropping the oldest records or segments."""

    def __init__(self, database: SpoolDatabase, drop_oldest: bool):
        self._database = database
        self._drop_oldest = drop_oldest
        self._queue = _AppendQueue()
        self._uncounted = 0  # rejected records that could not be counted yet, as there was no room for the counter

    @property
    def waiting(self) -> int:
        """Requests that no thread has begun to commit."""
        with self._queue.lock:
            return len(self._queue.requests)

    def commit(self, request: AppendRequest) -> None:
        """Return when the request is done: by this thread, or by the one that held the lock before."""
        self._database.check_process()
        with self._queue.lock:
            self._queue.requests.append(request)
        with self._database.lock:
            while not request.done:
                group = self._next_group()
                try:
                    while group:
                        self._take(group)
                finally:  # if this thread is interrupted, another one continues
                    with self._queue.lock:
                        self._queue.requests[:0] = group

    def count_rejected(self, count: int) -> None:
        """Count records that were lost before they were taken; if this cannot be written now, it is written later."""
        with self._database.lock:
            self._uncounted += count
            try:
                with self._database.transaction() as state:
                    state.count("rejected", self._uncounted)
            except SpoolError:
                return  # the disk has no room for a counter: the next commit writes it
            self._uncounted = 0

    def last(self, run: str) -> tuple[int, str]:
        """Last number and origin of a run; (-1, "{}") for a run without records."""
        for last, origin, crc in self._database.rows("SELECT last, origin, crc FROM runs WHERE run = ?", run):
            if run_crc(run, last, origin) != crc:
                raise SpoolDamaged(f"the row of run {run!r} is altered")
            return last, origin
        return -1, "{}"

    def _next_group(self) -> list[AppendRequest]:
        """The first requests in order, as many as one transaction may hold."""
        group: list[AppendRequest] = []
        size = 0
        with self._queue.lock:
            waiting = self._queue.requests
            while waiting and (not group or size + waiting[0].size <= self._database.max_batch_bytes):
                group.append(waiting.pop(0))
                size += group[-1].size
        return group

    def _take(self, group: list[AppendRequest]) -> None:
        """One transaction for the group. Requests that are done leave it; one without room leaves it alone."""
        current = group[0]
        taken = []
        try:
            with self._database.transaction(grows=sum(request.size for request in group) or 1) as state:
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

    def _append(self, state: SpoolState, request: AppendRequest) -> int:
        run = request.run
        db = self._database.db
        last, origin = self.last(run)
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
        number = first + len(request.bodies) - 1
        origin = request.origin or origin
        # `touched` orders runs by use without a clock, which may jump
        db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
                   (run, number, db.last_insert_rowid(), origin, run_crc(run, number, origin)))
        if last < 0:  # forget old runs, except those that still have records here
            db.execute("DELETE FROM runs WHERE run IN (SELECT run FROM runs ORDER BY touched DESC LIMIT -1 OFFSET ?) "
                       "AND touched < (SELECT min(id) FROM records)", (KEPT_RUNS,))
        state.count("appended", len(new))
        state.waiting += len(new)
        state.waiting_bytes += sum(map(len, new))
        return len(new)

    def _make_room(self, state: SpoolState, pages: int) -> None:
        """Raise `NoRoom` unless `pages` more pages fit under the cap; with "drop_oldest", drop until they do."""
        while self._database.pages_used() + pages > self._database.limit_pages:
            if not (self._drop_oldest and (self._drop_segment(state) or self._drop_records(state))):
                raise NoRoom(self._database.path, self._database.cap_text)

    def _drop_segment(self, state: SpoolState) -> bool:
        """Drop the oldest segment that no target may have: one that is stored must not be counted as lost."""
        for sequence, count in self._database.rows(
                "SELECT sequence, records FROM segments WHERE sequence > ? ORDER BY sequence LIMIT 1", state.offered):
            self._database.db.execute("DELETE FROM segments WHERE sequence = ?", (sequence,))
            self._check_changes(1)
            state.count("dropped", count)
            return True
        return False

    def _drop_records(self, state: SpoolState) -> bool:
        old = self._database.rows("SELECT id, length(line) FROM records ORDER BY id LIMIT ?", DROPPED_AT_ONCE)
        if old:
            self._database.db.execute("DELETE FROM records WHERE id <= ?", (old[-1][0],))
            self._check_changes(len(old))
            state.count("dropped", len(old))
            state.waiting -= len(old)
            state.waiting_bytes -= sum(size or 0 for _, size in old)
        return bool(old)

    def _check_changes(self, count: int) -> None:
        if self._database.db.changes() != count:
            raise SpoolDamaged("rows that it lists cannot be found")
