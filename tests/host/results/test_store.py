"""Stores: each object once, whatever was there before."""

import os

import pytest
from lepton.results import DeviceKeys, SegmentError, Store, StoreError, Unavailable, folder, store_identity
from lepton.results import segment as segments


@pytest.fixture(scope="module")
def made():
    return segments.seal(DeviceKeys.generate(), [b'{"run":"run","number":0}'], device="alpha", spool="0" * 32,
                         sequence=3, previous="", run="run", first=0, last=0, from_ms=0, to_ms=0, origin={},
                         counters={})


def test_put_new_stores_once(tmp_path, made):
    store = Store(tmp_path / "store")
    assert store.put_new(made.key, made.data) is True
    assert store.put_new(made.key, made.data) is False
    assert store.keys() == store.keys("alpha") == [made.key]
    assert store.keys("beta") == []


def test_a_torn_object_is_replaced(tmp_path, made):
    store = Store(tmp_path)
    path = tmp_path / made.key
    path.parent.mkdir(parents=True)
    path.write_bytes(made.data[:10])
    assert store.put_new(made.key, made.data) is True
    assert store.get(made.key) == made.data
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == {path, tmp_path / store_identity.KEY}


def objects(count):
    made = [segments.seal(DeviceKeys.generate(), [b'{"run":"run","number":0}'], device="alpha", spool="0" * 32,
                          sequence=n, previous="", run="run", first=0, last=0, from_ms=0, to_ms=0, origin={},
                          counters={}) for n in range(count)]
    return {one.key: one.data for one in made}


def test_put_all_stores_what_is_new_and_leaves_the_rest_to_put_new(tmp_path):
    """New ones, one that is there, and one that is there but torn."""
    store = Store(tmp_path)
    some = objects(5)
    first, there, torn = list(some)[:3]
    assert store.put_all(some.items()) == list(some)  # a folder that is not there yet is not its affair either
    store.put_new(first, some[first])
    store.put_new(there, some[there])
    (tmp_path / torn).write_bytes(some[torn][:10])
    assert store.put_all(some.items()) == [first, there, torn]
    assert store.put_new(there, some[there]) is False
    assert store.put_new(torn, some[torn]) is True
    assert store.keys() == sorted(some)
    assert {key: store.get(key) for key in some} == some
    assert store.put_all([]) == []
    assert list((tmp_path / folder.STAGING).iterdir()) == []


def test_other_stores_know_put_all(made):
    store = Store("memory:///")
    some = objects(3)
    assert store.group == 1
    store.put_new(made.key, made.data)
    assert store.put_all({**some, made.key: made.data}.items()) == [made.key]
    assert store.keys() == sorted([*some, made.key])


def test_a_group_that_cannot_be_stored_is_unavailable(tmp_path, monkeypatch):
    store = Store(tmp_path)
    some = objects(4)
    first = next(iter(some))
    store.put_new(first, some.pop(first))

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(Unavailable, match=r"at the moment: .*No space left"):
        patched.setattr(os, "fsync", full)
        store.put_all(some.items())
    assert store.keys() == [first] and list((tmp_path / folder.STAGING).iterdir()) == []
    assert store.put_all(some.items()) == []
    assert store.keys() == sorted([first, *some])


def test_a_key_names_its_bytes(tmp_path):
    for key in ("results/alpha/1-abc", f"results/../{0:012d}-{'0' * 64}"):
        with pytest.raises(SegmentError, match="is not the key of a segment"):
            Store(tmp_path).put_new(key, b"")
        with pytest.raises(SegmentError, match="is not the key of a segment"):
            Store(tmp_path).put_all([*objects(1).items(), (key, b"")])
    assert {p for p in tmp_path.rglob("*") if p.is_file()} <= {tmp_path / store_identity.KEY}


def test_the_same_code_talks_to_other_stores_by_url(made):
    store = Store("memory:///")
    assert store.put_new(made.key, made.data) is True
    assert store.put_new(made.key, made.data) is False
    assert store.get(made.key) == made.data


def test_errors(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot open the store .* must be a folder that can be written, a URL"):
        Store(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match="cannot open the store 'nonsense://x'"):
        Store("nonsense://x")
    with pytest.raises(StoreError, match="'http://h/x': a web server cannot guarantee to store an object only once; "):
        Store("http://h/x")
    with pytest.raises(StoreError, match="has no object 'results/none'"):
        Store(tmp_path).get("results/none")
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(Unavailable, match=r"the store .* cannot be used at the moment: "):
        Store(tmp_path).put_new(segments.join_key(segments.Key("t", "alpha", "2026-11-30", "0" * 32, 0, "0" * 64)), b"")
