"""Recovers the records and segments of a damaged spool into a new one.

Rows are read one by one, and unreadable ones are skipped. A record is taken if its checksum is right, a segment if its
digest is right. The damaged files are kept. Records that were taken according to the mark or the counters, and are not
found, are counted as damaged in the new spool, which keeps the old one's name and identity.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from . import records as lines
from . import segment as segments
from .database import SpoolDatabase
from .errors import NoRoom, SpoolDamaged, SpoolError
from .head import Ledger
from .outbox import Sealed
from .schema import run_crc
from .spool import DEFAULT_MAX_BYTES
from .spool_status import TARGET_NOTE
from .state import Mark, SpoolState

SUFFIXES = ("", "-wal", "-shm", "-mark")
# After an unreadable row the next identities are tried in steps that double up to _STEP, for at most _FAILURES rows:
# enough to pass some 200 000 identities, thousands of damaged pages.
_STEP = 4096
_FAILURES = 64


@dataclass(frozen=True)
class Salvage:
    """Numbers of recovered records and segments and of lost records; `kept` is the path of the damaged file."""

    records: int
    segments: int
    lost: int
    kept: str


def salvage(path: Path, *, key: bytes | None = None, max_bytes: int = DEFAULT_MAX_BYTES, device: str | None = None
            ) -> Salvage:
    """Replace the spool at `path` by a new one with everything that can be read.

    `device`: the device's name, which is needed if the spool's file and mark no longer have it. Raises `SpoolError` if
    it is missing, or if nothing can be read.
    """
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
        raise SpoolError(f"nothing in {path} can be read; give its key if it is encrypted, or move it away")
    name = _device(found, mark, device)
    if name is None:
        _move_back(kept, path)
        raise SpoolError(f"the name of the device cannot be read in {path}; give it with --device NAME, as results "
                         "under another name would look like those of another device")
    return _write(path, kept, found, mark, key, max_bytes, name)


def _device(found: "_Found", mark: dict | None, given: str | None) -> str | None:
    """The device's name, from whatever has it."""
    if found.state is not None:
        return found.state.device
    if mark is not None:
        return mark["device"]
    return segments.split_key(found.sealed[0].key).device if found.sealed else given


@dataclass
class _Found:
    state: SpoolState | None
    records: list[tuple[int, bytes]]  # time in ms, line
    sealed: list[Sealed]
    runs: list[tuple[Any, ...]]
    targets: list[tuple[Any, ...]]  # notes of the targets' identities
    ledgers: list[tuple[Any, ...]]  # place, body, checksum


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
        runs: list[tuple[Any, ...]] = []
        with contextlib.suppress(apsw.Error):
            runs.extend(db.execute("SELECT run, last, touched, origin, crc FROM runs"))
        targets: list[tuple[Any, ...]] = []
        with contextlib.suppress(apsw.Error):
            targets.extend(row for row in db.execute("SELECT name, value FROM notes WHERE name LIKE ? || '%'",
                                                     (TARGET_NOTE,)) if all(isinstance(text, str) for text in row))
        ledgers: list[tuple[Any, ...]] = []
        with contextlib.suppress(apsw.Error):
            ledgers.extend(row for row in db.execute("SELECT place, body, crc FROM ledgers")
                           if Ledger.unpack(*row[1:]) is not None)
        return _Found(state, list(records.values()), sealed, runs, targets, ledgers)
    finally:
        db.close()


def _rows(db: apsw.Connection, table: str, identity: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """The readable rows in order of identity; after an error it continues behind the unreadable rows."""
    after = -1
    step = 1
    failures = 0
    while failures < _FAILURES:
        try:
            rows: Iterator[tuple[Any, ...]] = db.execute(
                f"SELECT {identity}, {columns} FROM {table} WHERE {identity} > ? ORDER BY {identity}", (after,))
            for row in rows:
                yield row
                after = row[0]
                step = 1
            return
        except (apsw.CorruptError, apsw.NotADBError, apsw.IOError):
            after += step
            step = min(2 * step, _STEP)
            failures += 1
        except apsw.Error:  # the table itself is gone
            return


def _write(path: Path, kept: Path, found: _Found, mark: dict | None, key: bytes | None, max_bytes: int, name: str
           ) -> Salvage:
    old = found.state
    database = SpoolDatabase(path, device=name, max_bytes=max_bytes, key=key)
    try:
        with database.transaction() as state:
            if old:
                state.spool = old.spool
                state.next_segment = old.next_segment
                state.previous = old.previous
                state.counters.update(old.counters)
            elif mark:
                state.spool = mark["spool"]
            if mark and mark["spool"] == state.spool:
                state.next_segment = max(state.next_segment, mark["next_segment"])
            state.next_segment = max([state.next_segment, *(s.sequence + 1 for s in found.sealed)])
            if old is None and state.next_segment:
                # the digest of the last segment is unknown: a number is left out, so that none claims to follow it
                state.next_segment += 1
            state.offered = state.next_segment - 1
            database.db.executemany("INSERT INTO records (time_ms, crc, line) VALUES (?, ?, ?)",
                                    ((time_ms, zlib.crc32(line), line) for time_ms, line in found.records))
            database.db.executemany("INSERT INTO segments VALUES (?, ?, ?, 0, NULL, ?)",
                                    ((s.sequence, s.key, s.records, s.data) for s in found.sealed))
            database.db.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)",
                                    (row for row in found.runs if _sound(row)))
            database.db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", found.targets)
            if old:  # otherwise the spool may have another identity, whose head would be of no use
                database.db.executemany("INSERT OR REPLACE INTO ledgers VALUES (?, ?, ?)", found.ledgers)
            state.waiting = len(found.records)
            state.waiting_bytes = sum(len(line) for _, line in found.records)
            lost = _account(state, mark, old is not None, len(found.records) + sum(s.records for s in found.sealed))
    except BaseException as error:
        database.close()
        for suffix in SUFFIXES:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        _move_back(kept, path)
        if isinstance(error, NoRoom):
            raise SpoolError(f"what can be read of {path} has no room {error.where}; free disk space") from error
        raise
    database.close()
    return Salvage(len(found.records), len(found.sealed), lost, str(kept))


def _account(state: SpoolState, mark: dict | None, counted: bool, here: int) -> int:
    """Count as damaged the records that were taken, have not left, and are not among the `here` recovered ones.

    `counted`: whether the old state with its counters was readable. Returns the number of lost records.
    """
    if mark and mark["spool"] == state.spool:
        state.count("appended", max(0, mark["appended"] - state.counters["appended"]))
        if not counted:  # only the mark shows how many records have left
            state.count("stored", mark["gone"])
    lost = max(0, state.counters["appended"] - state.gone - here)
    state.count("damaged", lost)
    # if the counters are lost or too old, the recovered records were still taken
    state.count("appended", max(0, state.gone + here - state.counters["appended"]))
    return lost


def _sound(row: tuple) -> bool:
    return run_crc(row[0], row[1], row[3]) == row[4]


def _move_away(path: Path) -> Path:
    number = 1
    while Path(f"{path}.damaged-{number}").exists():
        number += 1
    kept = Path(f"{path}.damaged-{number}")
    for suffix in reversed(SUFFIXES):  # the database last: `salvage` begins with it, also after a crash in between
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{kept}{suffix}")
    return kept


def _move_back(kept: Path, path: Path) -> None:
    for suffix in SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{kept}{suffix}", f"{path}{suffix}")
