"""Elements at places that are known before the first execution."""

import numpy as np

from ..core import Shape
from ..operands import OfOne
from . import compiled

MOST = 1 << 31  # elements that places of int32 tell apart


def at_places(places: np.ndarray, shape: Shape, dtype: np.dtype, often: bool) -> OfOne:
    """What takes the elements of arrays of `dtype` at `places`, counted in their order in memory; the result has
    `shape`. Places of int32 are half of what numpy's own take to read."""
    flat = np.ascontiguousarray(places, np.int32).reshape(-1)
    loop = compiled.loop("take_words", flat.size, often) if dtype.itemsize == 4 else None
    if loop is None:
        wide = flat.astype(np.intp)
        return lambda x: x.reshape(-1).take(wide).reshape(shape)

    def kernel(x: np.ndarray) -> np.ndarray:
        made = np.empty(shape, dtype)
        loop(x.reshape(-1).view(np.int32), flat, made.reshape(-1).view(np.int32))
        return made
    return kernel
