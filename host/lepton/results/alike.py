"""The columns of records that are alike: the same members with the same types, as a program's results usually are.

Arrow's JSON reader parses such records into columns at once, without an object of Python for each value; it takes some
2.5 µs of a record of the shipped network, where the `json` module and `columns` take 15 to 25. It is told the types of
the first record, so it fails where another one differs. `body` then builds the columns from rows.
"""

import binascii
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from .columns import EXACT, MAX_FIELDS, TEXT, TEXTS, TIME, Column, Columns, sound, usable
from .outputs import FULL, MAX_EXTENT, TOP, Output

_OUTPUT = pa.struct([("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())),
                     ("scale", pa.float64()), ("zero_point", pa.int64()), ("kept", pa.string()), ("data", pa.string()),
                     ("top", pa.list_(pa.int64())), ("sha256", pa.string())])
_TYPES: dict[type, pa.DataType] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
_STANDARD = {"run": str, "number": int, "time": float, "cycles": int, **dict.fromkeys(TEXTS, str)}
_LAST_SECOND = 2e11  # the year 8300; a later time does not fit Arrow's microseconds


def columns(lines: Sequence[bytes]) -> Columns | None:
    """The columns of lines as `records.line` makes them; None if the records are not alike."""
    first = json.loads(lines[0]) if lines else {}
    kinds = _kinds(first)
    if kinds is None:
        return None
    text = b"\n".join(lines)
    try:
        table = arrow_json.read_json(
            pa.BufferReader(text), read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=arrow_json.ParseOptions(explicit_schema=pa.schema(list(kinds.items())),
                                                  unexpected_field_behavior="error"))
        if table.num_rows != len(lines) or not all(map(_exact, table.itercolumns())):
            return None
        outputs = _outputs(first, table, text) if "outputs" in kinds else []
        time = _microseconds(table["time"])
    except (pa.ArrowException, ValueError, UnicodeError):
        return None
    if outputs is None or time is None:
        return None
    fields = [name for name in first if name not in _STANDARD and name != "outputs"]
    return Columns(
        run=_encoded(table["run"]), number=_whole(table["number"]), time=time, cycles=_whole(table["cycles"]),
        texts={name: _encoded(table[name]) for name in TEXTS},
        fields=[(pa.field(name, kinds[name]), _whole(table[name])) for name in fields], outputs=outputs)


def _kinds(first: dict[str, Any]) -> dict[str, pa.DataType] | None:
    """The types of the first record's members; None if one of them cannot be a column."""
    if not first.keys() >= _STANDARD.keys():
        return None
    kinds: dict[str, pa.DataType] = {}
    taken: set[str] = set()
    for name, value in first.items():
        if name == "outputs" and value:
            kinds[name] = pa.list_(_OUTPUT)
            continue
        if type(value) not in _TYPES or _STANDARD.get(name, type(value)) is not type(value):
            return None
        if name not in _STANDARD:
            if not (usable(name, taken) and sound(name)):
                return None
            taken.add(name.casefold())
        kinds[name] = _TYPES[type(value)]
    return kinds if len(taken) <= MAX_FIELDS else None


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _encoded(column: pa.ChunkedArray) -> pa.Array:
    return _whole(column).dictionary_encode().cast(TEXT)


def _exact(column: pa.ChunkedArray) -> bool:
    """Whether no integer that the records have has become another number as a double."""
    if not pa.types.is_floating(column.type):
        return True
    limits = pc.min_max(column).as_py()
    return limits["min"] is None or (limits["min"] > -EXACT and limits["max"] < EXACT)


def _microseconds(column: pa.ChunkedArray) -> pa.Array | None:
    """Times in seconds as Arrow's times; None if one is missing or too large."""
    if column.null_count:
        return None
    seconds = _whole(column).to_numpy()
    if not (np.abs(seconds) < _LAST_SECOND).all():
        return None
    return pa.array(np.rint(seconds * 1e6).astype(np.int64)).cast(TIME)


def _outputs(first: dict[str, Any], table: pa.Table, text: bytes) -> list[Column] | None:
    """A column of structs for each output; None if the outputs of two records have another form."""
    described = [Output.parse(value) for value in first["outputs"]]
    lists = _whole(table["outputs"])
    members = lists.flatten()
    count = len(described)
    if lists.null_count or members.null_count or (np.diff(lists.offsets.to_numpy()) != count).any():
        return None
    for name in (b"scale", b"zero_point"):  # null and missing are the same to Arrow's reader
        # a quote within a text is escaped, so what is counted are members
        if members.field(name.decode()).null_count and text.count(b'"%b":' % name) != len(members):
            return None
    taken: set[str] = set()
    found = []
    for position, output in enumerate(described):
        if output is None or not (usable(output.name, taken) and sound(output.name)):
            return None
        taken.add(output.name.casefold())
        where = np.arange(position, len(members), count)
        column = _output(output, {field.name: array.take(pa.array(where)) if count > 1 else array
                                  for field, array in zip(_OUTPUT, members.flatten(), strict=True)})
        if column is None:
            return None
        found.append((pa.field(output.name, column.type), column))
    return found


def _output(like: Output, members: dict[str, pa.Array]) -> pa.Array | None:
    """The column of one output; None if it has not the same name, type and shape as `like` in all records."""
    rows = len(members["name"])
    if any(array.null_count for name, array in members.items() if name not in ("scale", "zero_point")):
        return None
    if not all(pc.all(pc.equal(members[name], value)).as_py()
               for name, value in (("name", like.name), ("dtype", like.dtype), ("kept", like.kept))):
        return None
    top = _table(members["top"], rows, len(like.top))
    shape = _table(members["shape"], rows, len(like.shape))
    if shape is None or top is None or (shape != like.shape).any() or not ((top >= 0) & (top < MAX_EXTENT)).all():
        return None
    kept = math.prod(like.shape) if like.kept == FULL else len(like.top) if like.kept == TOP else 0
    parts = [binascii.a2b_base64(part, strict_mode=True) for part in members["data"].cast(pa.binary()).to_pylist()]
    dtype = np.dtype(like.dtype)
    if any(len(part) != kept * dtype.itemsize for part in parts):
        return None
    numbers = pa.array(np.frombuffer(b"".join(parts), dtype))
    values = _lists(numbers, rows, kept)
    nothing = pa.nulls(rows, values.type)
    digests = members["sha256"]
    arrays = {
        "values": values if like.kept == FULL else nothing,
        "shape": members["shape"],
        "dtype": members["dtype"].dictionary_encode().cast(TEXT),
        "scale": members["scale"],
        "zero_point": members["zero_point"].cast(pa.int32()),
        "kept": members["kept"].dictionary_encode().cast(TEXT),
        "top_indices": members["top"] if like.kept == TOP else pa.nulls(rows, pa.list_(pa.int64())),
        "top_values": values if like.kept == TOP else nothing,
        "sha256": pc.if_else(pc.equal(digests, ""), pa.scalar(None, pa.string()), digests),
    }
    return pa.StructArray.from_arrays(list(arrays.values()), list(arrays))


def _table(lists: pa.Array, rows: int, width: int) -> np.ndarray | None:
    """Lists of integers as an array (rows, width); None if one has another length, or nulls."""
    numbers = lists.flatten()
    if numbers.null_count or (np.diff(lists.offsets.to_numpy()) != width).any():
        return None
    return numbers.to_numpy().reshape(rows, width)


def _lists(numbers: pa.Array, rows: int, width: int) -> pa.Array:
    offsets = np.arange(rows + 1, dtype=np.int64) * width
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), numbers)
