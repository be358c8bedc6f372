"""The audit: every request that was refused, and why.

Requests that reached the application are written before they are answered. What fails earlier (a TLS
handshake, bytes that are not HTTP) is handed to a thread, because the event loop must not
wait for a disk; there a flood of strangers costs memory for `QUEUE` entries and is counted beyond.
Each tenant keeps its newest `KEPT` rows, and strangers together as many, so that none can push out another's.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Audit:
    """Writes to `database`."""

    database: Database
    kept: int = KEPT
    clock: Callable[[], float] = time.time

    def write(self, request: str, refused: Refused, *, identity: Identity | None = None, address: str | None = None
              ) -> None:
        """One refused `request` (method and path, or what took its place), durable on return."""
        self.write_rows([self.row(request, refused, identity=identity, address=address)])

    def row(self, request: str, refused: Refused, *, identity: Identity | None = None, address: str | None = None
            ) -> dict:
        who = identity or refused.identity
        return {"time": self.clock(), "tenant": who and who.tenant, "role": who and who.role, "name": who and who.name,
                "address": address, "request": printable(request, 256), "status": refused.status,
                "reason": refused.reason, "detail": printable(refused.detail, 1000)}

    def write_rows(self, rows: list[dict]) -> None:
        refusals = tables.refusals.c
        with self.database.write() as connection:
            for row in rows:
                last = connection.execute(tables.refusals.insert().values(row)).inserted_primary_key[0]
                if last % _TRIM_EVERY == 0:
                    owner = refusals.tenant.is_(None) if row["tenant"] is None else refusals.tenant == row["tenant"]
                    oldest = (select(refusals.id).where(owner).order_by(refusals.id.desc())
                              .offset(self.kept).limit(1).scalar_subquery())
                    connection.execute(delete(tables.refusals).where(owner, refusals.id <= oldest))


class Backlog:
    """The thread that writes what is refused inside the event loop. `put` never waits."""

    def __init__(self, audit: Audit):
        self._audit = audit
        self._rows: queue.Queue[Mapping | None] = queue.Queue(QUEUE)
        self._beyond = 0  # refusals that the queue had no room for; changed by the event loop's thread only
        self._reported = 0
        self._thread = threading.Thread(target=self._run, name="lepton-audit", daemon=True)
        self._thread.start()

    def put(self, request: str, refused: Refused, address: str | None = None) -> None:
        try:
            self._rows.put_nowait(self._audit.row(request, refused, address=address))
        except queue.Full:
            self._beyond += 1

    def close(self) -> None:
        self._rows.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            rows = [self._rows.get()]
            while len(rows) < QUEUE and not self._rows.empty():
                rows.append(self._rows.get())
            beyond = self._beyond
            if beyond > self._reported:
                rows.insert(0, self._audit.row("connections", Refused(
                    429, "flood", f"{beyond - self._reported} further refusals came too quickly to be listed")))
            self._write([row for row in rows if row is not None])
            self._reported = beyond
            if None in rows:
                return

    def _write(self, rows: list[dict]) -> None:
        """Tries until the database takes them: what waits is bounded by the queue."""
        while rows:
            try:
                return self._audit.write_rows(rows)
            except SQLAlchemyError:
                time.sleep(1)
