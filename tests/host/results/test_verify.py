"""`verify` finds what was altered, forged, removed, repeated or lost in a store, and says so."""

import random
import shutil
from pathlib import Path

import cbor2
import pytest
from lepton.results import DeviceKeys, Keyring, Outbox, Spool, Store, StoreError, envelope
from lepton.results import head as heads
from lepton.results import segment as segments
from lepton.results.database import MIN_MAX_BYTES
from lepton.results.head import Ledger
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
        outbox.confirm([sealed], store.place)
    store.put_head(*outbox.head(store.place))


def path(store, index):
    return Path(store.where) / store.keys("alpha")[index]


def head_path(store):
    [key] = store.heads()
    return Path(store.where) / key


def errors(report):
    return report.errors + [text for spool in report.spools for text in spool.errors]


def test_a_good_store(store, keys):
    report = verify(store, keys.keyring())
    [spool] = report.spools
    assert report.good and (spool.segments, spool.records, spool.runs, spool.holes) == (5, 50, 2, 0)
    assert spool.signers == {keys.public_hex} and not spool.notes
    assert spool.head[0] == 4
    assert verify(store, keys.keyring(), run="two").records == 20
    assert verify(store, keys.keyring(), run="none").errors == [
        f"the store {store.where!r} has no record of run 'none'"]


def test_public_keys_suffice(store, keys):
    """Nothing is decrypted, and all but the contents is checked."""
    public = Keyring(signers=frozenset({keys.public_hex}))
    report = verify(store, public)
    assert report.good and report.records == 50
    path(store, 1).unlink()
    assert not verify(store, public).good


def test_an_empty_or_mistyped_place_is_an_error(tmp_path, store, keys):
    with pytest.raises(StoreError, match="has no results of device 'beta'; give the folder or URL of another store"):
        verify(store, keys.keyring(), device="beta")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="has no results; give the folder or URL of another store"):
        verify(Store(tmp_path / "empty"), keys.keyring())


def test_altered(store, keys):
    data = bytearray(path(store, 2).read_bytes())
    data[-20] ^= 1
    path(store, 2).write_bytes(data)
    report = verify(store, keys.keyring())
    assert not report.good
    found = report.spools[0].errors
    assert "is damaged: its bytes have the SHA-256" in found[0]
    assert "segments 2 to 2 are missing: the device's signed head says that they were stored here" in found


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
    assert len(errors(report)) == 1 and "which is not trusted" in errors(report)[0] and not report.unchecked


def test_a_segment_that_no_one_signed_is_an_error_whatever_the_keys(store, keys):
    """A signature that is not that of the signer that the header names."""
    original = path(store, 0).read_bytes()
    parts = cbor2.loads(original).value
    data = cbor2.dumps(cbor2.CBORTag(18, [*parts[:3], bytes(64)]))
    key = segments.split_key(store.keys()[0])._replace(digest=segments.sha256(data))
    path(store, 0).unlink()
    (Path(store.where) / segments.join_key(key)).write_bytes(data)
    for keyring in (keys.keyring(), DeviceKeys.generate().keyring()):
        assert any("is forged: its signature is not that of" in text for text in errors(verify(store, keyring)))


@pytest.mark.parametrize("removed", [[0], [2], [4], [0, 1, 2], [3, 4], [1, 3], [0, 1, 2, 3, 4]])
def test_removed(store, keys, removed):
    """The oldest, the newest, some between, a whole run, and all of it."""
    for index in reversed(removed):
        path(store, index).unlink()
    found = errors(verify(store, keys.keyring()))
    for index in removed:
        assert any(text.endswith("the device's signed head says that they were stored here")
                   and int(text.split()[1]) <= index <= int(text.split()[3]) for text in found), (index, found)


def test_a_removed_or_altered_head_is_an_error(store, keys):
    data = head_path(store).read_bytes()
    head_path(store).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert any("is forged: its signature is not that of" in text for text in errors(verify(store, keys.keyring())))
    head_path(store).write_bytes(b"junk")
    assert any("cannot be read" in text for text in errors(verify(store, keys.keyring())))
    head_path(store).unlink()
    assert errors(verify(store, keys.keyring())) == [
        "the device's signed head is missing, so missing segments at the end cannot be noticed"]


def test_each_altered_field_of_a_head_is_noticed(store, keys):
    [key] = store.heads()
    data = head_path(store).read_bytes()
    others = {"format": "x", "tenant": "other", "device": "other", "spool": "1" * 32, "ranges": [[0, 3]],
              "digest": "1" * 64}
    for name, value in envelope.parse(data).header.items():
        protected, *rest = cbor2.loads(data).value
        described = cbor2.loads(protected)
        described["lepton"][name] = others[name] if name in others else value + 1
        head_path(store).write_bytes(cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps(described), *rest])))
        assert any(f"head {key} is" in text or f"head {key} cannot be read" in text
                   for text in errors(verify(store, keys.keyring()))), name


def test_another_devices_head_is_not_accepted(store, keys):
    """A head that another trusted... key signed for the same place; and one that was moved there."""
    stranger = DeviceKeys.generate()
    parts = heads.split_key(store.heads()[0])
    forged = heads.seal(stranger, Ledger([[0, 0]], 1, 10, "0" * 64), tenant=parts[0], device=parts[1], spool=parts[2])
    head_path(store).write_bytes(forged[1])
    report = verify(store, keys.keyring())
    assert not report.good and report.unchecked == {("alpha", stranger.public_hex): 0}
    moved = heads.seal(keys, Ledger([[0, 0]], 1, 10, "0" * 64), tenant="default", device="alpha", spool="f" * 32)
    head_path(store).write_bytes(moved[1])
    assert any("is that of heads/tenant=default/device=alpha/ffff" in text
               for text in errors(verify(store, keys.keyring())))


def test_a_store_that_was_set_back_is_noticed_by_what_was_known(tmp_path, store, keys):
    """Segments and head of an earlier moment are genuine; only who has seen a later one notices."""
    shutil.copytree(store.where, tmp_path / "earlier")
    with Spool(tmp_path / "spool.db") as spool:
        send(spool, store, keys, "three", 10)
    known = verify(store, keys.keyring()).known()
    assert list(known.values()) == [5]
    earlier = Store(tmp_path / "earlier")
    assert verify(earlier, keys.keyring()).good
    assert errors(verify(earlier, keys.keyring(), known=known)) == [
        "the store was set back: an earlier check found a head up to segment 5, now it is 4"]
    assert verify(store, keys.keyring(), known=known).good
    shutil.rmtree(Path(store.where) / "results")
    shutil.rmtree(Path(store.where) / "heads")
    with Spool(tmp_path / "other.db", device="beta") as spool:  # the other device has vanished as a whole
        send(spool, store, keys, "four", 10)
    assert not verify(store, keys.keyring(), known=known).good


def test_segments_that_another_store_was_given_are_no_error(tmp_path, store, keys):
    """By the signed head they were never here; without a head that could not be known."""
    elsewhere = Store(tmp_path / "elsewhere")
    with Spool(tmp_path / "spool.db") as spool:
        send(spool, elsewhere, keys, "one", 20)
        send(spool, store, keys, "two", 20)
    for one, notes in ((elsewhere, "segments 0 to 4 are"), (store, "segments 5 to 6 are")):
        report = verify(one, keys.keyring())
        assert report.good, errors(report)
        assert report.spools[0].notes[0].startswith(f"{notes} missing: by the signed head they were never stored here")


def test_newer_segments_than_the_head_are_a_note(tmp_path, store, keys):
    with Spool(tmp_path / "spool.db") as spool:
        spool.append_many("two", [{}] * 10)
        sealed = Outbox(spool, keys).seal(10, 1 << 20)
        store.put_new(sealed.key, sealed.data)
    report = verify(store, keys.keyring())
    assert report.good
    assert report.spools[0].notes == ["1 segments are newer than the signed head; an upload may be under way"]


def test_exchanged_for_another_genuine_segment(tmp_path, store, keys):
    """The device's own segment with the same number, from another life of its spool."""
    other = Store(tmp_path / "other")
    shutil.copy(tmp_path / "spool.db", tmp_path / "copy.db")  # before: a state that has sent nothing since
    for name in ("spool.db", "copy.db"):
        with Spool(tmp_path / name) as spool:
            send(spool, store if name == "spool.db" else other, keys, "three", 10)
    [forked] = other.keys("alpha")
    store.put_new(forked, other.get(forked))
    assert any("segment 5 is stored twice" in text for text in errors(verify(store, keys.keyring())))
    genuine = next(key for key in store.keys("alpha") if key != forked and segments.split_key(key).sequence == 5)
    (Path(store.where) / genuine).unlink()
    assert "segment 5 is not the one that the signed head names" in errors(verify(store, keys.keyring()))
    with Spool(tmp_path / "spool.db") as spool:
        send(spool, store, keys, "four", 10)
    assert any("segment 6 does not follow the stored one before it" in text
               for text in errors(verify(store, keys.keyring())))


@pytest.mark.parametrize("public", [False, True])
def test_records_twice(tmp_path, store, keys, public):
    with Spool(tmp_path / "spool.db") as spool:
        send(spool, store, keys, "three", 10)
        with spool.database.transaction():
            spool.database.db.execute("DELETE FROM runs")  # the spool forgets what it had
        send(spool, store, keys, "three", 12)
    report = verify(store, Keyring(signers=frozenset({keys.public_hex})) if public else keys.keyring())
    assert errors(report) == ["10 records are stored twice"]
    assert report.records == 62


def test_records_twice_with_different_contents(tmp_path, store, keys):
    with Spool(tmp_path / "spool.db") as spool:
        send(spool, store, keys, "three", 10)
        with spool.database.transaction():
            spool.database.db.execute("DELETE FROM runs")
        spool.append_many("three", [{"i": i + (i == 4)} for i in range(10)])
        outbox = Outbox(spool, keys)
        sealed = outbox.seal(10, 1 << 20)
        store.put_new(sealed.key, sealed.data)
    assert errors(verify(store, keys.keyring())) == [
        "record 4 of run three is stored twice with different contents", "10 records are stored twice"]


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
            outbox.confirm(window, store.place)
        store.put_head(*outbox.head(store.place))
        dropped = spool.status().counters["dropped"]
    report = verify(store, keys.keyring())
    assert report.good, report
    assert dropped > 0 and report.records == 365 - dropped


def test_memory_is_bounded_and_segments_are_read_once(tmp_path, store, keys):
    """Not all of a store at once: at most a few segments are read ahead of what is checked."""
    reads = []

    class Watching(Store):
        def get(self, key):
            reads.append(key)
            return super().get(key)

    assert verify(Watching(store.where), keys.keyring()).good
    assert sorted(reads) == sorted([*store.keys(), *store.heads()])
