"""What an operator asks and changes: lists with expiry, limits of tenants, and deletion of results."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from ..results import Store
from ..results.segment import Key, date_of, join_key
from . import changes, tables
from .authority import Authority
from .database import IndexDatabase, insert_new
from .errors import ServiceError
from .expiries import ExpiredSegment, Expiries

BATCH = 500  # segments that are deleted in one transaction, in which uploads of SQLite wait


@dataclass(frozen=True)
class TenantLimits:
    """Limits of a tenant; None: none."""

    max_bytes: int | None = None
    max_devices: int | None = None
    keep_days: float | None = None


class Fleet:
    """Operations on all tenants. `clock` returns the seconds since 1970."""

    def __init__(self, database: IndexDatabase, objects: str, clock: Callable[[], float] = time.time):
        self._database = database
        self._objects = objects.rstrip("/")
        self._clock = clock

    def devices(self, tenant: str | None = None) -> list[dict[str, object]]:
        """Devices and readers with the expiry of their newest certificate, and what devices have stored."""
        codes = tables.codes.c
        certificates = tables.certificates.c
        spools = tables.spools.c
        with self._database.query() as connection:
            totals = {(row.tenant, row.device): row for row in connection.execute(
                select(spools.tenant, spools.device, func.sum(spools.segments).label("segments"),
                       func.sum(spools.bytes).label("bytes"), func.max(spools.last_received).label("last_received"))
                .group_by(spools.tenant, spools.device))}
            statement = (select(codes.tenant, codes.role, codes.name, func.max(certificates.expires).label("expires"),
                                func.min(certificates.issued).label("enrolled"))
                         .join_from(tables.certificates, tables.codes).where(codes.revoked.is_(None))
                         .group_by(codes.tenant, codes.role, codes.name)
                         .order_by(codes.tenant, codes.role, codes.name))
            if tenant is not None:
                statement = statement.where(codes.tenant == tenant)
            rows = [dict(row) for row in connection.execute(statement).mappings()]
        for row in rows:
            total = totals.get((row["tenant"], row["name"])) if row["role"] == "device" else None
            row |= {"segments": total.segments if total else 0, "bytes": total.bytes if total else 0,
                    "last_received": total.last_received if total else None}
        return rows

    def codes(self, tenant: str | None = None) -> list[dict[str, object]]:
        """Codes by their digest (the codes themselves are not stored), with their state."""
        columns = tables.codes.c
        statement = select(tables.codes).order_by(columns.tenant, columns.role, columns.name, columns.expires)
        if tenant is not None:
            statement = statement.where(columns.tenant == tenant)
        with self._database.query() as connection:
            rows = [dict(row) for row in connection.execute(statement).mappings()]
        now = self._clock()
        for row in rows:
            row["state"] = ("revoked" if row["revoked"] is not None else "used" if row["key"] is not None else
                            "expired" if row["expires"] <= now else "open")
        return rows

    def certificates(self, tenant: str | None = None) -> list[dict[str, object]]:
        """All certificates with their fingerprints, the first to expire first."""
        certificates = tables.certificates.c
        codes = tables.codes.c
        statement = (select(codes.tenant, codes.role, codes.name, certificates.fingerprint, certificates.issued,
                            certificates.expires, codes.revoked)
                     .join_from(tables.certificates, tables.codes).order_by(certificates.expires))
        if tenant is not None:
            statement = statement.where(codes.tenant == tenant)
        with self._database.query() as connection:
            rows = [dict(row) for row in connection.execute(statement).mappings()]
        now = self._clock()
        for row in rows:
            row["state"] = ("revoked" if row.pop("revoked") is not None else
                            "expired" if row["expires"] <= now else "valid")
        return rows

    def tenants(self) -> list[dict[str, object]]:
        """Tenants with their limits, and what they have stored."""
        spools = tables.spools.c
        codes = tables.codes.c
        devices = tables.devices.c
        with self._database.query() as connection:
            names = sorted(set(connection.scalars(select(codes.tenant).distinct()))
                           | set(connection.scalars(select(tables.tenants.c.tenant))))
            limits = {row.tenant: row for row in connection.execute(select(tables.tenants))}
            used = {row.tenant: row for row in connection.execute(
                select(spools.tenant, func.sum(spools.segments).label("segments"),
                       func.sum(spools.bytes).label("bytes")).group_by(spools.tenant))}
            count = {tenant: number for tenant, number in connection.execute(
                select(devices.tenant, func.count()).group_by(devices.tenant))}
        return [{"tenant": name, "devices": count.get(name, 0),
                 "segments": used[name].segments if name in used else 0,
                 "bytes": used[name].bytes if name in used else 0,
                 **{column: getattr(limits[name], column) if name in limits else None
                    for column in ("max_bytes", "max_devices", "keep_days")}} for name in names]

    def limit(self, tenant: str, limits: TenantLimits) -> None:
        """Set the limits of a tenant in place of its present ones."""
        values = {"max_bytes": limits.max_bytes, "max_devices": limits.max_devices, "keep_days": limits.keep_days}
        with self._database.write() as connection:
            if not insert_new(connection, tables.tenants, [{"tenant": tenant, **values}]):
                connection.execute(update(tables.tenants).filter_by(tenant=tenant).values(values))
            changes.add(connection, self._clock(), changes.operator(), "limits", tenant=tenant, **values)

    def expire(self, authority: Authority, tenant: str | None = None) -> dict[str, int]:
        """Delete the segments that arrived longer ago than their tenant keeps them; their number by tenant.

        Before that, a record is stored for each spool that names them, signed in the name of `authority`: `verify` then
        does not take them for missing. The objects are deleted before their rows. After a failure the rows are still
        there, and the next call continues.
        """
        records = Expiries(authority)
        with self._database.query() as connection:
            rows = connection.execute(select(tables.tenants.c.tenant, tables.tenants.c.keep_days)
                                      .where(tables.tenants.c.keep_days.is_not(None))).all()
        deleted = {}
        for name, days in rows:
            if tenant in (None, name):
                deleted[name] = self._delete_before(name, self._clock() - 86400 * days, records.add)
                if deleted[name]:
                    with self._database.write() as connection:
                        changes.add(connection, self._clock(), changes.operator(), "expire", tenant=name,
                                    segments=deleted[name])
        return deleted

    def delete_tenant(self, tenant: str) -> int:
        """Revoke everything of a tenant, and delete its objects and rows; the number of its segments.

        The refusals and the log of changes are kept. Raises `ServiceError` if there is no such tenant.
        """
        codes = tables.codes
        with self._database.write() as connection:
            known = connection.scalar(select(func.count()).select_from(codes).filter_by(tenant=tenant))
            if not known:
                raise ServiceError(f"there is no tenant {tenant}")
            connection.execute(update(codes).where(codes.c.tenant == tenant, codes.c.revoked.is_(None))
                               .values(revoked=self._clock()))
            changes.add(connection, self._clock(), changes.operator(), "delete", tenant=tenant, state="begun")
        count = self._delete_before(tenant, float("inf"))
        store = self._open(tenant)
        for key in store.heads() if count else []:  # without a segment there may be no store
            store.delete(key)
        with self._database.write() as connection:
            of_tenant = select(codes.c.digest).filter_by(tenant=tenant)
            connection.execute(delete(tables.certificates).where(tables.certificates.c.code.in_(of_tenant)))
            for table in (tables.signing_keys, tables.codes, tables.gaps, tables.spools, tables.devices, tables.stores,
                          tables.tenants):
                connection.execute(delete(table).where(table.c.tenant == tenant))
            changes.add(connection, self._clock(), changes.operator(), "delete", tenant=tenant, state="done",
                        segments=count)
        return count

    def _delete_before(self, tenant: str, end: float,
                       record: Callable[[Store, list[ExpiredSegment]], None] | None = None) -> int:
        """Delete the segments of a tenant that arrived before `end`, and the gaps that were found before. `record` is
        called with them before.

        A gap is forgotten together with the segments that filled it late, as those arrived after it was found.
        """
        store = self._open(tenant)
        count = 0
        while found := self._oldest(tenant, end):
            if record:
                record(store, found)
            keys = [stored.key for stored in found]
            for key in keys:
                store.delete(join_key(key))
            with self._database.write() as connection:
                for key in keys:
                    _delete_row(connection, key)
            count += len(keys)
        with self._database.write() as connection:
            gaps = tables.gaps.c
            connection.execute(delete(tables.gaps).where(gaps.tenant == tenant, gaps.received < end))
        return count

    def _oldest(self, tenant: str, end: float) -> list[ExpiredSegment]:
        segments = tables.segments.c
        with self._database.query() as connection:
            rows = connection.execute(
                select(segments.device, segments.first_time, segments.spool, segments.sequence, segments.digest,
                       segments.records)
                .where(segments.tenant == tenant, segments.received < end).order_by(segments.received).limit(BATCH))
            return [ExpiredSegment(Key(tenant, row.device, date_of(round(row.first_time * 1000)), row.spool,
                                       row.sequence, row.digest), row.records) for row in rows]

    def _open(self, tenant: str) -> Store:
        """The tenant's store, which must be the same as before: an unmounted disk has none of the objects either."""
        store = Store(f"{self._objects}/{tenant}")
        with self._database.query() as connection:
            expected = connection.scalar(select(tables.stores.c.identity).filter_by(tenant=tenant, place=store.place))
        if expected is not None:
            store.identify(expected)
        return store


def _delete_row(connection: Connection, key: Key) -> None:
    """Delete a segment's row, and subtract it from the totals of its spool."""
    where = {"tenant": key.tenant, "device": key.device, "spool": key.spool}
    segments = tables.segments
    row = connection.execute(delete(segments).filter_by(**where, sequence=key.sequence)
                             .returning(segments.c.bytes, segments.c.records)).one_or_none()
    if row is not None:
        spools = tables.spools.c
        connection.execute(update(tables.spools).filter_by(**where).values(
            segments=spools.segments - 1, bytes=spools.bytes - row.bytes, records=spools.records - row.records))
