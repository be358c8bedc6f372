"""Tables of the spool's file.

SQLite has no checksums of its own, so rows carry one: a record its CRC, a segment its digest in the key.
"""

import zlib

APPLICATION_ID = 0x4C454F4E  # "LEON", in the file's header (sqlite.org/fileformat.html, section 1.3)
SCHEMA_VERSION = 4
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
CREATE TABLE ledgers (place TEXT PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
# refused: the reason that the target gave, NULL for a segment that it has not refused
# ledgers: what each target has stored (`head.Ledger`)


def run_crc(run: str, last: int, origin: str) -> int:
    """Checksum of a row of `runs`."""
    return zlib.crc32(f"{run}\n{last}\n{origin}".encode())
