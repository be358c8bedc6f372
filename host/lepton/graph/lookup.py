"""Results of elementwise operators on 8-bit operands from tables: 256 results of one operand, 65 536 of two.

The table is what the operator's own `compute` makes of all values, so its bytes are the same. It is computed once for
an operator with its attributes and the quantization of its tensors, and kept.
"""

from functools import lru_cache
from math import prod

import numpy as np

from .core import Arithmetic, Call, Op, Quantization, Tensor

_TABLES = 256  # kept, of at most 64 KiB each
_WORTH = 1 << 14  # results below which two operands are computed: the table costs as much as 65 536 of them
_BLOCK = 1 << 16  # results at a time: numpy widens indices to 8 bytes, which then stay in the cache

Kind = tuple[str, float | None, int]  # data type, scale, zero point


def _kind(tensor: Tensor | None) -> Kind | None:
    """None for a tensor that is not of 8 bits or not quantized per tensor."""
    if tensor is None or np.dtype(tensor.dtype).itemsize != 1:
        return None
    q = tensor.quantization
    if q is None:
        return np.dtype(tensor.dtype).name, None, 0
    return (np.dtype(tensor.dtype).name, float(tensor.scale), tensor.zero_point) if q.scale.size == 1 else None


def _tensor(kind: Kind, shape: tuple[int, ...], name: str) -> Tensor:
    dtype, scale, zero = kind
    quantization = None
    if scale is not None:
        quantization = Quantization(np.array([scale], np.float32), np.array([zero], np.int32))
    return Tensor(name, shape, np.dtype(dtype), quantization)


@lru_cache(maxsize=_TABLES)
def _table(op: Op, arithmetic: Arithmetic, first: Kind, second: Kind, output: Kind) -> np.ndarray:
    """(256, 256) results, by the bytes of both operands."""
    inputs = [_tensor(first, (256, 1), "a"), _tensor(second, (1, 256), "b")]
    values = [np.arange(256, dtype=np.uint8).view(t.dtype).reshape(t.shape) for t in inputs]
    made = op.compute(Call(arithmetic, inputs, _tensor(output, (256, 256), "y"), values))
    return np.ascontiguousarray(made)


def run(op: Op, call: Call) -> np.ndarray | None:
    """The result of `call`; None where `op` is not one to look up, or there are too few results for a table."""
    if not op.looked_up(call) or prod(call.output.shape) < _WORTH:
        return None
    kinds = [_kind(t) for t in (*call.inputs, call.output)]
    if len(kinds) != 3 or None in kinds:
        return None
    table = _table(op, call.arithmetic, *kinds)  # type: ignore[arg-type]  # none is None
    a, b = (np.ascontiguousarray(x).reshape(np.shape(x)).view(np.uint8) for x in call.values)
    if a.size == 1:
        return table[int(a.reshape(-1)[0])].take(b)
    if b.size == 1:
        return np.ascontiguousarray(table[:, int(b.reshape(-1)[0])]).take(a)
    return taken(table.reshape(-1), a.astype(np.uint16) << 8 | b)


def taken(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """table[index] of contiguous indices within the table, a block at a time."""
    result = np.empty(index.shape, table.dtype)
    places, flat = index.reshape(-1), result.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        table.take(places[start:start + _BLOCK], out=flat[start:start + _BLOCK], mode="wrap")
    return result
