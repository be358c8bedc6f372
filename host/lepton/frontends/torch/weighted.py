"""Layers with weights: convolutions and linear layers."""

from dataclasses import dataclass

import numpy as np
from torch.fx import Node

from lepton.graph import Conv2D, DepthwiseConv2D, FullyConnected, Pair, Quantization, Tensor, TransposeConv2D
from lepton.graph.builder import Value

from ..geometry import dense_transposed, same_padding
from .context import ImportContext
from .images import image_shape
from .nodes import Arguments
from .qdq import ConstantWeights, weights
from .windows import window

_INT32 = 2**31 - 1


@dataclass(frozen=True)
class _WeightedParts:
    """What a layer is made of; `bias` is None where it has none."""

    x: Value
    weights: ConstantWeights
    bias: Value | None


def _parts(context: ImportContext, node: Node, axis: int, groups: int = 1) -> _WeightedParts | None:
    """Of a layer with output channels along `axis` of PyTorch's weights, in each of `groups`; None where the layer is
    not int8."""
    arguments = context.arguments(node)
    x = context.operand(arguments.operand())
    stored = weights(context.execution, arguments.operand(1))
    if x is None or stored is None or stored.axis not in (None, axis) or (groups > 1 and stored.axis is not None):
        return None
    bias = arguments.optional_node("bias")
    if bias is None:
        return _WeightedParts(x, stored, None)
    values = _bias(context, node, bias, x, stored, stored.data.shape[axis] * groups)
    return None if values is None else _WeightedParts(x, stored, values)


def _bias(context: ImportContext, node: Node, bias: Node, x: Value, layer: ConstantWeights, count: int) -> Value | None:
    """int32 in steps of input scale times weight scale; None where it is computed."""
    scale = x.tensor.parameters.scale * layer.scale
    stored = weights(context.execution, bias)
    # The scale of the bias is a product that torchao rounds to float32: a few units in its last place (6e-8) away.
    if stored is not None and np.allclose(stored.scale, scale, rtol=1e-5, atol=0):
        steps = stored.data
    else:  # a float bias, of a normalization that training left unfolded, or one that several layers share
        values = context.execution.parameter(bias)
        if values is None:
            return None
        steps = np.rint(values.double().numpy() / scale.astype(np.float64))
    # Half of int32's range, so that the sum of products fits in the other half.
    limited = np.clip(np.broadcast_to(steps, count), -_INT32 // 2, _INT32 // 2).astype(np.int32)
    quantization = Quantization(scale.astype(np.float32), np.zeros(scale.shape, np.int32),
                                0 if scale.size > 1 else None)
    return context.constant(f"{context.label(node)}.bias", limited, quantization)


def _constant(context: ImportContext, node: Node, data: np.ndarray, layer: ConstantWeights, axis: int) -> Value:
    """The weights, with their output channels along `axis`."""
    quantization = Quantization(layer.scale, layer.zero_point, axis if layer.scale.size > 1 else None)
    return context.constant(f"{context.label(node)}.weight", data, quantization)


def convolution(context: ImportContext, node: Node, output: Tensor, clamp: Pair) -> Value | None:
    parts = _parts(context, node, 0)
    if parts is None:
        return None
    arguments = context.arguments(node)
    rank = parts.x.rank
    stride = window(arguments, "stride", rank, 1)
    dilation = window(arguments, "dilation", rank, 1)
    groups = arguments.integer("groups")
    _, channels, *size = image_shape(parts.x.shape)
    data = parts.weights.data.reshape(image_shape(parts.weights.data.shape))
    outputs, _, *kernel = data.shape
    top, left = (_padding(arguments, rank, axis, size[axis], kernel[axis], stride[axis], dilation[axis])
                 for axis in (0, 1))
    op: Conv2D | DepthwiseConv2D
    if groups == channels and groups > 1:
        op = DepthwiseConv2D(stride, dilation, (top, left), outputs // channels, clamp)
        constant = _constant(context, node, data.transpose(1, 2, 3, 0), parts.weights, 3)
    else:
        op = Conv2D(stride, dilation, (top, left), groups, clamp)
        constant = _constant(context, node, data.transpose(0, 2, 3, 1), parts.weights, 0)
    context.at(node)
    return context.images.emit(op, [parts.x, constant, parts.bias], output, context.label(node))


def _padding(arguments: Arguments, rank: int, axis: int, size: int, kernel: int, stride: int, dilation: int) -> Pair:
    """(before, after) along one axis of the image."""
    if not isinstance(arguments.given("padding"), str):
        padding = window(arguments, "padding", rank, 0)[axis]
        return padding, padding
    return same_padding(size, kernel, stride, dilation) if arguments.text("padding") == "same" else (0, 0)


def transposed_convolution(context: ImportContext, node: Node, output: Tensor, clamp: Pair) -> Value | None:
    arguments = context.arguments(node)
    groups = arguments.integer("groups")
    parts = _parts(context, node, 1, groups)
    if parts is None:
        return None
    rank = parts.x.rank
    rows, columns = window(arguments, "padding", rank, 0)
    height, width = image_shape(output.shape)[2:]
    op = TransposeConv2D((height, width), window(arguments, "stride", rank, 1), ((rows, rows), (columns, columns)),
                         clamp)
    data = dense_transposed(parts.weights.data.reshape(image_shape(parts.weights.data.shape)), groups,
                            window(arguments, "dilation", rank, 1))
    constant = _constant(context, node, data.transpose(1, 2, 3, 0), parts.weights, 0)
    context.at(node)
    return context.images.emit(op, [parts.x, constant, parts.bias], output, context.label(node))


def linear(context: ImportContext, node: Node, output: Tensor, clamp: Pair) -> Value | None:
    parts = _parts(context, node, 0)
    if parts is None:
        return None
    constant = _constant(context, node, parts.weights.data, parts.weights, 0)
    builder = context.at(node, context.label(node))
    return builder.emit(FullyConnected(clamp), [parts.x, constant, parts.bias], output=output)
