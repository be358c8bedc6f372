"""Bodies that say little and unpack to much are refused before anything is unpacked."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.bench.records import record
from lepton.results import body, pages, records
from lepton.results.errors import SegmentError

MIB = 1 << 20


def written(values, kind, **options):
    sink = io.BytesIO()
    pq.write_table(pa.table({"v": pa.array(values, kind)}), sink, **options)
    return sink.getvalue()


def unpacked(data):
    return pages.unpacked_bytes(data, pq.ParquetFile(io.BytesIO(data)))


@pytest.mark.parametrize("options", [
    {"use_dictionary": False, "compression": "zstd"}, {"use_dictionary": True, "compression": "none"},
    {"use_dictionary": False, "compression": "gzip", "data_page_version": "2.0"}])
def test_few_bytes_of_many_numbers(options):
    data = written([[0] * 1000] * 4000, pa.list_(pa.int32()), **options)
    assert len(data) < 200_000
    assert 4000 * 1000 * 4 <= unpacked(data) <= 4000 * 1000 * 20


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_few_bytes_of_long_texts(version):
    data = written([b"\0" * MIB] * 20, pa.binary(), use_dictionary=False, compression="zstd", data_page_version=version)
    assert len(data) < 20_000
    assert 20 * MIB <= unpacked(data) <= 21 * MIB


@pytest.mark.parametrize("options", [
    {"use_dictionary": True}, {"use_dictionary": False, "column_encoding": {"v": "DELTA_BYTE_ARRAY"}},
    {"use_dictionary": False, "column_encoding": {"v": "DELTA_LENGTH_BYTE_ARRAY"}}])
def test_texts_that_repeat_another_one(options):
    with pytest.raises(SegmentError, match=r"has texts in the encoding .*, which may repeat a long text any number"):
        unpacked(written(["x" * MIB] * 4, pa.string(), **options))


def test_a_column_that_is_read_as_a_dictionary_stays_small():
    column = pa.array(["x" * 1000] * 100_000).dictionary_encode()
    assert unpacked(written(column, column.type)) < 2 * MIB


@pytest.mark.parametrize("label", ["cat", "\0" * 100, None])
def test_own_segments_are_read(label):
    lines = [records.line(records.encode({**record(n), "label": label, "tags": ["a", "b"]}), "run", n)
             for n in range(300)]
    data = body.write(lines, "cam7")
    assert pq.ParquetFile(io.BytesIO(data)).read().nbytes <= unpacked(data) < MIB


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_altered_pages_end_in_a_clear_error(data):
    whole = bytearray(written(list(range(100)), pa.int64(), compression="none"))
    file = pq.ParquetFile(io.BytesIO(bytes(whole)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(4, 60))] = data.draw(st.integers(0, 255))
    try:
        counted = pages.unpacked_bytes(bytes(whole), file)
    except SegmentError as error:
        assert str(error)
        return
    try:
        read = pq.ParquetFile(io.BytesIO(bytes(whole))).read()
    except (pa.ArrowException, OSError):
        return
    assert counted >= read.column(0).nbytes
