"""The body of a segment: a Parquet file with one row for each record. This file is the schema's only description.

    run, number                     of the record
    time                            of the inference, by the device's clock (UTC, microseconds)
    model, model_hash, program_hash, config_hash, backend
    device                          the device's name
    cycles
    fields.<name>                   what the caller gave: bool, int64, double or string; anything else as JSON text
    more                            JSON text of fields that cannot be columns: too many, or names that Parquet's
                                    readers do not distinguish
    outputs.<name>.values           all values of an output, flat in C order, in the output's own type
    outputs.<name>.shape, dtype
    outputs.<name>.scale, zero_point    real = scale * (value - zero_point); null for real numbers
    outputs.<name>.kept             full, top5 or hash: what is not `full` has no `values`
    outputs.<name>.top_indices, top_values    the five largest, if kept is top5
    outputs.<name>.sha256           of the values, if they are not kept in full

The schema's metadata has `lepton.schema`, its version. Columns may be added within a version, and `fields` and
`outputs` differ between segments. A field that is null is the same as one that is missing.
"""


import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from . import alike, pages
from .columns import (
    LIMIT,
    TEXTS,
    TIME,
    Column,
    Columns,
    children,
    encoded,
    field_columns,
    field_values,
    output_columns,
    put,
    put_outputs,
    sound,
    take_outputs,
)
from .errors import SegmentError

if TYPE_CHECKING:
    from .segment import Header

VERSION = "1"
VERSION_KEY = b"lepton.schema"
MAX_PLAIN_BYTES = 256 << 20  # bounds what a reader allocates for one segment

_LEVEL = 3  # zstd's default
_RISING = ("number", "time", "cycles")  # columns of which differences take less space than values or a dictionary
_PARSED_AT_ONCE = 64  # lines: some 0.3 ms, in which no other thread runs


def write(lines: Sequence[bytes], device: str) -> bytes:
    """The Parquet file of records, lines as `records.line` makes them. Raises `MixedOutputs`."""
    found = alike.columns(lines) or _from_rows(lines)
    members: dict[str, pa.Array] = {
        "run": found.run, "number": found.number, "time": found.time, **found.texts,
        "device": encoded([device] * len(lines)), "cycles": found.cycles}
    if found.fields:
        members["fields"] = _struct(found.fields)
    if found.more is not None:
        members["more"] = found.more
    if found.outputs:
        members["outputs"] = _struct(found.outputs)
    schema = pa.schema([pa.field(name, array.type) for name, array in members.items()],
                       metadata={VERSION_KEY: VERSION.encode()})
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(list(members.values()), schema=schema), sink, compression="zstd",
                   compression_level=_LEVEL, column_encoding=dict.fromkeys(_RISING, "DELTA_BINARY_PACKED"),
                   use_dictionary=[path for column in schema for path in _paths(column.name, column.type)
                                   if path not in _RISING])
    return sink.getvalue()


def _from_rows(lines: Sequence[bytes]) -> Columns:
    """The columns of any records. Raises `MixedOutputs`."""
    rows = _parsed(lines)
    outputs = [take_outputs(row) for row in rows]
    run = encoded([row.pop("run") for row in rows])
    number = pa.array([row.pop("number") for row in rows], pa.int64())
    time = pa.array([_time(row) for row in rows], pa.int64()).cast(TIME)
    texts = {name: encoded(_texts(rows, name)) for name in TEXTS}
    cycles = pa.array([_whole(row, "cycles") for row in rows], pa.int64())
    fields, left = field_columns(rows)
    more = pa.array([json.dumps(row) if row else None for row in left], pa.string()) if any(left) else None
    return Columns(run, number, time, cycles, texts, fields, output_columns(outputs), more)


def _struct(members: list[Column]) -> pa.Array:
    return pa.StructArray.from_arrays([array for _, array in members], fields=[field for field, _ in members])


def _paths(name: str, kind: pa.DataType) -> Iterator[str]:
    """Parquet's paths of the leaves that get a dictionary; plain texts get none, see `pages.unpacked_bytes`."""
    if pa.types.is_struct(kind):
        for child in kind:
            yield from _paths(f"{name}.{child.name}", child.type)
    elif pa.types.is_list(kind):
        yield from _paths(f"{name}.list.element", kind.value_type)
    elif not pa.types.is_string(kind):
        yield name


class Body:
    """The body of a segment, unpacked by `read`. Raises `SegmentError` unless it fits the segment's header."""

    def __init__(self, data: bytes, header: "Header"):
        self._header = header
        self.bytes = len(data)  # packed
        with _readable():
            self._file = pq.ParquetFile(io.BytesIO(data), thrift_string_size_limit=1 << 20,
                                        thrift_container_size_limit=1 << 16)
            self.schema: pa.Schema = self._file.schema_arrow
            version = (self.schema.metadata or {}).get(VERSION_KEY, b"").decode("ascii", "replace")
        if self._file.metadata.num_rows != header.records:
            raise SegmentError(f"its body has {self._file.metadata.num_rows} records, its header says "
                               f"{header.records}")
        if (size := pages.unpacked_bytes(data, self._file)) > MAX_PLAIN_BYTES:
            raise SegmentError(f"its body of {len(data)} bytes unpacks to up to {size} bytes, and at most "
                               f"{MAX_PLAIN_BYTES} are read")
        if version != VERSION:
            raise SegmentError(f"its records have the schema {version!r}; this version reads {VERSION!r}")

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The table, or some of its columns, checked against the segment's header. Raises `SegmentError`."""
        header = self._header
        checked = ["run", "number"]
        with _readable():
            names = None if columns is None else [name for name in self.schema.names if name in {*columns, *checked}]
            table = self._file.read(names, use_threads=False)  # segments are read by several threads
            table.validate(full=True)
            numbers = table["number"].to_numpy()
            runs = pc.unique(table["run"]).to_pylist()
        if header.records and (runs != [header.run] or (numbers[0], numbers[-1]) != (header.first, header.last)
                               or (np.diff(numbers) <= 0).any()):
            raise SegmentError(f"it has records {numbers[0]} to {numbers[-1]} of runs {runs}, its header says "
                               f"{header.first} to {header.last} of run {header.run!r}")
        return table if columns is None else table.select([name for name in names or () if name in columns])


def read(data: bytes, header: "Header") -> pa.Table:
    """The table of a body, checked against the segment's header. Raises `SegmentError`."""
    return Body(data, header).read()


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise SegmentError(f"its body cannot be read: {str(error)[:200]}") from error


def records(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as records: fields next to the columns, outputs as a list of dicts with numpy arrays."""
    rows: list[dict[str, Any]] = [{} for _ in range(table.num_rows)]
    for name in table.column_names:
        if name == "fields":
            for field, column in children(table[name]):
                put(rows, field.name, field_values(field, column))
        elif name == "more":
            for row, text in zip(rows, table[name].to_pylist(), strict=True):
                row.update({key: value for key, value in json.loads(text or "{}").items() if value is not None})
        elif name == "outputs":
            for field, column in children(table[name]):
                put_outputs(rows, field, column)
        elif name == "time":
            times = table[name].cast(pa.int64()).to_pylist()
            put(rows, name, [None if time is None else time / 1e6 for time in times])
        elif name != "device":
            put(rows, name, table[name].to_pylist())
    return rows


def _parsed(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for start in range(0, len(lines), _PARSED_AT_ONCE):
        rows.extend(json.loads(b"[" + b",".join(lines[start:start + _PARSED_AT_ONCE]) + b"]"))
    return rows


def _time(row: dict[str, Any]) -> int | None:
    """Microseconds since 1970, if the record has a time that can be one."""
    value = row.get("time")
    if isinstance(value, float) and abs(value) < 2e11:  # the year 8300
        del row["time"]
        return round(value * 1e6)
    return None


def _whole(row: dict[str, Any], name: str) -> int | None:
    value = row.get(name)
    if type(value) is int and -LIMIT <= value < LIMIT:
        del row[name]
        return value
    return None


def _texts(rows: list[dict[str, Any]], name: str) -> list[str | None]:
    """The texts of a column, taken out of the rows; other values stay there."""
    texts: list[str | None] = []
    last: str | None = None  # mostly all rows have the same text, so that it is checked once
    for row in rows:
        value = row.get(name)
        if value is not last or value is None:
            if not isinstance(value, str) or not sound(value):
                texts.append(None)
                continue
            last = value
        del row[name]
        texts.append(last)
    return texts
