"""Pools, means and reductions."""

import numpy as np

from ...graph import AveragePool2D, MaxPool2D
from ..quantize import float_average_scale, mean_multiplier
from . import fixed
from .call import Call, inverse_scale, scale, zero_point
from .layers import requantize, windows


def _taps(call: Call, x: np.ndarray, fill) -> np.ndarray:
    op: MaxPool2D | AveragePool2D = call.op
    return windows(x, op.kernel, op.stride, (1, 1), op.padding, fill)


def max_pool(call: Call) -> np.ndarray:
    x = call.x[0]
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    result = _taps(call, x, lowest).max(axis=(3, 4))[None]
    return np.clip(result, *call.limits()).astype(x.dtype) if call.quantized else result


def average_pool(call: Call) -> np.ndarray:
    """FIXED: integer division, half away from zero, or half up where the framework has uint8.

    FLOAT: sums of float32 in the order of the window's pixels (ONNX Runtime's QLinearAveragePool).
    """
    op: AveragePool2D = call.op
    x = call.x[0]
    ones = np.ones((*x.shape[:2], 1), np.int64)
    count = np.full((1, 1, 1), op.kernel[0] * op.kernel[1]) if op.count_padding else _taps(call, ones, 0).sum((3, 4))
    if call.quantized and call.fixed:
        total = _taps(call, x.astype(np.int64), 0).sum(axis=(3, 4))
        up = (total + count // 2) // count
        mean = up if call.op.unsigned else np.where(total > 0, up, -((count // 2 - total) // count))
        return np.clip(mean, *call.limits()).astype(x.dtype)[None]
    if call.quantized:
        x = scale(call.tensors[0]) * (x.astype(np.int32) - zero_point(call.tensors[0])).astype(np.float32)
    view = _taps(call, x, 0)
    total = np.zeros(view.shape[:3], np.float32)
    for ky, kx in np.ndindex(*op.kernel):
        total += view[..., ky, kx]
    mean = total / count.astype(np.float32)
    return (to_scale(mean, call) if call.quantized else mean)[None]


def to_scale(x: np.ndarray, call: Call) -> np.ndarray:
    """float32 reals to the output's scale. FLOAT: ONNX Runtime's quantize_value divides, adds the zero point, rounds
    half to even. TORCH: quantize_per_tensor multiplies by 1 / scale, rounds half to even, adds the zero point."""
    if call.torch:
        values = np.rint(x * inverse_scale(call.output)) + zero_point(call.output)
    else:
        values = np.rint(x / scale(call.output) + np.float32(zero_point(call.output) + call.offset)) - call.offset
    return np.clip(values, *call.limits()).astype(call.output.dtype)


def mean(call: Call) -> np.ndarray:
    return _mean(call, (1, 2)).reshape(call.output.shape)


def _mean(call: Call, axes: tuple[int, ...]) -> np.ndarray:
    """FIXED: TFLite's integer MEAN (QuantizedMeanOrSum). FLOAT: MLAS's global average: one factor for all of it."""
    if not call.quantized:
        return call.x.mean(axis=axes, dtype=np.float32 if call.x.dtype == np.float32 else None, keepdims=True)
    source = call.tensors[0]
    count = int(np.prod([call.x.shape[a] for a in axes]))
    total = call.x.sum(axis=axes, dtype=np.int64, keepdims=True) - zero_point(source) * count
    zero = zero_point(call.output)
    if call.fixed:
        result = fixed.rescale(fixed.wrap(total), *mean_multiplier(scale(source), scale(call.output), count)) + zero
        return np.clip(result, *call.limits()).astype(call.output.dtype)
    factor = float_average_scale(scale(source), scale(call.output), count, call.arithmetic)
    return requantize(total, np.atleast_1d(factor), call.arithmetic, False, zero, call.limits())


def reduce(call: Call) -> np.ndarray:
    op, x = call.op, call.x
    axes = tuple(a % x.ndim for a in op.axes)
    if op.kind == "mean":
        result = _mean(call, axes)
    elif op.kind in ("max", "min"):
        result = (x.max if op.kind == "max" else x.min)(axis=axes, keepdims=True)
    elif op.kind == "prod":
        result = x.prod(axis=axes, keepdims=True, dtype=x.dtype)
    elif call.quantized:
        result = _sum(call, axes)
    else:
        result = x.sum(axis=axes, keepdims=True, dtype=x.dtype)
    return result.reshape(call.output.shape)


def _sum(call: Call, axes: tuple[int, ...]) -> np.ndarray:
    """TFLite's SUM of int8 (QuantizedMeanOrSum with compute_sum), in float32; FLOAT: dequantize, sum, quantize."""
    source = call.tensors[0]
    if call.fixed:
        factor = scale(source) / scale(call.output)
        count = int(np.prod([call.x.shape[a] for a in axes]))
        bias = np.float32(-zero_point(source)) * factor * np.float32(count)
        value = call.x.sum(axis=axes, dtype=np.int32, keepdims=True).astype(np.float32) * factor + bias
        whole = np.where(value >= 0, np.floor(value + np.float32(0.5)), np.ceil(value - np.float32(0.5)))
        return np.clip(whole + zero_point(call.output), *call.limits()).astype(call.output.dtype)
    x = scale(source) * (call.x.astype(np.int32) - zero_point(source)).astype(np.float32)
    return to_scale(x.sum(axis=axes, dtype=np.float32, keepdims=True), call)
