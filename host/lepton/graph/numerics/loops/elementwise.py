"""Results of single elements, and choices between two."""

import numpy as np

Array = np.ndarray
Float = np.float32

TYPES = {
    "take": "UINT16[:] UINT16[:] uint16[:]",
    "take_bytes": "INT8[:] INT8[:] int8[:]",
    "quantize": "FLOAT32[:] float32 float32 float32 float32 boolean boolean int8[:]",
    "cut_off": "FLOAT32[:] float32 int8[:]",
    "rectify": "FLOAT32[:] float32[:]",
    "dequantize": "INT8[:] float32 float32 float32[:]",
    "select_bytes": "INT8[:] INT8[:] INT8[:] int8[:]",
    "select_words": "INT8[:] INT32[:] INT32[:] int32[:]",
    "whole_quotients": "INT32[:] INT32[:] boolean boolean int64[:] int32[:]",
    "floor_mod": "FLOAT32[:] FLOAT32[:] float32[:]",
}


def take(table: Array, index: Array, result: Array) -> None:
    """tables.taken of 65 536 values."""
    for i in range(index.size):
        result[i] = table[index[i]]


def take_bytes(table: Array, x: Array, result: Array) -> None:
    """tables.mapped, by single bytes."""
    for i in range(x.size):
        result[i] = table[np.intp(x[i]) & 255]


def quantize(x: Array, scale: Float, zero: Float, low: Float, high: Float, divide: bool, away: bool,
             result: Array) -> None:
    """convert.Quantize by one scale: limits `low` and `high` are without the zero point; halves away from zero or
    to even."""
    below_half = np.float32(0.49999997)  # the float32 next to a half
    for i in range(x.size):
        y = x[i] / scale if divide else x[i] * scale
        y = y if y > low else low  # NaN becomes the limit
        y = y if y < high else high
        y = np.float32(np.int32(y + np.copysign(below_half, y))) if away else np.rint(y)
        result[i] = np.int8(np.int32(y + zero))


def cut_off(x: Array, up: Float, result: Array) -> None:
    """resize._cut_off."""
    for i in range(x.size):
        result[i] = np.int8(np.int32(x[i]) - np.int32(up))


def rectify(x: Array, result: Array) -> None:
    """unary.Unary "relu": numpy's maximum with 0, which keeps NaN and makes 0 of -0."""
    for i in range(x.size):
        value = x[i]
        result[i] = value if not value <= np.float32(0) else np.float32(0)


def dequantize(x: Array, scale: Float, zero: Float, result: Array) -> None:
    """requantize.real of int8."""
    for i in range(x.size):
        result[i] = (np.float32(x[i]) - zero) * scale


def select(condition: Array, a: Array, b: Array, result: Array) -> None:
    """logic.Select."""
    for i in range(result.size):
        result[i] = a[i] if condition[i] != 0 else b[i]


select_bytes = select_words = select


def whole_quotients(a: Array, b: Array, floor: bool, rest: bool, zeros: Array, result: Array) -> None:
    """quotients.whole: float64 holds both, and a quotient that is not whole is farther from the next whole number than
    float64 rounds. One number `b` may stand for all; `zeros` counts those that are 0."""
    count = 0
    each = b.size > 1
    for i in range(result.size):
        divisor = b[i] if each else b[0]
        count += 1 if divisor == 0 else 0
        exact = np.float64(a[i]) / np.float64(1 if divisor == 0 else divisor)
        quotient = np.int64(np.floor(exact) if floor else exact)
        result[i] = np.int32(np.int64(a[i]) - quotient * np.int64(divisor) if rest else quotient)
    zeros[0] = count


def floor_mod(a: Array, b: Array, result: Array) -> None:
    """arithmetic.FloorMod of float32; one number `b` may stand for all."""
    each = b.size > 1
    for i in range(result.size):
        divisor = b[i] if each else b[0]
        rest = np.fmod(a[i], divisor)
        result[i] = rest + divisor if rest != 0 and (divisor < 0) != (rest < 0) else rest
