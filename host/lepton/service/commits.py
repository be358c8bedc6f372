"""Rows of segments, written for several uploads together: one transaction, and one wait for the disk.

While one group is written, the uploads that come meanwhile wait, and make the next group. Under load a group has many
segments; a single one waits for none.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from ..results.segment import Segment
from .identity import Identity
from .rows import LOST, MAX_COUNT, Standing, row_of, spool_of
from .turns import Pool

MOST = 64  # segments of a group

# PostgreSQL: advances the spools that still expect the segments, and inserts the rows of those, in one round trip.
_COLUMNS = {
    "tenant": "text", "device": "text", "spool": "text", "sequence": "bigint", "digest": "text", "bytes": "bigint",
    "run": "text", "first": "bigint", "last": "bigint", "records": "bigint", "first_time": "double precision",
    "last_time": "double precision", "received": "double precision", "model_hash": "text", "program_hash": "text",
    "config_hash": "text"}
_NAMES = ", ".join(_COLUMNS)
_IN_ORDER = text(f"""
    WITH given AS (
        SELECT * FROM unnest({", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS.items())},
                             CAST(:lost AS bigint[])) AS given ({_NAMES}, lost)),
    moved AS (
        UPDATE spools SET expected = given.sequence + 1, last_digest = given.digest, last_received = given.received,
                          lost_records = given.lost, segments = spools.segments + 1,
                          records = spools.records + given.records, bytes = spools.bytes + given.bytes
        FROM given WHERE spools.tenant = given.tenant AND spools.device = given.device AND spools.spool = given.spool
                         AND spools.expected = given.sequence
        RETURNING given.tenant, given.device, given.spool)
    INSERT INTO segments ({_NAMES}) SELECT {", ".join(f"given.{name}" for name in _COLUMNS)}
    FROM given JOIN moved USING (tenant, device, spool) RETURNING tenant, device, spool""")


@dataclass(frozen=True)
class CommitEntry:
    """A stored segment that is to be indexed, and the state of its spool that it was checked against."""

    device: Identity
    standing: Standing
    segment: Segment

    @property
    def in_order(self) -> bool:
        """Whether it is the next segment of a known spool."""
        return self.standing.expected is not None and self.segment.header.sequence == self.standing.expected

    @property
    def spool(self) -> tuple[str, str, str]:
        return self.device.tenant, self.device.name, self.segment.header.spool


Outcome = bool | BaseException  # of an entry: whether it advanced its spool, or the error


def insert_in_order(connection: Connection, entries: Sequence[CommitEntry], now: float) -> list[bool]:
    """Index the next segments of different spools in PostgreSQL; which ones advanced their spool."""
    rows = [row_of(spool_of(entry.device, entry.segment.header), entry.segment, now) for entry in entries]
    values: dict[str, list[object]] = {name: [row[name] for row in rows] for name in _COLUMNS}
    values["lost"] = [min(sum(entry.segment.header.counters.get(name, 0) for name in LOST), MAX_COUNT)
                      for entry in entries]
    done = {(row.tenant, row.device, row.spool) for row in connection.execute(_IN_ORDER, values)}
    return [entry.spool in done for entry in entries]


class Commits:
    """Collects entries, and gives them to `write` in groups, each in a thread of `pool`. Used by the event loop."""

    def __init__(self, pool: Pool, write: Callable[[Sequence[CommitEntry]], list[Outcome]]):
        self._pool = pool
        self._write = write
        self._waiting: list[tuple[CommitEntry, asyncio.Future[bool]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, entry: CommitEntry) -> bool:
        """Index a segment, durably; False if another request has advanced its spool. Raises what `write` gives."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            group = self._next()
            try:
                outcomes = await self._pool.run(self._write, [entry for entry, _ in group])
            except BaseException as error:
                outcomes = [error] * len(group)
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if future.done():  # its request was cancelled; the row is written all the same
                    continue
                if isinstance(outcome, BaseException):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def _next(self) -> list[tuple[CommitEntry, asyncio.Future[bool]]]:
        """The oldest entries, at most one of each spool."""
        group: dict[tuple[str, str, str], tuple[CommitEntry, asyncio.Future[bool]]] = {}
        later = []
        for entry, future in self._waiting:
            if entry.spool in group or len(group) == MOST:
                later.append((entry, future))
            else:
                group[entry.spool] = entry, future
        self._waiting = later
        return list(group.values())


def singly(write: Callable[[CommitEntry], bool], entries: Sequence[CommitEntry]) -> list[Outcome]:
    """`write` for each entry, with its own error."""
    outcomes: list[Outcome] = []
    for entry in entries:
        try:
            outcomes.append(write(entry))
        except (SQLAlchemyError, OSError) as error:
            outcomes.append(error)
    return outcomes
