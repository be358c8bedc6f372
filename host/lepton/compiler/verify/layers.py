"""Contracts of layers with weights, and of pools: everything with a window."""

import numpy as np

from ...graph import Conv2D, DepthwiseConv2D, FullyConnected
from .check import Check


def weights(check: Check, rank: int, axis: int) -> tuple[int, ...]:
    """The shape of constant int8 weights with output channels along `axis`; their scales and bias fit."""
    tensor = check.inputs[1]
    check.require(tensor is not None, "needs weights as its second input")
    data = check.constant(tensor, "weights")
    check.require(data.dtype == np.int8, f"weights {tensor.name!r} must be int8, not {data.dtype}")
    check.require(data.ndim == rank and data.size > 0,
                  f"weights {tensor.name!r} must have {rank} dimensions, not shape {data.shape}")
    q, outputs = tensor.quantization, data.shape[axis]
    check.require(q is not None and q.scale.size in (1, outputs) and q.zero_point.size in (1, outputs),
                  f"weights {tensor.name!r} must have 1 or {outputs} scales")
    check.require(q.zero_point.size == 1 or q.axis in (None, axis),
                  f"the zero points of weights {tensor.name!r} must lie along axis {axis}, not {q.axis}")
    check.quantization(tensor)
    bias = check.inputs[2] if len(check.inputs) > 2 else None
    if bias is not None:
        check.require(bias.data is not None and bias.data.dtype == np.int32 and bias.data.size == outputs,
                      f"bias {bias.name!r} must be a constant of {outputs} int32 values")
    return data.shape


def _window(check: Check, kernel, dilation=(1, 1)) -> tuple[int, int]:
    """(height, width) of the output of a sliding window."""
    op = check.op
    height, width, _ = check.image(check.x)
    check.require(min(*op.stride, *dilation, *kernel) >= 1 and min(sum(op.padding, ())) >= 0,
                  "strides, dilations and kernel sizes must be at least 1 and paddings at least 0")
    return tuple((n + sum(p) - (k - 1) * d - 1) // s + 1 for n, p, k, d, s in
                 zip((height, width), op.padding, kernel, dilation, op.stride, strict=True))


def conv(check: Check) -> None:
    check.int8(check.x, check.output)
    op: Conv2D = check.op
    outputs, kernel_y, kernel_x, per_group = weights(check, 4, 0)
    channels = check.image(check.x)[2]
    check.require(op.groups >= 1 and per_group * op.groups == channels and outputs % op.groups == 0,
                  f"weights of shape {check.inputs[1].data.shape} in {op.groups} groups do not fit {channels} "
                  "input channels")
    check.image_output((*_window(check, (kernel_y, kernel_x), op.dilation), outputs))


def depthwise(check: Check) -> None:
    check.int8(check.x, check.output)
    op: DepthwiseConv2D = check.op
    _, kernel_y, kernel_x, outputs = weights(check, 4, 3)
    channels = check.image(check.x)[2]
    check.require(outputs == channels * op.multiplier, f"weights of shape {check.inputs[1].data.shape} do not fit "
                  f"{channels} input channels with multiplier {op.multiplier}")
    check.image_output((*_window(check, (kernel_y, kernel_x), op.dilation), outputs))


def transpose_conv(check: Check) -> None:
    check.int8(check.x, check.output)
    outputs, _, _, per_output = weights(check, 4, 0)
    channels = check.image(check.x)[2]
    check.require(per_output == channels, f"weights of shape {check.inputs[1].data.shape} do not fit {channels} "
                                          "input channels")
    check.require(min(check.op.stride) >= 1 and min(sum(check.op.padding, ())) >= 0,
                  "strides must be at least 1 and paddings at least 0")
    check.require(check.image(check.output)[2] == outputs, f"the output must have {outputs} channels, "
                                                           f"not shape {tuple(check.output.shape)}")


def fully_connected(check: Check) -> None:
    check.int8(check.x, check.output)
    op: FullyConnected = check.op
    check.require(op.clamp[0] <= op.clamp[1], f"the clamp range must not be empty: {op.clamp}")
    outputs, length = weights(check, 2, 0)
    size, target = int(np.prod(check.x.shape)), int(np.prod(check.output.shape))
    check.require(size % length == 0 and target == size // length * outputs,
                  f"weights of shape {(outputs, length)} do not fit input {tuple(check.x.shape)} and output "
                  f"{tuple(check.output.shape)}")
    check.require(size == length or check.x.shape[-1] == length, f"weights of shape {(outputs, length)} do not fit "
                  f"rows of input {tuple(check.x.shape)}")


def matmul(check: Check) -> None:
    a, b = check.inputs
    check.same_dtype(a, b, check.output)
    if np.dtype(a.dtype) == np.int8:
        check.int8(a, b, check.output)
    check.require(len(a.shape) >= 2 and len(b.shape) >= 2 and a.shape[-1] == b.shape[-2],
                  f"shapes {tuple(a.shape)} and {tuple(b.shape)} do not multiply")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        batch = None
    check.require(batch is not None, f"batch axes of {tuple(a.shape)} and {tuple(b.shape)} do not broadcast")
    check.shape((*batch, a.shape[-2], b.shape[-1]))


def _same_type(check: Check) -> None:
    check.dtype(check.x, np.int8, np.float32)
    check.same_dtype(check.x, check.output)
    if np.dtype(check.x.dtype) == np.int8:
        check.int8(check.x, check.output)


def max_pool(check: Check) -> None:
    _same_type(check)
    check.image_output((*_window(check, check.op.kernel), check.image(check.x)[2]))
    check.same_quantization(check.x, check.output)


def average_pool(check: Check) -> None:
    _same_type(check)
    op = check.op
    size = _window(check, op.kernel)
    check.image_output((*size, check.image(check.x)[2]))
    for axis in (0, 1):  # the first and the last window must reach into the image
        first = op.kernel[axis] > op.padding[axis][0]
        last = (size[axis] - 1) * op.stride[axis] - op.padding[axis][0] < check.x.shape[1 + axis]
        check.require(first and last, "a window lies wholly in the padding; there is nothing to average")
    if check.graph.arithmetic is check.graph.arithmetic.FIXED:
        check.same_quantization(check.x, check.output)


def mean(check: Check) -> None:
    _same_type(check)
    check.image_output((1, 1, check.image(check.x)[2]))
