"""Reading commands leave a spool as it is: its bytes, the files next to it, and its version."""

import contextlib
import multiprocessing
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from lepton.cli import main
from lepton.results import Outbox, Spool, SpoolDamaged, SpoolError, SpoolView

NOBODY = 65534


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Name, size, time of the last change, and bytes of each file."""
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns, path.read_bytes())
            for path in sorted(folder.iterdir())}


def written(folder: Path, keys, *, key: bytes | None = None, close: bool = True) -> Spool:
    """A spool with three records, of which two are in a segment."""
    spool = Spool(folder / "spool.db", device="cam7", key=key)
    spool.append_many("run", [{"n": 1}, {"n": 2}])
    Outbox(spool, keys).seal(100, 1 << 20)
    spool.append("run", {"n": 3})
    spool.note(store="s3://results", error="it was slow")
    if close:
        spool.close()
    return spool


@contextlib.contextmanager
def running(folder: Path, keys, key: bytes | None = None) -> Iterator[None]:
    """A program that has written a spool and has it open; it is killed at the end, so that its log stays."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def work() -> None:
        spool = written(folder, keys, key=key, close=False)
        ready.set()
        time.sleep(60)
        spool.close()
    process = context.Process(target=work)
    process.start()
    try:
        assert ready.wait(60)
        yield
    finally:
        process.kill()
        process.join()


def killed(folder: Path, keys, key: bytes | None = None) -> None:
    """A spool whose program was killed, so that its log was not written back."""
    with running(folder, keys, key):
        pass
    assert (folder / "spool.db-wal").stat().st_size > 0


@pytest.mark.parametrize("key", [None, bytes(range(32))])
@pytest.mark.parametrize("state", ["closed", "open", "killed"])
def test_a_view_shows_what_a_spool_shows_and_changes_no_file(tmp_path, keys, key, state):
    if state == "closed":
        written(tmp_path, keys, key=key)
    if state == "killed":
        killed(tmp_path, keys, key)
    with running(tmp_path, keys, key) if state == "open" else contextlib.nullcontext():
        before = contents(tmp_path)
        view = SpoolView(tmp_path / "spool.db", key=key)
        status = view.status()
        oldest = view.oldest_waiting()
        assert contents(tmp_path) == before
    with Spool(tmp_path / "spool.db", key=key) as again:
        expected = again.status()
        assert (status.device, status.waiting, status.sealed, status.counters, status.upload) == \
            (expected.device, expected.waiting, expected.sealed, expected.counters, expected.upload)
        assert (status.device, status.waiting, status.sealed) == ("cam7", 1, 2)
        assert oldest == again.oldest_waiting()


def test_a_view_can_be_used_while_a_program_writes(tmp_path, keys):
    stop = threading.Event()
    with Spool(tmp_path / "spool.db", device="cam7") as spool:
        spool.append("run", {"n": 0})

        def write() -> None:
            while not stop.is_set():
                spool.append_many("run", [{"n": 1, "text": "x" * 500}] * 50)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = [SpoolView(tmp_path / "spool.db").status() for _ in range(40)]
        finally:
            stop.set()
            writer.join()
    counts = [status.waiting for status in seen]
    assert counts == sorted(counts) and all(status.waiting == status.counters["appended"] for status in seen)
    assert counts[-1] > 1


@pytest.mark.parametrize("state", ["closed", "killed"])
@pytest.mark.skipif(os.getuid() != 0, reason="needs another user to lose the right to write")
def test_a_view_needs_no_right_to_write(tmp_path, keys, state, monkeypatch):
    """Another user reads a spool in a folder in which only its owner may write."""
    folder = tmp_path / "spools"
    folder.mkdir()
    if state == "killed":
        killed(folder, keys)
    else:
        written(folder, keys)
    for path in [*folder.iterdir()]:
        path.chmod(0o444)
    for path in [folder, *(p for p in folder.parents if p != Path("/"))][:6]:
        if path.stat().st_uid == 0 and path.is_relative_to(Path("/tmp")):
            path.chmod(path.stat().st_mode | 0o555)
    before = contents(folder)
    answers = multiprocessing.get_context("fork").SimpleQueue()

    def look() -> None:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            answers.put(SpoolView(folder / "spool.db").status().waiting)
        except Exception as error:
            answers.put(repr(error))
    process = multiprocessing.get_context("fork").Process(target=look)
    process.start()
    process.join(60)
    assert answers.get() == 1
    assert contents(folder) == before


def test_status_neither_migrates_nor_creates(tmp_path, keys, capsys):
    written(tmp_path, keys)
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = contents(tmp_path)
    with pytest.raises(SpoolError, match=r"was written by a later version \(schema 99, this one knows 4\); "
                                         "update lepton"):
        SpoolView(path).status()
    for options in ([], ["--metrics"]):
        assert main(["cloud", "status", "--spool", str(path), *options]) == 2
        assert "was written by a later version" in capsys.readouterr().err
    assert contents(tmp_path) == before
    missing = tmp_path / "none" / "spool.db"
    with pytest.raises(SpoolError, match="there is no such spool"):
        SpoolView(missing)
    assert main(["cloud", "status", "--spool", str(missing)]) == 2
    assert not missing.parent.exists()


def test_a_view_names_what_is_wrong(tmp_path, keys):
    written(tmp_path, keys)
    path = tmp_path / "spool.db"
    (tmp_path / "empty.db").touch()
    with pytest.raises(SpoolError, match="is empty, and not a spool"):
        SpoolView(tmp_path / "empty.db")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    with pytest.raises(SpoolError, match="is a database of another program; give another path"):
        SpoolView(tmp_path / "other.db").status()
    (tmp_path / "text.db").write_bytes(b"no database at all, but some text " * 40)
    with pytest.raises(SpoolDamaged, match=r"cannot be read \(encrypted, or damaged"):
        SpoolView(tmp_path / "text.db").status()
    with pytest.raises(SpoolDamaged, match=r"cannot be read \(wrong key, or damaged"):
        SpoolView(path, key=bytes(32)).status()
    raw = bytearray(path.read_bytes())
    with apsw.Connection(str(path)) as db:
        db.execute("UPDATE state SET crc = crc + 1")
    db.close()
    with pytest.raises(SpoolDamaged, match="is damaged: the row with its state is altered; save what can be read"):
        SpoolView(path).status()
    path.write_bytes(raw)
    assert SpoolView(path).status().waiting == 1


def test_a_copy_of_a_spool_in_use_names_the_remedy(tmp_path, keys):
    (tmp_path / "copy").mkdir()
    killed(tmp_path, keys)
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"spool.db{suffix}", tmp_path / "copy" / f"spool.db{suffix}")
    before = contents(tmp_path / "copy")
    with pytest.raises(SpoolError, match=r"it was copied while a program used it.*lepton cloud salvage --spool"):
        SpoolView(tmp_path / "copy" / "spool.db").status()
    assert contents(tmp_path / "copy") == before
