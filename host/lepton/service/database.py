"""The database: an SQLite file by default, PostgreSQL by URL.

SQLite runs with a write-ahead log and `synchronous=FULL`, so commits are durable and readers do not delay them. SQLite
before 3.51.3, as many Python versions have it, can corrupt a log if two connections write or checkpoint at the same
time (sqlite.org/wal.html, the WAL-reset bug). So everything that writes, checkpoints or closes holds a lock, of the
threads of this process and, with a lock file, of other processes (docs/decisions/12-ingest.md).
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from select import select as select_ready
from typing import Any

import psycopg
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, Table, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.pool import QueuePool

from .errors import ServiceError
from .migrations import MigrationError, check_version, migrate

_LOCK = 0x4C455054  # "LEPT": PostgreSQL's advisory lock with which one process at a time makes the tables
_BUSY_SECONDS = 10  # that a transaction of SQLite waits for the lock; each holds it for one or two syncs of the disk
_POOL = 8  # connections: more threads than that wait for the disk in any case
_READERS = 2  # connections for queries of readers


class IndexDatabase:
    """Transactions on the database at `where`: a file name, or a URL like postgresql://user@host/name.

    `read` and `write` are for uploads and rights, `query` is for readers, which have a few connections of their own.
    With `make` the tables are made, or brought to this program's version. Without it the database must exist and have
    this version already: a command must not change the tables of a service that runs. Raises `ServiceError`.
    """

    def __init__(self, where: str | Path, *, make: bool = True):
        try:
            if "://" in str(where):
                self._writer: WriterLock | None = None
                self._engine = _postgresql(str(where), _POOL)
                self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
                self._reader = _postgresql(str(where), _READERS)
            else:
                path = Path(where)
                if not make and not path.is_file():
                    raise ServiceError(f"there is no database {path}; `lepton cloud serve` makes it; name the "
                                       "service's folder with --home, or its database with --database")
                path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = WriterLock(path)
                self._engine = _sqlite(path, _POOL)
                self._single = self._engine.execution_options(lepton_begin="")
                self._reader = _sqlite(path, _READERS)
            if make:
                with self.write() as connection:
                    if connection.dialect.name == "postgresql":
                        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
                    migrate(connection)
            else:
                with self.read() as connection:
                    check_version(connection)
        except (DBAPIError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise ServiceError(f"cannot open the database {_shown(where)}: {cause}") from error
        except MigrationError as error:
            raise ServiceError(f"the database {_shown(where)} {error}") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads and sees one state of the database."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """For single statements that need no transaction: each is one round trip to PostgreSQL, and durable when it
        returns if it writes. SQLite's writes need `write`."""
        with self._single.connect() as connection:
            yield connection

    @contextmanager
    def query(self) -> Iterator[Connection]:
        """`read` for the queries of readers, which must not take the connections of uploads."""
        with self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction; if the block ends without an error, its changes are durable."""
        with self._writer or nullcontext(), self._engine.connect() as connection:
            connection = connection.execution_options(lepton_begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    @property
    def is_file(self) -> bool:
        """Whether it is an SQLite file."""
        return self._writer is not None

    def backup(self, target: Path) -> None:
        """Copy an SQLite database in one state, while the service runs. Raises `ServiceError` for PostgreSQL."""
        if self._writer is None:
            raise ServiceError("a PostgreSQL database is backed up with pg_dump, see docs/cloud-service.md")
        with self._reader.connect() as connection, contextlib.closing(sqlite3.connect(target)) as copy:
            driver = connection.connection.driver_connection
            if isinstance(driver, sqlite3.Connection):
                driver.backup(copy)

    def close(self) -> None:
        with self._writer or nullcontext():  # the last connection of a log checkpoints it
            self._reader.dispose()
            self._engine.dispose()


class WriterLock:
    """Held by the one thread of one process that may write to an SQLite file."""

    def __init__(self, path: Path):
        self._thread = threading.Lock()
        self._process = FileLock(f"{path}.lock", timeout=_BUSY_SECONDS, thread_local=False)
        self._path = path

    def __enter__(self) -> None:
        if not self._thread.acquire(timeout=_BUSY_SECONDS):
            raise OSError(f"{self._path} has been locked for more than {_BUSY_SECONDS} s")
        try:
            self._process.acquire()
        except Timeout as error:
            self._thread.release()
            raise OSError(f"another process has locked {self._path} for more than {_BUSY_SECONDS} s") from error
        except BaseException:
            self._thread.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._process.release()
        self._thread.release()


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


def _sqlite(path: Path, size: int) -> Engine:
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=size, max_overflow=0,
                           connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # otherwise sqlite3 would begin transactions by itself
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if begin := connection.get_execution_options().get("lepton_begin", "BEGIN"):
            connection.exec_driver_sql(begin)

    return engine


def _postgresql(url: str, size: int) -> Engine:
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ServiceError(f"a database must be a file or a postgresql:// URL, not {scheme}://")
    try:
        engine = create_engine(f"postgresql+psycopg://{rest}", pool_size=size, max_overflow=0)
    except (ArgumentError, ValueError) as error:
        raise ServiceError(f"the database URL cannot be read: {error}") from error

    @event.listens_for(engine, "checkout")
    def check(connection: psycopg.Connection, _record: object, _proxy: object) -> None:
        """Without a round trip, which SQLAlchemy's `pool_pre_ping` would need: the socket of an idle connection has
        something to read if the server has closed it. The pool then makes another one."""
        if connection.closed or select_ready([connection.fileno()], [], [], 0)[0]:
            raise DisconnectionError("the server has closed the connection")

    return engine
