"""SOFTMAX and NORM: what the ROWS engine computes of rows, as `lepton.arch.rows` says."""

import numpy as np
from lepton.arch.rows import RSQRT_SEED

from .numerics import rounding_divide_by_pot
from .numerics import saturating_rounding_doubling_high_mul as high_multiply

_SUM_SHIFT = 12  # exponentials are added as Q12.19


def softmax(rows: np.ndarray, table: np.ndarray, fields: dict[str, int]) -> np.ndarray:
    """Rows (rows, length) int8 and EXPONENTIALS uint32 -> int8 of the same shape."""
    q = rows.astype(np.int64)
    below = q.max(axis=1, keepdims=True) - q
    e = (table.astype(np.int64) & 0x7FFFFFFF)[below]
    total = np.maximum(((e + (1 << (_SUM_SHIFT - 1))) >> _SUM_SHIFT).sum(axis=1, keepdims=True), 1)
    bits = _bit_length(total)
    headroom = 32 - bits
    r = reciprocal((total << headroom) - (1 << 31))
    if fields["out_mult"]:
        r = high_multiply(r, fields["out_mult"])
    shift = np.maximum(_SUM_SHIFT - headroom + fields["out_shift"], 0)
    high = high_multiply(r, e)
    y = np.where(shift > 31, 0, rounding_divide_by_pot(high, np.minimum(shift, 31)))
    return _finish(y, fields)


def norm(rows: np.ndarray, factor: np.ndarray, bias: np.ndarray, fields: dict[str, int]) -> np.ndarray:
    """Rows (rows, length) int8, factor and bias (length,) -> int8 of the same shape."""
    d = rows.astype(np.int64) - fields["in_zero"]
    count = fields["count"]
    total = d.sum(axis=1, keepdims=True) * fields["center"]
    squares = (d * d).sum(axis=1, keepdims=True)
    variance = np.maximum(256 * (count * squares - total * total), 0) + fields["epsilon"]
    exponent = np.maximum(_bit_length(variance) - 1, 0) // 2  # floor(log4)
    left = np.maximum(29 - 2 * exponent, 0)
    right = np.maximum(2 * exponent - 29, 0)
    v = (variance << left) >> right
    y = np.where(variance > 0, reciprocal_square_root(np.where(variance > 0, v, 1 << 29)), 0)
    product = (count * d - total) * y
    t = np.clip((product + (np.int64(1) << (exponent + 9))) >> (exponent + 10), -(1 << 23), (1 << 23) - 1)
    shift = fields["out_shift"]
    scaled = t * factor.astype(np.int64) + bias.astype(np.int64) * 256
    return _finish((scaled + (np.int64(1) << (shift - 1))) >> shift, fields)


def reciprocal(x: np.ndarray) -> np.ndarray:
    """1/(1+x) in Q0.31 for x in [0, 1) in Q0.31, gemmlowp's one_over_one_plus_x_for_x_in_0_1."""
    half = (x.astype(np.int64) + (1 << 31)) >> 1  # RoundingHalfSum of x and 2**31 - 1; x is not negative
    estimate = 1515870810 + high_multiply(half, -1010580540).astype(np.int64)  # 48/17 - 32/17 * half in Q2.29
    for _ in range(3):
        error = (1 << 29) - high_multiply(half, estimate)
        estimate = estimate + _saturate(high_multiply(estimate, error).astype(np.int64) << 2)
    return _saturate(estimate << 1)


def reciprocal_square_root(v: np.ndarray) -> np.ndarray:
    """1/sqrt(v) in Q1.30 for v in [1, 4) in Q2.29."""
    y = np.asarray(RSQRT_SEED, np.int64)[v >> 27]
    for _ in range(3):
        y = (y * ((3 << 29) - ((v * (y * y >> 30)) >> 30))) >> 30
    return y


def _finish(y: np.ndarray, fields: dict[str, int]) -> np.ndarray:
    return np.clip(y.astype(np.int64) + fields["out_zero"], fields["out_min"], fields["out_max"]).astype(np.int8)


def _saturate(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -(1 << 31), (1 << 31) - 1)


def _bit_length(x: np.ndarray) -> np.ndarray:
    """Bits of integers from 0 to 2**53."""
    return np.frexp(x.astype(np.float64))[1].astype(np.int64)
