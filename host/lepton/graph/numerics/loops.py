"""The loops that `compiled` compiles: in the part of Python that numba knows, each the same as code in numpy.

Every array has its own type and is contiguous. Innermost loops are without branches, so that LLVM makes vector
instructions of them. `TYPES` are the types of the arguments, arrays that are only read in capitals.
"""

from typing import Any

import numpy as np

Array = np.ndarray
Float = np.float32

TYPES = {
    "take": "UINT16[:] UINT16[:] uint16[:]",
    "take_pairs": "UINT8[:] UINT8[:,:] UINT8[:,:] uint8[:,:]",
    "linear": "INT8[:,:] INT8[:,:] boolean float32 float32 float32 float32 float32 float32 float32 float32 int8[:,:]",
    "quantize": "FLOAT32[:] float32 float32 float32 float32 boolean boolean int8[:]",
    "dequantize": "INT8[:] float32 float32 float32[:]",
    "softmax_fixed": "INT8[:,:] INT64[:] INT64[:] int64[:] int8[:,:]",
    "softmax_float": "INT8[:,:] FLOAT32[:] float32 float32 float32[:] int8[:,:]",
    "sum_middle": "INT8[:,:,:] int32[:,:]",
    "bilinear": "INT8[:,:,:] INT64[:] int32 INT64[:] INT64[:] INT32[:] INT32[:] INT64[:] INT64[:] INT32[:] INT32[:] "
                "int32 int32 int32[:,:,:] int8[:,:]",
    "bilinear_float": "FLOAT32[:,:,:] INT64[:] INT64[:] INT64[:] INT64[:] FLOAT64[:] FLOAT64[:] FLOAT64[:] FLOAT64[:] "
                      "float32[:,:,:]",
}


def take(table: Array, index: Array, result: Array) -> None:
    """tables.taken of 65 536 values."""
    for i in range(index.size):
        result[i] = table[index[i]]


def take_pairs(table: Array, a: Array, b: Array, result: Array) -> None:
    """lookup.run: table[256 * a + b]. Of `a` or `b`, one row or column stands for all."""
    rows, columns = result.shape
    for i in range(rows):
        row_a = a[i if a.shape[0] > 1 else 0]
        row_b = b[i if b.shape[0] > 1 else 0]
        if row_a.size == columns and row_b.size == columns:
            for j in range(columns):
                result[i, j] = table[np.intp(row_a[j]) << 8 | np.intp(row_b[j])]
        elif row_a.size == columns:
            for j in range(columns):
                result[i, j] = table[np.intp(row_a[j]) << 8 | np.intp(row_b[0])]
        else:
            for j in range(columns):
                result[i, j] = table[np.intp(row_a[0]) << 8 | np.intp(row_b[j])]


def linear(a: Array, b: Array, product: bool, zero_a: Float, zero_b: Float, factor_a: Float, factor_b: Float,
           outwards: Float, addend: Float, low: Float, high: Float, result: Array) -> None:
    """lookup.run, where this makes the table's results: a sum or product of reals. One row may stand for all,
    in `b` one element for a row."""
    rows, columns = result.shape
    other = np.empty(columns, np.int8)
    for i in range(rows):
        row_a, row_b, row = a[i if a.shape[0] > 1 else 0], b[i if b.shape[0] > 1 else 0], result[i]
        if row_b.size < columns:
            other[:] = row_b[0]
            row_b = other
        for j in range(columns):
            u, v = np.float32(row_a[j]) - zero_a, np.float32(row_b[j]) - zero_b
            y = u * v * factor_a if product else u * factor_a + v * factor_b
            y = y + np.copysign(outwards, y) + addend
            y = y if y > low else low
            y = y if y < high else high
            row[j] = np.int8(np.int32(np.rint(y)))


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


def dequantize(x: Array, scale: Float, zero: Float, result: Array) -> None:
    """requantize.real of int8."""
    for i in range(x.size):
        result[i] = (np.float32(x[i]) - zero) * scale


def softmax_fixed(x: Array, exponentials: Array, parts: Array, row: Array, result: Array) -> None:
    """softmax.fixed_softmax; the reciprocal is fixedpoint.one_over_one_plus_x."""
    rows, columns = x.shape
    for i in range(rows):
        largest = np.int8(-128)
        for j in range(columns):
            largest = max(largest, x[i, j])
        total = np.int64(0)
        for j in range(columns):
            below = np.intp(largest) - np.intp(x[i, j])
            row[j] = exponentials[below]
            total += parts[below]
        bits = 20  # at least: the largest adds 2**19
        while total >> bits:
            bits += 1
        half = ((total << (32 - bits)) & 0xFFFFFFFF) >> 1
        estimate = np.int64(1515870810) + ((half * -1010580540 + (1 << 30)) >> 31)
        for _ in range(3):
            error = (1 << 29) - ((half * estimate + (1 << 30)) >> 31)
            step: Any = (estimate * error + (1 << 30)) >> 31
            estimate += min(max(step << 2, -(1 << 31)), (1 << 31) - 1)
        inverse = min(max(estimate << 1, -(1 << 31)), (1 << 31) - 1)
        shift = 12 - (32 - bits) + 31 - 8
        nudge = (np.int64(1) << shift) >> 1
        for j in range(columns):
            made = ((row[j] * inverse + (1 << 30)) >> 31) + nudge
            result[i, j] = np.int8(min(made >> shift, 255) - 128)


def softmax_float(x: Array, table: Array, factor: Float, zero: Float, row: Array, result: Array) -> None:
    """softmax._table_softmax: exponentials by the difference to the largest, added one after the other."""
    rows, columns = x.shape
    for i in range(rows):
        largest = np.int8(-128)
        for j in range(columns):
            largest = max(largest, x[i, j])
        total = np.float32(0)
        for j in range(columns):
            row[j] = table[np.intp(largest) - np.intp(x[i, j])]
            total += row[j]
        for j in range(columns):
            y = np.rint(row[j] * factor / total) + zero
            y = y if y > np.float32(-128) else np.float32(-128)
            y = y if y < np.float32(127) else np.float32(127)
            result[i, j] = np.int8(np.int32(y))


def sum_middle(x: Array, result: Array) -> None:
    """requantize.summed: over the second axis; `result` begins with zeros."""
    outer, count, inner = x.shape
    for i in range(outer):
        if inner == 1:
            total = np.int32(0)
            for k in range(count):
                total += np.int32(x[i, k, 0])
            result[i, 0] = total
        else:
            row = result[i]
            for k in range(count):
                values = x[i, k]
                for j in range(inner):
                    row[j] += np.int32(values[j])


def bilinear(x: Array, rows: Array, bits: int, left: Array, right: Array, left_weight: Array, right_weight: Array,
             upper: Array, lower: Array, upper_weight: Array, lower_weight: Array, below_zero: int, half: int,
             between: Array, result: Array) -> None:
    """resize._weighted: first between columns, into `between`, then between rows; `bits` is 255 for uint8, else -1."""
    for i in range(rows.size):
        for j in range(left.size):
            before, behind, row = x[rows[i], left[j]], x[rows[i], right[j]], between[i, j]
            of_left, of_right = left_weight[j], right_weight[j]
            for c in range(row.size):
                row[c] = ((np.int32(before[c]) & bits) * of_left + (np.int32(behind[c]) & bits) * of_right)
    flat = between.reshape(rows.size, -1)
    for i in range(upper.size):
        above, below, row = flat[upper[i]], flat[lower[i]], result[i]
        of_upper, of_lower = upper_weight[i], lower_weight[i]
        for j in range(row.size):
            total = np.int32(above[j] * of_upper + below[j] * of_lower)
            row[j] = np.int8(np.int32(total + (np.int32(total >> 31) & below_zero) + half) >> 20)


def bilinear_float(x: Array, low_y: Array, high_y: Array, low_x: Array, high_x: Array, far_y: Array, near_y: Array,
                   far_x: Array, near_x: Array, result: Array) -> None:
    """resize._bilinear."""
    for i in range(low_y.size):
        for j in range(low_x.size):
            a, b = np.float32(far_y[i] * far_x[j]), np.float32(far_y[i] * near_x[j])
            c, d = np.float32(near_y[i] * far_x[j]), np.float32(near_y[i] * near_x[j])
            upper_left, upper_right, row = x[low_y[i], low_x[j]], x[low_y[i], high_x[j]], result[i, j]
            lower_left, lower_right = x[high_y[i], low_x[j]], x[high_y[i], high_x[j]]
            for k in range(row.size):
                total = np.float32(0) + upper_left[k] * a
                total += upper_right[k] * b
                total += lower_left[k] * c
                total += lower_right[k] * d
                row[k] = total
