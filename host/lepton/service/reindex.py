"""Rows from objects: for a database that is older than the store, or that was lost.

A restored database does not know the segments that were stored after its backup. Their devices no longer have them, and
would declare them lost. `recover` finds such segments of a spool when a loss is declared; `reindex` finds those of all
spools at once. `scrub` compares rows and objects, and changes nothing.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from cryptography import x509
from sqlalchemy import Connection, delete, select, update

from ..results import Keyring, SegmentError, Store, StoreError
from ..results import segment as segments
from ..results.segment import Key, Segment, date_of, join_key, split_key
from . import tables
from .database import IndexDatabase, insert_new
from .errors import ServiceError
from .identity import Identity
from .rows import LOST, MAX_COUNT, row_of, signers_of, spool_of

BATCH = 200  # objects in memory, and rows in a transaction


@dataclass
class Reindexed:
    """What `reindex` has found: new rows by tenant, and objects that cannot be indexed, with the reason."""

    added: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


@dataclass
class Scrubbed:
    """Differences between index and store: keys without an object, without a row, and objects with other bytes."""

    segments: int = 0
    without_object: list[str] = field(default_factory=list)
    without_row: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.without_object or self.without_row or self.damaged)


class Reindexer:
    """Works on the stores under `objects`, a folder or URL with a folder per tenant.

    `authorities` vouch for signing keys that the database does not have. `clock` returns the seconds since 1970.
    """

    def __init__(self, database: IndexDatabase, objects: str, authorities: tuple[x509.Certificate, ...] = (),
                 clock: Callable[[], float] = time.time):
        self._database = database
        self._objects = objects.rstrip("/")
        self._authorities = authorities
        self._clock = clock

    def recover(self, store: Store, device: Identity, spool: str, first: int, end: int) -> int:
        """Index the objects of a spool with sequence numbers from `first` up to `end`, without it; their number."""
        keys = [key for key in map(split_key, store.keys(device.name))
                if key.spool == spool and first <= key.sequence < end]
        return self._index(store, keys, [])

    def reindex(self, tenants: Iterable[str]) -> Reindexed:
        """Index all objects of the tenants that have no row."""
        result = Reindexed()
        for tenant in tenants:
            store = self._open(tenant)
            known = self._known(tenant)
            missing = (key for key in map(split_key, store.keys()) if key.tenant == tenant and _short(key) not in known)
            result.added[tenant] = 0
            for batch in _batches(sorted(missing, key=lambda key: (key.device, key.spool, key.sequence))):
                result.added[tenant] += self._index(store, batch, result.refused)
        return result

    def scrub(self, tenants: Iterable[str], *, content: bool = False) -> Scrubbed:
        """Compare rows with objects; with `content` also read each object and check its digest."""
        result = Scrubbed()
        for tenant in tenants:
            store = self._open(tenant)
            objects = {_short(key): key for key in map(split_key, store.keys()) if key.tenant == tenant}
            known = self._known(tenant)
            result.segments += len(known)
            result.without_object += [join_key(known[name]) for name in sorted(set(known) - set(objects))]
            result.without_row += [join_key(objects[name]) for name in sorted(set(objects) - set(known))]
            for name in sorted(set(objects) & set(known)) if content else ():
                try:
                    if segments.sha256(store.get(join_key(objects[name]))) != objects[name].digest:
                        result.damaged.append(join_key(objects[name]))
                except StoreError:
                    result.without_object.append(join_key(objects[name]))
        return result

    def _open(self, tenant: str) -> Store:
        store = Store(f"{self._objects}/{tenant}")
        with self._database.query() as connection:
            expected = connection.scalar(select(tables.stores.c.identity).filter_by(tenant=tenant, place=store.place))
        try:
            store.identify(expected)
        except StoreError as error:
            raise ServiceError(f"the store of tenant {tenant} cannot be read: {error}") from error
        return store

    def _known(self, tenant: str) -> dict[tuple[str, str, int, str], Key]:
        columns = tables.segments.c
        with self._database.query() as connection:
            rows = connection.execution_options(yield_per=1000).execute(
                select(columns.device, columns.first_time, columns.spool, columns.sequence, columns.digest)
                .where(columns.tenant == tenant))
            keys = (Key(tenant, row.device, date_of(round(row.first_time * 1000)), row.spool, row.sequence, row.digest)
                    for row in rows)
            return {_short(key): key for key in keys}

    def _index(self, store: Store, keys: list[Key], refused: list[str]) -> int:
        """Check objects, and write their rows; the number of new rows."""
        found: list[Segment] = []
        for key in keys:
            try:
                found.append(self._checked(store, key))
            except (SegmentError, StoreError) as error:
                refused.append(str(error))
        if not found:
            return 0
        now = self._clock()
        added = 0
        with self._database.write() as connection:
            for segment in found:
                header = segment.header
                device = Identity("device", header.tenant, header.device)
                insert_new(connection, tables.devices, [
                    {"tenant": header.tenant, "device": header.device, "enrolled": now}])
                added += insert_new(connection, tables.segments, [row_of(spool_of(device, header), segment, now)])
            spools = {segment.header.spool: spool_of(Identity("device", segment.header.tenant, segment.header.device),
                                                     segment.header) for segment in found}
            for name, spool in spools.items():
                last = max((s for s in found if s.header.spool == name), key=lambda s: s.header.sequence)
                _update_spool(connection, spool, last, now)
        return added

    def _checked(self, store: Store, key: Key) -> Segment:
        segment = segments.parse(store.get(join_key(key)), join_key(key))
        device = Identity("device", key.tenant, key.device)
        with self._database.read() as connection:
            signers = signers_of(connection, device)
        segment.check_signature(Keyring(signers=signers, authorities=self._authorities))
        return segment


def _update_spool(connection: Connection, spool: dict[str, str], last: Segment, now: float) -> None:
    """Set a spool's position, totals and gaps to what its rows say; `last` is the last one of the new segments."""
    columns = tables.segments.c
    rows = connection.execute(
        select(columns.sequence, columns.digest, columns.records, columns.bytes).filter_by(**spool)
        .order_by(columns.sequence)).all()
    newest = rows[-1]
    values = {"expected": newest.sequence + 1, "last_digest": newest.digest, "segments": len(rows),
              "records": sum(row.records for row in rows), "bytes": sum(row.bytes for row in rows)}
    lost = min(sum(last.header.counters.get(name, 0) for name in LOST), MAX_COUNT)
    if not insert_new(connection, tables.spools, [
            spool | values | {"last_received": now, "lost_records": lost}]):
        known = connection.execute(select(tables.spools.c.expected).filter_by(**spool)).scalar_one()
        if known > values["expected"]:  # the newest segment has been deleted by the retention
            del values["expected"], values["last_digest"]
        elif last.digest == newest.digest:
            values["lost_records"] = lost
        connection.execute(update(tables.spools).filter_by(**spool).values(values))
    present = {row.sequence for row in rows}
    gaps = tables.gaps
    for first, end in connection.execute(select(gaps.c.first, gaps.c.last).filter_by(**spool)).all():
        if all(number in present for number in range(first, end + 1)):
            connection.execute(delete(gaps).filter_by(**spool, first=first))
    known_gaps = set(connection.scalars(select(gaps.c.first).filter_by(**spool)))
    for before, after in itertools.pairwise(row.sequence for row in rows):
        if after > before + 1 and before + 1 not in known_gaps:
            connection.execute(gaps.insert().values(**spool, first=before + 1, last=after - 1, received=now))


def _short(key: Key) -> tuple[str, str, int, str]:
    """What identifies a segment of a tenant: the date in its key follows from its content."""
    return key.device, key.spool, key.sequence, key.digest


def _batches(keys: Iterable[Key]) -> Iterator[list[Key]]:
    iterator = iter(keys)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield batch
