"""Images of another size."""

import numpy as np

Array = np.ndarray

TYPES = {
    "bilinear": "INT8[:,:,:] INT64[:] int32 INT64[:] INT64[:] INT32[:] INT32[:] INT64[:] INT64[:] INT32[:] INT32[:] "
                "int32 int32 int32[:,:,:] int8[:,:]",
    "bilinear_float": "FLOAT32[:,:,:] INT64[:] INT64[:] INT64[:] INT64[:] FLOAT64[:] FLOAT64[:] FLOAT64[:] FLOAT64[:] "
                      "float32[:,:,:]",
    "nearest": "UINT8[:,:,:] INT64[:] INT64[:] uint8[:,:,:]",
}


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


def nearest(x: Array, rows: Array, columns: Array, result: Array) -> None:
    """resize.Resize by nearest neighbours; the last axis is the bytes of a pixel."""
    for i in range(rows.size):
        for j in range(columns.size):
            pixel, made = x[rows[i], columns[j]], result[i, j]
            for c in range(made.size):
                made[c] = pixel[c]
