"""The spool's SQLite file: opened so that what is committed is on disk, and never larger than its cap.

apsw brings a current SQLite (older ones can corrupt a WAL that two connections share) with encryption. WAL mode,
synchronous=FULL, no memory map. The cap is shared out: 5/8 for the database, which `max_page_count` enforces,
1/8 for the log before it is written back, 1/16 for the largest transaction beyond it (twice, as a segment
replaces records); the rest is the log's index and slack.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw

from . import segment as segments
from .errors import SegmentError, SpoolDamaged, SpoolError
from .schema import APPLICATION_ID, PAGE, SCHEMA, SCHEMA_VERSION, migrate
from .state import Mark, SpoolState

MIN_MAX_BYTES = 1 << 20
# Left free on the disk by what is appended: to make segments of records, to confirm them, and to write the log back,
# so that a disk that the spool itself has filled becomes empty again.
RESERVE_BYTES = 1 << 20
ON_DISK = "on its disk"
SLACK_PAGES = 8  # interior pages, and rows that are updated in place
KEY_BYTES = 32


class NoRoom(SpoolError):
    """The cap, or the disk, leaves no room; `where` says which."""

    def __init__(self, path: Path, where: str):
        super().__init__(f"the spool {str(path)!r} has no room {where}; free space, or let what waits leave")
        self.where = where


class SpoolDatabase:
    """One connection that writes, shared by threads under `lock`, and some that only read (`snapshot`).

    `key` (32 bytes) encrypts the file, log included.
    """

    def __init__(self, path: str | Path, *, device: str | None, max_bytes: int, key: bytes | None = None):
        if max_bytes < MIN_MAX_BYTES:
            raise SpoolError(f"max_bytes must be at least {MIN_MAX_BYTES}, not {max_bytes}")
        if key is not None and len(key) != KEY_BYTES:
            raise SpoolError(f"the key of an encrypted spool must have {KEY_BYTES} bytes, not {len(key)}")
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.cap_text = f"within its cap of {max_bytes} bytes"
        self.limit_pages = max_bytes * 5 // 8 // PAGE
        self.max_batch_bytes = max_bytes // 16
        self._wal_bytes = max_bytes // 8
        self.lock = threading.RLock()
        self._key = key
        self._readers: list[apsw.Connection] = []  # that nobody uses at the moment
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

    def value(self, sql: str, *bindings, default=None):
        """The first column of the first row."""
        rows = self.db.execute(sql, bindings).fetchall()
        return rows[0][0] if rows else default

    def state(self) -> SpoolState:
        for row in self.db.execute("SELECT body, crc FROM state").fetchall():
            return SpoolState.unpack(*row)
        raise SpoolDamaged("the row with its state is missing")

    def check_process(self) -> None:
        """Raise `SpoolError` in a fork: SQLite forbids it a connection that its parent has opened."""
        if os.getpid() != self._process:
            raise SpoolError(f"the spool {str(self.path)!r} was opened by process {self._process} and cannot be used "
                             f"in its fork {os.getpid()}; open it again there")

    @contextlib.contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        self.check_process()
        with self.lock, self.translated():
            yield self.db

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """A connection that only reads, and neither waits for writers nor holds them up; none for two threads."""
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
    def transaction(self, *, grows: int = 0) -> Iterator[SpoolState]:
        """One transaction on the state, durable when it is left; raises `NoRoom` where there is none.

        `grows`: bytes that it appends, beyond which the disk keeps a reserve for transactions that do not.
        """
        self.check_process()
        with self.lock, self.translated():
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

    def pages_used(self) -> int:
        return self.db.pragma("page_count") - self.db.pragma("freelist_count")

    def file_bytes(self) -> int:
        """Size of the spool's files on disk."""
        return sum(self._size(suffix) for suffix in ("", "-wal", "-shm", "-mark"))

    def _size(self, suffix: str) -> int:
        try:
            return os.stat(f"{self.path}{suffix}").st_size
        except FileNotFoundError:
            return 0

    def _free_bytes(self) -> int:
        """Of the disk that the spool is on."""
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize

    def _write_back(self, grows: int) -> None:
        """Keep the log within its share, and the disk's reserve; a reader of another process may hold the log."""
        if self._size("-wal") > self._wal_bytes or self._tight(grows):
            with contextlib.suppress(apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError):
                self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            if grows and self._size("-wal") > self._wal_bytes + self.max_batch_bytes:
                raise NoRoom(self.path, self.cap_text)
            if grows and self._tight(grows):
                raise NoRoom(self.path, ON_DISK)

    def _tight(self, grows: int) -> bool:
        """Whether the disk lacks room to log a transaction and to write the whole log back, beside the reserve.

        What is written back goes to the file's own free pages first.
        """
        free = self._free_bytes()
        needed = RESERVE_BYTES + self._size("-wal") + 2 * grows
        if free >= needed:
            return False
        return free < RESERVE_BYTES // 2 + grows or free + PAGE * self.db.pragma("freelist_count") < needed

    def _configure(self, db: apsw.Connection) -> None:
        """What a connection needs before it looks into the file."""
        db.set_busy_timeout(5000)
        if self._key is not None:
            db.pragma("key", f"raw:{self._key.hex()}")
        db.pragma("mmap_size", 0)

    def _reader(self) -> apsw.Connection:
        with contextlib.suppress(IndexError):
            return self._readers.pop()
        if self._closed:
            raise apsw.ConnectionClosedError("The connection has been closed")
        db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        self._configure(db)
        return db

    def _close_readers(self) -> None:
        while self._readers:
            with contextlib.suppress(IndexError):  # another thread took it
                self._readers.pop().close()

    def _prepare(self, device: str | None) -> None:
        db = self.db
        self._configure(db)
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "FULL")
        db.pragma("secure_delete", "FAST")  # nothing is written only to blot out what has left
        db.pragma("wal_autocheckpoint", min(1000, self._wal_bytes // 2 // PAGE))
        db.pragma("journal_size_limit", self._wal_bytes)
        db.execute("BEGIN IMMEDIATE")
        try:
            if db.pragma("user_version") == 0 and not self.value("SELECT count(*) FROM sqlite_master"):
                self._create(device)
            elif db.pragma("application_id") != APPLICATION_ID:
                raise SpoolError(f"{str(self.path)!r} is another program's database; give another path")
            elif db.pragma("user_version") < SCHEMA_VERSION:
                migrate(db)
            elif db.pragma("user_version") > SCHEMA_VERSION:
                raise SpoolError(f"the spool {str(self.path)!r} was written by a later version (schema "
                                 f"{db.pragma('user_version')}, this one knows {SCHEMA_VERSION}); update lepton")
            state = self.state()
            if self._mark.hold_against(state):
                db.execute("UPDATE state SET body = ?, crc = ?", state.pack())
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self.device, self.spool_id = state.device, state.spool
        self._mark.write(state)
        if device not in (None, self.device):
            raise SpoolError(f"the spool {str(self.path)!r} belongs to device {self.device!r}, not {device!r}; "
                             "give each device a spool of its own")
        # Beneath the cap even if the estimate of a batch should be wrong; sealing may need a few pages more.
        db.pragma("max_page_count", self.limit_pages + SLACK_PAGES)

    def _create(self, device: str | None) -> None:
        mark = self._mark.read()
        if mark is not None and mark["appended"] > mark["gone"]:
            raise SpoolDamaged(f"it is empty, though {mark['appended'] - mark['gone']} records were in it")
        name = segments.check_name(device or f"device-{secrets.token_hex(4)}")
        for statement in filter(str.strip, SCHEMA.split(";")):
            self.db.execute(statement)
        state = SpoolState(device=name, spool=secrets.token_hex(16))
        self.db.execute("INSERT INTO state VALUES (1, ?, ?)", state.pack())
        self.db.pragma("application_id", APPLICATION_ID)
        self.db.pragma("user_version", SCHEMA_VERSION)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """SQLite's errors as ours, with what to do about them."""
        where = f"the spool {str(self.path)!r}"
        remedy = f"save what can be read with: lepton cloud salvage --spool {self.path}"
        try:
            yield
        except SpoolDamaged as error:
            text = str(error)
            raise error if text.startswith(where) else SpoolDamaged(f"{where} is damaged: {text}; {remedy}") from error
        except apsw.NotADBError as error:
            reason = "another key, or damaged" if self._key is not None else "encrypted, or damaged"
            raise SpoolDamaged(f"{where} cannot be read ({reason}: {error}); give its key if it has one, else "
                               f"{remedy}") from error
        except apsw.CorruptError as error:
            raise SpoolDamaged(f"{where} is damaged: {error}; {remedy}") from error
        except apsw.BusyError as error:
            raise SpoolError(f"{where} is held by another process for more than 5 s") from error
        except SegmentError as error:
            raise SpoolError(str(error)) from error
        except apsw.FullError as error:
            raise SpoolError(f"{where} cannot be written: no room on the disk, or beneath its cap") from error
        except apsw.Error as error:
            raise SpoolError(f"{where} cannot be used: {error}") from error
