"""Full disks of every kind: whatever has filled them, and when, everything leaves as soon as there is room again."""

import time

import pytest
from lepton.results import DeviceKeys, ResultLog, Spool, SpoolError, SpoolFull, Store, Uploader
from lepton.results.verify import verify

from tests.host.results.disks import fill, mounted

KEYS = DeviceKeys.generate()


def uploader(spool, where, **options):
    return Uploader(spool, Store(where), KEYS, linger=0.02, backoff_base=0.02, backoff_cap=0.2, **options)


def left(spool):
    status = spool.status()
    return status.waiting + status.sealed


def texts(count, size=500):
    return [{"text": KEYS.signing.sign(bytes([i % 256])).hex() * (size // 128)} for i in range(count)]


def check(store, spool):
    counters = spool.status().counters
    report = verify(Store(store), KEYS.keyring())
    assert report.good, report
    assert report.records == counters["stored"] == counters["appended"]


@pytest.mark.parametrize("when", ["before the start", "while it runs"])
def test_a_disk_that_others_have_filled(tmp_path, when):
    with mounted(tmp_path / "disk") as disk, Spool(disk / "spool.db", device="cam") as spool:
        spool.append_many("run", texts(1000))
        ballast = fill(disk) if when == "before the start" else None
        with uploader(spool, tmp_path / "store") as running:
            if ballast is None:
                assert running.flush(20)
                spool.append_many("run", texts(1000))
                ballast = fill(disk)
            time.sleep(0.5)  # many tries
            for _ in range(3):  # not even the counter can be written
                with pytest.raises(SpoolFull, match="has no room for 2 records on its disk; they were rejected"):
                    spool.append_many("run", texts(2))
            ballast.unlink()
            spool.append("run", {"last": 1})
            assert running.flush(20), running.status
            assert left(spool) == 0 and spool.status().counters["rejected"] == 6
        check(tmp_path / "store", spool)


def test_a_disk_that_the_spool_itself_has_filled(tmp_path):
    """Records take the reserve neither from segments nor from confirmations."""
    with mounted(tmp_path / "disk", 6) as disk, Spool(disk / "spool.db", device="cam") as spool:
        for _ in range(2):
            with pytest.raises(SpoolFull, match="has no room for 50 records on its disk; they were rejected"):
                while True:
                    spool.append_many("run", texts(50))
            assert left(spool) > 1000
            with uploader(spool, tmp_path / "store") as running:
                assert running.flush(30), running.status
            assert left(spool) == 0
        check(tmp_path / "store", spool)


def test_a_disk_that_spool_and_target_share(tmp_path):
    """The store's objects fill it; when some have been taken away, the rest leaves."""
    with mounted(tmp_path / "disk", 6) as disk, Spool(disk / "spool.db", device="cam") as spool:
        with uploader(spool, disk / "store", segment_records=100) as running:
            with pytest.raises(SpoolFull):
                while True:
                    spool.append_many("run", texts(50))
                    running.flush(0.05)
            running.flush(0.5)
            stored = verify(Store(disk / "store"), KEYS.keyring()).records
            for path in (disk / "store" / "results").rglob("*.cose"):
                path.unlink()
            assert running.flush(20), running.status
        assert left(spool) == 0
        assert stored + verify(Store(disk / "store"), KEYS.keyring()).records >= spool.status().counters["appended"]


def test_a_full_target_is_away(tmp_path):
    with mounted(tmp_path / "disk") as disk, Spool(tmp_path / "spool.db", device="cam") as spool, \
            uploader(spool, disk) as running:
        spool.append_many("run", texts(100))
        assert running.flush(20)
        ballast = fill(disk)
        spool.append_many("run", texts(1000))
        assert not running.flush(0.5)
        assert "No space left on device" in running.status.last_error
        ballast.unlink()
        assert running.flush(20)
        check(disk, spool)
        assert list((disk / "staging").iterdir()) == []


def test_inference_goes_on_and_knows_what_it_lost(tmp_path):
    with mounted(tmp_path / "disk") as disk, Spool(disk / "spool.db", device="cam") as spool:
        with ResultLog(spool, model="m", model_hash="h", program_hash="p", config_hash="c", device="golden") as log:
            log.add({}, cycles=1)
            log.flush()
            ballast = fill(disk)
            for i in range(1000):
                log.add({}, cycles=i)
            log.flush()
            assert log.lost == 1000
            ballast.unlink()
            log.add({}, cycles=1)
        assert spool.status().counters["rejected"] == 1000 and spool.status().waiting == 2


def test_a_spool_cannot_be_made_on_a_full_disk(tmp_path):
    with mounted(tmp_path / "disk") as disk:
        ballast = fill(disk)
        with pytest.raises(SpoolError, match=r"the spool .* cannot be (written: the disk is full|used)"):
            Spool(disk / "spool.db")
        ballast.unlink()
        with Spool(disk / "spool.db") as spool:
            assert spool.append("run", {}) == 1


def test_keys_are_made_when_there_is_room_again(tmp_path):
    with mounted(tmp_path / "disk") as disk:
        ballast = fill(disk)
        with pytest.raises(OSError, match="No space left on device"):
            DeviceKeys.load_or_create(disk / "keys")
        ballast.unlink()
        DeviceKeys.load_or_create(disk / "keys")
