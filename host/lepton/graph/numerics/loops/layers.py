"""Sums of products of layers, in int32 that wraps."""

from typing import Any

import numpy as np

Array = np.ndarray

TYPES = {
    "patches": "INT8[:,:,:] int64 int64 int64 int64 int64 int64 int64 int64 int64 int64 int64 int16 int16[:,:]",
    "dots": "INT16[:,:] INT16[:,:] INT32[:] int32[:,:]",
    "dense": "INT8[:,:] INT16[:,:] INT32[:] FLOAT64[:] float64 float64 float64 int8[:,:]",
    "depthwise": "INT8[:,:,:] INT32[:,:,:] INT32[:] int64 int64 int64 int64 int64 int64 int64 int32 int32[:,:,:]",
    "products_fixed": "INT8[:,:,:] INT8[:,:,:] int32 int32 int64 int64 int64 int64 int64 int64 int8[:,:,:]",
    "products": "INT8[:,:,:] INT8[:,:,:] int32 int32 int32[:,:,:]",
}


def patches(x: Array, first: int, channels: int, kernel_y: int, kernel_x: int, stride_y: int, stride_x: int,
            dilation_y: int, dilation_x: int, top: int, left: int, width: int, zero: int, result: Array) -> None:
    """convolution.Conv2D: the rows of the im2col matrix of an image `width` pixels wide, less the zero point; of
    `channels` from `first` on."""
    for place in range(result.shape[0]):
        i = place // width
        j = place % width
        row = result[place].reshape((kernel_y, kernel_x, channels))
        for ky in range(kernel_y):
            y = i * stride_y + ky * dilation_y - top
            for kx in range(kernel_x):
                at = j * stride_x + kx * dilation_x - left
                taps = row[ky, kx]
                if 0 <= y < x.shape[0] and 0 <= at < x.shape[1]:
                    pixel = x[y, at, first:first + channels]
                    for c in range(channels):
                        taps[c] = np.int16(pixel[c]) - zero
                else:
                    taps[:] = 0


def dots(x: Array, weights: Array, bias: Array, result: Array) -> None:
    """Sums of products of each row of `x` with each row of `weights`; four at a time read `x` once."""
    length = x.shape[1]
    outputs = weights.shape[0]
    for i in range(x.shape[0]):
        values = x[i]
        row = result[i]
        for o in range(0, outputs - 3, 4):
            a = weights[o]
            b = weights[o + 1]
            c = weights[o + 2]
            d = weights[o + 3]
            s = np.int32(0)
            t = np.int32(0)
            u = np.int32(0)
            v = np.int32(0)
            for k in range(length):
                value = np.int32(values[k])
                s += value * np.int32(a[k])
                t += value * np.int32(b[k])
                u += value * np.int32(c[k])
                v += value * np.int32(d[k])
            row[o] = s + bias[o]
            row[o + 1] = t + bias[o + 1]
            row[o + 2] = u + bias[o + 2]
            row[o + 3] = v + bias[o + 3]
        for o in range(outputs - outputs % 4, outputs):
            a = weights[o]
            s = np.int32(0)
            for k in range(length):
                s += np.int32(values[k]) * np.int32(a[k])
            row[o] = s + bias[o]


def dense(x: Array, weights: Array, bias: Array, scales: Array, zero: float, low: float, high: float, result: Array
          ) -> None:
    """product.FullyConnected: the sums of `dots` and what `sums.requantize_once` makes of them."""
    below_half = 0.49999999999999994  # the float64 next to a half
    length = x.shape[1]
    for i in range(x.shape[0]):
        values = x[i]
        row = result[i]
        for o in range(weights.shape[0]):
            factors = weights[o]
            total = np.int32(0)
            for k in range(length):
                total += np.int32(values[k]) * np.int32(factors[k])
            y = np.float64(np.int32(total + bias[o])) * scales[o]
            y = y if y > low else low
            y = y if y < high else high
            row[o] = np.int8(np.int32(y + np.copysign(below_half, y)) + np.int32(zero))


def depthwise(x: Array, weights: Array, bias: Array, multiplier: int, stride_y: int, stride_x: int, dilation_y: int,
              dilation_x: int, top: int, left: int, zero: int, result: Array) -> None:
    """convolution.DepthwiseConv2D. Three taps in a row of the image are added at once, which saves two thirds of the
    passes over the sums; of more, LLVM would not prove that they are apart in memory."""
    height, width, channels = x.shape
    three = multiplier == 1 and weights.shape[1] == 3
    for i in range(result.shape[0]):
        for j in range(result.shape[1]):
            row = result[i, j]
            row[:] = bias
            first = j * stride_x - left
            inside = three and first >= 0 and first + 2 * dilation_x < width
            for ky in range(weights.shape[0]):
                y = i * stride_y + ky * dilation_y - top
                if 0 <= y < height and inside:
                    a = x[y, first]
                    b = x[y, first + dilation_x]
                    d = x[y, first + 2 * dilation_x]
                    s = weights[ky, 0]
                    t = weights[ky, 1]
                    u = weights[ky, 2]
                    for c in range(channels):
                        row[c] += ((np.int32(a[c]) - zero) * s[c] + (np.int32(b[c]) - zero) * t[c]
                                   + (np.int32(d[c]) - zero) * u[c])
                elif 0 <= y < height:
                    for kx in range(weights.shape[1]):
                        at = j * stride_x + kx * dilation_x - left
                        if 0 <= at < width:
                            pixel = x[y, at]
                            taps = weights[ky, kx]
                            if multiplier == 1:
                                for c in range(channels):
                                    row[c] += (np.int32(pixel[c]) - zero) * taps[c]
                            else:
                                for c in range(row.size):
                                    row[c] += (np.int32(pixel[c // multiplier]) - zero) * taps[c]


def products(a: Array, b: Array, zero_a: int, zero_b: int, result: Array) -> None:
    """product.MatMul of int8."""
    for batch in range(a.shape[0]):
        for i in range(a.shape[1]):
            row = result[batch, i]
            row[:] = 0
            for k in range(a.shape[2]):
                value = np.int32(a[batch, i, k]) - zero_a
                values = b[batch, k]
                for j in range(row.size):
                    row[j] += value * (np.int32(values[j]) - zero_b)


def products_fixed(a: Array, b: Array, zero_a: int, zero_b: int, multiplier: int, up: int, down: int, zero: int,
                   low: int, high: int, result: Array) -> None:
    """The same, and what `sums.requantize_fixed` makes of the sums by one factor."""
    columns = result.shape[2]
    total = np.empty(columns, np.int32)
    half = (np.int64(1) << down) >> 1
    less = 1 if half > 0 else 0
    for batch in range(a.shape[0]):
        for i in range(a.shape[1]):
            total[:] = 0
            for k in range(a.shape[2]):
                value = np.int32(a[batch, i, k]) - zero_a
                values = b[batch, k]
                for j in range(columns):
                    total[j] += value * (np.int32(values[j]) - zero_b)
            row = result[batch, i]
            for j in range(columns):
                y: Any = (np.int64(np.int32(np.int64(total[j]) << up)) * multiplier + (1 << 30)) >> 31
                y = ((y + half - (less & (y >> 63))) >> down) + zero
                y = y if y > low else low
                row[j] = np.int8(y if y < high else high)
