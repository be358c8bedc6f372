"""A spool as reading commands see it: nothing is written, neither to the file nor next to it.

A program may write to the spool at the same time. SQLite reads a write-ahead log (WAL) with the help of an index in
shared memory, the file `-shm`, which a connection that only reads must not make or change (`readonly_shm`,
sqlite.org/wal.html, section 5). Without a log, nothing is missing in the file itself, and it is opened as `immutable`.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import apsw

from .errors import SpoolDamaged, SpoolError
from .spool import DEFAULT_MAX_BYTES
from .spool_file import check_schema, configure, state_of, translated
from .spool_status import SpoolStatus, read_oldest_waiting, read_status
from .state import Mark

ATTEMPTS = 5  # a program may begin or end its log while it is opened
PAUSE_SECONDS = 0.05

T = TypeVar("T")


class SpoolView:
    """Reads the spool at `path`; each call sees one state of the file. `key`: as for `Spool`.

    Raises `SpoolError` if there is no spool, or one of another version, and `SpoolDamaged` for a damaged file.
    """

    def __init__(self, path: str | Path, *, key: bytes | None = None):
        self.path = Path(path)
        self._key = key
        if not self.path.is_file():
            raise SpoolError(f"{self.path}: there is no such spool")
        if not self.path.stat().st_size:
            raise SpoolError(f"{self.path} is empty, and not a spool")

    def status(self) -> SpoolStatus:
        """See `Spool.status`. Policy and limit of the size are not in the file: they are the defaults."""
        mark = Mark(self.path).read()  # before the file: a program that writes may go on in between

        def status(db: apsw.Connection) -> SpoolStatus:
            state = state_of(db)
            Mark.count_lost(mark, state)  # not written: the next program that writes counts it again
            return read_status(db, str(self.path), state, policy="reject", file_bytes=self._file_bytes(),
                               max_bytes=DEFAULT_MAX_BYTES)
        return self._read(status)

    def oldest_waiting(self) -> float | None:
        """See `Spool.oldest_waiting`."""
        return self._read(read_oldest_waiting)

    def _read(self, question: Callable[[apsw.Connection], T]) -> T:
        with translated(self.path, self._key is not None):
            for attempt in range(ATTEMPTS):
                logged = self._size("-wal") > 0
                try:
                    db = self._open(logged)
                    try:
                        with db:  # one state of the file for all statements
                            check_schema(db, self.path)
                            answer = question(db)
                    finally:
                        db.close()
                    if logged or not self._size("-wal"):
                        return answer
                except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.BusyError, apsw.CorruptError, SpoolDamaged):
                    if attempt == ATTEMPTS - 1:
                        raise
                time.sleep(PAUSE_SECONDS)
            raise SpoolError(f"the spool {str(self.path)!r} could not be read in one state; try again")

    def _open(self, logged: bool) -> apsw.Connection:
        """A connection that only reads. `logged`: there is a log, whose content belongs to the file."""
        if logged and not self._exists("-shm"):
            raise SpoolError(f"the spool {str(self.path)!r} has a log ({self.path.name}-wal) but no {self.path.name}"
                             "-shm, so it was copied while a program used it, and cannot be read without writing; "
                             f"recover it with: lepton cloud salvage --spool {self.path}")
        options = "readonly_shm=1" if logged else "immutable=1"
        db = apsw.Connection(f"file:{quote(str(self.path.absolute()))}?mode=ro&{options}",
                             flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        configure(db, self._key)
        return db

    def _exists(self, suffix: str) -> bool:
        return os.path.exists(f"{self.path}{suffix}")

    def _size(self, suffix: str) -> int:
        try:
            return os.stat(f"{self.path}{suffix}").st_size
        except FileNotFoundError:
            return 0

    def _file_bytes(self) -> int:
        return sum(self._size(suffix) for suffix in ("", "-wal", "-shm", "-mark"))
