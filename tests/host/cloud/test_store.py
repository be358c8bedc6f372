"""Segments and stores: each object once, whatever was there before."""

import pytest
from lepton.cloud import SegmentError, Store, StoreError
from lepton.cloud import segment_v1 as segments


def a_segment(**header):
    return segments.make("alpha", 3, {"counters": {}, **header}, [b'{"i":1}', b'{"i":2}'])


def test_segment_round_trip_and_key():
    made = a_segment()
    assert made.key == f"results/alpha/000000000003-{made.digest}"
    header, records = segments.decode(made.key, made.body)
    assert records == [{"i": 1}, {"i": 2}]
    assert header["format"] == "lepton-segment/1"


def test_altered_segments_are_refused():
    made, other = a_segment(), a_segment(more=1)
    flipped = bytes([*made.body[:-1], made.body[-1] ^ 1])
    with pytest.raises(SegmentError, match="is damaged: its bytes have the SHA-256"):
        segments.decode(made.key, flipped)
    with pytest.raises(SegmentError, match="is damaged"):
        segments.decode(made.key, other.body)
    with pytest.raises(SegmentError, match="says in its header that it is number 3 of device 'alpha'"):
        segments.decode(made.key.replace("alpha", "beta"), made.body)
    with pytest.raises(SegmentError, match="is not the key of a segment"):
        segments.decode("results/alpha/7", made.body)


def test_put_new_stores_once(tmp_path):
    store, made = Store(tmp_path / "store"), a_segment()
    assert store.put_new(made.key, made.body) is True
    assert store.put_new(made.key, made.body) is False
    assert store.keys() == store.keys("alpha") == [made.key]
    assert store.keys("beta") == []
    assert [records for _, records in store.read()] == [[{"i": 1}, {"i": 2}]]


def test_a_torn_object_is_replaced(tmp_path):
    store, made = Store(tmp_path), a_segment()
    path = tmp_path / made.key
    path.parent.mkdir(parents=True)
    path.write_bytes(made.body[:10])  # what a power loss may leave of a file that was not synced
    assert store.put_new(made.key, made.body) is True
    assert store.get(made.key) == made.body


def test_staging_files_of_killed_writers_are_removed(tmp_path):
    store, made = Store(tmp_path), a_segment()
    path = tmp_path / made.key
    path.parent.mkdir(parents=True)
    path.with_name(path.name + "#1").write_bytes(b"half")
    store.put_new(made.key, made.body)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_same_code_talks_to_other_stores_by_url():
    store, made = Store("memory:///"), a_segment()
    assert store.put_new(made.key, made.body) is True
    assert store.put_new(made.key, made.body) is False
    assert store.get(made.key) == made.body


def test_errors(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot open the store .* must be a folder that can be written or a URL"):
        Store(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match="cannot open the store 'nonsense://x'"):
        Store("nonsense://x")
    with pytest.raises(StoreError, match="has no object 'results/none'"):
        Store(tmp_path).get("results/none")
