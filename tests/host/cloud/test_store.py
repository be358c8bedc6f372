"""Stores: each object once, whatever was there before."""

import pytest
from lepton.cloud import DeviceKeys, SegmentError, Store, StoreError, Unavailable
from lepton.cloud import segment as segments


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
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_a_key_names_its_bytes(tmp_path):
    for key in ("results/alpha/1-abc", f"results/../{0:012d}-{'0' * 64}"):
        with pytest.raises(SegmentError, match="is not the key of a segment"):
            Store(tmp_path).put_new(key, b"")


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
    with pytest.raises(StoreError, match="'http://h/x': no web server stores an object only once; it must be"):
        Store("http://h/x")
    with pytest.raises(StoreError, match="has no object 'results/none'"):
        Store(tmp_path).get("results/none")
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(Unavailable, match=r"the store .* does not do as asked: "):
        Store(tmp_path).put_new(f"results/alpha/{0:012d}-{'0' * 64}", b"")
