"""The database: an SQLite file by default, PostgreSQL by URL.

SQLite runs with a rollback journal and `synchronous=FULL`, which makes a commit durable in one
file. It does not use WAL: the SQLite that many Pythons are linked with (before 3.51.3) can corrupt a WAL into which two
processes write, and here the service and the operator's commands do. Transactions that write begin with
`BEGIN IMMEDIATE`, so that none fails half-way because another one was quicker.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Table, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from . import tables
from .errors import ServiceError

_LOCK = 0x4C455054  # of PostgreSQL's advisory locks: one process at a time makes the tables
_BUSY_SECONDS = 10
_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


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
                               f"knows {tables.SCHEMA_VERSION}; use the version of Lepton that made it")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one state."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction; when the block has ended without an error, what it wrote is durable."""
        with self._engine.connect() as connection:
            connection = connection.execution_options(lepton_begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    def close(self) -> None:
        self._engine.dispose()


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping]) -> int:
    """Insert the rows whose key is not there yet; how many that were."""
    if not rows:
        return 0
    statement = (_INSERT[connection.dialect.name](table).values(list(rows)).on_conflict_do_nothing()
                 .returning(next(iter(table.primary_key))))
    return len(connection.execute(statement).all())


def _shown(where: str | Path) -> str:
    """For people: without a password."""
    return make_url(where).render_as_string() if "://" in str(where) else str(where)


def _sqlite(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=8, max_overflow=0,
                           connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def configure(connection, _record):
        connection.isolation_level = None  # sqlite3 must not begin transactions by itself
        for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql(connection.get_execution_options().get("lepton_begin", "BEGIN"))

    return engine


def _postgresql(url: str):
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ServiceError(f"a database must be a file or a postgresql:// URL, not {scheme}://")
    try:
        return create_engine(f"postgresql+psycopg://{rest}", pool_size=8, max_overflow=0, pool_pre_ping=True)
    except (ArgumentError, ValueError) as error:
        raise ServiceError(f"the database URL cannot be read: {error}") from error
