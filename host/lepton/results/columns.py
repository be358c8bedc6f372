"""Columns of a body: what the records' fields and outputs are in Arrow, and records from such columns again.

A field whose values have one type becomes a column of it, any other one a column of JSON texts. An output becomes a
struct of the columns that `body` describes.
"""

import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import MixedOutputs
from .outputs import Output

LIMIT = 1 << 63  # of the integers in a column of int64
MAX_FIELDS = 256  # columns of a segment; further fields go to `more`
NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # as `records` writes them

TEXTS = ("model", "model_hash", "program_hash", "config_hash", "backend")
TEXT = pa.dictionary(pa.int32(), pa.string())
TIME = pa.timestamp("us", tz="UTC")
EXACT = 1 << 53  # integers up to it are exact as double

_JSON_MARK = {b"lepton.json": b"1"}  # metadata of a column of JSON texts
_NAME_KEY = b"lepton.name"  # metadata of an output's column: its name, if the column could not have it
_MAX_NAME = 128  # characters of a column's name

Column = tuple[pa.Field, pa.Array]


@dataclass(frozen=True)
class Columns:
    """The columns of some records. `texts`: those of `TEXTS`. `more`: JSON texts of what cannot be a column."""

    run: pa.Array
    number: pa.Array
    time: pa.Array
    cycles: pa.Array
    texts: dict[str, pa.Array]
    fields: list[Column]
    outputs: list[Column]
    more: pa.Array | None = None


def sound(text: str) -> bool:
    """Whether a text can be stored as UTF-8: lone surrogates, which JSON may have, cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encoded(values: list[str | None]) -> pa.Array:
    """Texts as a column with a dictionary."""
    return pa.array(values, pa.string()).dictionary_encode().cast(TEXT)


def field_columns(rows: list[dict[str, Any]]) -> tuple[list[Column], list[dict[str, Any]]]:
    """Columns of the fields, and for each row the fields that cannot be columns."""
    names = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    taken: set[str] = set()
    columns: list[Column] = []
    for name in names:
        if usable(name, taken) and len(columns) < MAX_FIELDS:
            taken.add(name.casefold())
            columns.append(_column(name, [row.pop(name, None) for row in rows]))
    return columns, rows


def usable(name: str, taken: set[str]) -> bool:
    """Whether a name can be a column's: SQL does not distinguish upper and lower case."""
    return 0 < len(name) <= _MAX_NAME and name.isprintable() and name.casefold() not in taken


def _column(name: str, values: list[Any]) -> Column:
    kinds = set(map(type, values)) - {type(None)}
    array: pa.Array | None = None
    if kinds == {bool}:
        array = pa.array(values, pa.bool_())
    elif kinds == {int} and all(value is None or -LIMIT <= value < LIMIT for value in values):
        array = pa.array(values, pa.int64())
    elif kinds <= {int, float, str} and float in kinds and all(map(_is_real, values)):
        array = pa.array([NONFINITE[value] if isinstance(value, str) else value for value in values], pa.float64())
    elif kinds <= {str} and all(value is None or sound(value) for value in values):
        array = pa.array(values, pa.string())
    if array is not None:
        return pa.field(name, array.type), array
    return _json_column(name, values)


def as_json(field: pa.Field, column: pa.Array) -> Column:
    """A field's column as JSON texts."""
    return (field, column) if field.metadata else _json_column(field.name, column.to_pylist())


def _json_column(name: str, values: list[Any]) -> Column:
    texts = pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
    return pa.field(name, texts.type, metadata=_JSON_MARK), texts


def _is_real(value: object) -> bool:
    """Whether a value is the same as double."""
    if isinstance(value, str):
        return value in NONFINITE
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) <= EXACT)


def take_outputs(row: dict[str, Any]) -> dict[str, Output]:
    """The outputs of a record by name, taken out of it, if it has any as `outputs.describe` makes them."""
    found = row.get("outputs")
    if not isinstance(found, list) or not found:
        return {}
    named = {output.name: output for value in found if (output := Output.parse(value)) is not None}
    if len(named) < len(found):
        return {}
    del row["outputs"]
    return named


def output_columns(rows: list[dict[str, Output]]) -> list[Column]:
    """A column of structs for each output. Raises `MixedOutputs`."""
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
        own = usable(name, taken) and sound(name)
        column = name if own else f"output_{index}"
        taken.add(column.casefold())
        metadata = None if own else {_NAME_KEY: name.encode(errors="backslashreplace")}
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
        "dtype": encoded([None if o is None else o.dtype for o in found]),
        "scale": pa.array([None if o is None else o.scale for o in found], pa.float64()),
        "zero_point": pa.array([None if o is None else o.zero_point for o in found], pa.int32()),
        "kept": encoded([None if o is None else o.kept for o in found]),
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


def children(column: pa.ChunkedArray) -> list[Column]:
    """The members of a column of structs; null where the struct is null."""
    struct = column.combine_chunks()
    if isinstance(struct, pa.ChunkedArray):
        struct = pa.concat_arrays(struct.chunks) if struct.num_chunks else pa.array([], column.type)
    return list(zip(column.type, struct.flatten(), strict=True))


def put(rows: list[dict[str, Any]], name: str, values: list[Any]) -> None:
    """Set the values, except None, in the rows."""
    for row, value in zip(rows, values, strict=True):
        if value is not None:
            row[name] = value


def field_values(field: pa.Field, column: pa.Array) -> list[Any]:
    """The values of a field, JSON texts parsed."""
    values = column.to_pylist()
    if (field.metadata or {}).items() >= _JSON_MARK.items():
        return [None if text is None else json.loads(text) for text in values]
    return values


def put_outputs(rows: list[dict[str, Any]], field: pa.Field, column: pa.Array) -> None:
    """Append an output to the list `outputs` of each row that has it."""
    parts = {part.name: array for part, array in children(pa.chunked_array([column]))}
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
        row.setdefault("outputs", []).append({"name": _output_name(field), **found})


def _output_name(field: pa.Field) -> str:
    """An output's own name."""
    return (field.metadata or {}).get(_NAME_KEY, field.name.encode()).decode()
