"""Softmax: TFLite's integer one, ONNX Runtime's QLinearSoftmax, and in float32."""

import numpy as np

from ...fixedpoint import exp_on_negative_values, one_over_one_plus_x, rounding_divide
from ...fixedpoint import saturating_doubling_high_multiply as high_multiply
from ..quantize import quantize_multiplier
from .call import Call, scale, zero_point

_INTEGER_BITS = 5  # of the scaled difference to the maximum (reference/softmax.h)
_ACCUMULATION_BITS = 12  # integer bits of the sum of exponentials


def softmax(call: Call) -> np.ndarray:
    """Over `axis`; rows of the other axes are independent."""
    rows = np.moveaxis(call.x, call.op.axis, -1)
    if not call.quantized:
        result = _real(rows, call.op.beta)
    elif call.fixed:
        result = fixed_softmax(rows, scale(call.tensors[0]), call.op.beta)
    else:
        result = _table_softmax(call, rows)
    return np.ascontiguousarray(np.moveaxis(result, -1, call.op.axis))


def _real(rows: np.ndarray, beta: float) -> np.ndarray:
    e = np.exp((rows - rows.max(axis=-1, keepdims=True)) * np.float32(beta))
    return (e / e.sum(axis=-1, keepdims=True)).astype(rows.dtype)


def _table_softmax(call: Call, rows: np.ndarray) -> np.ndarray:
    """QLinearSoftmax: exponentials of the 256 differences to the maximum from a table, summed in float32."""
    factor, length = float(scale(call.tensors[0])), np.float32(rows.shape[-1])
    room = max(0.0, np.log(np.float64(np.finfo(np.float32).max / length)) - 5) / factor
    table = np.exp((np.arange(256) - 255.0 + room) * factor).astype(np.float32)
    x = rows.astype(np.int64)
    e = table[255 - (x.max(axis=-1, keepdims=True) - x)]
    total = np.add.accumulate(e, axis=-1)[..., -1:]  # one after the other, as the framework adds
    levels = np.floor(np.float32(1) / scale(call.output))
    return np.clip(np.rint(e * levels / total) + zero_point(call.output), *call.limits()).astype(call.output.dtype)


def fixed_softmax(x: np.ndarray, factor: float, beta: float) -> np.ndarray:
    """TFLite's int8 SOFTMAX over the last axis; `factor` is the input's scale, the output's are 1/256 and -128."""
    multiplier, left = quantize_multiplier(
        min(float(np.float32(beta)) * float(np.float32(factor)) * (1 << (31 - _INTEGER_BITS)), 2.0**31 - 1))
    radius = int(np.floor(((1 << _INTEGER_BITS) - 1) * 2.0 ** (31 - _INTEGER_BITS) / 2.0**left))
    rows = x.reshape(-1, x.shape[-1]).astype(np.int64)
    difference = rows - rows.max(axis=1, keepdims=True)
    counts = difference >= -radius
    scaled = high_multiply(difference * (1 << left), multiplier)
    exponentials = np.where(counts, exp_on_negative_values(np.where(counts, scaled, 0), _INTEGER_BITS), 0)
    total = np.where(counts, rounding_divide(exponentials, _ACCUMULATION_BITS), 0).sum(axis=1, keepdims=True)
    headroom = 32 - np.array([[int(t).bit_length()] for t in total[:, 0]])
    shifted = ((total << headroom) & 0xFFFFFFFF) - (1 << 31)
    inverse = one_over_one_plus_x(shifted)
    unscaled = high_multiply(inverse, exponentials)
    output = rounding_divide(unscaled, _ACCUMULATION_BITS - headroom + 31 - 8) - 128
    return np.where(counts, np.clip(output, -128, 127), -128).astype(np.int8).reshape(x.shape)
