"""Images: interpolation and pools."""

import numpy as np

Array = np.ndarray
Float = np.float32

TYPES = {
    "bilinear": "INT8[:,:,:] INT64[:] int32 INT64[:] INT64[:] INT32[:] INT32[:] INT64[:] INT64[:] INT32[:] INT32[:] "
                "int32 int32 int32[:,:,:] int8[:,:]",
    "bilinear_float": "FLOAT32[:,:,:] INT64[:] INT64[:] INT64[:] INT64[:] FLOAT64[:] FLOAT64[:] FLOAT64[:] FLOAT64[:] "
                      "float32[:,:,:]",
    "nearest": "UINT8[:,:,:] INT64[:] INT64[:] uint8[:,:,:]",
    "largest": "INT8[:,:,:] int64 int64 int64 int64 int64 int64 int64 int64 int8 int8 int8[:,:,:]",
    "largest_float": "FLOAT32[:,:,:] int64 int64 int64 int64 int64 int64 int64 int64 float32[:,:,:]",
    "average": "INT8[:,:,:] int64 int64 int64 int64 int64 int64 boolean boolean float32 float32 int8[:,:,:]",
    "average_float": "FLOAT32[:,:,:] int64 int64 int64 int64 int64 int64 boolean float32[:,:,:]",
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


def largest(x: Array, kernel_y: int, kernel_x: int, stride_y: int, stride_x: int, dilation_y: int, dilation_x: int,
            top: int, left: int, low: int, high: int, result: Array) -> None:
    """pool.MaxPool2D of int8."""
    height, width, _ = x.shape
    for i in range(result.shape[0]):
        for j in range(result.shape[1]):
            row = result[i, j]
            row[:] = low
            for ky in range(kernel_y):
                y = i * stride_y + ky * dilation_y - top
                if 0 <= y < height:
                    for kx in range(kernel_x):
                        at = j * stride_x + kx * dilation_x - left
                        if 0 <= at < width:
                            pixel = x[y, at]
                            for c in range(row.size):
                                row[c] = max(row[c], pixel[c])
            for c in range(row.size):
                row[c] = min(row[c], high)


def largest_float(x: Array, kernel_y: int, kernel_x: int, stride_y: int, stride_x: int, dilation_y: int,
                  dilation_x: int, top: int, left: int, result: Array) -> None:
    """pool.MaxPool2D of float32: NaN is passed on, as numpy's maximum does it."""
    height, width, _ = x.shape
    for i in range(result.shape[0]):
        for j in range(result.shape[1]):
            row = result[i, j]
            row[:] = -np.inf
            for ky in range(kernel_y):
                y = i * stride_y + ky * dilation_y - top
                if 0 <= y < height:
                    for kx in range(kernel_x):
                        at = j * stride_x + kx * dilation_x - left
                        if 0 <= at < width:
                            pixel = x[y, at]
                            for c in range(row.size):
                                before, value = row[c], pixel[c]
                                row[c] = before if before >= value or before != before else value


def average(x: Array, kernel_y: int, kernel_x: int, stride_y: int, stride_x: int, top: int, left: int, padded: bool,
            up: bool, low: Float, high: Float, result: Array) -> None:
    """pool.AveragePool2D of int8 with `Arithmetic.FIXED`; `padded`: padding counts. Counts fit float32's 24 bits."""
    height, width, channels = x.shape
    total = np.empty(channels, np.int32)
    for i in range(result.shape[0]):
        first_y = i * stride_y - top
        for j in range(result.shape[1]):
            first_x = j * stride_x - left
            total[:] = 0
            count = 0
            for y in range(max(first_y, 0), min(first_y + kernel_y, height)):
                for at in range(max(first_x, 0), min(first_x + kernel_x, width)):
                    pixel = x[y, at]
                    count += 1
                    for c in range(channels):
                        total[c] += np.int32(pixel[c])
            count = kernel_y * kernel_x if padded else count
            divisor, half, row = np.float32(count), np.float32(count // 2), result[i, j]
            for c in range(channels):
                value = np.float32(total[c])
                value = value + (half if up else np.copysign(half, value))
                value = value / divisor
                value = np.floor(value) if up else np.trunc(value)
                value = value if value > low else low
                value = value if value < high else high
                row[c] = np.int8(np.int32(value))


def average_float(x: Array, kernel_y: int, kernel_x: int, stride_y: int, stride_x: int, top: int, left: int,
                  padded: bool, result: Array) -> None:
    """pool.AveragePool2D of float32, added in the order of the window's pixels."""
    height, width, _ = x.shape
    for i in range(result.shape[0]):
        first_y = i * stride_y - top
        for j in range(result.shape[1]):
            first_x = j * stride_x - left
            row = result[i, j]
            row[:] = 0
            count = 0
            for y in range(max(first_y, 0), min(first_y + kernel_y, height)):
                for at in range(max(first_x, 0), min(first_x + kernel_x, width)):
                    pixel = x[y, at]
                    count += 1
                    for c in range(row.size):
                        row[c] += pixel[c]
            divisor = np.float32(kernel_y * kernel_x if padded else count)
            for c in range(row.size):
                row[c] = row[c] / divisor
