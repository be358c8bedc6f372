"""Logarithm, quotient and inverse square root in fixed point, as TFLite's reference kernels compute them.

Values are int64 arrays that hold int32. Sources: tensorflow/lite/kernels/internal/common.h (GetReciprocal,
GetInvSqrtQuantizedMultiplierExp, log_x_for_x_greater_than_or_equal_to_1_impl), reference/div.h.
"""

import numpy as np

from .fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    one_over_one_plus_x,
    rounding_divide,
    saturating_doubling_high_multiply,
    saturating_shift_left,
    wrap,
)

_MUL = saturating_doubling_high_multiply
# In Q0.31: log 2, the square root of 1/2 and its square root, and the coefficients of the logarithm's approximation
_LOG_2 = np.int64(1488522236)
_SQRT_HALF = np.int64(1518500250)
_SQRT_SQRT_HALF = np.int64(1805811301)
_ALPHA_N = np.int64(117049297)
_ALPHA_D = np.int64(127690142)
_ALPHA_I = np.int64(1057819769)
_ALPHA_F = np.int64(638450708)


def bit_length(x: np.ndarray) -> np.ndarray:
    """Bits that integers of at least 0 need, 0 for 0."""
    return np.frexp(np.asarray(x, np.float64))[1].astype(np.int64)


def _saturate(x: np.ndarray) -> np.ndarray:
    return np.clip(x, INT32_MIN, INT32_MAX)


def logarithm(x: np.ndarray, integer_bits: int, result_bits: int) -> np.ndarray:
    """log(x) with `result_bits` integer bits for x >= 1 with `integer_bits` integer bits."""
    bits = result_bits + 1  # of the sum below, which has one more than its result
    quarter = rounding_divide(np.int64(1 << 29), bits)
    above = 32 - bit_length(x)
    first = saturating_shift_left(_MUL(saturating_shift_left(x, above - 1), _SQRT_HALF), 1)
    first_power = _saturate(saturating_shift_left(integer_bits - above, 31 - bits) + quarter)
    below = 31 - bit_length(_MUL(x, _SQRT_HALF))
    second = saturating_shift_left(x, below)
    second_power = _saturate(saturating_shift_left(integer_bits - below, 31 - bits) - quarter)
    r = np.minimum(first, second)
    power = np.maximum(first_power, second_power)
    p = (r + _SQRT_SQRT_HALF + 1) >> 1  # both at least 0
    q = 2 * (r - _SQRT_SQRT_HALF)
    square = _MUL(q, q)
    numerator = _MUL(q, r) + _MUL(_MUL(q, square), _ALPHA_N)
    denominator = _MUL(p, _ALPHA_I + q + _MUL(_ALPHA_D, square)) + _MUL(_ALPHA_F, q)
    total = _MUL(power, _LOG_2) + _MUL(rounding_divide(numerator, bits), one_over_one_plus_x(denominator))
    return saturating_shift_left(total, 1)


def quotient(a: np.ndarray, b: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """a / b * multiplier / 2**31 * 2**shift for integers of 9 bits, b not 0 (DivElementwise)."""
    a = np.where(b < 0, -a, a)
    b = np.abs(b)
    above = 32 - bit_length(b)
    inverse = one_over_one_plus_x((b << above) - (1 << 31))
    # CountLeadingSignBits: of a negative number as many as its complement has, of 0 all but the sign
    headroom = 31 - bit_length(np.where(a < 0, -a - 1, a))
    unscaled = _MUL(a << headroom, inverse)
    return divide_by_any_power(_MUL(unscaled, np.int64(multiplier)), (31 - above) + headroom - shift)


def divide_by_any_power(x: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """RoundingDivideByPOT, also for exponents outside of 0..31, as x86 computes it: C++ leaves those shifts undefined,
    LiteRT's division makes them for small quotients (0 / b may be 1), its comparisons for scales of 1 and more."""
    wide = exponent % 64
    mask = wrap(((np.int64(1) << np.minimum(wide, 62)) - 1) | np.where(wide == 63, INT32_MIN, 0))
    return (x >> exponent % 32) + ((x & mask) > (mask >> 1) + (x < 0))


def inverse_square_root(x: int) -> tuple[int, int]:
    """(multiplier, shift) of 1 / sqrt(x) for an integer x >= 0, 0 being taken as 1; shift above 0 is to the left."""
    multiplier, shift = inverse_square_roots(np.array([x]))
    return int(multiplier[0]), int(shift[0])


def inverse_square_roots(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`inverse_square_root` of each: int64 arrays of x's shape."""
    x = np.asarray(x, np.int64)
    large = np.maximum(bit_length(x) - 28, 0) // 2  # divisions by 4 that bring x below 2**29
    shift = 11 + large
    value = np.maximum(x >> 2 * large, 1)
    pairs = (31 - bit_length(value)) // 2 - 1
    shift -= pairs
    value = (value << 2 * pairs) >> 1  # Q3.28, as the others below
    half = rounding_divide(value, 1)
    result = np.full_like(value, 1 << 28)
    for _ in range(5):
        cube = saturating_shift_left(_MUL(_MUL(result, result), result), 6)
        result = saturating_shift_left(_MUL(np.int64((1 << 28) + (1 << 27)), result) - _MUL(half, cube), 3)
    multiplier = _MUL(result, _SQRT_HALF) << np.maximum(-shift, 0)
    return np.where(x <= 1, INT32_MAX, multiplier), np.where(x <= 1, 0, -np.maximum(shift, 0))
