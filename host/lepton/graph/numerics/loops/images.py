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
    upper = down[0]
    lower = down[1]
    upper_weight = down[2]
    lower_weight = down[3]
    left = across[0]
    right = across[1]
    left_weight = across[2]
    right_weight = across[3]
    for i in range(rows.size):
        for j in range(left.size):
            before = x[rows[i], left[j]]
            behind = x[rows[i], right[j]]
            row = between[i, j]
            of_left = left_weight[j]
            of_right = right_weight[j]
            for c in range(row.size):
                row[c] = ((np.int32(before[c]) & bits) * of_left + (np.int32(behind[c]) & bits) * of_right)
    flat = between.reshape(rows.size, -1)
    for i in range(upper.size):
        above = flat[upper[i]]
        below = flat[lower[i]]
        row = result[i]
        of_upper = upper_weight[i]
        of_lower = lower_weight[i]
        for j in range(row.size):
            total = np.int32(above[j] * of_upper + below[j] * of_lower)
            row[j] = np.int8(np.int32(total + (np.int32(total >> 31) & below_zero) + half) >> 20)


def bilinear_float(x: Array, down: Array, across: Array, result: Array) -> None:
    """resize._bilinear; `down` and `across` as of `bilinear`."""
    far_y = down[2]
    near_y = down[3]
    far_x = across[2]
    near_x = across[3]
    for i in range(down.shape[1]):
        upper = np.intp(down[0, i])
        lower = np.intp(down[1, i])
        for j in range(across.shape[1]):
            left = np.intp(across[0, j])
            right = np.intp(across[1, j])
            a = np.float32(far_y[i] * far_x[j])
            b = np.float32(far_y[i] * near_x[j])
            c = np.float32(near_y[i] * far_x[j])
            d = np.float32(near_y[i] * near_x[j])
            upper_left = x[upper, left]
            upper_right = x[upper, right]
            row = result[i, j]
            lower_left = x[lower, left]
            lower_right = x[lower, right]
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
            pixel = x[rows[i], columns[j]]
            made = result[i, j]
            for c in range(made.size):
                made[c] = pixel[c]
