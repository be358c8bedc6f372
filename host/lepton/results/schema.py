"""Tables of the spool's file, and the migration of files of earlier versions.

SQLite has no checksums of its own, so rows carry one: a record its CRC, a segment its digest in the key.
"""

import json
import time
import zlib

import apsw

from .errors import SpoolDamaged
from .state import COUNTERS, SpoolState

APPLICATION_ID = 0x4C454F4E  # "LEON", in the file's header (sqlite.org/fileformat.html, section 1.3)
SCHEMA_VERSION = 3
PAGE = 4096  # bytes; SQLite's default page size

SCHEMA = """
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE runs (run TEXT PRIMARY KEY, last INTEGER NOT NULL, touched INTEGER NOT NULL, origin TEXT NOT NULL,
                   crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, crc INTEGER NOT NULL,
                      line BLOB NOT NULL) STRICT;
CREATE TABLE segments (sequence INTEGER PRIMARY KEY, key TEXT NOT NULL, records INTEGER NOT NULL,
                       first_record INTEGER NOT NULL, refused TEXT, data BLOB NOT NULL) STRICT;
"""
# refused: the reason that the target gave, NULL for a segment that it has not refused


def run_crc(run: str, last: int, origin: str) -> int:
    """Checksum of a row of `runs`."""
    return zlib.crc32(f"{run}\n{last}\n{origin}".encode())


def migrate(db: apsw.Connection) -> None:
    """Bring a file of an earlier version to this one, within the caller's transaction."""
    if db.pragma("user_version") == 1:
        _from_version_1(db)
    else:
        _from_version_2(db)
    db.pragma("user_version", SCHEMA_VERSION)


def _from_version_2(db: apsw.Connection) -> None:
    """Version 2 had a column `offered` in each segment's row; now the state has the last one that was offered."""
    for body, crc in list(db.execute("SELECT body, crc FROM state")):
        state = SpoolState.unpack(body, crc)
        state.offered = next(iter(db.execute("SELECT coalesce(max(sequence), -1) FROM segments WHERE offered")))[0]
        db.execute("UPDATE state SET body = ?, crc = ?", state.pack())
    db.execute("ALTER TABLE segments DROP COLUMN offered")


def _from_version_1(db: apsw.Connection) -> None:
    """Version 1 had the state in two tables, and rows without checksums. Its segments keep their format."""
    meta = dict(db.execute("SELECT name, value FROM meta"))
    counters = dict(db.execute("SELECT name, value FROM counters"))
    waiting, size = next(iter(db.execute("SELECT count(*), coalesce(sum(length(line)), 0) FROM records")))
    state = SpoolState(device=meta["device"], spool=meta["spool"], next_segment=int(meta["next_segment"]),
                       previous=meta["previous"], waiting=waiting, waiting_bytes=size,
                       offered=int(meta["next_segment"]) - 1,
                       counters={name: counters.get(name, 0) for name in COUNTERS})
    state.reported = state.losses
    for table in ("runs", "records", "segments"):
        db.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
    for statement in filter(str.strip, SCHEMA.split(";")):
        db.execute(statement)
    now = time.time_ns() // 1_000_000
    db.execute("INSERT INTO state VALUES (1, ?, ?)", state.pack())
    db.executemany("INSERT INTO notes VALUES (?, ?)",
                   [(n.removeprefix("upload_"), v) for n, v in meta.items() if n.startswith("upload_")])
    for run, last, touched in list(db.execute("SELECT run, last, touched FROM runs_1")):
        origin = json.dumps({})
        db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", (run, last, touched, origin, run_crc(run, last, origin)))
    db.create_scalar_function("lepton_crc", _crc, 1)
    db.execute("INSERT INTO records SELECT id, ?, lepton_crc(line), line FROM records_1", (now,))
    # identities of records that the old table has used are not used again
    highest = next(iter(db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name LIKE 'records%'")))[0]
    db.execute("DELETE FROM sqlite_sequence WHERE name IN ('records', 'records_1')")
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('records', ?)", (highest,))
    db.execute("INSERT INTO segments SELECT sequence, key, records, last_record - records + 1, NULL, body "
               "FROM segments_1")
    for table in ("runs_1", "records_1", "segments_1", "meta", "counters"):
        db.execute(f"DROP TABLE {table}")


def _crc(*values: object) -> int:
    line, = values
    if not isinstance(line, bytes):
        raise SpoolDamaged("a record of version 1 is not a sequence of bytes")
    return zlib.crc32(line)
