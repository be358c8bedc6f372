"""The spool on its own: what is acknowledged is kept, numbered once, and never exceeds the cap."""

import os
import random

import apsw
import pytest
from lepton.results import DeviceKeys, Outbox, Spool, SpoolDamaged, SpoolError, SpoolFull
from lepton.results import segment as segments
from lepton.results.database import MIN_MAX_BYTES

KEYS = DeviceKeys.generate()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.db"


def drain(spool):
    """Seal and confirm everything; the records that came out, in order."""
    outbox = Outbox(spool, KEYS)
    records = []
    while window := outbox.next() or [outbox.seal(1000, 1 << 20)]:
        if window == [None]:
            return records
        for sealed in window:
            records += opened(sealed)[1]
        outbox.confirm(window)


def opened(sealed):
    """Header and records of a segment, after every check."""
    read = segments.parse(sealed.data, sealed.key)
    return read.header, read.open(KEYS.keyring())


def check_books(spool):
    s = spool.status()
    assert s.counters["appended"] == (s.waiting + s.sealed + s.refused + s.counters["stored"] + s.counters["dropped"]
                                      + s.counters["damaged"])


def test_journal_settings_are_the_durable_ones(path):
    with Spool(path) as spool:
        assert spool.database.db.pragma("journal_mode") == "wal"
        assert spool.database.db.pragma("synchronous") == 2  # FULL
        assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)  # older: WAL-reset corruption
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_records_survive_reopening_and_come_out_in_order(path):
    with Spool(path, device="alpha") as spool:
        spool.append_many("run", [{"value": i} for i in range(100)])
        spool.append("run", {"value": 100})
    with Spool(path) as spool:
        assert spool.device == "alpha"
        assert spool.status().waiting == 101
        assert drain(spool) == [{"value": i, "run": "run", "number": i} for i in range(101)]
        check_books(spool)
    with Spool(path) as spool:
        assert drain(spool) == []
        assert spool.status().counters["stored"] == 101


def test_repeated_numbers_are_taken_once_even_after_upload(path):
    with Spool(path) as spool:
        assert spool.append_many("run", [{}] * 10, first=0) == 10
        assert len(drain(spool)) == 10
        assert spool.append_many("run", [{}] * 10, first=5) == 5
        assert spool.append_many("run", [{}] * 3, first=0) == 0
        assert spool.append_many("other", [{}] * 3, first=0) == 3
        assert [(r["run"], r["number"]) for r in drain(spool)] == \
            [("run", n) for n in range(10, 15)] + [("other", n) for n in range(3)]
        assert spool.status().counters["duplicate"] == 8
        assert spool.last_number("run") == 14
        assert spool.last_number("unknown") == -1


def test_a_record_cannot_forge_its_number(path):
    with Spool(path) as spool:
        spool.append("run", {"run": "another", "number": 77})
        assert drain(spool) == [{"run": "run", "number": 0}]


@pytest.mark.parametrize("policy", ["reject", "drop_oldest", "block"])
def test_cap_holds_and_every_loss_is_counted(path, policy):
    rng = random.Random(7)
    with Spool(path, max_bytes=MIN_MAX_BYTES, policy=policy) as spool:
        offered = rejected = 0
        for _ in range(600):
            batch = [{"text": "x" * rng.choice([1, 50, 3000, 9000])} for _ in range(rng.randint(1, 5))]
            offered += len(batch)
            try:
                spool.append_many("run", batch, timeout=0)
            except SpoolFull:
                rejected += len(batch)
            assert spool.file_bytes() <= MIN_MAX_BYTES
            if policy != "drop_oldest" and rejected > 50:
                break
        counters = spool.status().counters
        assert counters["appended"] == offered - rejected
        assert counters["rejected"] == rejected
        assert (counters["dropped"] > 100) == (policy == "drop_oldest")
        assert (rejected > 0) == (policy != "drop_oldest")
        check_books(spool)
        if policy == "drop_oldest":  # the youngest are what is left
            assert drain(spool)[-1]["number"] == spool.last_number("run")
        else:  # there is room again once something has left
            assert len(drain(spool)) == offered - rejected
            spool.append("run", {"text": "x" * 3000}, timeout=0)
        assert spool.file_bytes() <= MIN_MAX_BYTES


def test_reject_says_what_is_full_and_takes_nothing(path):
    with Spool(path, max_bytes=MIN_MAX_BYTES) as spool:
        with pytest.raises(SpoolFull, match=r"has no room for 3 records within its limit of 1048576 bytes; "
                                            r"they were rejected"):
            while True:
                spool.append_many("run", [{"text": "x" * 14000}] * 3)
        assert (spool.last_number("run") + 1) % 3 == 0


def test_block_waits_for_room_and_names_the_time_limit(path):
    with Spool(path, max_bytes=MIN_MAX_BYTES, policy="block") as spool:
        with pytest.raises(SpoolFull, match=r"within its limit of 1048576 bytes; there was none within 0\.05 s"):
            while True:
                spool.append("run", {"text": "x" * 50000}, timeout=0.05)
        check_books(spool)


def test_what_can_never_be_taken_is_refused_with_the_remedy(path):
    with Spool(path, max_bytes=MIN_MAX_BYTES) as spool:
        with pytest.raises(SpoolError, match=r"a batch may have at most 65536 bytes \(max_bytes / 16\), not \d+; "
                                             r"append fewer records at once or give the spool a larger max_bytes"):
            spool.append_many("run", [{"text": "x" * 50_000}] * 2)
        with pytest.raises(SpoolError, match=r"records are numbered from 0, not -1"):
            spool.append("run", {}, number=-1)
        with pytest.raises(SpoolError, match=r"a segment's origin must be a map of at most 32 names of at most "):
            spool.append_many("run", [{}], origin={f"name{i}": "" for i in range(33)})
        assert spool.status().waiting == 0


@pytest.mark.parametrize(("options", "text"), [
    ({"policy": "lose"}, r"policy must be one of block, reject, drop_oldest, not 'lose'"),
    ({"max_bytes": 1000}, r"max_bytes must be at least 1048576, not 1000"),
    ({"device": "../up"}, r"a device name must be 1 to 64 letters.*not '\.\./up'"),
])
def test_bad_options(path, options, text):
    with pytest.raises(SpoolError, match=text):
        Spool(path, **options)


def test_another_device_is_refused(path):
    Spool(path, device="alpha").close()
    with pytest.raises(SpoolError, match="belongs to device 'alpha', not 'beta'; give each device a spool of its own"):
        Spool(path, device="beta")


def test_foreign_and_damaged_files_are_refused(path):
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(SpoolDamaged, match=r"cannot be read \(encrypted, or damaged: .*lepton cloud salvage --spool "):
        Spool(path)
    path.unlink()
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(SpoolError, match="is a database of another program; give another path"):
        Spool(path)
    assert path.stat().st_size  # and left alone


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot open the spool"):
        Spool(tmp_path / "file" / "spool.db")
