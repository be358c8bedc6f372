"""Writers of one object in a folder: threads and processes at once, killed ones, and remains that are cleared away."""

import hashlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lepton.results import Store, Unavailable, folder, store_identity
from lepton.results.segment import Key, join_key

ROUNDS = 60


def an_object(seed):
    data = random.Random(seed).randbytes(20_000)
    return join_key(Key("default", "alpha", "2026-11-30", "0" * 32, seed, hashlib.sha256(data).hexdigest())), data


def race(where, barrier):
    """One writer: all objects, each at the same time as the others. How often it was the first."""
    store = Store(where)

    def put(seed):
        barrier.wait(60)
        return store.put_new(*an_object(seed))

    return sum(map(put, range(ROUNDS)))


def assert_whole(where):
    store = Store(where)
    assert store.keys() == [an_object(seed)[0] for seed in range(ROUNDS)]
    for seed in range(ROUNDS):
        assert store.get(an_object(seed)[0]) == an_object(seed)[1]
    assert list((where / folder.STAGING).iterdir()) == []


def test_threads(tmp_path):
    """Each with a store of its own, as several services in front of one folder; none is told that it is unavailable."""
    barrier = threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(lambda _: race(tmp_path, barrier), range(6))) == ROUNDS
    assert_whole(tmp_path)


def process(where, barrier, firsts):
    firsts.put(race(where, barrier))


def test_processes(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(3)
    firsts = spawn.Queue()
    processes = [spawn.Process(target=process, args=(tmp_path, barrier, firsts)) for _ in range(3)]
    for one in processes:
        one.start()
    assert sum(firsts.get(timeout=120) for _ in processes) == ROUNDS
    for one in processes:
        one.join(60)
        assert one.exitcode == 0
    assert_whole(tmp_path)


@pytest.fixture
def killed(tmp_path):
    """A folder with what a writer left that was killed between writing an object and naming it."""
    child = subprocess.run([sys.executable, "-c", f"""
import os, signal
from lepton.results import Store
store = Store({str(tmp_path)!r})
store.identify()
os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.put_new({an_object(1)[0]!r}, b"x" * 1000)
"""], check=False)
    assert child.returncode == -signal.SIGKILL
    (left,) = (tmp_path / folder.STAGING).iterdir()
    assert left.read_bytes() == b"x" * 1000
    return left


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_old_remains_of_a_killed_writer_go(tmp_path, killed):
    store = Store(tmp_path)
    assert store.keys() == []
    age(killed, folder.REMAINS_SECONDS + 60)
    assert store.put_new(*an_object(1)) is True
    assert not killed.exists()
    assert_only(tmp_path, 1)


def test_old_remains_go_when_groups_come(tmp_path, killed):
    age(killed, folder.REMAINS_SECONDS + 60)
    Store(tmp_path).put_all([an_object(1)])
    assert not killed.exists()


def test_what_a_living_writer_may_have_written_stays(tmp_path, killed):
    store = Store(tmp_path)
    age(killed, folder.REMAINS_SECONDS / 2)
    assert store.put_new(*an_object(1)) is True
    assert killed.exists()


def test_remains_are_looked_for_again_after_a_day(tmp_path, killed, monkeypatch):
    store = Store(tmp_path)
    store.put_new(*an_object(1))
    age(killed, folder.REMAINS_SECONDS + 60)
    store.put_new(*an_object(2))
    assert killed.exists()
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + folder.REMAINS_SECONDS)
    store.put_new(*an_object(3))
    assert not killed.exists()


def vanishing(monkeypatch, times):
    """What is written aside is cleared away `times` times before it gets its name."""
    link = os.link
    vanished = []

    def late(source, target):
        if len(vanished) < times:
            vanished.append(source)
            os.unlink(source)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    return vanished


def test_a_writer_whose_file_was_cleared_away_begins_again(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.identify()
    vanished = vanishing(monkeypatch, folder.ATTEMPTS - 2)  # one is for folders that are missing
    assert store.put_new(*an_object(1)) is True
    assert len(vanished) == folder.ATTEMPTS - 2
    assert_only(tmp_path, 1)


def test_a_folder_that_loses_every_file_is_unavailable(tmp_path, monkeypatch):
    vanishing(monkeypatch, 100)
    with pytest.raises(Unavailable, match=r"the store .* cannot be used at the moment: .*No such file"):
        Store(tmp_path).put_new(*an_object(1))
    monkeypatch.undo()
    assert Store(tmp_path).put_new(*an_object(1)) is True


def test_groups_of_threads_at_once(tmp_path):
    """Overlapping groups: each object is stored whole, whoever came first, and no one fails."""
    store = Store(tmp_path)
    rng = random.Random(3)

    def put(_):
        for seeds in [rng.sample(range(ROUNDS), 8) for _ in range(10)] + [range(ROUNDS)]:
            some = dict(map(an_object, seeds))
            for key in store.put_all(some.items()):
                store.put_new(key, some[key])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(put, range(6)))
    assert_whole(tmp_path)


def test_of_a_group_what_was_cleared_away_is_left_to_put_new(tmp_path, monkeypatch):
    store = Store(tmp_path)
    some = dict(map(an_object, range(5)))
    store.put_new(*an_object(9))
    vanished = vanishing(monkeypatch, 2)
    assert store.put_all(some.items()) == list(some)[:2]
    assert len(vanished) == 2
    assert store.keys() == [*list(some)[2:], an_object(9)[0]]
    assert list((tmp_path / folder.STAGING).iterdir()) == []


def assert_only(where, seed):
    key, data = an_object(seed)
    assert {p for p in where.rglob("*") if p.is_file()} == {where / key, where / store_identity.KEY}
    assert (where / key).read_bytes() == data
