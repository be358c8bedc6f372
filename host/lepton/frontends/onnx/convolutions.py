"""Convolutions: ONNX Runtime's integer kernel, and what the float ones share with it."""

import numpy as np
import onnx

from lepton.graph import Conv2D, DepthwiseConv2D, GraphError, Op, Quantization, TransposeConv2D

from ..geometry import dense_transposed
from .importer import INT8, Importer, attributes
from .operands import FULL, codes_as_stated, constant_bias, constant_weights, from_image, image, layer_constants
from .windows import window


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
    y = importer.emit(op, [x, *layer_constants(importer, weights, q, axis, bias, x)], output,
                      (shape[0], *w.size, outputs), INT8, out_q)
    return from_image(importer, y, len(shape))


def qlinear_conv(importer: Importer, node: onnx.NodeProto):
    weights, q = constant_weights(importer, node, (3, 4, 5), 0)
    name, dtype = node.output[0], importer.value(node.input[0]).dtype
    y = convolution(importer, attributes(node), codes_as_stated(importer, node), weights, q,
                     constant_bias(importer, node, 8, 4), name, importer.quantities[name], FULL)
    importer.set_codes(name, y, dtype)


def transposed(importer: Importer, given: dict, x: str, weights: np.ndarray, q: Quantization,
                bias: np.ndarray | None, output: str, out_q: Quantization, clamp: tuple[int, int]) -> str:
    """The same for a transposed convolution with weights (C, O, H, W)."""
    shape, rank = importer.graph.tensors[x].shape, len(importer.graph.tensors[x].shape)
    if rank not in (3, 4) or weights.ndim != rank:
        raise GraphError(f"{importer.where}: weights of shape {weights.shape} do not fit the input {shape}; images of "
                         "1 or 2 dimensions are supported")

    def pair(name: str, default: int) -> tuple[int, ...]:
        """(y, x) of an option; y is as if the option were not there in 1-D."""
        return (default,) * (4 - rank) + tuple(given.get(name) or (default,) * (rank - 2))

    stride, extra, dilation = pair("strides", 1), pair("output_padding", 0), pair("dilations", 1)
    pads = list(given.get("pads") or (0,) * (2 * rank - 4))
    pads = [0, pads[0], 0, pads[1]] if rank == 3 and len(pads) == 2 else pads
    groups, automatic, wanted = given.get("group", 1), given.get("auto_pad", "NOTSET"), given.get("output_shape")
    if groups < 1 or shape[1] != weights.shape[0] or shape[1] % groups:
        raise GraphError(f"{importer.where}: weights of shape {weights.shape} in {groups} groups do not fit "
                         f"{shape[1]} input channels")
    if groups > 1 and q.scale.size > 1:
        raise GraphError(f"{importer.where}: the weights of {groups} groups must have one scale, not {q.scale.size}")
    shape = (*shape[:2], 1, shape[2]) if rank == 3 else shape
    weights = weights.reshape(*weights.shape[:2], *(weights.shape[2:] if rank == 4 else (1, weights.shape[2])))
    if min(dilation) < 1 or len(dilation) != 2:
        raise GraphError(f"{importer.where}: dilations must be above 0, not {dilation}")
    weights = dense_transposed(weights, groups, dilation, int(q.zero_point[0]) if q.zero_point.size == 1 else 0)
    kernel = weights.shape[2:]
    if min(stride) < 1 or min(extra) < 0 or min(pads) < 0 or len(stride) != 2 or len(pads) != 4 or len(extra) != 2:
        raise GraphError(f"{importer.where}: strides must be above 0, pads and output_padding not below, not {stride}, "
                         f"{pads} and {extra}")
    size = []
    for i in range(2):
        full = (shape[2 + i] - 1) * stride[i] + kernel[i] + extra[i]
        target = shape[2 + i] * stride[i] if automatic.startswith("SAME") else None
        if wanted and i + rank >= 4:  # in 1-D it says nothing of the height
            target = wanted[i - 2]
        if target is not None:
            total = max(full - target, 0)
            small, large = total // 2, total - total // 2
            pads[i], pads[i + 2] = (small, large) if automatic == "SAME_UPPER" else (large, small)
        size.append(full - pads[i] - pads[i + 2])
    if min(size) < 1:
        raise GraphError(f"{importer.where}: no pixel is left of the output, whose size would be {tuple(size)}")
    x = image(importer, x)
    op = TransposeConv2D(tuple(size), stride, ((pads[0], pads[2]), (pads[1], pads[3])), clamp)
    y = importer.emit(op, [x, *layer_constants(importer, weights.transpose(1, 2, 3, 0), q, 0, bias, x)], output,
                      (shape[0], *size, weights.shape[1]), INT8, out_q)
    return from_image(importer, y, rank)


CONVERTERS = {"QLinearConv": qlinear_conv}
