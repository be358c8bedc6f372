"""PyTorch's functions of floats in numpy, with ATen's own names, arguments and defaults.

They round in the order of PyTorch's kernels where that is known, but its exponentials and sums differ in the last
places: see `torch_kernels`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .aten_pools import FIRST_ONLY, POOLS

Array = np.ndarray
Result = Array | tuple[Array, ...]

_ONE = np.float32(1)
_HALF = np.float32(0.5)
# What SELU is made of (aten/src/ATen/native/Activation.cpp).
_SELU_ALPHA = float(np.float32(1.6732632423543772))
_SELU_SCALE = float(np.float32(1.0507009873554805))


def erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(np.float32)


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(np.float32)


def gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "tanh":
        inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
        return _HALF * x * (_ONE + np.tanh(inner))
    return x * _HALF * (_ONE + erf(x * np.float32(math.sqrt(0.5))))


def _gate(x: Array) -> Array:
    return np.minimum(np.maximum(x + np.float32(3), 0), np.float32(6))


def elu(x: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Array:
    below = np.expm1(np.minimum(x, 0) * np.float32(input_scale)) * np.float32(alpha * scale)
    return np.where(x > 0, x * np.float32(scale), below)


def softplus(x: Array, beta: float = 1, threshold: float = 20) -> Array:
    scaled = x * np.float32(beta)
    return np.where(scaled > threshold, x, np.log1p(np.exp(np.minimum(scaled, threshold))) / np.float32(beta))


def log_sigmoid(x: Array) -> Array:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def clamp(x: Array, min: Any = None, max: Any = None) -> Array:
    x = x if min is None else np.maximum(x, np.asarray(min, x.dtype))
    return x if max is None else np.minimum(x, np.asarray(max, x.dtype))


def prelu(x: Array, weight: Array) -> Array:
    slope = weight.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else weight
    return np.where(x > 0, x, slope * x)


def glu(x: Array, dim: int = -1) -> Array:
    a, b = np.split(x, 2, dim)
    return a * sigmoid(b)


def log_softmax(x: Array, dim: int, half_to_float: Any = None) -> Array:
    shifted = x - x.max(axis=dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


def logsumexp(x: Array, dim: Any, keepdim: bool = False) -> Array:
    axes = _axes(dim, x.ndim)
    largest = x.max(axis=axes, keepdims=True)
    total = np.log(np.exp(x - largest).sum(axis=axes, keepdims=True)) + largest
    return total if keepdim else total.squeeze(axes)


def _axes(dim: Any, rank: int) -> tuple[int, ...]:
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return tuple(range(rank))
    return tuple(sorted(d % rank for d in dim)) if isinstance(dim, list | tuple) else (int(dim) % rank,)


# Normalizations, in float64 inside

def _normal(x: Array, axes: tuple[int, ...], eps: float, centred: bool = True) -> Array:
    y = x.astype(np.float64)
    y = y - y.mean(axis=axes, keepdims=True) if centred else y
    return y / np.sqrt((y * y).mean(axis=axes, keepdims=True) + eps)


def _affine(y: Array, weight: Array | None, bias: Array | None) -> Array:
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).astype(np.float32)


def _along_channels(parameter: Array | None, rank: int) -> Array | None:
    return None if parameter is None else parameter.reshape(-1, *[1] * (rank - 2))


def layer_norm(x: Array, shape: Sequence[int], weight: Array | None = None, bias: Array | None = None,
               eps: float = 1e-5, cudnn_enable: bool = True) -> Array:
    return _affine(_normal(x, tuple(range(x.ndim - len(shape), x.ndim)), eps), weight, bias)


def rms_norm(x: Array, shape: Sequence[int], weight: Array | None = None, eps: float | None = None) -> Array:
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return _affine(_normal(x, axes, float(np.finfo(np.float32).eps) if eps is None else eps, False), weight, None)


def group_norm(x: Array, groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5,
               cudnn_enabled: bool = True) -> Array:
    y = _normal(x.reshape(x.shape[0], groups, -1), (2,), eps).reshape(x.shape)
    return _affine(y, _along_channels(weight, x.ndim), _along_channels(bias, x.ndim))


def instance_norm(x: Array, weight: Array | None, bias: Array | None, mean: Array | None, variance: Array | None,
                  use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool = True) -> Array:
    if use_input_stats:
        return group_norm(x, x.shape[1], weight, bias, eps)
    return batch_norm(x, weight, bias, mean, variance, False, momentum, eps)


def batch_norm(x: Array, weight: Array | None, bias: Array | None, mean: Array | None, variance: Array | None,
               training: bool = False, momentum: float = 0.1, eps: float = 1e-5, cudnn_enabled: bool = True) -> Array:
    assert mean is not None and variance is not None and not training
    factor = _ONE / np.sqrt(variance + np.float32(eps))
    factor = factor if weight is None else factor * weight
    shift = -mean * factor if bias is None else bias - mean * factor
    if x.ndim < 2:
        return x * factor + shift
    along = (-1, *[1] * (x.ndim - 2))
    return x * factor.reshape(along) + shift.reshape(along)


# Statistics

def variance(x: Array, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *,
             correction: float | None = 1) -> Array:
    """Overloads have `unbiased` as second or third argument, or `correction`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    correction = correction if unbiased else 0
    axes = _axes(dim, x.ndim)
    count = math.prod(x.shape[a] for a in axes)
    centred = x.astype(np.float64) - x.mean(axis=axes, keepdims=True, dtype=np.float64)
    total = (centred * centred).sum(axis=axes, keepdims=keepdim)
    return (total / max(count - (1 if correction is None else correction), 0)).astype(np.float32)


def deviation(x: Array, *given: Any, **named: Any) -> Array:
    return np.sqrt(variance(x, *given, **named))


def vector_norm(x: Array, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    axes = _axes(dim, x.ndim)
    size = np.abs(x)
    if math.isinf(ord):
        return (size.max if ord > 0 else size.min)(axis=axes, keepdims=keepdim)
    if ord == 0:
        return (x != 0).sum(axis=axes, keepdims=keepdim).astype(np.float32)
    total = (size.astype(np.float64)**ord).sum(axis=axes, keepdims=keepdim)
    return (total ** (1 / ord)).astype(np.float32)


def _extreme(kind: str) -> Callable[..., tuple[Array, Array]]:
    def both(x: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
        places = getattr(np, f"arg{kind}")(x, axis=dim, keepdims=True)
        values = np.take_along_axis(x, places, dim)
        return (values, places) if keepdim else (values.squeeze(dim), places.squeeze(dim))

    return both


def _place(kind: str) -> Callable[..., Array]:
    def place(x: Array, dim: int | None = None, keepdim: bool = False) -> Array:
        if dim is None:
            return np.asarray(getattr(np, f"arg{kind}")(x)).reshape((1,) * x.ndim if keepdim else ())
        return getattr(np, f"arg{kind}")(x, axis=dim, keepdims=keepdim)

    return place


def topk(x: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Array, Array]:
    """Equal values in the order of their places."""
    order = np.argsort(-x if largest else x, axis=dim, kind="stable")
    places = np.take(order, np.arange(k), axis=dim)
    return np.take_along_axis(x, places, dim), places


def sort(x: Array, dim: int = -1, descending: bool = False) -> tuple[Array, Array]:
    return topk(x, x.shape[dim], dim, largest=descending)


# Choices and places

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


def attention(query: Array, key: Array, value: Array, mask: Array | None = None, dropout: float = 0.0,
              causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False) -> Array:
    scores = query @ np.swapaxes(key, -1, -2) * np.float32(1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:]) > 0, scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True) @ value).astype(np.float32)


def slice_scatter(x: Array, source: Array, dim: int = 0, start: int | None = None, end: int | None = None,
                  step: int = 1) -> Array:
    """`x` with `source` in place of x[start:end:step] along one axis."""
    return _replaced(x, source, dim, slice(start, end, step))


def _replaced(x: Array, source: Array, dim: int, part: slice | int) -> Array:
    made = x.copy()
    made[(*[slice(None)] * (dim % x.ndim), part)] = source
    return made


def unfold(x: Array, dim: int, size: int, step: int) -> Array:
    """Windows of `size` elements along one axis; those of one window lie along a new last axis."""
    view = np.lib.stride_tricks.sliding_window_view(x, size, axis=dim)
    return view[(*[slice(None)] * (dim % x.ndim), slice(None, None, step))].copy()


def median(x: Array, dim: int | None = None, keepdim: bool = False) -> Result:
    """The lower one of two in the middle, and its place where that is along one axis."""
    if dim is None:
        return np.sort(x, axis=None)[(x.size - 1) // 2]
    order = np.argsort(x, axis=dim, kind="stable")
    places = np.take(order, [(x.shape[dim] - 1) // 2], axis=dim)
    values = np.take_along_axis(x, places, axis=dim)
    return (values, places) if keepdim else (values.squeeze(dim), places.squeeze(dim))


# Operator -> function. Names without an overload stand for all overloads.
FUNCTIONS: dict[str, Callable[..., Result]] = {
    "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: clamp(x, 0, 6), "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": gelu, "hardsigmoid": lambda x: _gate(x) / np.float32(6),
    "hardswish": lambda x: x * _gate(x) / np.float32(6),
    "hardtanh": lambda x, low=-1, high=1: clamp(x, low, high), "mish": lambda x: x * np.tanh(softplus(x)),
    "leaky_relu": lambda x, slope=0.01: np.where(x > 0, x, x * np.float32(slope)), "elu": elu, "prelu": prelu,
    "celu": lambda x, alpha=1.0: elu(x, alpha, 1, 1 / alpha), "selu": lambda x: elu(x, _SELU_ALPHA, _SELU_SCALE),
    "softplus": softplus, "log_sigmoid": log_sigmoid, "glu": glu, "hardshrink": lambda x, edge=0.5: np.where(
        np.abs(x) > edge, x, 0), "softshrink": lambda x, edge=0.5: np.sign(x) * np.maximum(np.abs(x) - edge, 0),
    "threshold": lambda x, edge, other: np.where(x > edge, x, other), "clamp": clamp,
    "clamp_min": lambda x, low: clamp(x, low), "clamp_max": lambda x, high: clamp(x, None, high),
    "sigmoid": sigmoid, "erf": erf, "erfc": lambda x: 1 - erf(x), "rsqrt": lambda x: _ONE / np.sqrt(x),
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
    "rsub": lambda a, b, alpha=1: b - a * alpha, "mul": lambda a, b: a * b, "log_softmax": log_softmax,
    "_log_softmax": log_softmax, "logsumexp": logsumexp, "layer_norm": layer_norm, "rms_norm": rms_norm,
    "group_norm": group_norm, "instance_norm": instance_norm, "batch_norm": batch_norm, "var": variance,
    "std": deviation, "linalg_vector_norm": vector_norm, "argmax": _place("max"), "argmin": _place("min"),
    "max": lambda x, *along: _extreme("max")(x, *along) if along else x.max(),
    "min": lambda x, *along: _extreme("min")(x, *along) if along else x.min(),
    "amax": lambda x, dim=(), keepdim=False: x.max(axis=_axes(dim, x.ndim), keepdims=keepdim),
    "amin": lambda x, dim=(), keepdim=False: x.min(axis=_axes(dim, x.ndim), keepdims=keepdim),
    "prod": lambda x, dim=None, keepdim=False: x.prod(axis=dim, keepdims=keepdim),
    "any": lambda x, dim=None, keepdim=False: x.any(axis=_axes(dim, x.ndim), keepdims=keepdim),
    "all": lambda x, dim=None, keepdim=False: x.all(axis=_axes(dim, x.ndim), keepdims=keepdim),
    "cumsum": lambda x, dim, *, dtype=None: np.cumsum(x, axis=dim, dtype=x.dtype),
    "cumprod": lambda x, dim, *, dtype=None: np.cumprod(x, axis=dim, dtype=x.dtype), "topk": topk, "sort": sort,
    "slice_scatter": slice_scatter, "select_scatter": _replaced, "unfold": unfold, "median": median,
    "index": index, "_unsafe_index": index, "gather": gather,
    "index_select": lambda x, dim, places: np.take(x, places, axis=dim),
    "embedding": lambda weight, places, *more: weight[places],
    "scaled_dot_product_attention": attention, "mv": np.matmul, "dot": np.dot, "matmul": np.matmul,
    "linear": lambda x, weight, bias=None: x @ weight.T if bias is None else x @ weight.T + bias,
    "addmm": lambda c, a, b, *, beta=1, alpha=1: c * beta + a @ b * alpha,
    "baddbmm": lambda c, a, b, *, beta=1, alpha=1: c * beta + a @ b * alpha,
    "mean": lambda x, dim=None, keepdim=False: x.mean(axis=_axes(dim, x.ndim), keepdims=keepdim),
    "sum": lambda x, dim=None, keepdim=False: x.sum(axis=_axes(dim, x.ndim), keepdims=keepdim),
    **POOLS, **{name: lambda *given, pool=pool, **named: (pool(*given, **named),) for name, pool in FIRST_ONLY.items()},
}
SEVERAL = ("max", "min", "topk", "sort", "median")  # functions that may have several results
