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

import io
import itertools
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .errors import SegmentError
from .outputs import Output

if TYPE_CHECKING:
    from .segment import Header

VERSION = "1"
VERSION_KEY = b"lepton.schema"
JSON_MARK = {b"lepton.json": b"1"}  # metadata of a column of JSON texts
NAME_KEY = b"lepton.name"  # metadata of an output's column: its name, if the column could not have it
TEXTS = ("model", "model_hash", "program_hash", "config_hash", "backend")
MAX_FIELDS = 256  # columns of a segment; further fields go to `more`
MAX_PLAIN_BYTES = 256 << 20  # bounds what a reader allocates for one segment
NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # as `records` writes them

_LEVEL = 3  # zstd's default
_TEXT = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("us", tz="UTC")
_MAX_NAME = 128  # characters of a column's name
_PARSED_AT_ONCE = 64  # lines: some 0.3 ms, in which no other thread runs
_EXACT = 1 << 53  # integers up to it are exact as double
_LIMIT = 1 << 63


class MixedOutputs(Exception):
    """An output has another type from record number `count` of the given ones on: they need two segments."""

    def __init__(self, count: int):
        super().__init__(count)
        self.count = count


def write(lines: Sequence[bytes], device: str) -> bytes:
    """The Parquet file of records, lines as `records.line` makes them. Raises `MixedOutputs`."""
    rows = _parsed(lines)
    outputs = [_outputs(row) for row in rows]
    columns: dict[str, tuple[pa.Field, pa.Array]] = {}

    def add(name: str, array: pa.Array) -> None:
        columns[name] = (pa.field(name, array.type), array)

    add("run", _encoded([row.pop("run") for row in rows]))
    add("number", pa.array([row.pop("number") for row in rows], pa.int64()))
    add("time", pa.array([_time(row) for row in rows], pa.int64()).cast(_TIME))
    for name in TEXTS:
        add(name, _encoded(_texts(rows, name)))
    add("device", _encoded([device] * len(rows)))
    add("cycles", pa.array([_whole(row, "cycles") for row in rows], pa.int64()))
    fields, more = _fields(rows)
    if fields:
        add("fields", pa.StructArray.from_arrays([array for _, array in fields], fields=[f for f, _ in fields]))
    if any(more):
        add("more", pa.array([json.dumps(row) if row else None for row in more], pa.string()))
    described = _output_columns(outputs)
    if described:
        add("outputs", pa.StructArray.from_arrays([array for _, array in described], fields=[f for f, _ in described]))
    table = pa.Table.from_arrays([array for _, array in columns.values()], schema=pa.schema(
        [f for f, _ in columns.values()], metadata={VERSION_KEY: VERSION.encode()}))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=_LEVEL)
    return sink.getvalue()


def read(data: bytes, header: "Header") -> pa.Table:
    """The table of a body, checked against the segment's header. Raises `SegmentError`."""
    try:
        file = pq.ParquetFile(io.BytesIO(data), thrift_string_size_limit=1 << 20, thrift_container_size_limit=1 << 16)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if file.metadata.num_rows != header.records or size > MAX_PLAIN_BYTES:
            raise SegmentError(f"its body has {file.metadata.num_rows} records of {size} bytes; its header says "
                               f"{header.records} records, and at most {MAX_PLAIN_BYTES} bytes are read")
        version = (file.schema_arrow.metadata or {}).get(VERSION_KEY, b"").decode("ascii", "replace")
        if version != VERSION:
            raise SegmentError(f"its records have the schema {version!r}; this version reads {VERSION!r}")
        table = file.read()
        table.validate(full=True)
        numbers = table["number"].to_numpy()
        runs = pc.unique(table["run"]).to_pylist()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise SegmentError(f"its body cannot be read: {str(error)[:200]}") from error
    if header.records and (runs != [header.run] or (numbers[0], numbers[-1]) != (header.first, header.last)
                           or (np.diff(numbers) <= 0).any()):
        raise SegmentError(f"it has records {numbers[0]} to {numbers[-1]} of runs {runs}, its header says "
                           f"{header.first} to {header.last} of run {header.run!r}")
    return table


def records(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as records: fields next to the columns, outputs as a list of dicts with numpy arrays."""
    rows: list[dict[str, Any]] = [{} for _ in range(table.num_rows)]
    for name in table.column_names:
        if name == "fields":
            for field, column in _children(table[name]):
                _put(rows, field.name, _values(field, column))
        elif name == "more":
            for row, text in zip(rows, table[name].to_pylist(), strict=True):
                row.update({key: value for key, value in json.loads(text or "{}").items() if value is not None})
        elif name == "outputs":
            for field, column in _children(table[name]):
                _put_outputs(rows, field, column)
        elif name == "time":
            times = table[name].cast(pa.int64()).to_pylist()
            _put(rows, name, [None if time is None else time / 1e6 for time in times])
        elif name != "device":
            _put(rows, name, table[name].to_pylist())
    return rows


def column_name(field: pa.Field) -> str:
    """An output's own name."""
    return (field.metadata or {}).get(NAME_KEY, field.name.encode()).decode()


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
    if type(value) is int and -_LIMIT <= value < _LIMIT:
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
            if not isinstance(value, str) or not _sound(value):
                texts.append(None)
                continue
            last = value
        del row[name]
        texts.append(last)
    return texts


def _sound(text: str) -> bool:
    """Whether a text can be stored as UTF-8: lone surrogates, which JSON may have, cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encoded(values: list[str | None]) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode().cast(_TEXT)


def _fields(rows: list[dict[str, Any]]) -> tuple[list[tuple[pa.Field, pa.Array]], list[dict[str, Any]]]:
    """Columns of the fields, and for each row the fields that cannot be columns."""
    names = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    taken: set[str] = set()
    columns: list[tuple[pa.Field, pa.Array]] = []
    for name in names:
        if _usable(name, taken) and len(columns) < MAX_FIELDS:
            taken.add(name.casefold())
            columns.append(_column(name, [row.pop(name, None) for row in rows]))
    return columns, rows


def _usable(name: str, taken: set[str]) -> bool:
    """Whether a name can be a column's: SQL does not distinguish upper and lower case."""
    return 0 < len(name) <= _MAX_NAME and name.isprintable() and name.casefold() not in taken


def _column(name: str, values: list[Any]) -> tuple[pa.Field, pa.Array]:
    kinds = set(map(type, values)) - {type(None)}
    array: pa.Array | None = None
    if kinds == {bool}:
        array = pa.array(values, pa.bool_())
    elif kinds == {int} and all(value is None or -_LIMIT <= value < _LIMIT for value in values):
        array = pa.array(values, pa.int64())
    elif kinds <= {int, float, str} and float in kinds and all(map(_is_real, values)):
        array = pa.array([NONFINITE[value] if isinstance(value, str) else value for value in values], pa.float64())
    elif kinds <= {str} and all(value is None or _sound(value) for value in values):
        array = pa.array(values, pa.string())
    if array is not None:
        return pa.field(name, array.type), array
    return _json_column(name, values)


def as_json(field: pa.Field, column: pa.Array) -> tuple[pa.Field, pa.Array]:
    """A field's column as JSON texts."""
    return (field, column) if field.metadata else _json_column(field.name, column.to_pylist())


def _json_column(name: str, values: list[Any]) -> tuple[pa.Field, pa.Array]:
    texts = pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
    return pa.field(name, texts.type, metadata=JSON_MARK), texts


def _is_real(value: object) -> bool:
    """Whether a value is the same as double."""
    if isinstance(value, str):
        return value in NONFINITE
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) <= _EXACT)


def _outputs(row: dict[str, Any]) -> dict[str, Output]:
    """The outputs of a record by name, taken out of it, if it has any as `outputs.describe` makes them."""
    found = row.get("outputs")
    if not isinstance(found, list) or not found:
        return {}
    named = {output.name: output for value in found if (output := Output.parse(value)) is not None}
    if len(named) < len(found):
        return {}
    del row["outputs"]
    return named


def _output_columns(rows: list[dict[str, Output]]) -> list[tuple[pa.Field, pa.Array]]:
    names = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    taken: set[str] = set()
    columns = []
    counts = []
    for name in names:
        dtypes = [output.dtype for row in rows if (output := row.get(name)) is not None]
        if len(set(dtypes)) > 1:
            counts.append(next(i for i, row in enumerate(rows) if name in row and row[name].dtype != dtypes[0]))
    if counts:
        raise MixedOutputs(min(counts))
    for index, name in enumerate(names):
        usable = _usable(name, taken) and _sound(name)
        column = name if usable else f"output_{index}"
        taken.add(column.casefold())
        metadata = None if usable else {NAME_KEY: name.encode(errors="backslashreplace")}
        array = _output_column([row.get(name) for row in rows])
        columns.append((pa.field(column, array.type, metadata=metadata), array))
    return columns


def _output_column(found: list[Output | None]) -> pa.Array:
    dtype = next(output.dtype for output in found if output is not None)
    full = [output.data if output is not None and output.kept == "full" else None for output in found]
    top = [output.data if output is not None and output.kept == "top5" else None for output in found]
    arrays = {
        "values": _lists(full, dtype),
        "shape": pa.array([None if o is None else o.shape for o in found], pa.list_(pa.int64())),
        "dtype": _encoded([None if o is None else o.dtype for o in found]),
        "scale": pa.array([None if o is None else o.scale for o in found], pa.float64()),
        "zero_point": pa.array([None if o is None else o.zero_point for o in found], pa.int32()),
        "kept": _encoded([None if o is None else o.kept for o in found]),
        "top_indices": pa.array([None if o is None or o.kept != "top5" else o.top for o in found],
                                pa.list_(pa.int64())),
        "top_values": _lists(top, dtype),
        "sha256": pa.array([None if o is None else o.sha256 or None for o in found], pa.string()),
    }
    absent = pa.array([o is None for o in found])
    return pa.StructArray.from_arrays(list(arrays.values()), list(arrays), mask=absent)


def _lists(parts: list[bytes | None], dtype: str) -> pa.Array:
    """A list of numbers for each part, null for None."""
    size = np.dtype(dtype).itemsize
    values = np.frombuffer(b"".join(part for part in parts if part), dtype)
    lengths = np.array([len(part) // size if part else 0 for part in parts], np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]).astype(np.int32)
    missing = pa.array([part is None for part in parts], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values), mask=missing)


def _children(column: pa.ChunkedArray) -> list[tuple[pa.Field, pa.Array]]:
    """The members of a column of structs; null where the struct is null."""
    struct = column.combine_chunks()
    if isinstance(struct, pa.ChunkedArray):
        struct = pa.concat_arrays(struct.chunks) if struct.num_chunks else pa.array([], column.type)
    return list(zip(column.type, struct.flatten(), strict=True))


def _put(rows: list[dict[str, Any]], name: str, values: list[Any]) -> None:
    for row, value in zip(rows, values, strict=True):
        if value is not None:
            row[name] = value


def _values(field: pa.Field, column: pa.Array) -> list[Any]:
    values = column.to_pylist()
    if (field.metadata or {}).items() >= JSON_MARK.items():
        return [None if text is None else json.loads(text) for text in values]
    return values


def _put_outputs(rows: list[dict[str, Any]], field: pa.Field, column: pa.Array) -> None:
    parts = {part.name: array for part, array in _children(pa.chunked_array([column]))}
    lists = {name: parts.pop(name) for name in ("values", "top_values")}
    plain = {name: array.to_pylist() for name, array in parts.items()}
    for index, row in enumerate(rows):
        if not column[index].is_valid:
            continue
        found = {name: values[index] for name, values in plain.items() if values[index] is not None}
        dtype = np.dtype(found["dtype"])
        for name, array in lists.items():
            if array[index].is_valid:
                found[name] = array[index].values.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
        if "values" in found:
            found["values"] = found["values"].reshape(found["shape"])
        row.setdefault("outputs", []).append({"name": column_name(field), **found})
