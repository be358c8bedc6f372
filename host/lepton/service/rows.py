"""The rows of a segment and its spool: written by `ingest`, and by `reindex` from the objects."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, select, update

from ..results.segment import Header, Segment
from . import tables
from .database import insert_new
from .identity import Identity
from .text import printable

LOST = ("rejected", "dropped")  # a spool's counters of records that never were in a segment
MAX_COUNT = 2**63 - 1  # of a column of type BIGINT
MAX_TIME = 253402300799.0  # 9999-12-31 23:59:59 UTC, the end of `datetime`; a device's clock may be later


@dataclass(frozen=True)
class Standing:
    """The state of a spool, and of one sequence number in it. `expected` is None before the spool's first segment."""

    expected: int | None = None
    last_digest: str | None = None
    stored: str | None = None  # digest of the stored segment with this number
    missing: bool = False  # the number is in a gap


def signers_of(connection: Connection, device: Identity) -> frozenset[str]:
    """The public keys (hex) with which the device has enrolled, except revoked ones."""
    keys = tables.signing_keys.c
    codes = tables.codes.c
    return frozenset(connection.scalars(
        select(keys.key).join_from(tables.signing_keys, tables.codes)
        .where(keys.tenant == device.tenant, keys.device == device.name, codes.revoked.is_(None))))


def standing_of(connection: Connection, spool: dict[str, str], sequence: int) -> Standing:
    """The state of a spool and of one of its numbers."""
    gaps = tables.gaps.c
    position = connection.execute(
        select(tables.spools.c.expected, tables.spools.c.last_digest).filter_by(**spool)).one_or_none()
    if position is None:
        return Standing()
    if sequence >= position.expected:  # nothing of this number can be stored, or in a gap
        return Standing(*position)
    stored = connection.scalar(select(tables.segments.c.digest).filter_by(**spool, sequence=sequence))
    gap = connection.scalar(select(gaps.first).filter_by(**spool).where(gaps.first <= sequence, gaps.last >= sequence))
    return Standing(*position, stored, gap is not None)


@dataclass(frozen=True)
class Sender:
    """A device as one statement finds it: by its certificate, with its signers and the position of a spool."""

    certificate: Row[*tuple[Any, ...]] | None  # see `enrolment.check_certificate`
    signers: frozenset[str]
    position: Standing


def _sender_statement() -> Select[*tuple[Any, ...]]:
    """Certificate, code, position of a spool, and one row for each key of the device that is not revoked."""
    certificates = tables.certificates.c
    spools = tables.spools.c
    keys = tables.signing_keys.c
    codes = tables.codes
    key_codes = codes.alias("key_codes")
    valid_keys = (select(keys.tenant, keys.device, keys.key).join_from(tables.signing_keys, key_codes)
                  .where(key_codes.c.revoked.is_(None)).subquery("valid_keys"))
    return (select(codes.c.digest, codes.c.role, codes.c.tenant, codes.c.name, codes.c.revoked, certificates.expires,
                   spools.expected, spools.last_digest, valid_keys.c.key)
            .select_from(tables.certificates.join(codes)
                         .outerjoin(tables.spools, (spools.tenant == codes.c.tenant) & (spools.device == codes.c.name)
                                    & (spools.spool == bindparam("spool")))
                         .outerjoin(valid_keys, (valid_keys.c.tenant == codes.c.tenant)
                                    & (valid_keys.c.device == codes.c.name)))
            .where(certificates.fingerprint == bindparam("fingerprint")))


_SENDER = _sender_statement()


def sender_of(connection: Connection, fingerprint: str, spool: str) -> Sender:
    """What an upload needs, in one round trip."""
    rows = connection.execute(_SENDER, {"fingerprint": fingerprint, "spool": spool}).all()
    if not rows:
        return Sender(None, frozenset(), Standing())
    first = rows[0]
    position = Standing() if first.expected is None else Standing(first.expected, first.last_digest)
    return Sender(first, frozenset(row.key for row in rows if row.key is not None), position)


def spool_of(device: Identity, header: Header) -> dict[str, str]:
    """The key of a spool's row."""
    return {"tenant": device.tenant, "device": device.name, "spool": header.spool}


def row_of(spool: dict[str, str], segment: Segment, now: float) -> dict[str, object]:
    """A row of the table `segments`."""
    header = segment.header
    return spool | {
        "sequence": header.sequence, "digest": segment.digest, "bytes": len(segment.data), "run": header.run,
        "first": header.first, "last": header.last, "records": header.records, "received": now,
        "first_time": min(header.from_ms / 1000, MAX_TIME), "last_time": min(header.to_ms / 1000, MAX_TIME),
        **{name: printable(header.origin.get(name, ""), 256) for name in tables.ORIGIN}}


def more(segment: Segment) -> dict[str, ColumnElement[int]]:
    """The totals of a spool with one more segment."""
    spools = tables.spools.c
    return {"segments": spools.segments + 1, "records": spools.records + segment.header.records,
            "bytes": spools.bytes + len(segment.data)}


def advance(connection: Connection, spool: dict[str, str], expected: int | None, segment: Segment, now: float) -> bool:
    """Compare-and-swap: update the spool's row if it still expects `expected`."""
    header = segment.header
    new = {"expected": header.sequence + 1, "last_digest": segment.digest, "last_received": now,
           "lost_records": min(sum(header.counters.get(name, 0) for name in LOST), MAX_COUNT)}
    if expected is None:
        return insert_new(connection, tables.spools, [
            spool | new | {"segments": 1, "records": header.records, "bytes": len(segment.data)}]) == 1
    return connection.execute(
        update(tables.spools).filter_by(**spool, expected=expected).values(new | more(segment))).rowcount == 1
