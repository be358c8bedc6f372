"""PyTorch's operators that put values into a copy of a tensor, in numpy, with ATen's own names and arguments.

Duplicate places: sums and products take all of them, one after the other, as PyTorch's kernels for the CPU do; of
values that are set the last one stays.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Part = slice | int | Array


def _written(x: Array, places: tuple[Any, ...], values: Any) -> Array:
    made = x.copy()
    made[places] = values
    return made


def _along(x: Array, dim: int, part: Part) -> tuple[Any, ...]:
    """The index of a part along one axis."""
    return (*[slice(None)] * (dim % max(x.ndim, 1)), part) if x.ndim else ()


def slice_scatter(x: Array, source: Array, dim: int = 0, start: int | None = None, end: int | None = None,
                  step: int = 1) -> Array:
    """`x` with `source` in place of x[start:end:step] along one axis."""
    return _written(x, _along(x, dim, slice(start, end, step)), source)


def select_scatter(x: Array, source: Array, dim: int, index: int) -> Array:
    return _written(x, _along(x, dim, index), source)


def diagonal(x: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    return np.diagonal(x, offset, dim1, dim2).copy()


def diagonal_scatter(x: Array, source: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    made = x.copy()
    view = np.diagonal(made, offset, dim1, dim2)
    view.flags.writeable = True  # numpy's views of diagonals are read-only by default
    view[...] = source
    return made


def index_put(x: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    """None in `indices` stands for a whole axis."""
    places: tuple[Any, ...] = tuple(slice(None) if index is None else index for index in indices)
    if not accumulate:
        return _written(x, places, values)
    made = x.copy()
    np.add.at(made, places, values)
    return made


def index_fill(x: Array, dim: int, index: Array, value: Any) -> Array:
    return _written(x, _along(x, dim, index), value)


def index_copy(x: Array, dim: int, index: Array, source: Array) -> Array:
    return _written(x, _along(x, dim, index), source)


def index_add(x: Array, dim: int, index: Array, source: Array, *, alpha: float = 1) -> Array:
    made = x.copy()
    np.add.at(made, _along(made, dim, index), source * np.asarray(alpha, x.dtype))
    return made


_COMBINED: dict[str, np.ufunc] = {"add": np.add, "sum": np.add, "multiply": np.multiply, "prod": np.multiply,
                                  "amax": np.maximum, "amin": np.minimum}


def scatter(x: Array, dim: int, index: Array, source: Any, *, reduce: str | None = None) -> Array:
    """Each element of `source` (or the one number) goes to its place along one axis, set or combined."""
    made = x.copy()
    places: list[Array] = list(np.indices(index.shape, sparse=True))
    if places:
        places[dim] = index
    values = source[tuple(map(slice, index.shape))] if isinstance(source, np.ndarray) and source.ndim else source
    if reduce is None:
        made[tuple(places)] = values
    else:
        _COMBINED[reduce].at(made, tuple(places), np.asarray(values, x.dtype))
    return made


def scatter_add(x: Array, dim: int, index: Array, source: Array) -> Array:
    return scatter(x, dim, index, source, reduce="add")


def masked_scatter(x: Array, mask: Array, source: Array) -> Array:
    """The elements of `source`, in their order, go where `mask` is true."""
    shape = np.broadcast_shapes(x.shape, mask.shape)
    made = np.broadcast_to(x, shape).copy()
    chosen = np.broadcast_to(mask, shape)
    made[chosen] = source.ravel()[:int(chosen.sum())]
    return made


WRITES: dict[str, Callable[..., Array]] = {
    "slice_scatter": slice_scatter, "select_scatter": select_scatter, "diagonal": diagonal,
    "diagonal_scatter": diagonal_scatter, "index_put": index_put, "_unsafe_index_put": index_put,
    "index_fill": index_fill, "index_copy": index_copy, "index_add": index_add, "scatter": scatter,
    "scatter_add": scatter_add, "masked_scatter": masked_scatter,
    "copy": lambda x, source, non_blocking=False: np.broadcast_to(source, x.shape).astype(x.dtype),
    "fill": lambda x, value: np.full_like(x, value), "zero": np.zeros_like,
}
