"""Takes segments: checks them, stores each once, and indexes them in the order of their spool.

The object is stored first, then its row, both durably. A crash in between leaves an object without a row; the device
has had no answer, sends the same bytes again, and the row is added. The row is written by a compare-and-swap on the
spool's position. Of two simultaneous requests, in one process or in several, one advances the position, and the other
one starts again.
"""

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeVar, cast

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from ..results import Keyring, SegmentError, Store
from ..results import head as heads
from ..results import segment as segments
from ..results.segment import Header, Segment
from . import tables
from .database import IndexDatabase, insert_new
from .identity import Identity
from .quotas import Quotas
from .refusal import RequestRefused
from .text import printable

LOST = ("rejected", "dropped")  # a spool's counters of records that never were in a segment
IDENTIFY_SECONDS = 10.0  # between checks of an S3 store's identity; that of a folder is checked with every object
MAX_COUNT = 2**63 - 1  # of a column of type BIGINT
MAX_TIME = 253402300799.0  # 9999-12-31 23:59:59 UTC, the end of `datetime`; a device's clock may be later


@dataclass(frozen=True)
class Accepted:
    """A durable segment; `new` is False if it was stored before. `expected` is the spool's next sequence number."""

    new: bool
    sequence: int
    digest: str
    expected: int


PoolName = Literal["index", "put"]
T = TypeVar("T")


class Step(NamedTuple):
    """A part of the work for a segment: a call that waits for the database (`index`) or for the store (`put`)."""

    pool: PoolName
    call: Callable[[], object]


@dataclass(frozen=True)
class _Standing:
    """The state of a spool, and of one sequence number in it. `expected` is None before the spool's first segment."""

    expected: int | None = None
    last_digest: str | None = None
    stored: str | None = None  # digest of the stored segment with this number
    missing: bool = False  # the number is in a gap


class Ingest:
    """Stores segments as objects under `objects`, a folder or URL with a folder per tenant, and rows in `database`."""

    def __init__(self, database: IndexDatabase, objects: str, clock: Callable[[], float] = time.time):
        self._database = database
        self._objects = objects.rstrip("/")
        self._clock = clock
        self._stores: dict[str, Store] = {}
        self._identified: dict[str, float] = {}  # time of the last check of a tenant's store's identity
        self._lock = threading.Lock()
        self._quotas = Quotas(database)

    def accept(self, device: Identity, key: str, body: bytes, lost_from: int | None = None) -> Accepted:
        """Make `body` durable under `key`. Raises `RequestRefused`, or the errors of store and database.

        `lost_from`: the device has lost the segments from this number up to the one that it sends.
        """
        steps = self.steps(device, key, body, lost_from)
        try:
            step = next(steps)
            while True:
                step = steps.send(step.call())
        except StopIteration as end:
            return end.value

    def steps(self, device: Identity, key: str, body: bytes, lost_from: int | None = None
              ) -> Generator[Step, object, Accepted]:
        """`accept` in steps, each to be called in a thread of its own pool; `send` takes the result of a step.

        Raises the errors of `accept`; those of a step may be raised where it is called.
        """
        segment, standing = yield from _step("index", lambda: self._examine(device, key, body))
        header = segment.header
        digest = segment.digest
        while True:
            following = max(header.sequence + 1, standing.expected or 0)
            if standing.stored == digest:
                return Accepted(False, header.sequence, digest, following)
            _check_order(standing, segment, lost_from)
            yield from _step("put", lambda: self._put(device.tenant, key, body))
            if (yield from _step("index", partial(self._index, device, standing, segment))):
                return Accepted(True, header.sequence, digest, following)
            standing = yield from _step("index", lambda: self._look(device, header))

    def _examine(self, device: Identity, key: str, body: bytes) -> tuple[Segment, _Standing]:
        """The segment of a body, which its device has signed, and the state of its spool. Raises `RequestRefused`."""
        try:
            segment = segments.parse(body, key)
            signers, standing = self._signers_and_standing(device, segment.header)
            segment.check_signature(Keyring(signers=signers))
        except SegmentError as error:
            raise RequestRefused(422, "segment", str(error)) from error
        header = segment.header
        if (header.tenant, header.device) != (device.tenant, device.name):
            raise RequestRefused(403, "not_yours", f"the segment is that of device {header.device} of tenant "
                                 f"{header.tenant}")
        if standing.stored is None:
            self._quotas.check(device.tenant, len(body))
        return segment, standing

    def accept_head(self, device: Identity, key: str, body: bytes) -> None:
        """Make the signed head of a spool durable. Raises `RequestRefused`, or the errors of the store."""
        try:
            heads.parse(body, key).check(Keyring(signers=self._signers(device)))
        except SegmentError as error:
            raise RequestRefused(422, "segment", str(error)) from error
        store = self._store(device.tenant)
        self._identify_if_due(device.tenant, store)
        store.put_head(key, body)

    def heads(self, tenant: str) -> list[str]:
        """Keys of the signed heads of a tenant's spools, in order."""
        return self._store(tenant).heads()

    def read(self, tenant: str, key: str) -> bytes:
        """The bytes of a stored segment or head."""
        return self._store(tenant).get(key)

    def _signers(self, device: Identity) -> frozenset[str]:
        with self._database.read() as connection:
            return _signers_of(connection, device)

    def _signers_and_standing(self, device: Identity, header: Header) -> tuple[frozenset[str], _Standing]:
        with self._database.read() as connection:
            return _signers_of(connection, device), _standing(connection, _spool(device, header), header.sequence)

    def _look(self, device: Identity, header: Header) -> _Standing:
        with self._database.read() as connection:
            return _standing(connection, _spool(device, header), header.sequence)

    def _index(self, device: Identity, standing: _Standing, segment: Segment) -> bool:
        """Write the segment's row and advance the spool's position; False if another request has advanced it."""
        header = segment.header
        now = self._clock()
        spool = _spool(device, header)
        with self._database.write() as connection:
            if standing.expected is not None and header.sequence < standing.expected:  # a segment of a gap
                if insert_new(connection, tables.segments, [_row(spool, segment, now)]) != 1:
                    return False
                connection.execute(update(tables.spools).filter_by(**spool).values(_more(segment)))
                return True
            if not _advance(connection, spool, standing.expected, segment, now):
                return False
            connection.execute(tables.segments.insert().values(_row(spool, segment, now)))
            if header.sequence > (first := standing.expected or 0):
                connection.execute(tables.gaps.insert().values(
                    **spool, first=first, last=header.sequence - 1, received=now))
            return True

    def _put(self, tenant: str, key: str, body: bytes) -> None:
        """Store an object. Raises `Unavailable` if another store is at the place of the tenant's store."""
        store = self._store(tenant)
        self._identify_if_due(tenant, store)
        try:
            store.put_new(key, body)
        except Exception:
            with self._lock:
                self._identified.pop(tenant, None)
            raise

    def _identify_if_due(self, tenant: str, store: Store) -> None:
        with self._lock:
            due = self._identified.get(tenant, -IDENTIFY_SECONDS) + IDENTIFY_SECONDS <= time.monotonic()
        if due:
            self._identify(tenant, store)

    def accept_store(self, place: str) -> int:
        """Accept any store at `place`, or below it, from the next check on; the number of stores known there."""
        stores = tables.stores
        with self._database.write() as connection:
            return connection.execute(delete(stores).where(
                or_(stores.c.place == place, stores.c.place.startswith(f"{place}/", autoescape=True)))).rowcount

    def _identify(self, tenant: str, store: Store) -> None:
        row = {"tenant": tenant, "place": store.place}
        stores = tables.stores
        known = select(stores.c.identity).filter_by(**row)
        with self._database.read() as connection:
            expected = connection.scalar(known)
        found = store.identify(expected)
        if expected is None:
            with self._database.write() as connection:
                insert_new(connection, stores, [row | {"identity": found}])
        with self._lock:
            self._identified[tenant] = time.monotonic()

    def _store(self, tenant: str) -> Store:
        with self._lock:
            if tenant not in self._stores:
                self._stores[tenant] = Store(f"{self._objects}/{tenant}")
            return self._stores[tenant]


def _step(pool: PoolName, call: Callable[[], T]) -> Generator[Step, object, T]:
    """One step, and its result."""
    result = yield Step(pool, call)
    return cast(T, result)  # `send` gives what `call` has returned


def _signers_of(connection: Connection, device: Identity) -> frozenset[str]:
    """The public keys (hex) with which the device has enrolled, except revoked ones."""
    keys = tables.signing_keys.c
    codes = tables.codes.c
    return frozenset(connection.scalars(
        select(keys.key).join_from(tables.signing_keys, tables.codes)
        .where(keys.tenant == device.tenant, keys.device == device.name, codes.revoked.is_(None))))


def _standing(connection: Connection, spool: dict[str, str], sequence: int) -> _Standing:
    gaps = tables.gaps.c
    position = connection.execute(
        select(tables.spools.c.expected, tables.spools.c.last_digest).filter_by(**spool)).one_or_none()
    if position is None:
        return _Standing()
    if sequence >= position.expected:  # nothing of this number can be stored, or in a gap
        return _Standing(*position)
    stored = connection.scalar(select(tables.segments.c.digest).filter_by(**spool, sequence=sequence))
    gap = connection.scalar(select(gaps.first).filter_by(**spool).where(gaps.first <= sequence, gaps.last >= sequence))
    return _Standing(*position, stored, gap is not None)


def _spool(device: Identity, header: Header) -> dict[str, str]:
    return {"tenant": device.tenant, "device": device.name, "spool": header.spool}


def _row(spool: dict, segment: Segment, now: float) -> dict:
    """A row of the table `segments`."""
    header = segment.header
    return spool | {
        "sequence": header.sequence, "digest": segment.digest, "bytes": len(segment.data), "run": header.run,
        "first": header.first, "last": header.last, "records": header.records, "received": now,
        "first_time": min(header.from_ms / 1000, MAX_TIME), "last_time": min(header.to_ms / 1000, MAX_TIME),
        **{name: printable(header.origin.get(name, ""), 256) for name in tables.ORIGIN}}


def _more(segment: Segment) -> dict[str, ColumnElement[int]]:
    """The totals of a spool with one more segment."""
    spools = tables.spools.c
    return {"segments": spools.segments + 1, "records": spools.records + segment.header.records,
            "bytes": spools.bytes + len(segment.data)}


def _advance(connection: Connection, spool: dict[str, str], expected: int | None, segment: Segment, now: float) -> bool:
    """Compare-and-swap: update the spool's row if it still expects `expected`."""
    header = segment.header
    new = {"expected": header.sequence + 1, "last_digest": segment.digest, "last_received": now,
           "lost_records": min(sum(header.counters.get(name, 0) for name in LOST), MAX_COUNT)}
    if expected is None:
        return insert_new(connection, tables.spools, [
            spool | new | {"segments": 1, "records": header.records, "bytes": len(segment.data)}]) == 1
    return connection.execute(
        update(tables.spools).filter_by(**spool, expected=expected).values(new | _more(segment))).rowcount == 1


def _check_order(standing: _Standing, segment: Segment, lost_from: int | None) -> None:
    """Raise `RequestRefused` unless the segment is the first, the next, the next after a loss, or one of a gap."""
    header = segment.header
    expected = standing.expected
    if expected is None or (standing.missing and standing.stored is None):
        return
    if standing.stored is not None:
        raise RequestRefused(409, "conflict", f"segment {header.sequence} is stored with the digest {standing.stored}, "
                             f"this one has {segment.digest}")
    if header.sequence == expected:
        if header.previous != standing.last_digest:
            raise RequestRefused(409, "conflict",
                                 f"segment {header.sequence} names {header.previous!r} as its predecessor, but the "
                                 f"last stored segment is {standing.last_digest}")
    elif not lost_from == expected < header.sequence:
        raise RequestRefused(409, "out_of_order", f"expected segment {expected}, not {header.sequence}",
                             expected=expected)
