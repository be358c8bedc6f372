"""A target that is gone, or another one in its place, is away: results wait, and nothing is written or confirmed."""

import shutil
import subprocess
import time

import pytest
from lepton.cli import main
from lepton.results import Spool, Store, Unavailable, Uploader, store_identity
from lepton.results.salvage import salvage
from lepton.results.verify import verify

from tests.host.results.disks import mount, mounted, unmount


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "spool.db", device="cam") as spool:
        yield spool


def uploader(spool, where, keys):
    return Uploader(spool, Store(where), keys, linger=0.02, backoff_base=0.05, backoff_cap=0.1)


def left(spool):
    status = spool.status()
    return status.waiting + status.sealed


def append(spool, count=10):
    spool.append_many("run", [{"i": i} for i in range(count)])


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def waits(spool, running, text):
    """Ten more records stay in the spool, and the status says why."""
    append(spool)
    assert not running.flush(0.7)
    assert left(spool) == 10
    assert text in spool.status().upload["error"]


def arrives(spool, running, where, keys, count):
    assert running.flush(20)
    assert left(spool) == 0
    report = verify(Store(where), keys.keyring())
    assert report.good and report.records == count


def test_a_disk_that_is_unmounted_is_away(tmp_path, spool, keys):
    disk = tmp_path / "disk"
    with mounted(disk), uploader(spool, disk / "store", keys) as running:
        append(spool)
        assert running.flush(20)
        shutil.copytree(disk, tmp_path / "content")
        unmount(disk)
        waits(spool, running, f"{disk / 'store'} is missing; is its disk mounted? Results wait")
        assert files(disk) == []
        mount(disk)
        shutil.copytree(tmp_path / "content", disk, dirs_exist_ok=True)  # the disk is back
        arrives(spool, running, disk / "store", keys, 20)


def test_a_target_at_the_root_of_a_disk(tmp_path, spool, keys):
    """The mount point stays when the disk goes: an empty folder at the very place of the target."""
    disk = tmp_path / "disk"
    with mounted(disk):
        with uploader(spool, disk, keys) as running:
            append(spool)
            assert running.flush(20)
            unmount(disk)
            waits(spool, running, f"{disk} is not the store that was used before: it has no lepton-store.json")
            assert files(disk) == []
        with uploader(spool, disk, keys) as running:  # a program that is started meanwhile
            assert not running.flush(0.5)
            assert left(spool) == 10 and files(disk) == []


def test_a_disk_that_goes_while_objects_are_put(tmp_path, spool, keys):
    """Whatever the moment, nothing is written beneath the mount point."""
    disk = tmp_path / "disk"
    with mounted(disk, 64), uploader(spool, disk, keys) as running:
        running._segment_records = 5
        spool.append_many("run", [{"i": i} for i in range(3000)])
        while not running.status.segments:
            time.sleep(0.001)
        unmount(disk)
        running.flush(0.5)
        assert files(disk) == []
        assert left(spool) > 0


def test_a_folder_that_was_renamed_is_away(tmp_path, spool, keys):
    with uploader(spool, tmp_path / "store", keys) as running:
        append(spool)
        assert running.flush(20)
        (tmp_path / "store").rename(tmp_path / "elsewhere")
        waits(spool, running, "store is missing; is its disk mounted? Results wait")
        assert not (tmp_path / "store").exists()
        (tmp_path / "elsewhere").rename(tmp_path / "store")
        arrives(spool, running, tmp_path / "store", keys, 20)


def test_another_store_in_its_place_is_not_taken_for_it(tmp_path, spool, keys):
    other = Store(tmp_path / "other")
    other.identify()
    with uploader(spool, tmp_path / "store", keys) as running:
        append(spool)
        assert running.flush(20)
        (tmp_path / "store").rename(tmp_path / "kept")
        (tmp_path / "other").rename(tmp_path / "store")
        waits(spool, running, "store is not the store that was used before: its lepton-store.json has the identity")
        assert len(files(tmp_path / "store")) == 1


def test_a_damaged_identity_is_no_identity(tmp_path, spool, keys):
    with uploader(spool, tmp_path / "store", keys) as running:
        append(spool)
        assert running.flush(20)
        for content in (b"", b"{}", b'{"format":"lepton-store/1","store":7}', b"\xff", b"[1]"):
            (tmp_path / "store" / store_identity.KEY).write_bytes(content)
            with pytest.raises(Unavailable, match=r"lepton-store.json is damaged, so this may not be the store that "):
                running.target.identify(None)


def test_a_disk_that_is_only_read_is_away(tmp_path, spool, keys):
    disk = tmp_path / "disk"
    with mounted(disk), uploader(spool, disk / "store", keys) as running:
        append(spool)
        assert running.flush(20)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        waits(spool, running, "Read-only file system")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        arrives(spool, running, disk / "store", keys, 20)


def test_a_store_may_move_and_be_reached_by_other_names(tmp_path, spool, keys, monkeypatch):
    with uploader(spool, tmp_path / "store", keys) as running:
        append(spool)
        assert running.flush(20)
    (tmp_path / "store").rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for where in ("moved", tmp_path / "link"):
        append(spool)
        with uploader(spool, where, keys) as running:
            assert running.flush(20)
    assert verify(Store("moved"), keys.keyring()).records == 30


def test_a_new_store_is_accepted_by_command(tmp_path, keys, capsys):
    path = tmp_path / "spool.db"
    where = tmp_path / "store"
    with Spool(path, device="cam") as spool, uploader(spool, where, keys) as running:
        append(spool)
        assert running.flush(20)
        shutil.rmtree(where)
        waits(spool, running, f"is missing; is its disk mounted? Results wait in the spool. To make a new store there, "
                              f"accept it with: lepton cloud accept {where}")
    assert main(["cloud", "accept", str(where), "--spool", str(path)]) == 0
    assert f"the next upload from {path} accepts the store at {where}" in capsys.readouterr().out
    with Spool(path) as spool, uploader(spool, where, keys) as running:
        assert running.flush(20)
        assert left(spool) == 0
    assert main(["cloud", "accept", str(tmp_path / "never"), "--spool", str(path)]) == 2
    never = tmp_path / "never"
    assert f"the spool {path} has not used the store {never}; it has used: {where}" in capsys.readouterr().err


def test_salvage_keeps_what_the_spool_knows_of_its_targets(tmp_path, keys):
    path = tmp_path / "spool.db"
    where = tmp_path / "store"
    with Spool(path, device="cam") as spool, uploader(spool, where, keys) as running:
        append(spool)
        assert running.flush(20)
        identity = spool.target_identity(str(where))
    salvage(path)
    with Spool(path) as spool:
        assert spool.target_identity(str(where)) == identity is not None


def test_what_was_stored_in_a_target_that_changed_meanwhile_is_not_confirmed(tmp_path, spool, keys):
    """A bucket that was made again between two puts: none of them fails, and yet the objects of the first are gone."""
    class Replaced(Store):
        def put_all(self, objects):
            found = super().put_all(objects)
            shutil.rmtree(tmp_path / "store" / "results", ignore_errors=True)
            (tmp_path / "store" / store_identity.KEY).write_bytes(store_identity.make()[1])
            return found

        def put_new(self, key, data):
            return not self.put_all([(key, data)]) or super().put_new(key, data)

    running = Uploader(spool, Replaced(tmp_path / "store"), keys)
    append(spool)
    with pytest.raises(Unavailable, match=r"is not the store that was used before: its lepton-store\.json has"):
        running.step()
    assert left(spool) == 10
