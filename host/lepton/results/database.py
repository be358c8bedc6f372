"""The spool's SQLite file: what is committed is on disk, and the files never exceed their size limit.

apsw brings a current SQLite with encryption; SQLite before 3.51.3 can corrupt a write-ahead log (WAL) that two
connections share (docs/decisions/12-ingest.md). WAL mode with synchronous=FULL makes a commit durable
(sqlite.org/pragma.html#pragma_synchronous). No memory map: an I/O error in mapped memory is a signal, not an error code
(sqlite.org/mmap.html).

The size limit `max_bytes` is divided: 5/8 for the database, which `max_page_count` enforces; 1/8 for the WAL before it
is written back (checkpoint); 2/16 for the largest transaction that may follow, in which a segment replaces its records;
the remaining 1/8 for the WAL's index and slack.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from . import segment as segments
from .errors import NoRoom, SpoolDamaged, SpoolError
from .schema import APPLICATION_ID, PAGE, SCHEMA, SCHEMA_VERSION
from .spool_file import check_schema, configure, state_of, translated
from .state import Mark, SpoolState

MIN_MAX_BYTES = 1 << 20  # the largest record is 1/16 of it, 64 KiB
# Appending leaves this much of the disk free for transactions that make room: sealing and confirming segments, and
# writing the WAL back. So a disk that the spool itself has filled becomes free again.
RESERVE_BYTES = 1 << 20
ON_DISK = "on its disk"
SLACK_PAGES = 8  # pages of a transaction besides its rows: interior pages of the trees, rows that are updated in place
KEY_BYTES = 32  # of ChaCha20, the default cipher of SQLite3 Multiple Ciphers


class SpoolDatabase:
    """One connection that writes, shared by threads under `lock`, and a pool of connections that read (`snapshot`).

    `key` (32 bytes) encrypts the file and its WAL.
    """

    def __init__(self, path: str | Path, *, device: str | None, max_bytes: int, key: bytes | None = None):
        if max_bytes < MIN_MAX_BYTES:
            raise SpoolError(f"max_bytes must be at least {MIN_MAX_BYTES}, not {max_bytes}")
        if key is not None and len(key) != KEY_BYTES:
            raise SpoolError(f"the key of an encrypted spool must have {KEY_BYTES} bytes, not {len(key)}")
        self.device = ""  # read from the file, as is the identity
        self.spool_id = ""
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.cap_text = f"within its limit of {max_bytes} bytes"
        self.limit_pages = max_bytes * 5 // 8 // PAGE
        self.max_batch_bytes = max_bytes // 16
        self._wal_bytes = max_bytes // 8
        self.lock = threading.RLock()
        self._key = key
        self._readers: list[apsw.Connection] = []  # idle ones
        self._closed = False
        self._process = os.getpid()
        self._mark = Mark(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self.db = apsw.Connection(str(self.path))
        except (OSError, apsw.Error) as error:
            raise SpoolError(f"cannot open the spool {str(self.path)!r}: {error}") from error
        try:
            with self.translated():
                self._prepare(device)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if os.getpid() != self._process:
            return  # the connection is its parent's
        with self.lock:
            self._closed = True
            self._close_readers()
            self.db.close()
            self._mark.close()

    def rows(self, sql: str, *bindings: Any) -> list[tuple[Any, ...]]:
        """All rows. Columns have the schema's types: its tables are STRICT."""
        return self.db.execute(sql, bindings).fetchall()

    def iterate(self, sql: str, *bindings: Any) -> Iterator[tuple[Any, ...]]:
        """`rows` one after the other; the statement ends when the iterator is deleted, also before the last row."""
        return self.db.execute(sql, bindings)

    def value(self, sql: str, *bindings: Any, default: Any = None) -> Any:
        """The first column of the first row."""
        rows = self.rows(sql, *bindings)
        return rows[0][0] if rows else default

    def state(self) -> SpoolState:
        return state_of(self.db)

    def check_process(self) -> None:
        """Raise `SpoolError` in a forked process, which must not use its parent's connection.

        See sqlite.org/howtocorrupt.html, section 2.6.
        """
        if os.getpid() != self._process:
            raise SpoolError(f"the spool {str(self.path)!r} was opened by process {self._process} and cannot be used "
                             f"in the forked process {os.getpid()}; open it again there")

    @contextlib.contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        self.check_process()
        with self.lock, self.translated():
            yield self.db

    @contextlib.contextmanager
    def consistent(self) -> Iterator[None]:
        """`reading`, in which all statements see the same state of the file."""
        with self.reading() as db, db:
            yield

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """A connection that only reads: it neither waits for writers nor delays them. Each thread gets its own."""
        self.check_process()
        with self.translated():
            db = self._reader()
            try:
                yield db
            finally:
                self._readers.append(db)
                if self._closed:
                    self._close_readers()

    @contextlib.contextmanager
    def transaction(self, *, grows: int = 0, durable: bool = True) -> Iterator[SpoolState]:
        """One transaction on the state, durable at the end of the block. Raises `NoRoom` if it does not fit.

        `grows`: bytes that it appends; a transaction that appends leaves `RESERVE_BYTES` of the disk free. One that is
        not `durable` waits for no disk: it is kept with the next one that is, or lost as a whole.
        """
        self.check_process()
        with self.lock, self.translated(), self._synced(durable):
            try:
                self._write_back(grows)
                self.db.execute("BEGIN IMMEDIATE")
                state = self.state()
                yield state
                self.db.execute("UPDATE state SET body = ?, crc = ?", state.pack())
                self.db.execute("COMMIT")
            except BaseException as error:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                if isinstance(error, apsw.FullError):
                    capped = self.db.pragma("page_count") >= self.limit_pages
                    raise NoRoom(self.path, self.cap_text if capped else ON_DISK) from error
                if isinstance(error, apsw.IOError) and self._free_bytes() < PAGE * SLACK_PAGES:
                    raise NoRoom(self.path, ON_DISK) from error
                raise
            self._mark.write(state)

    @contextlib.contextmanager
    def _synced(self, durable: bool) -> Iterator[None]:
        """With `durable` as the file is opened; otherwise commits are not synced (sqlite.org/pragma.html)."""
        if durable:
            yield
            return
        usual = self.db.pragma("synchronous")
        self.db.pragma("synchronous", "NORMAL")
        try:
            yield
        finally:
            self.db.pragma("synchronous", usual)

    def pages_used(self) -> int:
        return int(self.db.pragma("page_count")) - int(self.db.pragma("freelist_count"))

    def file_bytes(self) -> int:
        """Size of the spool's files on disk."""
        return sum(self._size(suffix) for suffix in ("", "-wal", "-shm", "-mark"))

    def _size(self, suffix: str) -> int:
        try:
            return os.stat(f"{self.path}{suffix}").st_size
        except FileNotFoundError:
            return 0

    def _free_bytes(self) -> int:
        """Free bytes of the disk that the spool is on."""
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize

    def _write_back(self, grows: int) -> None:
        """Write the WAL back if it exceeds its share or the disk's reserve is at risk.

        A reader in another process may prevent that, so the sizes are checked again. Raises `NoRoom`.
        """
        if self._size("-wal") > self._wal_bytes or self._tight(grows):
            with contextlib.suppress(apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError):
                self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            if grows and self._size("-wal") > self._wal_bytes + self.max_batch_bytes:
                raise NoRoom(self.path, self.cap_text)
            if grows and self._tight(grows):
                raise NoRoom(self.path, ON_DISK)

    def _tight(self, grows: int) -> bool:
        """Whether the disk lacks room, besides the reserve, to log a transaction and to write the whole WAL back.

        Pages that are written back take the file's own free pages first.
        """
        free = self._free_bytes()
        needed = RESERVE_BYTES + self._size("-wal") + 2 * grows
        if free >= needed:
            return False
        return free < RESERVE_BYTES // 2 + grows or free + PAGE * self.db.pragma("freelist_count") < needed

    def _reader(self) -> apsw.Connection:
        with contextlib.suppress(IndexError):
            return self._readers.pop()
        if self._closed:
            raise apsw.ConnectionClosedError("The connection has been closed")
        db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        configure(db, self._key)
        return db

    def _close_readers(self) -> None:
        while self._readers:
            with contextlib.suppress(IndexError):  # another thread has taken it
                self._readers.pop().close()

    def _prepare(self, device: str | None) -> None:
        db = self.db
        configure(db, self._key)
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "FULL")
        db.pragma("secure_delete", "FAST")  # deleted records are overwritten only where that needs no further write
        # at 1000 pages, SQLite's default, or at half of the WAL's share, so that it seldom reaches the share
        db.pragma("wal_autocheckpoint", min(1000, self._wal_bytes // 2 // PAGE))
        db.pragma("journal_size_limit", self._wal_bytes)
        db.execute("BEGIN IMMEDIATE")
        try:
            if db.pragma("user_version") == 0 and not self.value("SELECT count(*) FROM sqlite_master"):
                self._create(device)
            else:
                check_schema(db, self.path)
            state = self.state()
            if self._mark.reconcile(state):
                db.execute("UPDATE state SET body = ?, crc = ?", state.pack())
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self.device = state.device
        self.spool_id = state.spool
        self._mark.write(state)
        if device not in (None, self.device):
            raise SpoolError(f"the spool {str(self.path)!r} belongs to device {self.device!r}, not {device!r}; "
                             "give each device a spool of its own")
        # The limit holds even if the estimate of a batch is wrong; sealing may need a few more pages.
        db.pragma("max_page_count", self.limit_pages + SLACK_PAGES)

    def _create(self, device: str | None) -> None:
        mark = self._mark.read()
        if mark is not None and mark["appended"] > mark["gone"]:
            raise SpoolDamaged(f"it is empty, but had {mark['appended'] - mark['gone']} records")
        name = segments.check_name(device or f"device-{secrets.token_hex(4)}")
        for statement in filter(str.strip, SCHEMA.split(";")):
            self.db.execute(statement)
        state = SpoolState(device=name, spool=secrets.token_hex(16))
        self.db.execute("INSERT INTO state VALUES (1, ?, ?)", state.pack())
        self.db.pragma("application_id", APPLICATION_ID)
        self.db.pragma("user_version", SCHEMA_VERSION)

    def translated(self) -> contextlib.AbstractContextManager[None]:
        """See `spool_file.translated`."""
        return translated(self.path, self._key is not None)
