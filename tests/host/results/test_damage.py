"""Spool files that were truncated, altered or encrypted: a clear error, or every record intact or counted."""

import random
import shutil
import subprocess
import sys

import apsw
import pytest
from lepton.results import CloudError, Outbox, Spool, SpoolDamaged, SpoolError, Store, Uploader
from lepton.results import segment as segments
from lepton.results.salvage import salvage
from lepton.results.verify import verify

RECORDS = 600
CAP = 4 << 20


def fill(path):
    """In a process that dies, so that the log is not written back: records, segments, and some that have left."""
    script = f"""
import os
from lepton.results import DeviceKeys, Outbox, Spool
spool = Spool({str(path)!r}, device="alpha", max_bytes={CAP})
outbox = Outbox(spool, DeviceKeys.load_or_create({str(path.parent / "keys")!r}))
for i in range(0, {RECORDS}, 20):
    spool.append_many("run", [{{"i": i + n, "text": "t" * (n * 7)}} for n in range(20)])
    if i in (100, 200):
        outbox.seal(50, 1 << 20)
    if i == 160:
        outbox.confirm(outbox.next(1))
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    fill(folder / "spool.db")
    return folder


@pytest.fixture
def copy(original, tmp_path):
    for file in original.glob("spool.db*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "spool.db"


@pytest.fixture(scope="module")
def keyring(original):
    from lepton.results import DeviceKeys
    return DeviceKeys.load(original / "keys").keyring()


@pytest.fixture(scope="module")
def device_keys(original):
    from lepton.results import DeviceKeys
    return DeviceKeys.load(original / "keys")


def drained(path, device_keys, numbers=None):
    """Numbers that come out, each checked, and the counters. Raises what the spool raises."""
    numbers = [] if numbers is None else numbers
    with Spool(path, max_bytes=CAP) as spool:
        outbox = Outbox(spool, device_keys)
        while window := outbox.next(10) or [s for s in [outbox.seal(64, 1 << 20)] if s]:
            for sealed in window:
                for record in segments.parse(sealed.data, sealed.key).open(device_keys.keyring()):
                    assert record["text"] == "t" * (record["number"] % 20 * 7) and record["i"] == record["number"]
                    numbers.append(record["number"])
            outbox.confirm(window)
        return numbers, spool.status().counters


def check(path, device_keys):
    """Open and drain; where that ends in an error, salvage and drain. Returns what was done."""
    said = "fine"
    numbers = []
    try:
        _, counters = drained(path, device_keys, numbers)
    except CloudError as error:
        assert "spool.db" in str(error), error
        try:
            salvage(path, max_bytes=CAP)
        except SpoolError as nothing:
            assert "nothing of" in str(nothing)
            return "nothing"
        _, counters = drained(path, device_keys, numbers)
        said = "salvaged"
    gone = set(range(50))  # confirmed before
    missing = set(range(RECORDS)) - gone - set(numbers)
    assert len(missing) <= counters["damaged"], f"{len(missing)} lost, {counters['damaged']} counted"
    return said


def test_an_intact_copy_is_whole(copy, device_keys):
    numbers, counters = drained(copy, device_keys)
    assert numbers == list(range(50, RECORDS)) and counters["damaged"] == 0


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_altered_bits(original, tmp_path, device_keys, suffix):
    rng = random.Random(f"bits{suffix}")
    said = []
    for round_ in range(40):
        path = tmp_path / str(round_) / "spool.db"
        path.parent.mkdir()
        for file in original.glob("spool.db*"):
            shutil.copy(file, path.parent)
        if suffix == "":  # what is in the log hides what is in the database
            apsw.Connection(str(path)).close()
        target = path.parent / f"spool.db{suffix}"
        content = bytearray(target.read_bytes())
        for _ in range(rng.choice([1, 1, 8])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        target.write_bytes(content)
        said.append(check(path, device_keys))
    assert said.count("nothing") <= 6
    assert len(set(said)) > 1 or suffix == "-wal"


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_truncated_files(original, tmp_path, device_keys, suffix):
    rng = random.Random(f"cut{suffix}")
    for round_ in range(25):
        path = tmp_path / str(round_) / "spool.db"
        path.parent.mkdir()
        for file in original.glob("spool.db*"):
            shutil.copy(file, path.parent)
        if suffix == "":
            apsw.Connection(str(path)).close()
        target = path.parent / f"spool.db{suffix}"
        target.write_bytes(target.read_bytes()[:rng.randrange(target.stat().st_size)])
        check(path, device_keys)


def test_a_log_that_is_gone_is_noticed(copy, device_keys):
    copy.with_name("spool.db-wal").unlink()
    copy.with_name("spool.db-shm").unlink(missing_ok=True)
    try:
        numbers, counters = drained(copy, device_keys)
    except SpoolDamaged:
        salvage(copy, max_bytes=CAP)
        numbers, counters = drained(copy, device_keys)
    assert counters["damaged"] >= RECORDS - 50 - len(set(numbers) - set(range(50)))


def test_an_emptied_file_is_not_taken_for_a_new_one(copy, device_keys):
    copy.write_bytes(b"")
    copy.with_name("spool.db-wal").unlink()
    with pytest.raises(SpoolDamaged, match=r"is damaged: it is empty, but had 550 records; save what can be "
                                           r"read with: lepton cloud salvage --spool .*spool\.db"):
        Spool(copy)
    found = salvage(copy, max_bytes=CAP)
    assert (found.records, found.lost) == (0, 550)
    with Spool(copy, max_bytes=CAP) as spool:
        assert spool.status().counters["damaged"] == 550


def test_salvage_keeps_the_damaged_files_and_what_could_not_be_saved_is_counted(copy, device_keys):
    apsw.Connection(str(copy)).close()
    content = bytearray(copy.read_bytes())
    page = next(p for p in range(len(content) - 4096, 0, -4096) if b'"number":300}' in content[p:p + 4096])
    content[page:page + 200] = bytes(200)  # the page's header and cell pointers
    copy.write_bytes(content)
    first = []
    with pytest.raises(SpoolDamaged, match=r"is damaged: .*; save what can be read with: lepton cloud salvage "):
        drained(copy, device_keys, first)
    found = salvage(copy, max_bytes=CAP)
    assert found.lost > 0 and found.records > 100
    assert found.kept.endswith("spool.db.damaged-1") and copy.with_name("spool.db.damaged-1").exists()
    numbers, counters = drained(copy, device_keys, first)
    assert len(set(numbers)) + found.lost >= 550 and counters["damaged"] >= found.lost


@pytest.mark.parametrize("state", ["mark", "segments", "given"])
def test_salvage_invents_no_device(tmp_path, device_keys, state):
    """The row with the name is destroyed: the mark has it too, and so do segments; otherwise it must be given."""
    path = tmp_path / "spool.db"
    store = Store(tmp_path / "store")
    with Spool(path, device="cam7") as spool, Uploader(spool, store, device_keys) as uploader:
        spool.append_many("before", [{}] * 5)
        assert uploader.flush(20)
    with Spool(path) as spool:
        spool.append_many("run", [{"i": i} for i in range(10)])
        if state == "segments":
            Outbox(spool, device_keys).seal(5, 1 << 20)
        spool.database.db.execute("UPDATE state SET crc = 1, body = '{}'")
    if state != "mark":
        path.with_name("spool.db-mark").unlink()
    if state == "given":
        with pytest.raises(SpoolError, match=r"the name of the device cannot be read in .*; give it with --device"):
            salvage(path)
        assert path.exists()
    assert salvage(path, device="cam7" if state == "given" else None).lost == 0
    with Spool(path) as spool, Uploader(spool, store, device_keys) as uploader:
        assert spool.device == "cam7"
        assert uploader.flush(20)
    report = verify(store, device_keys.keyring())
    assert report.good, report
    assert report.records == 15


def test_nothing_to_salvage(tmp_path):
    with pytest.raises(SpoolError, match="there is no such spool"):
        salvage(tmp_path / "none.db")
    (tmp_path / "noise.db").write_bytes(random.Random(1).randbytes(20000))
    with pytest.raises(SpoolError, match=r"nothing in .* can be read; give its key if it is encrypted"):
        salvage(tmp_path / "noise.db")
    assert (tmp_path / "noise.db").exists()


def test_encrypted_spools(tmp_path, device_keys):
    path = tmp_path / "spool.db"
    key = bytes(range(32))
    with Spool(path, device="alpha", key=key) as spool:
        spool.append("run", {"secret": "a word that is not to be found"})
        for file in tmp_path.iterdir():
            assert b"a word that is not" not in file.read_bytes()
    with Spool(path, key=key) as spool:
        assert spool.status().waiting == 1
    with pytest.raises(SpoolDamaged, match=r"cannot be read .*give its key if it has one"):
        Spool(path)
    with pytest.raises(SpoolDamaged, match="wrong key, or damaged"):
        Spool(path, key=bytes(32))
    with pytest.raises(SpoolError, match="must have 32 bytes, not 5"):
        Spool(path, key=b"short")
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1  # pages are authenticated
    path.write_bytes(content)
    found = salvage(path, key=key)
    assert found.records + found.lost == 1
