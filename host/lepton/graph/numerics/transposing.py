"""Transpositions by compiled loops, where they come to that of matrices."""

from collections.abc import Callable
from math import prod

import numpy as np

from ..core import Shape
from . import compiled

_WORTH = 1 << 12  # elements below which numpy is as fast
_NARROW = 8  # columns below which numpy is faster: it reads rows as they are in memory


def as_matrices(shape: Shape, order: Shape) -> Shape | None:
    """(matrices, rows, columns) of which each is transposed; None where the order is another one."""
    groups: list[list[int]] = []  # of axes that stay neighbours; those of one element may go anywhere
    for axis in (axis for axis in order if shape[axis] != 1):
        if groups and all(shape[between] == 1 for between in range(groups[-1][-1] + 1, axis)) and axis > groups[-1][-1]:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    extents = [prod(shape[axis] for axis in group) for group in groups]
    if len(groups) == 2:
        return 1, extents[1], extents[0]
    if len(groups) == 3 and groups[0][0] < groups[2][0] < groups[1][0]:
        return extents[0], extents[2], extents[1]
    return None


def swapper(shape: Shape, order: Shape, dtype: np.dtype, often: bool) -> Callable[[np.ndarray], np.ndarray] | None:
    """What transposes an array of `shape` and `dtype`; None where numpy is to do it."""
    size = prod(shape)
    matrices = as_matrices(shape, order) if dtype.itemsize in (1, 4) and size >= _WORTH else None
    if matrices is None or matrices[2] < _NARROW:
        return None
    eights = dtype.itemsize == 1 and matrices[1] % 8 == 0
    name = "transpose_words" if dtype.itemsize == 4 else "transpose_eights" if eights else "transpose_bytes"
    element = np.dtype(np.int32) if dtype.itemsize == 4 else np.dtype(np.uint8 if eights else np.int8)
    loop = compiled.loop(name, size, often)
    if loop is None:
        return None
    count, rows, columns = matrices
    made = tuple(shape[axis] for axis in order)

    def kernel(x: np.ndarray) -> np.ndarray:
        result = np.empty(made, dtype)
        words = result.reshape(count, columns, rows).view(np.uint64 if eights else element)
        loop(x.reshape(matrices).view(element), words)
        return result
    return kernel
