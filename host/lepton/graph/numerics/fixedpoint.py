"""gemmlowp's fixed-point arithmetic on numpy arrays, as TFLite's reference kernels use it.

Values are int64 arrays that hold int32; Qa.b has a integer and b fraction bits, and a sign bit.
Source of the formulas: gemmlowp/fixedpoint/fixedpoint.h, tensorflow/lite/kernels/internal/common.h.
"""

import math
from typing import overload

import numpy as np

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1

Integers = int | np.integer | np.ndarray


def quantize_multiplier(scale: float) -> tuple[int, int]:
    """(multiplier Q0.31, shift) with scale = multiplier / 2**31 * 2**shift; shift above 0 is to the left.

    QuantizeMultiplier of quantization_util.cc; a scale below 2**-31 becomes 0. Raises ValueError for a
    scale that is negative or not finite.
    """
    if not math.isfinite(scale) or scale < 0:
        raise ValueError(f"a scale must be finite and at least 0, not {scale}")
    if scale == 0:
        return 0, 0
    fraction, shift = math.frexp(scale)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier = multiplier // 2
        shift = shift + 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def quantize_multipliers(scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`quantize_multiplier` of each scale: two int64 arrays of the same shape."""
    scales = np.asarray(scales, np.float64)
    pairs = [quantize_multiplier(float(scale)) for scale in scales.reshape(-1)]
    multiplier, shift = np.array(pairs, np.int64).reshape(-1, 2).T
    return multiplier.reshape(scales.shape), shift.reshape(scales.shape)


@overload
def split_shift(shift: int) -> tuple[int, int]: ...
@overload
def split_shift(shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
def split_shift(shift: int | np.ndarray) -> tuple[int | np.ndarray, int | np.ndarray]:
    """(left, right) of a TFLite shift, a number or an array."""
    if isinstance(shift, int):
        return max(shift, 0), max(-shift, 0)
    return np.maximum(shift, 0), np.maximum(np.negative(shift), 0)


def wrap(x: Integers) -> np.ndarray:
    """int64 values modulo 2**32, as an int32 register holds them."""
    return np.asarray(x, np.int64).astype(np.int32).astype(np.int64)


def saturating_doubling_high_multiply(a: Integers, b: Integers) -> np.ndarray:
    """round(a * b / 2**31), half up, saturated (SaturatingRoundingDoublingHighMul).

    gemmlowp adds or subtracts 2**30 and divides toward zero; the results are equal.
    """
    product = np.asarray(a, np.int64) * b
    product += 1 << 30
    product >>= 31
    return np.minimum(product, INT32_MAX)


def rounding_divide(x: Integers, exponent: Integers) -> np.ndarray:
    """x / 2**exponent, half away from zero (RoundingDivideByPOT)."""
    x = np.asarray(x, np.int64)
    half = (np.int64(1) << exponent) >> 1
    nudge = (x >> 63) & -np.sign(half)  # -1 below 0, but for a division by 1
    nudge += half
    nudge += x
    nudge >>= exponent
    return nudge


def scale_twice_rounded(x: Integers, multiplier: Integers, left: Integers, right: Integers) -> np.ndarray:
    """x * 2**left * multiplier / 2**31 / 2**right: the shift to the left in int32, then rounded twice."""
    shifted = wrap(np.asarray(x, np.int64) << left)
    return rounding_divide(saturating_doubling_high_multiply(shifted, np.asarray(multiplier, np.int64)), right)


def multiply_by_quantized_multiplier(x: Integers, multiplier: Integers, shift: Integers) -> np.ndarray:
    """x * multiplier / 2**31 * 2**shift with TFLite's double rounding (MultiplyByQuantizedMultiplier).

    One multiplier and shift for all of `x`, or arrays that broadcast.
    """
    return scale_twice_rounded(x, multiplier, *split_shift(np.asarray(shift, np.int64)))


def saturating_shift_left(x: Integers, exponent: Integers) -> np.ndarray:
    """x * 2**exponent, saturated to int32 (SaturatingRoundingMultiplyByPOT)."""
    return np.clip(x << exponent, INT32_MIN, INT32_MAX)


def _exp_on_interval(a: np.ndarray) -> np.ndarray:
    """exp(a) in Q0.31 for a in [-1/4, 0) in Q0.31."""
    mul = saturating_doubling_high_multiply
    x = a + (1 << 28)  # around -1/8
    x2 = mul(x, x)
    x3 = mul(x2, x)
    x4 = mul(x2, x2)
    polynomial = rounding_divide(mul(rounding_divide(x4, 2) + x3, np.int64(715827883)) + x2, 1)
    return 1895147668 + mul(np.int64(1895147668), x + polynomial)


def exp_on_negative_values(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(a) in Q0.31 for a <= 0 with `integer_bits` integer bits."""
    fractional = 31 - integer_bits
    quarter = np.int64(1 << (fractional - 2))
    remainder = (a & (quarter - 1)) - quarter
    result = _exp_on_interval(saturating_shift_left(remainder, integer_bits))
    beyond = remainder - a
    factors = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242))
    for exponent, multiplier in factors:
        if exponent < integer_bits:
            present = (beyond & (np.int64(1) << (fractional + exponent))) != 0
            result = np.where(present, saturating_doubling_high_multiply(result, np.int64(multiplier)), result)
    if integer_bits > 5:  # the polynomial's factors end at exp(-16)
        result = np.where(a < -(np.int64(1) << (36 - integer_bits)), 0, result)
    return np.where(a == 0, INT32_MAX, result)


def _half_denominator_reciprocal(x: np.ndarray) -> np.ndarray:
    """2/(1+x) in Q2.29 for x in [0, 1] in Q0.31, by Newton-Raphson."""
    mul = saturating_doubling_high_multiply
    total = x + INT32_MAX
    half = np.where(total >= 0, (total + 1) >> 1, -((1 - total) >> 1))  # RoundingHalfSum
    estimate = 1515870810 + mul(half, np.int64(-1010580540))  # 48/17 - 32/17 * half
    for _ in range(3):
        error = (1 << 29) - mul(half, estimate)
        estimate = estimate + saturating_shift_left(mul(estimate, error), 2)
    return estimate


def one_over_one_plus_x(x: np.ndarray) -> np.ndarray:
    """1/(1+x) in Q0.31 for x in [0, 1] in Q0.31."""
    return saturating_shift_left(_half_denominator_reciprocal(x), 1)
