"""`verify` finds what was altered, forged, removed, repeated or lost in a store, and says so."""

import random
import shutil
from pathlib import Path

import pytest
from lepton.results import DeviceKeys, Outbox, Spool, Store
from lepton.results import segment as segments
from lepton.results.database import MIN_MAX_BYTES
from lepton.results.verify import verify


@pytest.fixture
def store(tmp_path, keys):
    """Two runs in five segments of a device."""
    store = Store(tmp_path / "store")
    with Spool(tmp_path / "spool.db", device="alpha") as spool:
        send(spool, store, keys, "one", 30)
        send(spool, store, keys, "two", 20)
    return store


def send(spool, store, keys, run, count, records=10):
    spool.append_many(run, [{"i": i} for i in range(count)])
    outbox = Outbox(spool, keys)
    while sealed := outbox.seal(records, 1 << 20):
        store.put_new(sealed.key, sealed.data)
        outbox.confirm([sealed])


def path(store, index):
    return Path(store.where) / store.keys("alpha")[index]


def test_a_good_store(store, keys):
    report = verify(store, keys.keyring())
    [spool] = report.spools
    assert report.good and (spool.segments, spool.records, spool.runs, spool.holes) == (5, 50, 2, 0)
    assert spool.signers == {keys.public_hex} and not spool.notes
    assert verify(store, keys.keyring(), run="two").records == 20
    assert verify(store, keys.keyring(), device="beta").records == 0
    assert verify(store, keys.keyring(), run="none").errors == [
        f"the store {store.where!r} has no record of run 'none'"]


def test_altered(store, keys):
    data = bytearray(path(store, 2).read_bytes())
    data[-20] ^= 1
    path(store, 2).write_bytes(data)
    report = verify(store, keys.keyring())
    assert not report.good
    assert "is damaged: its bytes have the SHA-256" in report.errors[0]
    assert report.spools[0].errors == ["segments 2 to 2 are missing, and the device has counted no loss"]


def test_signed_by_another(store, keys):
    """With the keys of another device nothing can be said of the store; it is not called right."""
    report = verify(store, DeviceKeys.generate().keyring())
    assert not report.good and not report.errors and not report.spools
    assert report.unchecked == {("alpha", keys.public_hex): 5}


def test_two_devices_are_checked_with_the_keys_of_both(store, keys, tmp_path):
    other = DeviceKeys.generate()
    with Spool(tmp_path / "other.db", device="beta") as spool:
        send(spool, store, other, "three", 20)
    report = verify(store, keys.keyring())
    assert not report.good and not report.errors and report.unchecked == {("beta", other.public_hex): 2}
    assert [spool.device for spool in report.spools] == ["alpha"] and not report.spools[0].errors
    report = verify(store, keys.keyring() | other.keyring())
    assert report.good and report.records == 70
    assert verify(store, other.keyring(), device="beta").good


def test_a_stranger_among_a_devices_segments_is_an_error(store, keys, tmp_path):
    """One that takes the place of the newest, in the same spool, with a key of its own."""
    with Spool(tmp_path / "spool.db") as spool:
        forged = Outbox(spool, DeviceKeys.generate())
        spool.append_many("two", [{}] * 10)
        sealed = forged.seal(10, 1 << 20)
        store.put_new(sealed.key, sealed.data)
    report = verify(store, keys.keyring())
    assert len(report.errors) == 1 and "which is not trusted" in report.errors[0] and not report.unchecked


def test_a_segment_that_no_one_signed_is_an_error_whatever_the_keys(store, keys):
    """A signature that is not that of the signer that the header names."""
    original = path(store, 0).read_bytes()
    header = int.from_bytes(original[8:12], "little")
    data = bytearray(original)
    data[12 + header] ^= 1
    key = segments.key_of("alpha", 0, segments.sha256(bytes(data)))
    path(store, 0).unlink()
    (Path(store.where) / key).write_bytes(data)
    for keyring in (keys.keyring(), DeviceKeys.generate().keyring()):
        assert any("is forged: its signature is not that of" in text for text in verify(store, keyring).errors)


@pytest.mark.parametrize(("index", "text"), [
    (1, "segments 1 to 1 are missing, and the device has counted no loss"),
    (0, "10 records are missing; the device has counted only 0 as lost"),
])
def test_removed(store, keys, index, text):
    path(store, index).unlink()
    report = verify(store, keys.keyring(), run=None)
    assert not report.good if index else report.spools[0].notes
    found = report.spools[0].errors + report.spools[0].notes
    assert text in found or "begins with segment 1: earlier ones were sent to another store" in found


def test_exchanged_for_another_genuine_segment(tmp_path, store, keys):
    """The device's own segment with the same number, from another life of its spool."""
    other = Store(tmp_path / "other")
    shutil.copy(tmp_path / "spool.db", tmp_path / "copy.db")  # before: a state that has sent nothing since
    for name in ("spool.db", "copy.db"):
        with Spool(tmp_path / name) as spool:
            send(spool, store if name == "spool.db" else other, keys, "three", 10)
    [forked] = other.keys("alpha")
    data = other.get(forked)
    store.put_new(forked, data)
    report = verify(store, keys.keyring())
    assert any("segment 5 is stored twice" in text for text in report.spools[0].errors)
    genuine = next(key for key in store.keys("alpha") if key[:27] == forked[:27] and key != forked)
    (Path(store.where) / genuine).unlink()
    with Spool(tmp_path / "spool.db") as spool:
        send(spool, store, keys, "four", 10)
    assert any("segment 6 does not follow the stored one before it" in text
               for text in verify(store, keys.keyring()).spools[0].errors)


def test_records_twice(tmp_path, store, keys):
    with Spool(tmp_path / "spool.db") as spool:
        send(spool, store, keys, "three", 10)
        with spool.database.transaction():
            spool.database.db.execute("DELETE FROM runs")  # the spool forgets what it had
        send(spool, store, keys, "three", 12)
    report = verify(store, keys.keyring())
    assert "10 records are stored twice" in report.spools[0].errors


def test_counted_losses_explain_holes(tmp_path, keys):
    store = Store(tmp_path / "store")
    with Spool(tmp_path / "spool.db", max_bytes=MIN_MAX_BYTES, policy="drop_oldest") as spool:
        noise = random.Random(3)
        for _ in range(60):
            spool.append_many("run", [{"text": noise.randbytes(3000).hex()} for _ in range(6)])
            Outbox(spool, keys).seal(6, 1 << 20)
        send(spool, store, keys, "run", 5)
        outbox = Outbox(spool, keys)
        while window := outbox.next(10):
            for sealed in window:
                store.put_new(sealed.key, sealed.data)
            outbox.confirm(window)
        dropped = spool.status().counters["dropped"]
    report = verify(store, keys.keyring())
    assert report.good, report
    assert dropped > 0 and report.records == 365 - dropped
