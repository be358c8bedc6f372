"""What a damaged spool still holds, in a sound one.

Rows are read one by one around what cannot be read; a record counts only if its checksum is right, a segment if its
digest is. The damaged files are kept. What the mark or the counters know to have been taken, and was not found,
is counted as damaged in the new spool, which goes on under the same name and identity.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from . import records as lines
from .database import NoRoom, SpoolDatabase
from .errors import SpoolDamaged, SpoolError
from .outbox import Sealed
from .schema import run_crc
from .spool import DEFAULT_MAX_BYTES, TARGET_NOTE
from .state import Mark, SpoolState

SUFFIXES = ("", "-wal", "-shm", "-mark")
_STEP = 4096  # row identities that are tried beyond a gap that cannot be read


@dataclass(frozen=True)
class Salvage:
    records: int
    segments: int
    lost: int
    kept: str  # where the damaged files are


def salvage(path: Path, *, key: bytes | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> Salvage:
    """Replace the spool at `path` by one with what can be read of it. Raises `SpoolError` if there is none."""
    if not path.is_file():
        raise SpoolError(f"{path}: there is no such spool")
    kept = _move_away(path)
    mark = Mark(kept).read()
    try:
        found = _read(kept, key)
    except (apsw.Error, OSError) as error:
        _move_back(kept, path)
        raise SpoolError(f"{path} cannot be read: {error}") from error
    if found.state is None and mark is None and not found.records and not found.sealed:
        _move_back(kept, path)
        raise SpoolError(f"nothing of {path} can be read; give its key if it is encrypted, or move it away")
    return _write(path, kept, found, mark, key, max_bytes)


@dataclass
class _Found:
    state: SpoolState | None
    records: list[tuple[int, bytes]]  # time in ms, line
    sealed: list[Sealed]
    runs: list[tuple]
    targets: list[tuple]  # notes of the targets' identities


def _read(path: Path, key: bytes | None) -> _Found:
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(5000)
        if key is not None:
            db.pragma("key", f"raw:{key.hex()}")
        state = None
        with contextlib.suppress(apsw.Error, SpoolDamaged, TypeError):
            for row in db.execute("SELECT body, crc FROM state"):
                state = SpoolState.unpack(*row)
        records = {line: (time_ms, line) for _, time_ms, crc, line in _rows(db, "records", "id", "time_ms, crc, line")
                   if lines.sound(line, crc)}
        sealed = [s for s in (Sealed(*row) for row in _rows(db, "segments", "sequence", "key, records, data"))
                  if s.intact]
        runs = []
        with contextlib.suppress(apsw.Error):
            runs.extend(db.execute("SELECT run, last, touched, origin, crc FROM runs"))
        targets = []
        with contextlib.suppress(apsw.Error):
            targets.extend(row for row in db.execute("SELECT name, value FROM notes WHERE name LIKE ? || '%'",
                                                     (TARGET_NOTE,)) if all(isinstance(text, str) for text in row))
        return _Found(state, list(records.values()), sealed, runs, targets)
    finally:
        db.close()


def _rows(db: apsw.Connection, table: str, identity: str, columns: str) -> Iterator[tuple]:
    """Rows in order of identity, as far as any can be read: after an error it goes on behind the unreadable ones."""
    after, step = -1, 1
    failures = 0
    while failures < 64:
        try:
            for row in db.execute(f"SELECT {identity}, {columns} FROM {table} WHERE {identity} > ? ORDER BY {identity}",
                                  (after,)):
                yield row
                after, step = row[0], 1
            return
        except (apsw.CorruptError, apsw.NotADBError, apsw.IOError):
            after, step, failures = after + step, min(2 * step, _STEP), failures + 1
        except apsw.Error:  # the table itself is gone
            return


def _write(path: Path, kept: Path, found: _Found, mark: dict | None, key: bytes | None, max_bytes: int) -> Salvage:
    old = found.state
    name = old.device if old else found.sealed[0].key.split("/")[1] if found.sealed else None
    database = SpoolDatabase(path, device=name, max_bytes=max_bytes, key=key)
    try:
        with database.transaction() as state:
            if old:
                state.spool, state.next_segment, state.previous = old.spool, old.next_segment, old.previous
                state.counters.update(old.counters)
            elif mark:
                state.spool = mark["spool"]
            if mark and mark["spool"] == state.spool:
                state.next_segment = max(state.next_segment, mark["next_segment"])
            state.next_segment = max([state.next_segment, *(s.sequence + 1 for s in found.sealed)])
            state.offered = state.next_segment - 1
            database.db.executemany("INSERT INTO records (time_ms, crc, line) VALUES (?, ?, ?)",
                                    ((time_ms, zlib.crc32(line), line) for time_ms, line in found.records))
            database.db.executemany("INSERT INTO segments VALUES (?, ?, ?, 0, NULL, ?)",
                                    ((s.sequence, s.key, s.records, s.data) for s in found.sealed))
            database.db.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
                                    (row for row in found.runs if _sound(row)))
            database.db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", found.targets)
            state.waiting = len(found.records)
            state.waiting_bytes = sum(len(line) for _, line in found.records)
            lost = _account(state, mark, old is not None, len(found.records) + sum(s.records for s in found.sealed))
    except BaseException as error:
        database.close()
        for suffix in SUFFIXES:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        _move_back(kept, path)
        if isinstance(error, NoRoom):
            raise SpoolError(f"what can be read of {path} has no room {error.where}") from error
        raise
    database.close()
    return Salvage(len(found.records), len(found.sealed), lost, str(kept))


def _account(state: SpoolState, mark: dict | None, counted: bool, here: int) -> int:
    """Count as damaged what was taken, has not left and is not here; returns how many."""
    if mark and mark["spool"] == state.spool:
        state.count("appended", max(0, mark["appended"] - state.counters["appended"]))
        if not counted:  # what left is known by the mark alone
            state.count("stored", mark["gone"])
    lost = max(0, state.counters["appended"] - state.gone - here)
    state.count("damaged", lost)
    # where the counters are gone, or behind, what is here was taken all the same
    state.count("appended", max(0, state.gone + here - state.counters["appended"]))
    return lost


def _sound(row: tuple) -> bool:
    return run_crc(row[0], row[1], row[3]) == row[4]


def _move_away(path: Path) -> Path:
    number = 1
    while Path(f"{path}.damaged-{number}").exists():
        number += 1
    kept = Path(f"{path}.damaged-{number}")
    for suffix in reversed(SUFFIXES):  # the database last: it is what is looked for
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{kept}{suffix}")
    return kept


def _move_back(kept: Path, path: Path) -> None:
    for suffix in SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{kept}{suffix}", f"{path}{suffix}")
