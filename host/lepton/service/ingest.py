"""Takes segments: checks them, stores each once, and indexes them in the order of their spool.

The object is stored first, then its row, both durably. A crash in between leaves an object without a row; the device
has had no answer, sends the same bytes again, and the row is added. The row is written by a compare-and-swap on the
spool's position. Of two simultaneous requests, in one process or in several, one advances the position, and the other
one starts again.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeVar, cast

from sqlalchemy import Connection, delete, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from ..results import Keyring, SegmentError, Store
from ..results import head as heads
from ..results import segment as segments
from ..results.segment import Header, Segment
from . import changes, tables
from .commits import CommitEntry, Outcome, insert_in_order, singly
from .database import IndexDatabase, insert_new
from .enrolment import check_certificate
from .identity import Identity
from .quotas import Quotas
from .refusal import RequestRefused
from .reindex import Reindexer
from .rows import Standing, advance, more, row_of, sender_of, signers_of, spool_of, standing_of

IDENTIFY_SECONDS = 10.0  # between checks of an S3 store's identity; that of a folder is checked with every object
RECOVER_SECONDS = 60.0  # between two listings of the store for one spool
MOST_RECOVERED = 10_000  # spools for which the time of the last listing is kept


@dataclass(frozen=True)
class Accepted:
    """A durable segment; `new` is False if it was stored before. `expected` is the spool's next sequence number."""

    new: bool
    sequence: int
    digest: str
    expected: int


PoolName = Literal["index", "put", "commit"]
T = TypeVar("T")


class Step(NamedTuple):
    """A part of the work for a segment: a call that reads the database (`index`), waits for the store (`put`), or
    writes to the database (`commit`)."""

    pool: PoolName
    call: Callable[[], object]
    entry: CommitEntry | None = None  # for `commit`: what `call` indexes, which may be done together with others


class Ingest:
    """Stores segments as objects under `objects`, a folder or URL with a folder per tenant, and rows in `database`."""

    def __init__(self, database: IndexDatabase, objects: str, clock: Callable[[], float] = time.time):
        self._database = database
        self._objects = objects.rstrip("/")
        self._clock = clock
        self._stores: dict[str, Store] = {}
        self._identified: dict[str, float] = {}  # time of the last check of a tenant's store's identity
        self._recovered: dict[tuple[Identity, str], float] = {}  # when lost segments of a spool were looked for
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

    def steps(self, device: Identity, key: str, body: bytes, lost_from: int | None = None,
              certificate: bytes | None = None) -> Generator[Step, object, Accepted]:
        """`accept` in steps, each to be called in a thread of its own pool; `send` takes the result of a step.

        `certificate` (DER): that of the sender, to be checked together with the segment. Raises the errors of `accept`;
        those of a step may be raised where it is called.
        """
        segment, standing = yield from _step("index", lambda: self._examine(device, key, body, certificate))
        header = segment.header
        digest = segment.digest
        while True:
            following = max(header.sequence + 1, standing.expected or 0)
            if standing.stored == digest:
                return Accepted(False, header.sequence, digest, following)
            if lost_from == standing.expected and lost_from is not None and header.sequence > lost_from and (
                    yield from _step("put", partial(self._recover, device, header.spool, lost_from, header.sequence))):
                standing = yield from _step("index", lambda: self._look(device, header))
                lost_from = standing.expected  # what the store has is not lost; the device has the right to the rest
                continue
            _check_order(standing, segment, lost_from)
            yield from _step("put", lambda: self._put(device.tenant, key, body))
            entry = CommitEntry(device, standing, segment)
            if (yield Step("commit", partial(self._index, entry), entry)):
                return Accepted(True, header.sequence, digest, following)
            standing = yield from _step("index", lambda: self._look(device, header))

    def _examine(self, device: Identity, key: str, body: bytes, certificate: bytes | None
                 ) -> tuple[Segment, Standing]:
        """The segment of a body, which its device has signed, and the state of its spool. Raises `RequestRefused`."""
        try:
            segment = segments.parse(body, key)
            signers, standing = self._signers_and_standing(device, segment.header, certificate)
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

    def _recover(self, device: Identity, spool: str, first: int, end: int) -> int:
        """Index the segments that a device declares lost and the store has: then the database is an old backup.

        The store is listed for this, so it is done once within `RECOVER_SECONDS` for each spool.
        """
        now = time.monotonic()
        with self._lock:
            if self._recovered.get((device, spool), -RECOVER_SECONDS) + RECOVER_SECONDS > now:
                return 0
            self._recovered[device, spool] = now
            while len(self._recovered) > MOST_RECOVERED:
                del self._recovered[next(iter(self._recovered))]
        reindexer = Reindexer(self._database, self._objects, clock=self._clock)
        return reindexer.recover(self._store(device.tenant), device, spool, first, end)

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
            return signers_of(connection, device)

    def _signers_and_standing(self, device: Identity, header: Header, certificate: bytes | None
                              ) -> tuple[frozenset[str], Standing]:
        """Of a device in the state of the database now; with `certificate`, if that is valid now."""
        if certificate is None:
            with self._database.read() as connection:
                return (signers_of(connection, device),
                        standing_of(connection, spool_of(device, header), header.sequence))
        with self._database.statement() as connection:
            sender = sender_of(connection, hashlib.sha256(certificate).hexdigest(), header.spool)
        if check_certificate(sender.certificate, self._clock()).identity != device:
            raise RequestRefused(401, "certificate_unknown", "the certificate belongs to another device; connect again")
        if sender.position.expected is not None and header.sequence < sender.position.expected:
            return sender.signers, self._look(device, header)
        return sender.signers, sender.position

    def _look(self, device: Identity, header: Header) -> Standing:
        with self._database.read() as connection:
            return standing_of(connection, spool_of(device, header), header.sequence)

    def index_all(self, entries: Sequence[CommitEntry]) -> list[Outcome]:
        """Write the rows of segments of different spools, durably, with as few waits for the disk as possible."""
        if len(entries) == 1 and not (entries[0].in_order and not self._database.is_file):
            return singly(self._index, entries)
        try:
            if self._database.is_file:
                with self._database.write() as connection:
                    return [self._index_in(connection, entry) for entry in entries]
            plain = [entry for entry in entries if entry.in_order]
            done: dict[tuple[str, str, str], Outcome] = {}
            if plain:
                with self._database.statement() as connection:
                    moved = insert_in_order(connection, plain, self._clock())
                done = {entry.spool: outcome for entry, outcome in zip(plain, moved, strict=True)}
        except (SQLAlchemyError, OSError):
            return singly(self._index, entries)  # one of them must not take the others with it
        rest = [entry for entry in entries if entry.spool not in done]
        done |= {entry.spool: outcome for entry, outcome in zip(rest, singly(self._index, rest), strict=True)}
        return [done[entry.spool] for entry in entries]

    def _index(self, entry: CommitEntry) -> bool:
        with self._database.write() as connection:
            return self._index_in(connection, entry)

    def _index_in(self, connection: Connection, entry: CommitEntry) -> bool:
        """Write the segment's row and advance the spool's position; False if another request has advanced it."""
        segment = entry.segment
        header = segment.header
        standing = entry.standing
        now = self._clock()
        spool = spool_of(entry.device, header)
        if standing.expected is not None and header.sequence < standing.expected:  # a segment of a gap
            if insert_new(connection, tables.segments, [row_of(spool, segment, now)]) != 1:
                return False
            connection.execute(update(tables.spools).filter_by(**spool).values(more(segment)))
            return True
        if not advance(connection, spool, standing.expected, segment, now):
            return False
        connection.execute(tables.segments.insert().values(row_of(spool, segment, now)))
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
            count = connection.execute(delete(stores).where(
                or_(stores.c.place == place, stores.c.place.startswith(f"{place}/", autoescape=True)))).rowcount
            if count:
                changes.add(connection, self._clock(), changes.operator(), "accept_store", place=place, stores=count)
            return count

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


def _check_order(standing: Standing, segment: Segment, lost_from: int | None) -> None:
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
