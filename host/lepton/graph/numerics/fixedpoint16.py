"""gemmlowp's logistic function and hyperbolic tangent of 16-bit fixed-point numbers, for TFLite's integer LSTM.

Values are int64 arrays that hold int16; Qa.b has a integer and b fraction bits, and a sign bit. There are 65 536
arguments, so each function is a table. Source of the formulas: gemmlowp/fixedpoint/fixedpoint.h.
"""

from functools import cache

import numpy as np

from .fixedpoint import rounding_divide

_ONE = (1 << 15) - 1  # the largest number below 1 in Q0.15
_UNIT = 1 << 13  # 1 in Q2.13
# exp(-2**exponent) in Q0.31, of which the upper 16 bits count.
_FACTORS = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242))


def _constant(value: int) -> np.int64:
    """An int32 constant of gemmlowp's with 16 bits."""
    return np.int64(rounding_divide(np.int64(value), 16))


def _wrap(x: np.ndarray) -> np.ndarray:
    """Modulo 2**16, as an int16 register holds it."""
    return np.asarray(x).astype(np.int16).astype(np.int64)


def _multiply(a: np.ndarray, b: np.ndarray | np.int64) -> np.ndarray:
    """round(a * b / 2**15), half up, saturated (SaturatingRoundingDoublingHighMul)."""
    return np.minimum((a * b + (1 << 14)) >> 15, _ONE)


def _shift_left(x: np.ndarray, exponent: int) -> np.ndarray:
    """Saturated (SaturatingRoundingMultiplyByPOT)."""
    return np.clip(x << exponent, -(1 << 15), _ONE)


def _exp_on_interval(a: np.ndarray) -> np.ndarray:
    """exp(a) for a in [-1/4, 0), both in Q0.15."""
    x = _wrap(a + (1 << 12))  # around -1/8
    x2 = _multiply(x, x)
    x3 = _multiply(x2, x)
    x4 = _multiply(x2, x2)
    third = _constant(715827883)
    polynomial = rounding_divide(_wrap(_multiply(_wrap(rounding_divide(x4, 2) + x3), third) + x2), 1)
    start = _constant(1895147668)  # exp(-1/8)
    return np.clip(start + _multiply(_wrap(x + polynomial), start), -(1 << 15), _ONE)


def _exp_on_negative_values(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(a) in Q0.15 for a <= 0 with `integer_bits` integer bits."""
    fractional = 15 - integer_bits
    quarter = 1 << (fractional - 2)
    remainder = (a & (quarter - 1)) - quarter
    result = _exp_on_interval(_shift_left(remainder, integer_bits))
    beyond = _wrap(remainder - a)
    for exponent, multiplier in _FACTORS:
        if exponent < integer_bits:
            present = (beyond & (1 << (fractional + exponent))) != 0
            result = np.where(present, _multiply(result, _constant(multiplier)), result)
    if integer_bits > 5:  # the factors end at exp(-32)
        result = np.where(a < -(1 << (fractional + 5)), 0, result)
    return np.where(a == 0, _ONE, result)


def _newton(x: np.ndarray) -> np.ndarray:
    """2 / (1 + x) in Q2.13 for x in [0, 1] in Q0.15."""
    half = (x + _ONE + 1) >> 1  # RoundingHalfSum of numbers that are not below 0
    estimate = _wrap(_constant(1515870810) + _multiply(half, _constant(-1010580540)))  # 48/17 - 32/17 * half
    for _ in range(3):
        error = _wrap(_UNIT - _multiply(half, estimate))
        estimate = _wrap(estimate + _shift_left(_multiply(estimate, error), 2))
    return estimate


@cache
def logistic() -> np.ndarray:
    """int16 (65 536,): Q0.15 of each argument in Q3.12, the unsigned 16 bits being its index."""
    a = _arguments()
    positive = _shift_left(_newton(_exp_on_negative_values(_wrap(-np.where(a > 0, a, _wrap(-a))), 3)), 1)
    result = np.where(a > 0, positive, _wrap(_ONE - positive))
    return np.where(a == 0, 1 << 14, result).astype(np.int16)


@cache
def tanh(integer_bits: int) -> np.ndarray:
    """int16 (65 536,): Q0.15 of each argument with `integer_bits` integer bits."""
    a = _arguments()
    below = _exp_on_negative_values(np.where(a < 0, a, -a), integer_bits + 1)  # exp(-2 |a|): one bit more
    magnitude = _shift_left(_wrap(_newton(below) - _UNIT), 2)
    return np.where(a == 0, 0, np.where(a < 0, -magnitude, magnitude)).astype(np.int16)


def _arguments() -> np.ndarray:
    return np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int64)
