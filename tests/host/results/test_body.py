"""Bodies: whatever a record has comes back, and other programs can read it."""

import io
import json
import math

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.results import body, columns, records
from lepton.results.errors import MixedOutputs, RecordError
from lepton.results.outputs import DTYPES, FULL_BYTES, Scale, describe, largest

COMMON = {"model": "net", "model_hash": "1" * 64, "program_hash": "2" * 64, "config_hash": "3" * 16, "backend": "rtl"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["NaN", "Infinity", "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=4)
NAMES = st.text(max_size=4) | st.sampled_from([
    "time", "cycles", "model", "device", "outputs", "fields", "more", "a", "A", "\ud800", "", "x" * 200, "a.b"])


def lines(given):
    return [records.line(records.encode(record), "run", number) for number, record in enumerate(given)]


def read(data):
    return pq.read_table(io.BytesIO(data))


def back(given):
    return body.records(read(body.write(lines(given), "cam7")))


def same(one, two):
    """Whether two values are the same as JSON, numbers by value."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(two, float) and isinstance(one, str) and one in columns.NONFINITE:
        return repr(columns.NONFINITE[one]) == repr(two)
    return (type(one) is type(two) and one == two) or (
        {type(one), type(two)} == {int, float} and one == two)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=5), max_size=6))
def test_any_record_comes_back(given):
    """Records of any JSON, also where names and types are not those of the columns. Null is the same as nothing."""
    expected = [{name: value for name, value in json.loads(line).items() if value is not None}
                for line in lines(given)]
    found = back(given)
    for one, two in zip(expected, found, strict=True):
        if isinstance(one.get("time"), float) and isinstance(two.get("time"), float):  # microseconds
            assert abs(one.pop("time") - two.pop("time")) <= 1e-6
        assert same(one, two), (one, two)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_outputs_come_back_bit_by_bit(dtype):
    rng = np.random.default_rng(5)
    arrays = [rng.integers(0, 256, (2, 3, 4, np.dtype(dtype).itemsize), np.uint8) for _ in range(5)]
    values = [(array[..., 0] % 2).astype(bool) if dtype == "bool" else array.view(dtype)[..., 0] for array in arrays]
    found = back([{**COMMON, "outputs": describe({"y": value, "z": value[0, 0, 0]}, "full", {"y": Scale(0.25, -3)},
                                                 FULL_BYTES)} for value in values])
    for record, value in zip(found, values, strict=True):
        y, z = record["outputs"]
        assert (y["name"], y["dtype"], y["shape"], y["kept"]) == ("y", dtype, [2, 3, 4], "full")
        assert (y["scale"], y["zero_point"]) == (0.25, -3)
        assert "scale" not in z and z["shape"] == []
        assert y["values"].dtype == value.dtype
        assert y["values"].tobytes() == value.tobytes()
        assert z["values"].tobytes() == value[0, 0, 0].tobytes()


def test_what_is_left_out_says_so():
    big = np.arange(1000, dtype=np.int32)[::-1].reshape(10, 100)
    small = np.array([3, 1, 2], np.int8)
    [full], [top], [digest], [limited] = (back([{"outputs": describe({"big": big, "small": small}, keep, {}, limit)}])
                                          for keep, limit in (("full", 4003), ("top5", 1), ("hash", 1), ("full", 4002)))
    assert [output["kept"] for output in full["outputs"]] == ["full", "full"]
    assert [output["kept"] for output in limited["outputs"]] == ["full", "top5"]
    big_top, small_top = top["outputs"]
    assert (big_top["top_indices"], big_top["top_values"].tolist()) == ([0, 1, 2, 3, 4], [999, 998, 997, 996, 995])
    assert (small_top["top_indices"], small_top["top_values"].tolist()) == ([0, 2, 1], [3, 2, 1])
    assert {"values", "top_values"} & {*digest["outputs"][0]} == set()
    assert digest["outputs"][0]["sha256"] == big_top["sha256"] != ""
    assert "sha256" not in full["outputs"][0]


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from([0.0, -1.0, 2.5, math.inf, -math.inf, math.nan, 7.0]), max_size=30))
def test_the_largest_are_the_first_of_a_sorted_list(values):
    expected = sorted(range(len(values)), key=lambda i: (math.inf if math.isnan(values[i]) else -values[i], i))[:5]
    numbers = [i for i in expected if not math.isnan(values[i]) and values[i] != -math.inf]
    assert [i for i in largest(np.array(values), 5) if i in numbers] == numbers
    assert len(largest(np.array(values), 5)) == min(5, len(values))


def test_outputs_that_are_no_numbers_are_refused():
    for value in (np.array(["a"]), np.array([1j]), np.array([object()])):
        with pytest.raises(RecordError, match="output 'y' must be an array of numbers"):
            describe({"y": value}, "full", {}, 100)


@pytest.mark.parametrize("changed", [
    {"data": "!"}, {"data": "AAAA"}, {"dtype": "int9"}, {"shape": [-1]}, {"shape": "2"}, {"kept": "most"},
    {"scale": "x"}, {"top": [1.5]}, {"more": 1}])
def test_what_only_looks_like_an_output_is_a_field(changed):
    [good] = describe({"y": np.array([1, 2], np.int8)}, "full", {}, 100)
    [record] = back([{"outputs": [{**good, **changed}]}])
    assert record["outputs"] == [{**good, **changed}]


def test_another_type_of_an_output_needs_another_segment():
    rows = [{"outputs": describe({"y": np.zeros(2, dtype)}, "full", {}, 100)} for dtype in ("i1", "i1", "f4", "i1")]
    with pytest.raises(MixedOutputs) as caught:
        body.write(lines(rows), "cam7")
    assert caught.value.count == 2
    shapes = [{"outputs": describe({"y": np.zeros(n, "i1")}, "full", {}, 100)} for n in (2, 0, 3)]
    assert [r["outputs"][0]["values"].shape for r in back([*shapes, {}])[:3]] == [(2,), (0,), (3,)]


def test_schema_is_the_documented_one():
    """Version, names and types that other programs rely on; a change needs another version."""
    [output] = describe({"y": np.array([1, 2], np.int8)}, "full", {"y": Scale(0.5, 3)}, 100)
    table = read(body.write(lines([{**COMMON, "time": 1.5e9, "cycles": 7, "label": 3, "outputs": [output]}]), "cam7"))
    assert table.schema.metadata[body.VERSION_KEY] == b"1"
    flat = table.flatten().flatten()
    text = "dictionary<values=string, indices=int32, ordered=0>"
    assert {name: str(kind) for name, kind in zip(flat.column_names, flat.schema.types, strict=True)} == {
        "run": text, "number": "int64", "time": "timestamp[us, tz=UTC]", "model": text, "model_hash": text,
        "program_hash": text, "config_hash": text, "backend": text, "device": text, "cycles": "int64",
        "fields.label": "int64", "outputs.y.values": "list<element: int8>", "outputs.y.shape": "list<element: int64>",
        "outputs.y.dtype": text, "outputs.y.scale": "double", "outputs.y.zero_point": "int32", "outputs.y.kept": text,
        "outputs.y.top_indices": "list<element: int64>", "outputs.y.top_values": "list<element: int8>",
        "outputs.y.sha256": "string"}
    for name in ("fields.", "outputs.<name>.values", "cycles", "zero_point", "top_indices", "more"):
        assert name in body.__doc__


def test_duckdb_reads_the_file(tmp_path):
    """An oracle that is not Arrow."""
    rows = [{**COMMON, "cycles": n, "label": n % 3, "outputs": describe({"y": np.array([n, -n], np.int8)}, "full",
                                                                        {"y": Scale(0.5, 1)}, 100)} for n in range(50)]
    (tmp_path / "body.parquet").write_bytes(body.write(lines(rows), "cam7"))
    found = duckdb.sql("SELECT number, fields.label, outputs.y.values, outputs.y.scale, outputs.y.dtype, device "
                       f"FROM '{tmp_path}/body.parquet' ORDER BY number").fetchall()
    assert found == [(n, n % 3, [n, -n], 0.5, "int8", "cam7") for n in range(50)]


def test_columns_are_limited_and_distinct_for_sql():
    many = {f"f{i}": i for i in range(400)}
    [record] = back([many])
    assert {name: value for name, value in record.items() if name in many} == many
    table = read(body.write(lines([many, {"Label": 1, "label": 2, "LABEL": 3}]), "cam7"))
    names = [field.name for field in table.schema.field("fields").type]
    assert len(names) == columns.MAX_FIELDS
    few = read(body.write(lines([{"Label": 1, "label": 2, "LABEL": 3}]), "cam7"))
    assert [field.name for field in few.schema.field("fields").type] == ["Label"]
    assert duckdb.sql("SELECT fields.label, more FROM few").fetchall() == [(1, '{"label": 2, "LABEL": 3}')]


def test_bytes_per_result():
    """The figure of docs/results.md: at most 51.5 bytes for each result of the shipped network."""
    rng = np.random.default_rng(2)
    rows = [{**COMMON, "time": 1.8e9 + i / 997, "cycles": 14_000 + int(rng.integers(7)), "image": i,
             "outputs": describe({"y": rng.integers(-128, 128, (1, 10)).astype(np.int8)}, "full",
                                 {"y": Scale(1 / 256, -128)}, FULL_BYTES)} for i in range(5000)]
    assert len(body.write(lines(rows), "cam7")) / 5000 <= 51.5


def test_a_table_that_is_too_large_is_refused_before_it_is_unpacked(monkeypatch):
    from lepton.results.errors import SegmentError

    from tests.host.results.test_segment import a_segment
    header = a_segment().header
    rows = pa.table({"run": ["run"] * 2, "number": [5, 6], "text": ["x" * 1_000_000] * 2}, metadata=None)
    sink = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata({body.VERSION_KEY: b"1"}), sink, compression="zstd",
                   use_dictionary=False)
    assert len(sink.getvalue()) < 10_000
    assert body.read(sink.getvalue(), header).num_rows == 2
    monkeypatch.setattr(body, "MAX_PLAIN_BYTES", 1 << 20)
    with pytest.raises(SegmentError, match=r"unpacks to up to \d+ bytes, and at most 1048576 are read"):
        body.read(sink.getvalue(), header)
