"""Convolutions and transposed ones with int8 weights: ONNX Runtime's integer kernels."""

import numpy as np

from lepton.graph import Conv2D, DepthwiseConv2D, Quantization, TransposeConv2D
from lepton.graph.builder import Value

from ..geometry import dense_transposed
from .node import OnnxNode
from .operands import (
    Int8Result,
    Int8Weights,
    constant_bias,
    constant_weights,
    from_image,
    image,
    layer_constants,
)
from .windows import of_image, transposed_window, window


def convolution(node: OnnxNode, x: Value, weights: Int8Weights, result: Int8Result) -> Value:
    """Emits the layer for x (N, C, ...) and weights (O, C / groups, ...); returns the result (N, O, ...)."""
    data = weights.data
    groups = node.given.get("group", 1)
    _fits_image(node, x, data)
    outputs, per_group, *kernel = data.shape
    channels = x.shape[1]
    if groups < 1 or channels != per_group * groups or outputs % groups:
        raise node.error(f"weights of shape {data.shape} in {groups} groups do not fit {channels} input channels")
    stated = node.given.get("kernel_shape") or kernel
    if list(stated) != kernel:
        raise node.error(f"kernel_shape {stated} is not that of the weights {data.shape}")
    w = window(node, kernel, x.shape[2:])
    data = data.reshape(outputs, per_group, *w.kernel)
    x_image = image(x)
    if groups == channels > 1:  # the window unit takes each channel by itself; one channel is an ordinary layer
        depthwise = DepthwiseConv2D(stride=w.stride, dilation=w.dilation, padding=w.padding, clamp=result.clamp,
                                    multiplier=outputs // channels)
        constants = layer_constants(x_image, weights, data.transpose(1, 2, 3, 0), 3)
        y = x.builder.emit(depthwise, [x_image, *constants], result.name, result.q)
    else:
        conv = Conv2D(stride=w.stride, dilation=w.dilation, padding=w.padding, clamp=result.clamp, groups=groups)
        constants = layer_constants(x_image, weights, data.transpose(0, 2, 3, 1), 0)
        y = x.builder.emit(conv, [x_image, *constants], result.name, result.q)
    return from_image(y, x.rank)


def _fits_image(node: OnnxNode, x: Value, data: np.ndarray) -> None:
    if data.ndim != x.rank or x.rank not in (3, 4):
        raise node.error(f"weights of shape {data.shape} do not fit the input {tuple(x.shape)}; images of 1 or 2 "
                         "dimensions are supported")


def qlinear_conv(node: OnnxNode) -> None:
    """QLinearConv: x, its scale and zero point, weights, theirs, the result's, the bias."""
    data, q = constant_weights(node, (3, 4, 5), 0)
    dtype = node.value().dtype
    x = node.codes_as_stated()
    weights = Int8Weights(data, q, constant_bias(node, 8, 4))
    node.set_codes(convolution(node, x, weights, Int8Result(node.name, node.output_quantization)), dtype)


def of_all_groups(node: OnnxNode, q: Quantization) -> Quantization:
    """Scales of O / groups outputs, which all groups of a transposed convolution share, as those of O outputs."""
    groups = node.given.get("group", 1)
    return Quantization(np.tile(q.scale, groups), np.tile(q.zero_point, groups), q.axis) if q.scale.size > 1 else q


def transposed(node: OnnxNode, x: Value, weights: Int8Weights, result: Int8Result) -> Value:
    """Emits a transposed convolution with weights (C, O / groups, ...), which have one scale or O."""
    data = weights.data
    q = weights.q
    _fits_image(node, x, data)
    groups = node.given.get("group", 1)
    if groups < 1 or x.shape[1] != data.shape[0] or x.shape[1] % groups:
        raise node.error(f"weights of shape {data.shape} in {groups} groups do not fit {x.shape[1]} input channels")
    w = transposed_window(node, data.shape[2:], x.shape[2:])
    data = data.reshape(*data.shape[:2], *of_image(data.shape[2:], 1))
    # What stands between the taps of a dilated kernel, and outside of a group, must stand for 0.
    data = dense_transposed(data, groups, of_image(w.dilation, 1), q.zero_point.astype(data.dtype).reshape(-1, 1, 1))
    op = TransposeConv2D(of_image(w.size, 1), of_image(w.stride, 1), of_image(w.padding, (0, 0)), result.clamp)
    x_image = image(x)
    constants = layer_constants(x_image, weights, data.transpose(1, 2, 3, 0), 0)
    return from_image(x.builder.emit(op, [x_image, *constants], result.name, result.q), x.rank)
