"""Results of two bytes each. One row of an operand may stand for all, and in the second one element for a row."""

import numpy as np

from .intrinsics import fma

Array = np.ndarray
Float = np.float32

TYPES = {
    "take_pairs": "INT8[:] INT8[:,:] INT8[:,:] int8[:,:]",
    "linear": "INT8[:,:] INT8[:,:] boolean float32 float32 float32 float32 float32 float32 float32 float32 int8[:,:]",
    "fused_sum": "INT8[:,:] INT8[:,:] float32 float32 float32 float32 float32 float32 int8[:,:]",
}


def take_pairs(table: Array, a: Array, b: Array, result: Array) -> None:
    """lookup.run: table[256 * a + b]. Of `a` or `b`, one row or column stands for all."""
    rows, columns = result.shape
    for i in range(rows):
        row_a = a[i if a.shape[0] > 1 else 0]
        row_b = b[i if b.shape[0] > 1 else 0]
        if row_a.size == columns and row_b.size == columns:
            for j in range(columns):
                result[i, j] = table[(np.intp(row_a[j]) & 255) << 8 | np.intp(row_b[j]) & 255]
        elif row_a.size == columns:
            for j in range(columns):
                result[i, j] = table[(np.intp(row_a[j]) & 255) << 8 | np.intp(row_b[0]) & 255]
        else:
            for j in range(columns):
                result[i, j] = table[(np.intp(row_a[0]) & 255) << 8 | np.intp(row_b[j]) & 255]


def linear(a: Array, b: Array, product: bool, zero_a: Float, zero_b: Float, factor_a: Float, factor_b: Float,
           outwards: Float, addend: Float, low: Float, high: Float, result: Array) -> None:
    """lookup.run, where this makes the table's results: a sum or product of reals. One row may stand for all,
    in `b` one element for a row."""
    rows, columns = result.shape
    other = np.empty(columns, np.int8)
    for i in range(rows):
        row_a = a[i if a.shape[0] > 1 else 0]
        row_b = b[i if b.shape[0] > 1 else 0]
        row = result[i]
        if row_b.size < columns:
            other[:] = row_b[0]
            row_b = other
        for j in range(columns):
            u = np.float32(row_a[j]) - zero_a
            v = np.float32(row_b[j]) - zero_b
            y = u * v * factor_a if product else u * factor_a + v * factor_b
            y = y + np.copysign(outwards, y) + addend
            y = y if y > low else low
            y = y if y < high else high
            row[j] = np.int8(np.int32(np.rint(y)))


def fused_sum(a: Array, b: Array, up: Float, factor_a: Float, factor_b: Float, addend: Float, low: Float, high: Float,
              result: Array) -> None:
    """elementwise.Add with `Arithmetic.FLOAT`."""
    rows, columns = result.shape
    for i in range(rows):
        row_a = a[i if a.shape[0] > 1 else 0]
        row_b = b[i if b.shape[0] > 1 else 0]
        row = result[i]
        if row_b.size < columns:
            inner = fma(np.float32(row_b[0]) + up, factor_b, addend)
            for j in range(columns):
                y = np.rint(fma(np.float32(row_a[j]) + up, factor_a, inner)) - up
                y = y if y > low else low
                y = y if y < high else high
                row[j] = np.int8(np.int32(y))
            continue
        for j in range(columns):
            inner = fma(np.float32(row_b[j]) + up, factor_b, addend)
            y = np.rint(fma(np.float32(row_a[j]) + up, factor_a, inner)) - up
            y = y if y > low else low
            y = y if y < high else high
            row[j] = np.int8(np.int32(y))
