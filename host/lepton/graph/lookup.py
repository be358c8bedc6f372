"""Results of elementwise operators on two 8-bit operands from tables of all 65 536 results.

The table is what the operator's own `compute` makes of all values, so its bytes are the same. It is computed once for
an operator with its attributes and the quantization of its tensors, and kept.
"""

from functools import lru_cache
from math import prod

import numpy as np

from .core import Arithmetic, Call, Op, Quantization, Tensor
from .numerics.tables import mapped, taken

_TABLES = 256  # kept, of at most 64 KiB each
_WORTH = 1 << 12  # results below which two operands are computed: the table costs as much as 65 536 of them, once

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
    table = _table(op, call.arithmetic, *kinds)
    a, b = (np.require(x, requirements="C").view(np.uint8) for x in call.values)
    if a.size == 1:
        return mapped(table[int(a.reshape(-1)[0])].tobytes(), b).view(table.dtype).reshape(call.output.shape)
    if b.size == 1:
        return mapped(table[:, int(b.reshape(-1)[0])].tobytes(), a).view(table.dtype).reshape(call.output.shape)
    return taken(table.reshape(-1), a.astype(np.uint16) << 8 | b)
