"""The rows that a tenant's readers may see. Only this module reads rows for an answer.

Every statement starts with `TenantView._select`, which adds the tenant. No endpoint can forget that, because endpoints
have no connection. Each statement has its own transaction, which ends before the answer is sent, so that a slow reader
holds no lock.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, ScalarSelect, Select, Table, func, select, tuple_

from ..results.segment import Key, date_of, join_key
from . import tables
from .database import IndexDatabase


@dataclass(frozen=True)
class TenantView:
    """The rows of one tenant."""

    database: IndexDatabase
    tenant: str

    def _select(self, table: Table, *columns) -> Select:
        return select(*(columns or [c for c in table.c if c.name != "tenant"])).where(table.c.tenant == self.tenant)

    def _rows(self, statement: Select) -> list[dict]:
        with self.database.query() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def segments(self, *, device: str | None = None, model: str | None = None, since: float | None = None,
                 until: float | None = None, after: tuple[str, str, int] | None = None, limit: int = 100) -> list[dict]:
        """Up to `limit` segments in the order of device, spool and sequence number, from behind `after` (the three).

        `model` is a model's hash; `since` and `until` (seconds since 1970) select segments with a record in
        between, by the device's clock.
        """
        columns = tables.segments.c
        order = (columns.device, columns.spool, columns.sequence)
        statement = self._select(tables.segments)
        if device is not None:
            statement = statement.where(columns.device == device)
        if since is not None:
            statement = statement.where(columns.last_time >= since)
        if until is not None:
            statement = statement.where(columns.first_time < until)
        if model is not None:
            statement = statement.where(columns.model_hash == model)
        if after is not None:
            statement = statement.where(tuple_(*order) > after)
        rows = self._rows(statement.order_by(*order).limit(limit))
        for row in rows:
            row["key"] = join_key(Key(self.tenant, row["device"], date_of(round(row["first_time"] * 1000)),
                                      row["spool"], row["sequence"], row["digest"]))
        return rows

    def holds(self, device: str, spool: str, sequence: int, digest: str) -> bool:
        """Whether this segment is in the index."""
        columns = tables.segments.c
        return bool(self._rows(self._select(tables.segments, columns.sequence).where(
            columns.device == device, columns.spool == spool, columns.sequence == sequence,
            columns.digest == digest)))

    def devices(self, *, after: str | None = None, limit: int = 100) -> list[dict]:
        """Devices by name, with the totals of what each has sent and lost."""
        devices = tables.devices
        spools = tables.spools
        gaps = tables.gaps
        statement = self._select(devices, devices.c.device, devices.c.enrolled)
        if after is not None:
            statement = statement.where(devices.c.device > after)
        rows = self._rows(statement.order_by(devices.c.device).limit(limit))
        names = [row["device"] for row in rows]
        totals: tuple[tuple[Table, int | None, dict[str, ColumnElement]], ...] = (
            (spools, 0, {"spools": func.count(), "segments": func.sum(spools.c.segments),
                         "records": func.sum(spools.c.records), "lost_records": func.sum(spools.c.lost_records)}),
            (spools, None, {"last_received": func.max(spools.c.last_received)}),
            (gaps, 0, {"missing_segments": func.sum(gaps.c.last - gaps.c.first + 1 - self._came_later())}))
        for table, empty, columns in totals:
            found = {row.pop("device"): row for row in self._rows(
                self._select(table, table.c.device, *(column.label(name) for name, column in columns.items()))
                .where(table.c.device.in_(names)).group_by(table.c.device))}
            rows = [row | found.get(row["device"], dict.fromkeys(columns, empty)) for row in rows]
        return rows

    def expected(self, device: str, spool: str) -> int | None:
        """The next sequence number of a spool; None before its first segment. For devices, so not a reader's query."""
        spools = tables.spools.c
        with self.database.read() as connection:
            return connection.scalar(self._select(tables.spools, spools.expected)
                                     .where(spools.device == device, spools.spool == spool))

    def refusals(self, *, before: int | None = None, limit: int = 100) -> list[dict]:
        """Refused requests, the newest first; only those older than the row `before`."""
        refusals = tables.refusals
        statement = self._select(refusals)
        if before is not None:
            statement = statement.where(refusals.c.id < before)
        return self._rows(statement.order_by(refusals.c.id.desc()).limit(limit))

    @staticmethod
    def _came_later() -> ScalarSelect[int]:
        """Number of segments of a gap that arrived later."""
        gaps = tables.gaps.c
        segments = tables.segments.c
        return (select(func.count()).select_from(tables.segments)
                .where(segments.tenant == gaps.tenant, segments.device == gaps.device, segments.spool == gaps.spool,
                       segments.sequence.between(gaps.first, gaps.last))
                .scalar_subquery())
