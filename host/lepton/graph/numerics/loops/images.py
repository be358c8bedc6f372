"""Images of another size."""

import numpy as np

Array = np.ndarray

TYPES = {
    "bilinear": "INT8[:,:,:] INT64[:] int32 INT32[:,:] INT32[:,:] int32 int32 int32[:,:,:] int8[:,:]",
    "bilinear_float": "FLOAT32[:,:,:] FLOAT64[:,:] FLOAT64[:,:] float32[:,:,:]",
    "nearest": "UINT8[:,:,:] INT64[:] INT64[:] uint8[:,:,:]",
}


def bilinear(x: Array, rows: Array, bits: int, down: Array, across: Array, below_zero: int, half: int, between: Array,
             result: Array) -> None:
    """resize._weighted: first between columns, into `between`, then between rows; `bits` is 255 for uint8, else -1.
    The rows of `down` and `across` are the pixels before and behind each place, and their weights."""
    upper, lower, upper_weight, lower_weight = down[0], down[1], down[2], down[3]
    left, right, left_weight, right_weight = across[0], across[1], across[2], across[3]
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


def bilinear_float(x: Array, down: Array, across: Array, result: Array) -> None:
    """resize._bilinear; `down` and `across` as of `bilinear`."""
    far_y, near_y = down[2], down[3]
    far_x, near_x = across[2], across[3]
    for i in range(down.shape[1]):
        upper, lower = np.intp(down[0, i]), np.intp(down[1, i])
        for j in range(across.shape[1]):
            left, right = np.intp(across[0, j]), np.intp(across[1, j])
            a, b = np.float32(far_y[i] * far_x[j]), np.float32(far_y[i] * near_x[j])
            c, d = np.float32(near_y[i] * far_x[j]), np.float32(near_y[i] * near_x[j])
            upper_left, upper_right, row = x[upper, left], x[upper, right], result[i, j]
            lower_left, lower_right = x[lower, left], x[lower, right]
            for k in range(row.size):
                total = np.float32(0) + upper_left[k] * a
                total += upper_right[k] * b
                total += lower_left[k] * c
                total += lower_right[k] * d
                row[k] = total


def nearest(x: Array, rows: Array, columns: Array, result: Array) -> None:
    """resize.Resize by nearest neighbours; the last axis is the bytes of a pixel."""
    for i in range(rows.size):
        for j in range(columns.size):
            pixel, made = x[rows[i], columns[j]], result[i, j]
            for c in range(made.size):
                made[c] = pixel[c]
