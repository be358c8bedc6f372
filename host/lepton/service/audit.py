"""The audit: every request that was refused, and why.

What is refused to a device or reader is written before it is answered. What is refused to strangers (most of it
before the application sees it: a failed TLS handshake, bytes that are not HTTP) is handed to a
thread that writes many rows in one transaction: the event loop must not wait for a disk, and a flood of strangers
must not make the devices wait for one. Beyond `QUEUE` rows that wait, strangers are counted only.
Each tenant keeps its newest `KEPT` rows, and strangers together as many, so that none can push out another's.
"""

import queue
import threading
import time
from collections.abc import Callable

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from . import tables
from .database import Database
from .errors import Refused
from .identity import Identity
from .text import printable

KEPT = 100_000
QUEUE = 1000
_TRIM_EVERY = 256
_RETRY_SECONDS = 1.0


class Audit:
    """Writes to `database` until `close`. `clock` tells the seconds since 1970."""

    def __init__(self, database: Database, kept: int = KEPT, clock: Callable[[], float] = time.time):
        self._database, self._kept, self._clock = database, kept, clock
        self._waiting: queue.Queue[dict | None] = queue.Queue(QUEUE)
        self._beyond = 0  # refusals that the queue had no room for
        self._thread = threading.Thread(target=self._run, name="lepton-audit", daemon=True)
        self._thread.start()

    def write(self, request: str, refused: Refused, identity: Identity, address: str | None = None) -> None:
        """A `request` (method and path) of `identity` was refused; durable on return."""
        self._write([self._row(request, refused, identity, address)])

    def put(self, request: str, refused: Refused, address: str | None = None) -> None:
        """A stranger's `request`, or what came in place of one, was refused. Never waits. For one thread."""
        try:
            self._waiting.put_nowait(self._row(request, refused, None, address))
        except queue.Full:
            self._beyond += 1

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _row(self, request: str, refused: Refused, identity: Identity | None, address: str | None) -> dict:
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

    def _run(self) -> None:
        reported = 0
        while True:
            rows = [self._waiting.get()]
            while len(rows) < QUEUE and not self._waiting.empty():
                rows.append(self._waiting.get())
            beyond = self._beyond
            if beyond > reported:
                rows.insert(0, self._row("connections", Refused(
                    429, "flood", f"{beyond - reported} further refusals came too quickly to be listed"), None, None))
                reported = beyond
            self._write_at_last([row for row in rows if row is not None])
            if None in rows:
                return

    def _write_at_last(self, rows: list[dict]) -> None:
        """Tries until the database takes them: what waits meanwhile is bounded by the queue."""
        while rows:
            try:
                return self._write(rows)
            except SQLAlchemyError:
                time.sleep(_RETRY_SECONDS)
