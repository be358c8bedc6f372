"""The audit: every request that was refused, and why.

What is refused to a device or reader is written before it is answered. What is refused to strangers (most of it
before the application sees it: a failed TLS handshake, bytes that are not HTTP) is handed to a
thread that writes many rows in one transaction: the event loop must not wait for a disk, and a flood of strangers
must not make the devices wait for one. Beyond `QUEUE` rows that wait, strangers are counted only.
Each tenant keeps its newest `KEPT` rows, and strangers together as many, so that none can push out another's.
"""

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable

from sqlalchemy import delete, select
from sqlalchemy.exc import DataError

from ..results.worker import Worker
from . import tables
from .database import IndexDatabase
from .identity import Identity
from .refusal import RequestRefused
from .text import printable

KEPT = 100_000
QUEUE = 1000
CLOSE_SECONDS = 5.0  # in which a database that fails may recover
JOIN_SECONDS = 60.0  # that one which is slow may take
_TRIM_EVERY = 256
_RETRY_SECONDS = 1.0

logger = logging.getLogger("lepton.service")


class Audit:
    """Writes to `database` until `close`. `clock` tells the seconds since 1970."""

    def __init__(self, database: IndexDatabase, kept: int = KEPT, clock: Callable[[], float] = time.time):
        self._database, self._kept, self._clock = database, kept, clock
        self._waiting: queue.Queue[dict | None] = queue.Queue(QUEUE)
        self._beyond = 0  # refusals that the queue had no room for
        self._reported = 0  # of those, how many a row tells of
        self._stopping = threading.Event()
        self._give_up = math.inf  # when, by the monotonic clock, to write no more
        self._ended = False
        self._writer = Worker("lepton-audit", self._write_waiting, failed=self._note_failure,
                              pause=self._stopping.wait, stopping=lambda: self._ended)
        self._writer.ensure_running()

    def write(self, request: str, refused: RequestRefused, identity: Identity, address: str | None = None) -> None:
        """A `request` (method and path) of `identity` was refused; durable on return."""
        self._write([self._row(request, refused, identity, address)])

    def put(self, request: str, refused: RequestRefused, address: str | None = None) -> None:
        """A stranger's `request`, or what came in place of one, was refused. Never waits. For one thread."""
        try:
            self._waiting.put_nowait(self._row(request, refused, None, address))
        except queue.Full:
            self._beyond += 1

    def close(self) -> None:
        """Write what waits, and end; what the database does not take within `CLOSE_SECONDS` goes to the log."""
        self._give_up = time.monotonic() + CLOSE_SECONDS
        self._stopping.set()
        with contextlib.suppress(queue.Full):  # then the thread has rows to write anyway
            self._waiting.put_nowait(None)
        self._writer.join(JOIN_SECONDS)

    def _row(self, request: str, refused: RequestRefused, identity: Identity | None, address: str | None) -> dict:
        return {"time": self._clock(), "tenant": identity and identity.tenant, "role": identity and identity.role,
                "name": identity and identity.name, "address": address, "request": printable(request, 256),
                "status": refused.status, "reason": refused.reason, "detail": printable(refused.detail, 1000)}

    def _write(self, rows: list[dict]) -> None:
        refusals = tables.refusals.c
        with self._database.write() as connection:
            for row in rows:
                last = connection.execute(tables.refusals.insert().values(row)).inserted_primary_key[0]
                if last % _TRIM_EVERY == 0:
                    owner = refusals.tenant.is_(None) if row["tenant"] is None else refusals.tenant == row["tenant"]
                    oldest = (select(refusals.id).where(owner).order_by(refusals.id.desc())
                              .offset(self._kept).limit(1).scalar_subquery())
                    connection.execute(delete(tables.refusals).where(owner, refusals.id <= oldest))

    def _write_waiting(self) -> None:
        """One turn of the thread: wait for rows, and write them in one transaction."""
        rows = [self._waiting.get()]
        while len(rows) < QUEUE and not self._waiting.empty():
            rows.append(self._waiting.get())
        beyond = self._beyond
        if beyond > self._reported:
            rows.insert(0, self._row("connections", RequestRefused(
                429, "flood", f"{beyond - self._reported} further refusals came too quickly to be listed"), None, None))
            self._reported = beyond
        self._write_at_last([row for row in rows if row is not None])
        self._ended = self._stopping.is_set() and self._waiting.empty()

    def _write_at_last(self, rows: list[dict]) -> None:
        """Tries until the database takes them: what waits meanwhile is bounded by the queue."""
        while rows:
            try:
                return self._write(rows)
            except DataError as error:  # one of them can never be written: the others are
                if len(rows) == 1:
                    logger.error("a refusal cannot be written down: %s: %s", rows[0], error)
                    return
                for row in rows:
                    self._write_at_last([row])
                return
            except Exception as error:
                if time.monotonic() > self._give_up:
                    logger.error("%d refusals could not be written down: %s", len(rows), error)
                    return
                logger.warning("refusals wait to be written down: %s", error)
                time.sleep(min(_RETRY_SECONDS, 0.1) if self._stopping.is_set() else _RETRY_SECONDS)

    @staticmethod
    def _note_failure(error: BaseException) -> float:
        logger.error("the audit's thread goes on after an unexpected %s: %s", type(error).__name__, error)
        return _RETRY_SECONDS
