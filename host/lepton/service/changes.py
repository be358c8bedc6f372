"""The log of everything that changes rights: codes, certificates, signing keys, revocations, limits, deletions.

Rows are only added, in the transaction of the change itself. Each has the SHA-256 of its content and of the digest of
the row before it, so an altered, removed or inserted row is found by `verify`. Rows that are removed at the end leave a
valid chain: compare it with a head that was noted elsewhere (`lepton cloud audit verify --head`).
"""

import getpass
import hashlib
import json
import os
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select

from . import tables
from .database import IndexDatabase

FIRST = "0" * 64  # `previous` of the first row
_LOCK = 0x4C455043  # "LEPC": PostgreSQL's advisory lock with which one transaction at a time adds rows

Action = Literal["invite", "enrol", "certificate", "signing_key", "revoke", "limits", "delete", "expire",
                 "accept_store", "root"]


@dataclass(frozen=True)
class ChangeHead:
    """Number of rows of the chain, and the digest of the last one."""

    count: int
    digest: str

    def __str__(self) -> str:
        return f"{self.count}:{self.digest}"


def operator() -> str:
    """Who runs the command: the user of the system, and the one who used sudo."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        user = f"uid {os.getuid()}"
    sudo = os.environ.get("SUDO_USER")
    return f"operator {user}" + (f" (sudo by {sudo})" if sudo else "")


def add(connection: Connection, time: float, actor: str, action: Action, **subject: str | float | None) -> None:
    """Add a row within the transaction that makes the change. `actor` is who made it."""
    changes = tables.changes
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    last = connection.execute(
        select(changes.c.id, changes.c.digest).order_by(changes.c.id.desc()).limit(1)).one_or_none()
    row = {"id": last.id + 1 if last else 1, "time": round(time, 3), "actor": actor[:256], "action": action,
           "subject": json.dumps(subject, sort_keys=True), "previous": last.digest if last else FIRST}
    connection.execute(changes.insert().values(row | {"digest": _digest(row)}))


def verify(database: IndexDatabase) -> tuple[ChangeHead, list[str]]:
    """The head of the chain, and a description of each place where it is broken."""
    changes = tables.changes
    errors = []
    expected = 1
    previous = FIRST
    with database.query() as connection:
        for found in connection.execution_options(yield_per=1000).execute(
                select(changes).order_by(changes.c.id)).mappings():
            row = dict(found)
            digest = row.pop("digest")
            if row["id"] != expected:
                errors.append(f"rows {expected} to {row['id'] - 1} are missing")
            elif row["previous"] != previous:
                errors.append(f"row {row['id']} does not follow the row before it")
            if _digest(row) != digest:
                errors.append(f"row {row['id']} has been altered")
            expected = row["id"] + 1
            previous = digest
    return ChangeHead(expected - 1, previous), errors


def includes(database: IndexDatabase, head: ChangeHead) -> bool:
    """Whether the chain still has the row that was its last one when `head` was noted."""
    if head.count == 0:
        return True
    with database.query() as connection:
        return connection.scalar(select(tables.changes.c.digest).filter_by(id=head.count)) == head.digest


def listed(database: IndexDatabase, limit: int) -> list[dict[str, object]]:
    """The newest rows, the newest first."""
    changes = tables.changes
    with database.query() as connection:
        return [dict(row) for row in connection.execute(
            select(changes).order_by(changes.c.id.desc()).limit(limit)).mappings()]


def _digest(row: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
