"""Convolutions: ONNX Runtime's integer kernel, and what the float ones share with it."""

from dataclasses import dataclass

import numpy as np
import onnx

from lepton.graph import Conv2D, DepthwiseConv2D, GraphError, Op, Quantization, TransposeConv2D

from ..geometry import dense_transposed, effective_kernel
from .importer import Importer, attributes
from .operands import FULL, codes_as_stated, constant_bias, constant_weights, from_image, image, layer_constants
from .windows import MAX_WINDOW, window


def convolution(importer: Importer, given: dict, x: str, weights: np.ndarray, q: Quantization,
                 bias: np.ndarray | None, output: str, out_q: Quantization, clamp: tuple[int, int]) -> str:
    """Emits the layer for x (N, C, ...) and weights (O, C / groups, ...); returns the result (N, O, ...)."""
    shape = importer.graph.tensors[x].shape
    if len(weights.shape) != len(shape) or len(shape) not in (3, 4):
        raise GraphError(f"{importer.where}: weights of shape {weights.shape} do not fit the input {shape}; images "
                         "of 1 or 2 dimensions are supported")
    groups, channels, outputs = given.get("group", 1), shape[1], weights.shape[0]
    if groups < 1 or channels != weights.shape[1] * groups or outputs % groups:
        raise GraphError(f"{importer.where}: weights of shape {weights.shape} in {groups} groups do not fit "
                         f"{channels} input channels")
    kernel = tuple(weights.shape[2:])
    if tuple(given.get("kernel_shape") or kernel) != kernel:
        raise GraphError(f"{importer.where}: kernel_shape {given['kernel_shape']} is not that of the weights "
                         f"{weights.shape}")
    w = window(importer, given, kernel, shape[2:])
    fields = {"stride": w.stride, "dilation": w.dilation, "padding": w.padding, "clamp": clamp}
    weights = weights.reshape(outputs, weights.shape[1], *w.kernel)
    if groups == channels > 1:
        op: Op = DepthwiseConv2D(**fields, multiplier=outputs // channels)
        weights, axis = weights.transpose(1, 2, 3, 0), 3
    else:
        op, weights, axis = Conv2D(**fields, groups=groups), weights.transpose(0, 2, 3, 1), 0
    x = image(importer, x)
    y = importer.emit(op, [x, *layer_constants(importer, weights, q, axis, bias, x)], output, out_q)
    return from_image(importer, y, len(shape))


def qlinear_conv(importer: Importer, node: onnx.NodeProto):
    weights, q = constant_weights(importer, node, (3, 4, 5), 0)
    name, dtype = node.output[0], importer.value(node.input[0]).dtype
    y = convolution(importer, attributes(node), codes_as_stated(importer, node), weights, q,
                     constant_bias(importer, node, 8, 4), name, importer.quantities[name], FULL)
    importer.set_codes(name, y, dtype)


@dataclass(frozen=True)
class Growing:
    """A transposed convolution over any number of axes: strides, dilations, (before, after) pads, the output's size."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    size: tuple[int, ...]


def growing(importer: Importer, given: dict, kernel: tuple[int, ...], extents: tuple[int, ...]) -> Growing:
    """What the attributes of a ConvTranspose state or leave to their defaults."""
    rank = len(extents)
    stride, dilation = (tuple(given.get(key) or (1,) * rank) for key in ("strides", "dilations"))
    extra, pads = tuple(given.get("output_padding") or (0,) * rank), tuple(given.get("pads") or (0,) * 2 * rank)
    for what, values, count, least in (("strides", stride, rank, 1), ("dilations", dilation, rank, 1),
                                       ("output_padding", extra, rank, 0), ("pads", pads, 2 * rank, 0)):
        if len(values) != count or not all(least <= value <= MAX_WINDOW for value in values):
            raise GraphError(f"{importer.where}: {what} must be {count} numbers in {least}..{MAX_WINDOW}, not {values}")
    automatic, wanted = given.get("auto_pad", "NOTSET"), given.get("output_shape")
    if wanted and len(wanted) == rank + 2:
        wanted = wanted[2:]
    padding, size = [], []
    for i in range(rank):
        full = (extents[i] - 1) * stride[i] + effective_kernel(kernel[i], dilation[i]) + extra[i]
        target = wanted[i] if wanted else extents[i] * stride[i] if automatic.startswith("SAME") else None
        before, after = (0, 0) if automatic == "VALID" else (pads[i], pads[i + rank])
        if target is not None:
            total = max(full - target, 0)
            small, large = total // 2, total - total // 2
            before, after = (small, large) if automatic == "SAME_UPPER" else (large, small)
        padding.append((before, after))
        size.append(full - before - after)
    if min(size) < 1:
        raise GraphError(f"{importer.where}: no pixel is left of the output, whose size would be {tuple(size)}")
    return Growing(stride, dilation, tuple(padding), tuple(size))


def transposed(importer: Importer, given: dict, x: str, weights: np.ndarray, q: Quantization,
                bias: np.ndarray | None, output: str, out_q: Quantization, clamp: tuple[int, int]) -> str:
    """The same for a transposed convolution with weights (C, O, H, W)."""
    shape, rank = importer.graph.tensors[x].shape, len(importer.graph.tensors[x].shape)
    if rank not in (3, 4) or weights.ndim != rank:
        raise GraphError(f"{importer.where}: weights of shape {weights.shape} do not fit the input {shape}; images of "
                         "1 or 2 dimensions are supported")
    groups = given.get("group", 1)
    if groups < 1 or shape[1] != weights.shape[0] or shape[1] % groups:
        raise GraphError(f"{importer.where}: weights of shape {weights.shape} in {groups} groups do not fit "
                         f"{shape[1]} input channels")
    if groups > 1 and q.scale.size > 1:
        raise GraphError(f"{importer.where}: the weights of {groups} groups must have one scale, not {q.scale.size}")
    g = growing(importer, given, weights.shape[2:], shape[2:])
    one = (1,) * (4 - rank)  # the height of a line
    weights = weights.reshape(*weights.shape[:2], *one, *weights.shape[2:])
    zero = int(q.zero_point[0]) if q.zero_point.size == 1 else 0
    weights = dense_transposed(weights, groups, (*one, *g.dilation), zero)
    x = image(importer, x)
    op = TransposeConv2D((*one, *g.size), (*one, *g.stride), (*((0, 0) for _ in one), *g.pads), clamp)
    constants = layer_constants(importer, weights.transpose(1, 2, 3, 0), q, 0, bias, x)
    y = importer.emit(op, [x, *constants], output, out_q)
    return from_image(importer, y, rank)


CONVERTERS = {"QLinearConv": qlinear_conv}
