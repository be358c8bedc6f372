"""Results of elementwise operators on two 8-bit operands from tables of all 65 536 results.

The table is what the operator's own `compute` makes of all values, so its bytes are the same. It is computed once for
an operator with its attributes and the quantization of its tensors, and kept.
"""

from functools import lru_cache
from math import prod

import numpy as np

from .core import Arithmetic, Call, Op, OperandList, Quantization, Shape, Tensor
from .numerics import compiled
from .numerics.compiled import together_rows
from .numerics.tables import mapped, taken

_TABLES = 256  # kept, of at most 64 KiB each
_ALL = 1 << 16  # pairs of bytes
_WORTH = 1 << 12  # results below which two operands are computed: the table costs as much as 65 536 of them, once

# Added away from zero and upwards before a number is rounded to the nearest: operators round halves in various ways.
_NUDGES = ((0, 0), *((way * n, (1 - way) * n) for exponent in (17, 15, 12) for n in (2**-exponent, -(2**-exponent))
                     for way in (1, 0)))

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
    made = op.compute(Call(arithmetic, OperandList(inputs), _tensor(output, (256, 256), "y"), OperandList(values)))
    return np.ascontiguousarray(made)


@lru_cache(maxsize=_TABLES)
def _linear(op: Op, arithmetic: Arithmetic, first: Kind, second: Kind, output: Kind) -> tuple[float, ...] | None:
    """Arguments with which `loops.linear` makes every result of the table; None where no sum or product does.

    A vector instruction computes many results, but looks one up at a time.
    """
    loop = compiled.loop("linear", _ALL)
    kinds = first, second, output
    scales = [scale for dtype, scale, _ in kinds if dtype == "int8" and scale is not None]
    if loop is None or len(scales) < len(kinds):
        return None
    table = _table(op, arithmetic, first, second, output)
    zero_a, zero_b, zero = (kind[2] for kind in kinds)
    a = np.arange(256, dtype=np.uint8).view(np.int8)
    values, made = np.repeat(a[:, None], 256, axis=1), np.empty_like(table)
    by_a, by_b = scales[0] / scales[2], scales[1] / scales[2]
    limits = int(table.min()), int(table.max())
    for product, *factors in ((True, scales[0] * by_b, 0), (False, by_a, by_b), (False, by_a, -by_b)):
        for outwards, upwards in _NUDGES:
            arguments = (product, zero_a, zero_b, *factors, outwards, zero + upwards, *limits)
            loop(values, a[None], *arguments, made)
            if np.array_equal(made, table):
                return arguments
    return None


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
    matrices = _matrices(a, b, call.output.shape)
    take = compiled.loop("take_pairs", prod(call.output.shape))
    if matrices is None or take is None:
        return taken(table.reshape(-1), a.astype(np.uint16) << 8 | b)
    result = np.empty(np.broadcast_shapes(*(m.shape for m in matrices)), table.dtype)
    whole_rows = matrices[0].shape[1] == result.shape[1]
    factors = _linear(op, call.arithmetic, *kinds) if whole_rows else None
    linear = compiled.loop("linear", _ALL)
    if factors is None or linear is None:
        take(table.reshape(-1).view(np.uint8), *matrices, result.view(np.uint8))
    else:
        linear(*(m.view(np.int8) for m in matrices), *factors, result)
    return result.reshape(call.output.shape)


def _matrices(a: np.ndarray, b: np.ndarray, shape: Shape) -> list[np.ndarray] | None:
    """Views of both operands with two axes that broadcast to all results in their order, or None."""
    for axis in range(len(shape)):
        sizes = prod(shape[:axis]), prod(shape[axis:])
        views = []
        for x in (a, b):
            lengths = (1,) * (len(shape) - x.ndim) + x.shape
            own = prod(lengths[:axis]), prod(lengths[axis:])
            if own[0] in (1, sizes[0]) and own[1] in (1, sizes[1]):
                views.append(x.reshape(own))
        if len(views) == 2:
            return _longer(*views)
    return None


def _longer(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Where one row stands for all, several rows as one: a loop over a short row is slow to begin."""
    rows, columns = np.broadcast_shapes(a.shape, b.shape)
    together = together_rows(rows, columns) if a.shape[1] == b.shape[1] else 1
    return [np.tile(m, together) if len(m) == 1 < rows else m.reshape(-1, columns * together) for m in (a, b)
            ] if together > 1 else [a, b]
