"""PyTorch's functions of floats in numpy, with ATen's own names, arguments and defaults.

They round in the order of PyTorch's kernels where that is known, but its exponentials and sums differ in the last
places: see `torch_kernels`. Here are the functions of single elements and of places, and the table of all functions;
the others are in `aten_layers`, `aten_reductions`, `aten_pools` and `aten_writes`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .aten_layers import LAYERS, clamp, erf
from .aten_pools import FIRST_ONLY, POOLS
from .aten_reductions import REDUCTIONS
from .aten_writes import WRITES

Array = np.ndarray
Result = Array | tuple[Array, ...]

_ONE = np.float32(1)


def where(condition: Array, a: Any, b: Any) -> Array:
    return np.where(condition, a, b)


def index(x: Array, indices: Sequence[Array | None]) -> Array:
    """As numpy, but that an axis with None between others does not bring theirs to the front."""
    given = [axis for axis, i in enumerate(indices) if i is not None]
    return x[tuple(slice(None) if i is None else i for i in (*indices, *[None] * (x.ndim - len(indices))))] \
        if given == list(range(given[0], given[-1] + 1)) else x[tuple(
            slice(None) if i is None else i for i in indices)]


def gather(x: Array, dim: int, places: Array, *, sparse_grad: bool = False) -> Array:
    where_: list[Array] = list(np.indices(places.shape, sparse=True)) if places.ndim else []
    where_[dim] = places
    return x[tuple(where_)]


def trunc_divide(a: Array, b: Any) -> Array:
    return np.trunc(np.divide(a, b))


def divide(a: Array, b: Any, *, rounding_mode: str | None = None) -> Array:
    if rounding_mode == "floor":
        return np.floor_divide(a, b)
    return np.divide(a, b) if rounding_mode is None else trunc_divide(a, b)


def unfold(x: Array, dim: int, size: int, step: int) -> Array:
    """Windows of `size` elements along one axis; those of one window are along a new last axis."""
    view = np.lib.stride_tricks.sliding_window_view(x, size, axis=dim)
    return view[(*[slice(None)] * (dim % x.ndim), slice(None, None, step))].copy()


# Operator -> function. Names without an overload stand for all overloads.
FUNCTIONS: dict[str, Callable[..., Result]] = {
    "clamp": clamp, "clamp_min": lambda x, low: clamp(x, low), "clamp_max": lambda x, high: clamp(x, None, high),
    "erf": erf, "erfc": lambda x: 1 - erf(x), "rsqrt": lambda x: _ONE / np.sqrt(x),
    "reciprocal": lambda x: _ONE / x, "square": np.square, "sign": np.sign, "sgn": np.sign,
    "frac": lambda x: x - np.trunc(x),
    **{name: getattr(np, name) for name in (
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh",
        "floor", "ceil", "trunc", "abs", "isnan", "isinf", "isfinite", "logical_and", "logical_or", "logical_xor",
        "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "remainder", "fmod", "maximum",
        "minimum", "floor_divide", "hypot", "logaddexp", "copysign")},
    "round": np.rint, "neg": np.negative, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "atan2": np.arctan2, "logit": lambda x, eps=None: np.log(
        clamp(x, eps, None if eps is None else 1 - eps) / (1 - clamp(x, eps, None if eps is None else 1 - eps))),
    "pow": np.power, "div": divide, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "where": where,
    "masked_fill": lambda x, mask, value: np.where(mask, np.asarray(value, x.dtype), x),
    "add": lambda a, b, *, alpha=1: a + b * alpha, "sub": lambda a, b, *, alpha=1: a - b * alpha,
    "rsub": lambda a, b, alpha=1: b - a * alpha, "mul": lambda a, b: a * b,
    "unfold": unfold,
    "index": index, "_unsafe_index": index, "gather": gather,
    "index_select": lambda x, dim, places: np.take(x, places, axis=dim),
    "mv": np.matmul, "dot": np.dot, "matmul": np.matmul,
    "addmm": lambda c, a, b, *, beta=1, alpha=1: c * beta + a @ b * alpha,
    "baddbmm": lambda c, a, b, *, beta=1, alpha=1: c * beta + a @ b * alpha,
    **LAYERS, **REDUCTIONS, **POOLS, **WRITES,
    **{name: lambda *given, pool=pool, **named: (pool(*given, **named),) for name, pool in FIRST_ONLY.items()},
}
