"""The audit: all refused requests and the reasons.

A refusal of a device or reader is written before it is answered. Refusals of unidentified clients (mostly before the
application sees them: a failed TLS handshake, bytes that are not HTTP) go to a thread that writes many rows in one
transaction. So the event loop does not wait for a disk, and a flood of such requests does not delay devices. If more
than `QUEUE` rows wait, further ones are only counted. Each tenant keeps its newest `KEPT` rows, and so do the
unidentified clients together: none can push out the rows of another.
"""

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import DataError

from ..results.worker import Worker
from . import tables
from .database import IndexDatabase
from .identity import Identity
from .refusal import RequestRefused
from .text import printable

KEPT = 100_000  # rows of a tenant: some 20 MB with 200 bytes each
QUEUE = 1000  # rows that may wait, at most some 1.3 MB; also the most rows of a transaction
CLOSE_SECONDS = 5.0  # at the end: time in which a failing database may recover
JOIN_SECONDS = 60.0  # at the end: time for a slow database to take the waiting rows
_TRIM_EVERY = 256  # rows between deletions of old ones, so that deleting costs little for each row
_RETRY_SECONDS = 1.0

logger = logging.getLogger("lepton.service")


class Audit:
    """Writes to `database` until `close`. `clock` returns the seconds since 1970; `linger`: seconds in which rows of
    unidentified clients are collected for one transaction."""

    def __init__(self, database: IndexDatabase, kept: int = KEPT, clock: Callable[[], float] = time.time,
                 linger: float = 0.0):
        self._database = database
        self._kept = kept
        self._clock = clock
        self._linger = linger
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(QUEUE)
        self._beyond = 0  # refusals for which the queue had no room
        self._reported = 0  # those of them that are included in a row
        self._stopping = threading.Event()
        self._give_up = math.inf  # time of the monotonic clock after which nothing is written
        self._ended = False
        self._writer = Worker("lepton-audit", self._write_waiting, failed=self._note_failure,
                              pause=self._stopping.wait, stopping=lambda: self._ended)
        self._writer.ensure_running()

    def write(self, request: str, refused: RequestRefused, identity: Identity, address: str | None = None) -> None:
        """Record that a `request` (method and path) of `identity` was refused; durable on return."""
        self._write([self._row(request, refused, identity, address)])

    def put(self, request: str, refused: RequestRefused, address: str | None = None,
            identity: Identity | None = None) -> None:
        """Record a refused `request`, or other bytes, mostly of an unidentified client. Never waits; for one thread
        only."""
        try:
            self._waiting.put_nowait(self._row(request, refused, identity or refused.identity, address))
        except queue.Full:
            self._beyond += 1

    def close(self, patience: float = CLOSE_SECONDS, longest: float = JOIN_SECONDS) -> None:
        """Write the waiting rows, and end. Rows that cannot be written are logged as lost.

        `patience`: seconds for a failing database to recover; `longest`: for a slow one to take the rows.
        """
        self._give_up = time.monotonic() + patience
        self._stopping.set()
        with contextlib.suppress(queue.Full):  # a full queue wakes the thread as well
            self._waiting.put_nowait(None)
        self._writer.join(longest)

    def _row(self, request: str, refused: RequestRefused, identity: Identity | None, address: str | None
             ) -> dict[str, Any]:
        return {"time": self._clock(), "tenant": identity and identity.tenant, "role": identity and identity.role,
                "name": identity and identity.name, "address": address, "request": printable(request, 256),
                "status": refused.status, "reason": refused.reason, "detail": printable(refused.detail, 1000)}

    def _write(self, rows: list[dict[str, Any]]) -> None:
        refusals = tables.refusals.c
        with self._database.write() as connection:
            for row in rows:
                number = connection.scalars(tables.refusals.insert().values(row).returning(refusals.id)).one()
                if number % _TRIM_EVERY == 0:
                    owner = refusals.tenant.is_(None) if row["tenant"] is None else refusals.tenant == row["tenant"]
                    oldest = (select(refusals.id).where(owner).order_by(refusals.id.desc())
                              .offset(self._kept).limit(1).scalar_subquery())
                    connection.execute(delete(tables.refusals).where(owner, refusals.id <= oldest))

    def _write_waiting(self) -> None:
        """Wait for rows, and write them in one transaction."""
        rows = [self._waiting.get()]
        self._stopping.wait(self._linger)  # commits of SQLite delay those of uploads, so there are few
        while len(rows) < QUEUE and not self._waiting.empty():
            rows.append(self._waiting.get())
        beyond = self._beyond
        if beyond > self._reported:
            rows.insert(0, self._row("connections", RequestRefused(
                429, "flood", f"{beyond - self._reported} more refusals came too fast to be listed"), None, None))
            self._reported = beyond
        self._write_with_retries([row for row in rows if row is not None])
        self._ended = self._stopping.is_set() and self._waiting.empty()

    def _write_with_retries(self, rows: list[dict[str, Any]]) -> None:
        """Try until the database takes the rows; the queue limits what waits meanwhile."""
        while rows:
            try:
                return self._write(rows)
            except DataError as error:  # one of the rows can never be written: write the others
                if len(rows) == 1:
                    logger.error("a refusal cannot be recorded: %s: %s", rows[0], error)
                    return
                for row in rows:
                    self._write_with_retries([row])
                return
            except Exception as error:
                if time.monotonic() > self._give_up:
                    logger.error("%d refusals could not be recorded: %s", len(rows), error)
                    return
                logger.warning("%d refusals cannot be recorded yet: %s", len(rows), error)
                time.sleep(min(_RETRY_SECONDS, 0.1) if self._stopping.is_set() else _RETRY_SECONDS)

    @staticmethod
    def _note_failure(error: BaseException) -> float:
        logger.error("the audit's thread continues after an unexpected %s: %s", type(error).__name__, error)
        return _RETRY_SECONDS
