"""gemmlowp's fixed-point functions of single numbers, and the functions of rows that need them.

`fixedpoint` and `functions` have them for arrays. `vector` tells numba about those that loops call.
"""

import numpy as np

Array = np.ndarray

TYPES = {
    "log_softmax": "INT8[:,:] INT64[:] INT64[:] int64 int64 int64 int64 int8[:,:]",
    "unit_length": "INT8[:,:] int64 boolean int8[:,:]",
}
_LARGEST = 2**31 - 1
# Constants in Q0.31, see `functions`
_LOG_2 = 1488522236
_SQRT_HALF = 1518500250
_SQRT_SQRT_HALF = 1805811301
_ALPHA_N = 117049297
_ALPHA_D = 127690142
_ALPHA_I = 1057819769
_ALPHA_F = 638450708


def high(a: int, b: int) -> int:
    """fixedpoint.saturating_doubling_high_multiply."""
    return min((a * b + (1 << 30)) >> 31, _LARGEST)


def halved(x: int, exponent: int) -> int:
    """fixedpoint.rounding_divide."""
    half = (1 << exponent) >> 1
    return (x + half - (min(half, 1) & (x >> 63))) >> exponent


def saturated(x: int, exponent: int) -> int:
    """fixedpoint.saturating_shift_left."""
    return min(max(x << exponent, -_LARGEST - 1), _LARGEST)


def scaled(x: int, multiplier: int, shift: int) -> int:
    """fixedpoint.multiply_by_quantized_multiplier."""
    return halved(high(int(np.int32(x << max(shift, 0))), multiplier), max(-shift, 0))


def bits(x: int) -> int:
    """functions.bit_length."""
    count = 0
    while x >> count:
        count += 1
    return count


def reciprocal(x: int) -> int:
    """fixedpoint.one_over_one_plus_x."""
    total = x + _LARGEST
    half = (total + 1) >> 1 if total >= 0 else -((1 - total) >> 1)
    estimate = 1515870810 + high(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - high(half, estimate)
        estimate = estimate + saturated(high(estimate, error), 2)
    return saturated(estimate, 1)


def logarithm(x: int, integer_bits: int, result_bits: int) -> int:
    """functions.logarithm."""
    lanes = result_bits + 1
    quarter = halved(1 << 29, lanes)
    above = 32 - bits(x)
    first = saturated(high(saturated(x, above - 1), _SQRT_HALF), 1)
    first_power = min(max(saturated(integer_bits - above, 31 - lanes) + quarter, -_LARGEST - 1), _LARGEST)
    below = 31 - bits(high(x, _SQRT_HALF))
    second = saturated(x, below)
    second_power = min(max(saturated(integer_bits - below, 31 - lanes) - quarter, -_LARGEST - 1), _LARGEST)
    r = min(first, second)
    p = (r + _SQRT_SQRT_HALF + 1) >> 1
    q = 2 * (r - _SQRT_SQRT_HALF)
    square = high(q, q)
    numerator = high(q, r) + high(high(q, square), _ALPHA_N)
    denominator = high(p, _ALPHA_I + q + high(_ALPHA_D, square)) + high(_ALPHA_F, q)
    total = high(max(first_power, second_power), _LOG_2) + high(halved(numerator, lanes), reciprocal(denominator))
    return saturated(total, 1)


def log_softmax(x: Array, table: Array, parts: Array, integer_bits: int, radius: int, multiplier: int, shift: int,
                result: Array) -> None:
    """log_softmax.LogSoftmax: `table` has the scaled differences to the largest, `parts` what each adds to the sum."""
    rows, columns = x.shape
    for i in range(rows):
        largest = np.int8(-128)
        for j in range(columns):
            largest = max(largest, x[i, j])
        total = 0
        for j in range(columns):
            total += parts[np.intp(largest) - np.intp(x[i, j])]
        log = logarithm(total, 12, integer_bits)
        least = max(-radius - 1, scaled(log - 2**31, multiplier, shift))
        for j in range(columns):
            below = int(x[i, j]) - int(largest)
            y = table[-below] - log
            y = ((y + (1 << 21) + (y >> 63)) >> 22) + 127  # 31 - 5 - 4 bits, halves away from zero
            y = min(max(y, -128), 127)
            result[i, j] = np.int8(y if below > least else -128)


def unit_length(x: Array, zero: int, unsigned: bool, result: Array) -> None:
    """normalize.L2Normalize; the root is functions.inverse_square_roots."""
    rows, columns = x.shape
    for i in range(rows):
        total = 0
        for j in range(columns):
            value = int(x[i, j]) - zero
            total += value * value
        multiplier = _LARGEST
        shift = 0
        if total > 1:
            large = max(bits(total) - 28, 0) // 2
            shift = 11 + large
            reduced = max(total >> 2 * large, 1)
            pairs = (31 - bits(reduced)) // 2 - 1
            shift -= pairs
            reduced = (reduced << 2 * pairs) >> 1
            half = halved(reduced, 1)
            root = 1 << 28
            for _ in range(5):
                cube = saturated(high(high(root, root), root), 6)
                root = saturated(high((1 << 28) + (1 << 27), root) - high(half, cube), 3)
            multiplier = high(root, _SQRT_HALF) << max(-shift, 0)
            shift = -max(shift, 0)
        for j in range(columns):
            value = int(x[i, j]) - zero
            y = halved(high(value << 7, multiplier), -shift) if unsigned else scaled(value, multiplier, shift + 7)
            result[i, j] = np.int8(min(max(y, -128), 127))


HELPERS = (high, halved, saturated, scaled, bits, reciprocal, logarithm)
