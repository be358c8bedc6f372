"""Files that are there whole and durably, or not at all."""

import os

import pytest
from lepton.results import durable
from lepton.results.folder import Folder


def test_create_and_replace(tmp_path):
    path = tmp_path / "file"
    durable.create(path, b"first")
    with pytest.raises(FileExistsError):
        durable.create(path, b"second")
    assert path.read_bytes() == b"first" and path.stat().st_mode & 0o777 == 0o600
    durable.replace(path, b"third" * 100_000)
    assert path.read_bytes() == b"third" * 100_000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [durable.create, durable.replace])
def test_content_is_synced_before_it_has_a_name_and_the_name_after(tmp_path, monkeypatch, write):
    path = tmp_path / "file"
    synced = []
    fsync = os.fsync

    def watched(handle):
        fsync(handle)
        synced.append((os.fstat(handle).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    write(path, b"content")
    assert synced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_of_a_group_all_are_synced_before_any_has_a_name_and_folders_once_after(tmp_path, monkeypatch):
    keys = ["a/1", "a/2", "b/1"]
    synced = []
    fsync = os.fsync
    folder = Folder(tmp_path)
    folder.create("a/2", b"there")
    folder.create("b/0", b"")

    def watched(handle):
        fsync(handle)
        synced.append((os.fstat(handle).st_ino, [(tmp_path / key).exists() for key in keys]))

    monkeypatch.setattr(os, "fsync", watched)
    assert folder.create_all((key, key.encode()) for key in keys) == ["a/2"]
    assert [(tmp_path / key).read_bytes() for key in keys] == [b"a/1", b"there", b"b/1"]
    assert [names for _, names in synced] == [[False, True, False]] * 3 + [[True] * 3] * 2
    assert {inode for inode, _ in synced[3:]} == {(tmp_path / name).stat().st_ino for name in "ab"}
    assert {(tmp_path / key).stat().st_ino for key in ("a/1", "b/1")} < {inode for inode, _ in synced[:3]}


def test_what_the_disk_takes_piecemeal_is_written_whole(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:1000]))
    durable.create(tmp_path / "file", bytes(range(256)) * 20)
    assert (tmp_path / "file").read_bytes() == bytes(range(256)) * 20


@pytest.mark.parametrize("write", [durable.create, durable.replace])
def test_what_fails_leaves_nothing(tmp_path, monkeypatch, write):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


def test_folders_are_synced_where_they_are_made(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durable, "sync", synced.append)
    durable.make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path / "a", tmp_path]
    durable.make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2
