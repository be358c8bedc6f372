"""PyTorch's functions along axes in numpy: sums, statistics, largest elements and their places, and orders.

Variances and norms are summed in float64.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Result = Array | tuple[Array, ...]


def _axes(dim: Any, rank: int) -> tuple[int, ...]:
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return tuple(range(rank))
    return tuple(sorted(d % rank for d in dim)) if isinstance(dim, list | tuple) else (int(dim) % rank,)


def log_softmax(x: Array, dim: int, half_to_float: Any = None) -> Array:
    shifted = x - x.max(axis=dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


def logsumexp(x: Array, dim: Any, keepdim: bool = False) -> Array:
    axes = _axes(dim, x.ndim)
    largest = x.max(axis=axes, keepdims=True)
    total = np.log(np.exp(x - largest).sum(axis=axes, keepdims=True)) + largest
    return total if keepdim else total.squeeze(axes)


def variance(x: Array, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *,
             correction: float | None = 1) -> Array:
    """Overloads have `unbiased` as second or third argument, or `correction`."""
    if isinstance(dim, bool):
        unbiased = dim
        dim = None
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


def median(x: Array, dim: int | None = None, keepdim: bool = False) -> Result:
    """The lower one of two in the middle, and its place where that is along one axis."""
    if dim is None:
        return np.sort(x, axis=None)[(x.size - 1) // 2]
    order = np.argsort(x, axis=dim, kind="stable")
    places = np.take(order, [(x.shape[dim] - 1) // 2], axis=dim)
    values = np.take_along_axis(x, places, axis=dim)
    return (values, places) if keepdim else (values.squeeze(dim), places.squeeze(dim))


REDUCTIONS: dict[str, Callable[..., Result]] = {
    "log_softmax": log_softmax, "_log_softmax": log_softmax, "logsumexp": logsumexp, "var": variance,
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
    "median": median,
    "mean": lambda x, dim=None, keepdim=False: x.mean(axis=_axes(dim, x.ndim), keepdims=keepdim),
    "sum": lambda x, dim=None, keepdim=False: x.sum(axis=_axes(dim, x.ndim), keepdims=keepdim),
}
SEVERAL = ("max", "min", "topk", "sort", "median")  # functions that may have several results
