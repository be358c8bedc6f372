"""Sums, and what brings them to 8 bits."""

import numpy as np

Array = np.ndarray
Float = np.float32

TYPES = {
    "sum_middle": "INT8[:,:,:] int32[:,:]",
    "requantize_fixed": "INT32[:,:] INT64[:] INT64[:] INT64[:] int64 int64 int64 int8[:,:]",
    "requantize_once": "INT32[:,:] FLOAT64[:] float64 float64 float64 int8[:,:]",
    "requantize_float": "INT32[:,:] FLOAT32[:] float32 float32 float32 int8[:,:]",
}


def sum_middle(x: Array, result: Array) -> None:
    """requantize.summed: over the second axis; `result` begins with zeros."""
    outer, count, inner = x.shape
    if inner == 1:
        for i in range(outer):
            values = x[i, :, 0]
            total = np.int32(0)
            for k in range(count):
                total += np.int32(values[k])
            result[i, 0] = total
        return
    short = np.empty(inner, np.int16)
    for i in range(outer):
        row = result[i]
        for start in range(0, count, 255):  # as many int8 fit in int16: 255 * 128 < 2**15
            short[:] = 0
            for k in range(start, min(start + 255, count)):
                some = x[i, k]
                for j in range(inner):
                    short[j] += np.int16(some[j])
            for j in range(inner):
                row[j] += np.int32(short[j])


def requantize_fixed(total: Array, multiplier: Array, left: Array, right: Array, zero: int, low: int, high: int,
                     result: Array) -> None:
    """fixedpoint.scale_twice_rounded, one factor or one for each column, and the zero point."""
    rows, columns = total.shape
    each = multiplier.size > 1
    m = np.int64(multiplier[0])
    up = np.int64(left[0])
    down = np.int64(right[0])
    for i in range(rows):
        values = total[i]
        row = result[i]
        if each:
            for j in range(columns):
                y = (np.int64(np.int32(np.int64(values[j]) << left[j])) * multiplier[j] + (1 << 30)) >> 31
                half = (np.int64(1) << right[j]) >> 1
                less = 1 if half > 0 else 0
                y = ((y + half - (less & (y >> 63))) >> right[j]) + zero
                y = y if y > low else low
                row[j] = np.int8(y if y < high else high)
        else:
            half = (np.int64(1) << down) >> 1
            less = 1 if half > 0 else 0
            for j in range(columns):
                y = (np.int64(np.int32(np.int64(values[j]) << up)) * m + (1 << 30)) >> 31
                y = ((y + half - (less & (y >> 63))) >> down) + zero
                y = y if y > low else low
                row[j] = np.int8(y if y < high else high)


def requantize_once(total: Array, scales: Array, zero: float, low: float, high: float, result: Array) -> None:
    """requantize.from_sums where `once`; `low` and `high` are without the zero point."""
    below_half = 0.49999999999999994  # the float64 next to a half
    rows, columns = total.shape
    each = scales.size > 1
    for i in range(rows):
        values = total[i]
        row = result[i]
        for j in range(columns):
            y = np.float64(values[j]) * (scales[j] if each else scales[0])
            y = y if y > low else low
            y = y if y < high else high
            row[j] = np.int8(np.int32(y + np.copysign(below_half, y)) + np.int32(zero))


def requantize_float(total: Array, scales: Array, zero: Float, low: Float, high: Float, result: Array) -> None:
    """requantize.from_sums of FLOAT and TORCH; `low` and `high` are without the zero point."""
    rows, columns = total.shape
    each = scales.size > 1
    for i in range(rows):
        values = total[i]
        row = result[i]
        for j in range(columns):
            y = np.float32(values[j]) * (scales[j] if each else scales[0])
            y = y if y > low else low
            y = y if y < high else high
            row[j] = np.int8(np.int32(np.rint(y) + zero))
