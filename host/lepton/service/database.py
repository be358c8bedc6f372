"""The database: an SQLite file by default, PostgreSQL by URL.

SQLite runs with a rollback journal and `synchronous=FULL`, so that commits are durable. It does not use a write-ahead
log: SQLite before 3.51.3, as many Python versions have it, can corrupt a log that two processes write
(docs/decisions/12-ingest.md), and here the service and the operator's commands do. Transactions that write begin with
`BEGIN IMMEDIATE`: SQLite would otherwise refuse the first write if another process wrote after the transaction's first
read (SQLITE_BUSY_SNAPSHOT, sqlite.org/rescode.html).
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from . import tables
from .errors import ServiceError

_LOCK = 0x4C455054  # "LEPT": PostgreSQL's advisory lock with which one process at a time makes the tables
_BUSY_SECONDS = 10  # that a transaction of SQLite waits for the lock; each holds it for one or two syncs of the disk
_POOL = 8  # connections: more threads than that wait for the disk in any case


class IndexDatabase:
    """Transactions on the database at `where`: a file name, or a URL like postgresql://user@host/name."""

    def __init__(self, where: str | Path):
        try:
            self._engine = _sqlite(Path(where)) if "://" not in str(where) else _postgresql(str(where))
            with self.write() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
                tables.metadata.create_all(connection)
                insert_new(connection, tables.schema, [{"version": tables.SCHEMA_VERSION}])
                versions = connection.scalars(select(tables.schema.c.version)).all()
        except (DBAPIError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise ServiceError(f"cannot open the database {_shown(where)}: {cause}") from error
        if versions != [tables.SCHEMA_VERSION]:
            raise ServiceError(f"the database {_shown(where)} has tables of version {max(versions)}, this program "
                               f"knows version {tables.SCHEMA_VERSION}; use the version of Lepton that made it")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads and sees one state of the database."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction; if the block ends without an error, its changes are durable."""
        with self._engine.connect() as connection:
            connection = connection.execution_options(lepton_begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    def close(self) -> None:
        self._engine.dispose()


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows that have no row with the same key; their number."""
    if not rows:
        return 0
    values = [dict(row) for row in rows]
    key = next(iter(table.primary_key))
    statement = (postgresql.insert(table).values(values).on_conflict_do_nothing().returning(key)
                 if connection.dialect.name == "postgresql" else
                 sqlite.insert(table).values(values).on_conflict_do_nothing().returning(key))
    return len(connection.execute(statement).all())


def _shown(where: str | Path) -> str:
    """The name or URL for messages, without a password."""
    text = str(where)
    return make_url(text).render_as_string() if "://" in text else text


def _sqlite(path: Path) -> Engine:
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=_POOL, max_overflow=0,
                           connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # otherwise sqlite3 would begin transactions by itself
        for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("lepton_begin", "BEGIN"))

    return engine


def _postgresql(url: str) -> Engine:
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ServiceError(f"a database must be a file or a postgresql:// URL, not {scheme}://")
    try:
        return create_engine(f"postgresql+psycopg://{rest}", pool_size=_POOL, max_overflow=0, pool_pre_ping=True)
    except (ArgumentError, ValueError) as error:
        raise ServiceError(f"the database URL cannot be read: {error}") from error
