"""Convolutions, fully connected layers and matrix products: exact sums of products, then the framework's rounding."""

import numpy as np

from ...graph import Arithmetic, Conv2D, DepthwiseConv2D, FullyConnected, MatMul, Op, Tensor, TransposeConv2D
from ..quantize import conv_scales, float_scales
from ..rounding import rounded
from . import fixed
from .call import Call, zero_point

_PATCH_BYTES = 1 << 26  # of an im2col matrix at a time


def requantize(total: np.ndarray, scales: np.ndarray, arithmetic: Arithmetic, once: bool, zero: int,
               limits: tuple[int, int]) -> np.ndarray:
    """int64 sums to int8 by `scales`, one or one per channel (last axis).

    FIXED: multiplier and shift of a float64 scale, rounding twice; where `once`, the product in float64, rounded once.
    FLOAT and TORCH: float32 scale, round half to even (MlasRequantizeOutput).
    """
    if arithmetic is not Arithmetic.FIXED:
        product = total.astype(np.int32).astype(np.float32) * scales.astype(np.float32)
        low, high = np.float32(-128 - zero), np.float32(127 - zero)
        values = np.rint(np.clip(product, low, high)).astype(np.int64) + zero
    elif once:
        values = rounded(fixed.wrap(total), scales) + zero
    else:
        values = fixed.rescale(fixed.wrap(total), *fixed.multipliers(scales)) + zero
    return np.clip(values, *limits).astype(np.int8)


def layer_scales(op: Op, x: Tensor, weights: Tensor, output: Tensor, arithmetic: Arithmetic) -> np.ndarray:
    """Factors from a layer's sums to its output, input * weight / output: float64 for FIXED, float32 for the others."""
    source, factor, target = x.quantization.scale, weights.quantization.scale.reshape(-1), output.quantization.scale
    if arithmetic is not Arithmetic.FIXED:
        return float_scales(source, factor, target, arithmetic)
    return conv_scales(source, factor, target, not (isinstance(op, MatMul) or getattr(op, "unsigned", False)))


def centred_weights(weights: Tensor) -> np.ndarray:
    """Weights less their zero points, int16: int8 minus int8 needs 9 bits."""
    zero = weights.quantization.zero_point.reshape(-1).astype(np.int16)
    if zero.size > 1:
        shape = [1] * weights.data.ndim
        shape[weights.quantization.axis or 0] = -1
        zero = zero.reshape(shape)
    return weights.data.astype(np.int16) - zero


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b of integers, exact: float64 holds sums up to 2**53."""
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)


def windows(x: np.ndarray, kernel, stride, dilation, padding, fill=0) -> np.ndarray:
    """View (Ho, Wo, C, Kh, Kw) of the patches of an (H, W, C) array; the border is `fill`."""
    padded = np.pad(x, (*padding, (0, 0)), constant_values=fill) if np.any(padding) else x
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(0, 1))
    return view[::stride[0], ::stride[1], :, ::dilation[0], ::dilation[1]]


def _convolution(x: np.ndarray, weights: np.ndarray, op: Conv2D) -> np.ndarray:
    """int64 (Ho, Wo, O) of centred x (H, W, C) and weights (O, Kh, Kw, C/groups), by im2col a few rows at a time."""
    outputs, *kernel, per_group = weights.shape
    view = windows(x, kernel, op.stride, op.dilation, op.padding)
    height, width = view.shape[:2]
    total = np.empty((height, width, outputs), np.int64)
    each = outputs // op.groups
    columns = [weights[g * each:(g + 1) * each].transpose(0, 3, 1, 2).reshape(each, -1).T.astype(np.float64)
               for g in range(op.groups)]
    rows = max(1, _PATCH_BYTES // max(8 * width * per_group * kernel[0] * kernel[1], 1))
    for start in range(0, height, rows):
        some = view[start:start + rows]
        for g, matrix in enumerate(columns):
            patches = some[:, :, g * per_group:(g + 1) * per_group].reshape(-1, len(matrix))
            product = _product(patches, matrix)
            total[start:start + rows, :, g * each:(g + 1) * each] = product.reshape(*some.shape[:2], each)
    return total


def _depthwise(x: np.ndarray, weights: np.ndarray, op: DepthwiseConv2D) -> np.ndarray:
    """int64 (Ho, Wo, C*multiplier) of centred x (H, W, C) and weights (Kh, Kw, C*multiplier)."""
    view = windows(x, weights.shape[:2], op.stride, op.dilation, op.padding)
    total = np.zeros((*view.shape[:2], weights.shape[2]), np.int64)
    for ky, kx in np.ndindex(*weights.shape[:2]):
        total += np.repeat(view[..., ky, kx], op.multiplier, axis=2) * weights[ky, kx].astype(np.int64)
    return total


def _transposed(x: np.ndarray, weights: np.ndarray, op: TransposeConv2D, shape) -> np.ndarray:
    """int64 (Ho, Wo, O): each pixel of centred x (H, W, C) adds its kernel (O, Kh, Kw, C) at stride times its place."""
    height, width, channels = x.shape
    outputs, kernel_y, kernel_x, _ = weights.shape
    (top, _), (left, _) = op.padding
    size = [max((n - 1) * s + k, edge + target) for n, s, k, edge, target in
            zip((height, width), op.stride, (kernel_y, kernel_x), (top, left), shape[1:3], strict=True)]
    canvas = np.zeros((*size, outputs), np.int64)
    pixels = x.reshape(-1, channels)
    for ky in range(kernel_y):
        for kx in range(kernel_x):
            part = _product(pixels, weights[:, ky, kx].T).reshape(height, width, outputs)
            canvas[ky:ky + (height - 1) * op.stride[0] + 1:op.stride[0],
                   kx:kx + (width - 1) * op.stride[1] + 1:op.stride[1]] += part
    return canvas[top:top + shape[1], left:left + shape[2]]


def layer(call: Call) -> np.ndarray:
    """Conv2D, DepthwiseConv2D, TransposeConv2D and FullyConnected."""
    op, (source, weights), output = call.op, call.tensors[:2], call.output
    x, w = call.x.astype(np.int16) - zero_point(source), centred_weights(weights)
    if isinstance(op, FullyConnected):
        total = _product(x.reshape(-1, w.shape[1]), w.T)
    elif isinstance(op, Conv2D):
        total = _convolution(x[0], w, op)
    elif isinstance(op, DepthwiseConv2D):
        total = _depthwise(x[0], w[0], op)
    else:
        total = _transposed(x[0], w, op, output.shape)
    if len(call.values) > 2 and call.values[2] is not None:
        total = total + call.values[2].reshape(-1)
    scales = layer_scales(op, source, weights, output, call.arithmetic)
    return requantize(total, scales, call.arithmetic, isinstance(op, FullyConnected), zero_point(output),
                      call.limits()).reshape(output.shape)


def matmul(call: Call) -> np.ndarray:
    """Both operands computed: int8 (TFLite BATCH_MATMUL, ONNX QLinearMatMul), or of another type as numpy does it."""
    a, b = call.values[:2]
    if not call.quantized:
        return a @ b
    left, right = call.tensors[:2]
    total = _product(a.astype(np.int16) - zero_point(left), b.astype(np.int16) - zero_point(right))
    scales = layer_scales(call.op, left, right, call.output, call.arithmetic)
    return requantize(total, scales, call.arithmetic, False, zero_point(call.output), call.limits())
