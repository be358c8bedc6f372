"""The spool: what it has acknowledged is on disk, and leaves only when the store has it.

One SQLite file in WAL mode with synchronous=FULL, through apsw, which brings a
current SQLite (older ones can corrupt a WAL that two connections share). Records
are appended in one transaction per call. For upload, a batch of them is turned
into a segment, whose bytes replace them in one transaction, so that a crash at any
moment leaves either the records or the very bytes that may have reached the store.

Producers number their records per run. The spool remembers the last number of
each run, so a producer that died before it saw the acknowledgement can append
again without storing anything twice.
"""

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from . import segment_v1 as segments
from .errors import SegmentError, SpoolError, SpoolFull
from .segment_v1 import Segment

POLICIES = ("block", "reject", "drop_oldest")
COUNTERS = ("appended", "duplicate", "rejected", "dropped", "stored", "segments")
DEFAULT_MAX_BYTES = 256 << 20
MIN_MAX_BYTES = 1 << 20
KEPT_RUNS = 10_000  # whose last numbers are remembered

_APPLICATION_ID = 0x4C454F4E
_SCHEMA_VERSION = 1
_PAGE = 4096
_ROW_BYTES = 64  # of a record besides its text: header, row id, cell pointer
_SLACK_PAGES = 8  # interior pages, and rows that are updated in place
_POLL_SECONDS = 0.02

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE runs (run TEXT PRIMARY KEY, last INTEGER NOT NULL, touched INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, line BLOB NOT NULL) STRICT;
CREATE TABLE segments (sequence INTEGER PRIMARY KEY, key TEXT NOT NULL, records INTEGER NOT NULL,
                       last_record INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class SpoolStatus:
    """What is in the spool, and what became of everything that was.

    `counters`: records appended, duplicate (offered again and not taken),
    rejected (spool full), dropped (oldest, spool full), stored; segments stored.
    """

    device: str
    path: str
    policy: str
    waiting: int  # records that are not in a segment yet
    sealed: int  # records in segments that are not stored yet
    file_bytes: int
    max_bytes: int
    counters: dict[str, int]
    upload: dict[str, str]  # what the uploader last noted


class Spool:
    """A spool file. Threads may share one object, processes one file.

    `device` names the device in keys; a new spool without a name makes one up, an existing
    one keeps its name. `max_bytes` caps the spool's files together. `policy`
    says what `append_many` does when the cap leaves no room: "block" until the
    uploader has made some, "reject" the new records, or "drop_oldest" of those that
    are not in a segment. The last two count every loss.
    """

    def __init__(self, path: str | Path, *, device: str | None = None, max_bytes: int = DEFAULT_MAX_BYTES,
                 policy: str = "reject"):
        if policy not in POLICIES:
            raise SpoolError(f"policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        if max_bytes < MIN_MAX_BYTES:
            raise SpoolError(f"max_bytes must be at least {MIN_MAX_BYTES}, not {max_bytes}")
        self.path = Path(path)
        self.policy = policy
        self.max_bytes = max_bytes
        # Shares of the cap: 5/8 database, 1/8 WAL before a checkpoint, 1/16 for the largest transaction beyond
        # it (twice, as a segment replaces records); the rest is the shared-memory index and slack.
        self._limit_pages = max_bytes * 5 // 8 // _PAGE
        self._wal_bytes = max_bytes // 8
        self.max_batch_bytes = max_bytes // 16
        self._lock = threading.RLock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = apsw.Connection(str(self.path))
        except (OSError, apsw.Error) as error:
            raise SpoolError(f"cannot open the spool {str(self.path)!r}: {error}") from error
        try:
            with self._translated():
                self._prepare(device)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # For producers

    def append_many(self, run: str, records: Sequence[Mapping], *, first: int | None = None,
                    timeout: float | None = None) -> int:
        """Append records of a run; when this returns they are on disk. Returns how many were new.

        Records are numbered from `first` (default: after the last of the run);
        those whose number the run has passed are duplicates and ignored. Each becomes a line
        `{**record, "run":, "number":}`. Raises `SpoolFull` (nothing was taken) as the policy
        says, or after `timeout` seconds of blocking, and `SpoolError` for what can never be taken.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock, self._translated():
                try:
                    with self._transaction():
                        return self._append(run, records, first)
                except (_NoRoom, apsw.FullError) as full:
                    if self.policy != "block":
                        self._count_alone("rejected", len(records))
                        raise SpoolFull(f"{self._full_text(len(records))}; they were rejected") from full
            if deadline is not None and time.monotonic() >= deadline:
                with self._lock, self._translated():
                    self._count_alone("rejected", len(records))
                raise SpoolFull(f"{self._full_text(len(records))}, and none was made within {timeout} s")
            time.sleep(_POLL_SECONDS)

    def append(self, run: str, record: Mapping, *, number: int | None = None, timeout: float | None = None) -> int:
        """Append one record, durably; 1 if it was new."""
        return self.append_many(run, [record], first=number, timeout=timeout)

    def last_number(self, run: str) -> int:
        """Number of the last record taken of a run, -1 if there is none."""
        with self._lock, self._translated():
            return self._value("SELECT last FROM runs WHERE run = ?", run, default=-1)

    # For the uploader

    def seal(self, max_records: int, max_bytes: int) -> Segment | None:
        """Turn the oldest records into a segment, durably; None if there are none.

        Compression happens outside of transactions, so that producers do not wait for it.
        """
        max_bytes = min(max_bytes, self.max_batch_bytes)
        while True:
            with self._lock, self._translated():
                rows, size = [], 0
                for row in self._db.execute("SELECT id, line FROM records ORDER BY id LIMIT ?", (max_records,)):
                    size += len(row[1])
                    if rows and size > max_bytes:
                        break
                    rows.append(row)
                if not rows:
                    return None
                sequence = int(self._meta("next_segment"))
                header = {"spool": self._meta("spool"), "previous": self._meta("previous"),
                          "counters": self._counters()}
            sealed = segments.make(self.device, sequence, header, [line for _, line in rows])
            with self._lock, self._translated(), contextlib.suppress(_Raced), self._transaction():
                self._db.execute("DELETE FROM records WHERE id BETWEEN ? AND ?", (rows[0][0], rows[-1][0]))
                if self._db.changes() != len(rows) or int(self._meta("next_segment")) != sequence:
                    raise _Raced  # another uploader sealed them, or they were dropped: look again
                self._db.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?)",
                                 (sequence, sealed.key, len(rows), rows[-1][0], sealed.body))
                self._set_meta(next_segment=str(sequence + 1), previous=sealed.digest)
                return sealed

    def sealed(self) -> Segment | None:
        """The oldest segment that is not confirmed."""
        with self._lock, self._translated():
            for row in self._db.execute("SELECT sequence, key, records, body FROM segments ORDER BY sequence LIMIT 1"):
                return Segment(*row)
        return None

    def confirm(self, segment: Segment) -> None:
        """The store has the segment: forget it. Does nothing the second time."""
        with self._lock, self._translated(), self._transaction():
            self._db.execute("DELETE FROM segments WHERE sequence = ? AND key = ?", (segment.sequence, segment.key))
            if self._db.changes():
                self._count("stored", segment.records)
                self._count("segments", 1)

    def note_upload(self, **values: str) -> None:
        """Keep what the uploader says about itself, for `status` in any process."""
        with self._lock, self._translated(), self._transaction():
            self._set_meta(**{f"upload_{name}": value for name, value in values.items()})

    def last_record(self) -> int:
        """Identity of the youngest record ever appended; 0 if none was."""
        with self._lock, self._translated():
            return self._value("SELECT seq FROM sqlite_sequence WHERE name = 'records'", default=0)

    def left_until(self, record: int) -> int:
        """How many records up to this identity are still in the spool."""
        with self._lock, self._translated():
            return (self._value("SELECT count(*) FROM records WHERE id <= ?", record)
                    + self._value("SELECT coalesce(sum(records), 0) FROM segments WHERE last_record <= ?", record))

    def waiting(self) -> tuple[int, int]:
        """Records that are not in a segment: how many, and the bytes of their lines."""
        with self._lock, self._translated():
            return next(iter(self._db.execute("SELECT count(*), coalesce(sum(length(line)), 0) FROM records")))

    # For people

    def status(self) -> SpoolStatus:
        with self._lock, self._translated(), self._db:  # one snapshot for all figures
            upload = {name.removeprefix("upload_"): value
                      for name, value in self._db.execute("SELECT name, value FROM meta WHERE name GLOB 'upload_*'")}
            return SpoolStatus(
                self.device, str(self.path), self.policy, self._value("SELECT count(*) FROM records"),
                self._value("SELECT coalesce(sum(records), 0) FROM segments"), self.file_bytes(), self.max_bytes,
                self._counters(), upload)

    def file_bytes(self) -> int:
        """Size of the spool's files on disk."""
        total = 0
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(f"{self.path}{suffix}").st_size
        return total

    # Inside

    def _prepare(self, device: str | None) -> None:
        db = self._db
        db.set_busy_timeout(5000)
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "FULL")
        db.pragma("mmap_size", 0)
        db.pragma("wal_autocheckpoint", min(1000, self._wal_bytes // 2 // _PAGE))
        db.pragma("journal_size_limit", self._wal_bytes)
        with self._transaction():
            version = db.pragma("user_version")
            if version == 0 and not self._value("SELECT count(*) FROM sqlite_master"):
                for statement in _SCHEMA.split(";"):
                    if statement.strip():
                        db.execute(statement)
                name = segments.check_device_name(device or f"device-{secrets.token_hex(4)}")
                self._set_meta(device=name, spool=secrets.token_hex(16), next_segment="0", previous="")
                for counter in COUNTERS:
                    db.execute("INSERT INTO counters VALUES (?, 0)", (counter,))
                db.pragma("application_id", _APPLICATION_ID)
                db.pragma("user_version", _SCHEMA_VERSION)
            elif db.pragma("application_id") != _APPLICATION_ID or version != _SCHEMA_VERSION:
                raise SpoolError(f"{str(self.path)!r} is not a spool of this version (schema {version}, expected "
                                 f"{_SCHEMA_VERSION}); give another path")
            self.device = self._meta("device")
            if device not in (None, self.device):
                raise SpoolError(f"the spool {str(self.path)!r} belongs to device {self.device!r}, not {device!r}; "
                                 "give each device a spool of its own")
        # Beneath the cap even if the estimate of a batch should be wrong; sealing may need a few pages more.
        db.pragma("max_page_count", self._limit_pages + _SLACK_PAGES)

    def _append(self, run: str, records: Sequence[Mapping], first: int | None) -> int:
        last = self._value("SELECT last FROM runs WHERE run = ?", run, default=-1)
        first = last + 1 if first is None else first
        if first < 0:
            raise SpoolError(f"records are numbered from 0, not {first}")
        known = max(0, min(len(records), last + 1 - first))
        if known:
            self._count("duplicate", known)
        lines = [_line(run, first + i, record) for i, record in enumerate(records) if i >= known]
        if not lines:
            return 0
        size = sum(_stored_bytes(line) for line in lines)
        if size > self.max_batch_bytes:
            raise SpoolError(f"a batch may have {self.max_batch_bytes} bytes (a sixteenth of max_bytes), not {size}; "
                             "append fewer records at once or give the spool a larger max_bytes")
        self._make_room(-(-size // _PAGE) + _SLACK_PAGES)
        self._db.executemany("INSERT INTO records (line) VALUES (?)", ((line,) for line in lines))
        # `touched` orders runs by use without a clock, which may jump
        self._db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, (SELECT coalesce(max(id), 0) FROM records))",
                         (run, first + len(records) - 1))
        if last < 0:
            self._db.execute("DELETE FROM runs WHERE run IN "
                             "(SELECT run FROM runs ORDER BY touched DESC LIMIT -1 OFFSET ?)", (KEPT_RUNS,))
        self._count("appended", len(lines))
        return len(lines)

    def _make_room(self, pages: int) -> None:
        """Raise `_NoRoom` unless so many pages can be taken; with "drop_oldest", make it so."""
        while self._db.pragma("page_count") - self._db.pragma("freelist_count") + pages > self._limit_pages:
            if self.policy != "drop_oldest":
                raise _NoRoom
            self._db.execute("DELETE FROM records WHERE id IN (SELECT id FROM records ORDER BY id LIMIT ?)", (64,))
            dropped = self._db.changes()
            if not dropped:
                raise _NoRoom
            self._count("dropped", dropped)

    def _full_text(self, records: int) -> str:
        return (f"the spool {str(self.path)!r} has no room for {records} records within its cap of "
                f"{self.max_bytes} bytes")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        if self.file_bytes() - os.stat(self.path).st_size > self._wal_bytes:
            with contextlib.suppress(apsw.BusyError):  # a reader of another process; next time
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as ours, with what to do about them."""
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise SpoolError(f"the spool {str(self.path)!r} is damaged ({error}); move it away to keep what can be "
                             "recovered from it, and a new one will be made") from error
        except apsw.BusyError as error:
            raise SpoolError(f"the spool {str(self.path)!r} is held by another process for more than 5 s") from error
        except apsw.FullError:
            raise
        except SegmentError as error:
            raise SpoolError(str(error)) from error
        except apsw.Error as error:
            raise SpoolError(f"the spool {str(self.path)!r} cannot be used: {error}") from error

    def _value(self, sql: str, *bindings, default=None):
        for (value,) in self._db.execute(sql, bindings):
            return value
        return default

    def _meta(self, name: str) -> str:
        return self._value("SELECT value FROM meta WHERE name = ?", name)

    def _set_meta(self, **values: str) -> None:
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def _counters(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT name, value FROM counters"))

    def _count(self, name: str, n: int) -> None:
        self._db.execute("UPDATE counters SET value = value + ? WHERE name = ?", (n, name))

    def _count_alone(self, name: str, n: int) -> None:
        with self._transaction():
            self._count(name, n)


class _NoRoom(Exception):
    """The cap would be exceeded."""


class _Raced(Exception):
    """Another uploader was faster."""


def _line(run: str, number: int, record: Mapping) -> bytes:
    try:
        return json.dumps({**record, "run": run, "number": number}, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise SpoolError(f"record {number} of run {run!r} is not JSON: {error}") from error


def _stored_bytes(line: bytes) -> int:
    """Upper estimate of what a record takes in the file; long rows spill to pages of their own."""
    size = len(line) + _ROW_BYTES
    return size if size < _PAGE // 2 else -(-size // (_PAGE - 512)) * _PAGE
