"""An inference's outputs as parts of a record: in full, their five largest values, or only their digest.

`describe` makes the JSON form that the spool holds, `Output.parse` reads it when a segment is made.
"""

import base64
import binascii
import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .errors import RecordError

FULL = "full"
TOP = "top5"
HASH = "hash"
MODES = (FULL, TOP, HASH)
TOP_COUNT = 5
MAX_EXTENT = 1 << 40  # of a shape, and of an index: far more than a device's memory
# Of all outputs of a result together: a map of 512 x 512 pixels with 4 classes. A spool of 256 MiB then has room for
# some 190 such results. Larger outputs are kept as `TOP`, which says so; `ResultLog(full_bytes=...)` changes the limit.
FULL_BYTES = 1 << 20
DTYPES = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
                    "float32", "float64"})
_SIZES = {dtype: np.dtype(dtype).itemsize for dtype in DTYPES}
_MEMBERS = frozenset({"name", "dtype", "shape", "scale", "zero_point", "kept", "data", "top", "sha256"})


class Scale(NamedTuple):
    """Quantization of an output: real = scale * (value - zero_point). None for an output of real numbers."""

    scale: float | None
    zero_point: int | None


class Output(NamedTuple):
    """An output of one record. `data`: the bytes of the `kept` values in C order, empty for a digest alone."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    kept: str
    data: bytes
    top: tuple[int, ...]  # for `TOP`: flat indices of the values in `data`, the largest first
    sha256: str  # of all values, if they are not kept in full

    @classmethod
    def parse(cls, value: object) -> "Output | None":
        """The output that `describe` has made; None for anything else."""
        if not isinstance(value, dict) or value.keys() != _MEMBERS:
            return None
        name, dtype, shape, scale, zero_point, kept, data, top, digest = (value[member] for member in cls._fields)
        if not (isinstance(name, str) and isinstance(dtype, str) and dtype in _SIZES and kept in MODES
                and isinstance(data, str) and isinstance(digest, str) and _whole(shape) and _whole(top)
                and _is_scale(scale) and _is_zero_point(zero_point)):
            return None
        try:
            content = binascii.a2b_base64(data, strict_mode=True)
        except ValueError:
            return None
        count = math.prod(shape) if kept == FULL else len(top) if kept == TOP else 0
        if len(content) != count * _SIZES[dtype]:
            return None
        return cls(name, dtype, tuple(shape), scale, zero_point, kept, content, tuple(top), digest)


def describe(outputs: Mapping[str, np.ndarray], keep: str, scales: Mapping[str, Scale], full_bytes: int
             ) -> list[dict[str, Any]]:
    """The outputs in JSON's types. With `FULL`, those beyond `full_bytes` in all are kept as `TOP`.

    Raises `RecordError` for an output that is no array of numbers.
    """
    described = []
    left = full_bytes
    for name, values in outputs.items():
        array = np.asarray(values, order="C")
        if array.dtype.name not in DTYPES:
            raise RecordError(f"output {name!r} must be an array of numbers, not of {array.dtype}")
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        mode = TOP if keep == FULL and array.nbytes > left else keep
        left -= array.nbytes if mode == FULL else 0
        described.append(_described(str(name), array, mode, scales.get(name, Scale(None, None))))
    return described


def _described(name: str, array: np.ndarray, mode: str, scale: Scale) -> dict[str, Any]:
    data = array.tobytes()
    top: list[int] = []
    digest = ""
    kept = data if mode == FULL else b""
    if mode != FULL:
        digest = hashlib.sha256(data).hexdigest()
    if mode == TOP:
        flat = array.reshape(-1)
        top = largest(flat, TOP_COUNT)
        kept = flat[top].tobytes()
    return {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "scale": scale.scale,
            "zero_point": scale.zero_point, "kept": mode, "data": base64.b64encode(kept).decode(), "top": top,
            "sha256": digest}


def largest(values: np.ndarray, count: int) -> list[int]:
    """Indices of the `count` largest values, the largest first, of equal ones the first; not-a-number counts least."""
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -np.inf, values)
    if len(values) > count:
        bound = np.partition(values, len(values) - count)[len(values) - count]
        above = np.flatnonzero(values > bound)
        found = np.concatenate([above, np.flatnonzero(values == bound)[:count - len(above)]])
    else:
        found = np.arange(len(values))
    return sorted(found.tolist(), key=lambda index: (-values[index].item(), index))


def _whole(value: object) -> bool:
    return isinstance(value, list) and all(type(extent) is int and 0 <= extent < MAX_EXTENT for extent in value)


def _is_scale(value: object) -> bool:
    return value is None or isinstance(value, float)


def _is_zero_point(value: object) -> bool:
    return value is None or (type(value) is int and -1 << 31 <= value < 1 << 31)
