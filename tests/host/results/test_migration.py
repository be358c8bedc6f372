"""Spools of schema versions 1 and 2, as earlier versions wrote them, go on where they were."""

import gzip
import hashlib
import json
import zlib

import apsw
import pytest
from lepton.results import Outbox, Spool, SpoolError, Store, Uploader
from lepton.results.database import MIN_MAX_BYTES
from lepton.results.verify import verify

SCHEMA_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE runs (run TEXT PRIMARY KEY, last INTEGER NOT NULL, touched INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, line BLOB NOT NULL) STRICT;
CREATE TABLE segments (sequence INTEGER PRIMARY KEY, key TEXT NOT NULL, records INTEGER NOT NULL,
                       last_record INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
"""


def line(number):
    return json.dumps({"i": number, "run": "run", "number": number}, separators=(",", ":")).encode()


@pytest.fixture
def path(tmp_path):
    """Three records stored, two in a segment, four waiting."""
    db = apsw.Connection(str(tmp_path / "spool.db"))
    db.pragma("journal_mode", "wal")
    db.execute(SCHEMA_1)
    counters = {"appended": 9, "duplicate": 1, "rejected": 2, "dropped": 0, "stored": 3, "segments": 1}
    head = {"format": "lepton-segment/1", "device": "alpha", "sequence": 1, "records": 2, "spool": "a" * 32,
            "previous": "b" * 64, "counters": counters}
    body = gzip.compress(b"\n".join((json.dumps(head).encode(), line(3), line(4))) + b"\n")
    digest = hashlib.sha256(body).hexdigest()
    db.executemany("INSERT INTO meta VALUES (?, ?)", {"device": "alpha", "spool": "a" * 32, "next_segment": "2",
                                                      "previous": digest, "upload_error": "down"}.items())
    db.executemany("INSERT INTO counters VALUES (?, ?)", counters.items())
    db.execute("INSERT INTO runs VALUES ('run', 8, 9)")
    db.executemany("INSERT INTO records VALUES (?, ?)", [(n + 1, line(n)) for n in range(5, 9)])
    db.execute("INSERT INTO segments VALUES (1, ?, 2, 5, ?)", (f"results/alpha/{1:012d}-{digest}", body))
    db.pragma("application_id", 0x4C454F4E)
    db.pragma("user_version", 1)
    db.close()
    return tmp_path / "spool.db"


def test_everything_is_still_there_and_goes_on(path, tmp_path, keys):
    with Spool(path) as spool:
        status = spool.status()
        assert (status.device, status.waiting, status.sealed, status.upload) == ("alpha", 4, 2, {"error": "down"})
        assert status.counters["stored"] == 3 and status.counters["damaged"] == 0
        assert spool.last_number("run") == 8 and spool.last_record() == 9
        assert spool.append_many("run", [{"i": n} for n in range(8, 11)], first=8) == 2
    with Spool(path) as spool:
        store = Store(tmp_path / "store")
        with Uploader(spool, store, keys) as uploader:
            assert uploader.flush(20)
        assert spool.status().counters["stored"] == 11
    report = verify(store, keys.keyring())
    assert report.good, report
    assert report.records == 8
    assert report.spools[0].notes == ["1 segments of format 1 are not signed",
                                      "begins with segment 1: earlier ones were sent to another store"]


def test_a_later_version_is_refused(path):
    Spool(path).close()
    db = apsw.Connection(str(path))
    db.pragma("user_version", 4)
    db.close()
    with pytest.raises(SpoolError, match=r"by a later version \(schema 4, this one knows 3\); update lepton"):
        Spool(path)


def test_a_migration_that_is_cut_off_leaves_the_old_spool(path, monkeypatch):
    monkeypatch.setattr("lepton.results.schema.run_crc", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        Spool(path)
    monkeypatch.undo()
    with Spool(path) as spool:
        assert spool.status().waiting == 4


def test_version_2_is_told_which_segments_were_offered(tmp_path, keys):
    path = tmp_path / "spool.db"
    with Spool(path, max_bytes=MIN_MAX_BYTES) as spool:
        outbox = Outbox(spool, keys)
        for _ in range(3):
            spool.append("run", {"noise": keys.signing.sign(b"").hex() * 300})
            outbox.seal(1, 1 << 20)
    db = apsw.Connection(str(path))  # as it was then
    db.execute("ALTER TABLE segments ADD COLUMN offered INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE segments SET offered = sequence < 2")
    old = json.loads(db.execute("SELECT body FROM state").fetchall()[0][0])
    del old["offered"]
    body = json.dumps(old)
    db.execute("UPDATE state SET body = ?, crc = ?", (body, zlib.crc32(body.encode())))
    db.pragma("user_version", 2)
    db.close()
    with Spool(path, max_bytes=MIN_MAX_BYTES, policy="drop_oldest") as spool:
        for _ in range(100):
            spool.append("run", {"text": "x" * 9000})
        assert [s.sequence for s in Outbox(spool, keys).next(10)] == [0, 1]
