"""Quotients of integers."""

import numpy as np

from . import compiled


def divided(a: np.ndarray, b: np.ndarray, often: bool) -> np.ndarray | None:
    """a / b cut off towards 0, of int32 arrays of one shape or of one divisor; None where numpy is to compute it.

    A processor divides integers one at a time, floats several at a time.
    """
    if a.dtype != np.int32 or b.dtype != np.int32 or (b.size > 1 and a.shape != b.shape) or b.ndim > a.ndim:
        return None
    loop = compiled.loop("divide_int32", a.size, often)
    if loop is None:
        return None
    result = np.empty(a.shape, np.int32)
    loop(a.reshape(1, -1), b.reshape(1, -1), result.reshape(1, -1))
    return result
