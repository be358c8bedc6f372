"""Requantization of whole arrays in fixed point, one factor for all or one per channel, on int64 values."""

import numpy as np

from ...fixedpoint import rounding_divide, saturating_doubling_high_multiply
from ..quantize import quantize_multiplier

high_multiply = saturating_doubling_high_multiply


def wrap(x: np.ndarray) -> np.ndarray:
    """int64 values modulo 2**32, as an int32 register holds them."""
    return x.astype(np.int32).astype(np.int64)


def multipliers(reals) -> tuple[np.ndarray, np.ndarray]:
    """(multiplier, shift) of each real factor, as int64 arrays of the same shape."""
    reals = np.asarray(reals, np.float64)
    pairs = [quantize_multiplier(float(r)) for r in reals.reshape(-1)]
    multiplier, shift = np.array(pairs, np.int64).reshape(-1, 2).T
    return multiplier.reshape(reals.shape), shift.reshape(reals.shape)


def rescale(x: np.ndarray, multiplier, shift) -> np.ndarray:
    """MultiplyByQuantizedMultiplier: x * multiplier * 2**(shift - 31), rounding twice."""
    shift = np.asarray(shift, np.int64)
    return rounding_divide(high_multiply(wrap(x << np.maximum(shift, 0)), multiplier), np.maximum(-shift, 0))


__all__ = ["high_multiply", "multipliers", "rescale", "rounding_divide", "wrap"]
