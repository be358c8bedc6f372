"""The spool: a durable queue of records. Acknowledged records are on disk, and leave only when the target has them.

Producers number their records per run. The spool remembers the last number of each run, so a producer that died
before it saw the acknowledgement can append the same records again: none is stored twice.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import records as lines
from . import segment as segments
from .appends import Appender, AppendRequest
from .database import SpoolDatabase
from .errors import NoRoom, RecordError, SpoolError, SpoolFull
from .spool_status import TARGET_NOTE, SpoolStatus, read_oldest_waiting, read_status

POLICIES = ("block", "reject", "drop_oldest")
DEFAULT_MAX_BYTES = 256 << 20  # some 260 000 results of the shipped network, with 640 bytes each in the database
_POLL_SECONDS = 0.02  # policy "block": short against the uploader's `linger` of 0.5 s, which decides when room is made
# What `records.line` adds to a body: a run's name of at most 64 characters, and 40 for the keys and 18 digits.
_NAME_BYTES = 64 + 40


class Spool:
    """A spool file. Threads may share one object, processes may share one file; a forked process opens the file again.

    `device` is the device's name in keys of segments; a new spool without it gets a random name, an existing spool
    keeps its name. `max_bytes` limits the size of all the spool's files together. `policy` decides what `append_many`
    does when the limit is reached or the disk is full: "block" until the uploader has made room, "reject" the new
    records, or "drop_oldest": drop the oldest records that no target has been offered. "reject" and "drop_oldest"
    count every lost record. `key` (32 bytes) encrypts the file.

    Raises `SpoolError`, and `SpoolDamaged` for a damaged file.
    """

    def __init__(self, path: str | Path, *, device: str | None = None, max_bytes: int = DEFAULT_MAX_BYTES,
                 policy: str = "reject", key: bytes | None = None):
        if policy not in POLICIES:
            raise SpoolError(f"policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        self.policy = policy
        self.database = SpoolDatabase(path, device=device, max_bytes=max_bytes, key=key)
        self.path = self.database.path
        self.device = self.database.device
        self.max_bytes = max_bytes
        self._appender = Appender(self.database, policy == "drop_oldest")

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        self.database.close()

    def append_many(self, run: str, records: Sequence[Mapping], *, first: int | None = None,
                    origin: Mapping[str, str] | None = None, timeout: float | None = None) -> int:
        """Append records of a run; when this returns they are on disk. Returns the number of new records.

        Records are numbered from `first` (default: after the last one of the run). Records with a number that the run
        has already passed are duplicates and are ignored. `origin` names the model, program and configuration in the
        headers of the run's segments.

        Raises `SpoolFull` (and takes nothing) if there is no room, with policy "block" after `timeout` seconds, and
        `SpoolError` for a request that can never be taken. A record that can never be stored (see `records`) is left
        out and counted as rejected, its number is skipped, and `RecordError` is raised once the others are on disk.
        """
        bodies: list[bytes | None] = []
        reasons: list[str] = []
        for i, record in enumerate(records):
            try:
                bodies.append(self.encode(record))
            except RecordError as error:
                bodies.append(None)
                reasons.append(f"record {i} of {len(records)} was refused: {error}")
        taken = self.append_encoded(run, bodies, first=first, origin=origin, timeout=timeout)
        if reasons:
            more = f" ({len(reasons)} records were refused)" if len(reasons) > 1 else ""
            raise RecordError(f"{reasons[0]}{more}; {taken} others are stored")
        return taken

    def encode(self, record: Mapping) -> bytes:
        """A record as `append_encoded` takes it. Raises `RecordError` for one that this spool can never store."""
        body = lines.encode(record)
        if (size := self.stored_bytes(body)) > self.database.max_batch_bytes:
            raise RecordError(f"a record of this spool may have at most {self.database.max_batch_bytes} bytes "
                              f"(max_bytes / 16), not {size}; give the spool a larger max_bytes")
        return body

    @staticmethod
    def stored_bytes(body: bytes) -> int:
        """Upper bound of the bytes that an encoded record takes in a batch and in the file."""
        return lines.stored_bytes(body) + _NAME_BYTES

    def append_encoded(self, run: str, bodies: Sequence[bytes | None], *, first: int | None = None,
                       origin: Mapping[str, str] | None = None, timeout: float | None = None) -> int:
        """`append_many` for records that `encode` has returned; None stands for a refused record."""
        request = self._request(run, bodies, first, origin)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._appender.commit(request)
            error = request.error
            if error is None:
                return request.taken or 0
            if not isinstance(error, NoRoom):
                raise error
            if self.policy != "block" or (deadline is not None and time.monotonic() >= deadline):
                self.count_rejected(len(bodies))
                why = "they were rejected" if self.policy != "block" else f"there was none within {timeout} s"
                raise SpoolFull(f"the spool {str(self.path)!r} has no room for {len(bodies)} records "
                                f"{error.where}; {why}") from error
            request.error = None
            time.sleep(_POLL_SECONDS)

    def count_rejected(self, count: int) -> None:
        """Count records that were lost before they were taken."""
        self._appender.count_rejected(count)

    def append(self, run: str, record: Mapping, *, number: int | None = None, timeout: float | None = None) -> int:
        """Append one record, durably; 1 if it was new."""
        return self.append_many(run, [record], first=number, timeout=timeout)

    def last_number(self, run: str) -> int:
        """Number of the last record of a run that was taken, -1 if there is none."""
        with self.database.reading():
            return self._appender.last(run)[0]

    def last_record(self) -> int:
        """Identity of the newest record ever appended; 0 if there was none."""
        with self.database.reading():
            return self.database.value("SELECT seq FROM sqlite_sequence WHERE name = 'records'", default=0)

    def left_until(self, record: int) -> int:
        """Number of records up to this identity that are still in the spool (a segment counts as a whole)."""
        with self.database.reading():
            return (self.database.value("SELECT count(*) FROM records WHERE id <= ?", record)
                    + self.database.value("SELECT coalesce(sum(records), 0) FROM segments WHERE first_record <= ?",
                                          record))

    def note(self, *, durable: bool = False, **values: str) -> None:
        """Store the uploader's state, for `status` in any process; after a loss of power it may be an older one."""
        with self.database.transaction(durable=durable):
            self.database.db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", values.items())

    def target_identity(self, place: str) -> str | None:
        """The identity that the target at `place` had when it was first used, None if it was never used."""
        with self.database.reading():
            return self.database.value("SELECT value FROM notes WHERE name = ?", TARGET_NOTE + place)

    def remember_target(self, place: str, identity: str) -> None:
        self.note(durable=True, **{TARGET_NOTE + place: identity})

    def forget_target(self, place: str) -> bool:
        """Accept any target at `place` from the next upload on; False if the spool has not used `place`."""
        with self.database.transaction():
            self.database.db.execute("DELETE FROM ledgers WHERE place = ?", (place,))  # of the store before it
            self.database.db.execute("DELETE FROM notes WHERE name = ?", (TARGET_NOTE + place,))
            return self.database.db.changes() > 0

    def targets(self) -> list[str]:
        """Places of the targets that it has used."""
        with self.database.reading():
            return [name.removeprefix(TARGET_NOTE) for name, in self.database.rows(
                "SELECT name FROM notes WHERE name LIKE ? || '%' ORDER BY name", TARGET_NOTE)]

    def status(self) -> SpoolStatus:
        with self.database.consistent():
            return read_status(self.database.db, str(self.path), self.database.state(), policy=self.policy,
                               file_bytes=self.file_bytes(), max_bytes=self.max_bytes)

    def oldest_waiting(self) -> float | None:
        """Time (seconds since 1970) of the oldest record that is not stored yet, by this machine's clock; None if none
        waits."""
        with self.database.consistent():
            return read_oldest_waiting(self.database.db)

    def file_bytes(self) -> int:
        """Size of the spool's files on disk."""
        return self.database.file_bytes()

    def _request(self, run: str, bodies: Sequence[bytes | None], first: int | None,
                 origin: Mapping[str, str] | None) -> AppendRequest:
        text = None
        with self.database.translated():
            segments.check_name(run, "run")
            if origin is not None:
                given = {segments.printable(str(name)): segments.printable(str(value))[:256]
                         for name, value in origin.items()}
                segments.check_map("origin", given, str)
                text = json.dumps(given, sort_keys=True)
        if first is not None and first < 0:
            raise SpoolError(f"records are numbered from 0, not {first}")
        kept = list(bodies) if first is not None else [body for body in bodies if body is not None]
        size = sum(self.stored_bytes(body) for body in kept if body is not None)
        limit = self.database.max_batch_bytes
        if size > limit:
            raise SpoolError(f"a batch may have at most {limit} bytes (max_bytes / 16), not {size}; "
                             "append fewer records at once or give the spool a larger max_bytes")
        return AppendRequest(run, kept, len(bodies) - len(kept), first, text, size)
