"""Pools: the largest value or the average of the pixels in a window."""

import numpy as np

Array = np.ndarray
Float = np.float32

TYPES = {
    "largest": "INT8[:,:,:] int64 int64 int64 int64 int64 int64 int64 int64 int8 int8 int8[:,:,:]",
    "largest_float": "FLOAT32[:,:,:] int64 int64 int64 int64 int64 int64 int64 int64 float32[:,:,:]",
    "average": "INT8[:,:,:] int64 int64 int64 int64 int64 int64 boolean boolean float32 float32 int8[:,:,:]",
    "average_float": "FLOAT32[:,:,:] int64 int64 int64 int64 int64 int64 boolean float32[:,:,:]",
    "average_down": "FLOAT32[:,:,:] int64 int64 int64 int64 int64 int64 boolean float32[:,:,:]",
    "average_lanes": "FLOAT32[:,:] float32[:]",
    "average_reals": "INT8[:,:,:] int64 int64 int64 int64 int64 int64 boolean float32 float32 boolean float32 float32 "
                     "float32 float32 float32 int8[:,:,:]",
}


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
                                before = row[c]
                                value = pixel[c]
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
            divisor = np.float32(count)
            half = np.float32(count // 2)
            row = result[i, j]
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


def average_down(x: Array, kernel_y: int, kernel_x: int, stride_y: int, stride_x: int, top: int, left: int,
                 padded: bool, result: Array) -> None:
    """pool.AveragePool2D of float32, each column of the window added before the columns are."""
    height, width, channels = x.shape
    column = np.empty(channels, np.float32)
    for i in range(result.shape[0]):
        first_y = max(i * stride_y - top, 0)
        last_y = min(i * stride_y - top + kernel_y, height)
        for j in range(result.shape[1]):
            first_x = max(j * stride_x - left, 0)
            last_x = min(j * stride_x - left + kernel_x, width)
            row = result[i, j]
            row[:] = 0
            for at in range(first_x, last_x):
                column[:] = 0
                for y in range(first_y, last_y):
                    pixel = x[y, at]
                    for c in range(channels):
                        column[c] += pixel[c]
                for c in range(channels):
                    row[c] += column[c]
            divisor = np.float32(kernel_y * kernel_x if padded else (last_y - first_y) * (last_x - first_x))
            for c in range(channels):
                row[c] = row[c] / divisor


def average_lanes(x: Array, result: Array) -> None:
    """pool.in_lanes: over the first axis, in 4 sums as MLAS has them in the lanes of a vector."""
    count, channels = x.shape
    lanes = np.zeros((4, channels), np.float32)
    whole = count // 4 * 4
    for first in range(0, whole, 4):
        for lane in range(4):
            total = lanes[lane]
            pixel = x[first + lane]
            for c in range(channels):
                total[c] += pixel[c]
    for c in range(channels):
        result[c] = (lanes[0, c] + lanes[2, c]) + (lanes[1, c] + lanes[3, c])
    for at in range(whole, count):
        pixel = x[at]
        for c in range(channels):
            result[c] += pixel[c]
    divisor = np.float32(count)
    for c in range(channels):
        result[c] = result[c] / divisor


def average_reals(x: Array, kernel_y: int, kernel_x: int, stride_y: int, stride_x: int, top: int, left: int,
                  padded: bool, scale: Float, zero: Float, divide: bool, factor: Float, before: Float, after: Float,
                  low: Float, high: Float, result: Array) -> None:
    """pool.AveragePool2D of int8 with `Arithmetic.FLOAT` or TORCH: reals in the order of the window's pixels; `before`
    and `after` are added before and after the average is rounded."""
    height, width, channels = x.shape
    total = np.empty(channels, np.float32)
    for i in range(result.shape[0]):
        first_y = max(i * stride_y - top, 0)
        last_y = min(i * stride_y - top + kernel_y, height)
        for j in range(result.shape[1]):
            first_x = max(j * stride_x - left, 0)
            last_x = min(j * stride_x - left + kernel_x, width)
            total[:] = 0
            for y in range(first_y, last_y):
                for at in range(first_x, last_x):
                    pixel = x[y, at]
                    for c in range(channels):
                        total[c] += (np.float32(pixel[c]) - zero) * scale
            divisor = np.float32(kernel_y * kernel_x if padded else (last_y - first_y) * (last_x - first_x))
            row = result[i, j]
            for c in range(channels):
                mean = total[c] / divisor
                value = mean / factor if divide else mean * factor
                value = np.rint(value + before) + after
                value = value if value > low else low
                value = value if value < high else high
                row[c] = np.int8(np.int32(value))
