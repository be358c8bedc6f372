"""Convolutions, fully connected layers, matrix products, pools and reductions."""

import warnings
from math import prod

import numpy as np

from lepton.graph import (
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    GraphError,
    MatMul,
    MaxPool2D,
    Mean,
    Op,
    Reduce,
    Reshape,
    Transpose,
    TransposeConv2D,
)
from lepton.graph.ops.conditions import MAX_WINDOW
from lepton.graph.ops.windows import effective_kernel, output_size

from ..geometry import same_padding
from .reader import RawOperator


def _bias(imp, operator: RawOperator, names: list[str], where: str) -> str:
    position = 3 if operator.name == "TRANSPOSE_CONV" else 2
    if len(operator.inputs) <= position or operator.inputs[position] < 0:
        return ""
    name = imp.constant(operator.inputs[position], where, ("INT32",))
    bias, x, weights = (imp.of(n) for n in (name, *names))
    if bias.quantization and x.quantization and weights.quantization:
        expected = x.quantization.scale * weights.quantization.scale
        if expected.size in (1, bias.quantization.scale.size) and not np.allclose(
                bias.quantization.scale, expected, rtol=0.01, atol=1e-30):
            warnings.warn(f"{where}: the scale of bias {bias.name!r} is not input scale times weight scale; TFLite "
                          "ignores it, and so does Lepton", UserWarning, stacklevel=2)
    return name


def _weighted(imp, operator: RawOperator, where: str) -> list[str]:
    names = [imp.value(operator.inputs[0], where, ("INT8", "UINT8")),
             imp.constant(operator.inputs[1], where, ("INT8", "UINT8"))]
    return [*names, _bias(imp, operator, names, where)]


def _window(imp, operator: RawOperator, where: str, kernel: tuple[int, int], outputs: int | None = None) -> dict:
    """Stride, dilation and explicit padding of a sliding window. The result has `outputs` channels, or the input's."""
    options, shape = operator.options, imp.shape(operator.inputs[0])
    if len(shape) != 4:
        raise GraphError(f"{where}: the input must have 4 dimensions (NHWC), not {shape}")
    stride = options["stride_y"], options["stride_x"]
    dilation = options.get("dilation_y", 1), options.get("dilation_x", 1)
    for what, values in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        if not all(1 <= value <= MAX_WINDOW for value in values):
            raise GraphError(f"{where}: {what} must lie in 1..{MAX_WINDOW}, not {values}")
    if options["padding"] == "SAME":
        padding = tuple(same_padding(*axis) for axis in zip(shape[1:3], kernel, stride, dilation, strict=True))
    else:
        padding = ((0, 0), (0, 0))
        if any(effective_kernel(*axis) > size for *axis, size in zip(kernel, dilation, shape[1:3], strict=True)):
            raise GraphError(f"{where}: the kernel {kernel} with dilation {dilation} is larger than the input "
                             f"{shape}")
    size = [output_size(*axis) for axis in zip(shape[1:3], kernel, stride, dilation, padding, strict=True)]
    imp.expect(operator.outputs[0], (shape[0], *size, outputs or shape[3]), where)
    return {"stride": stride, "padding": padding} | ({"dilation": dilation} if "dilation_y" in options else {})


def _legacy(imp, operator: RawOperator, position: int) -> dict:
    """The field of an operator that says that its input is uint8 in the file."""
    return {"unsigned": True} if imp.is_legacy(imp.raw.tensors[operator.inputs[position]]) else {}


def _conv(imp, operator: RawOperator, where: str) -> None:
    inputs = _weighted(imp, operator, where)
    x, weights = (imp.shape(i) for i in operator.inputs[:2])
    if len(weights) != 4 or len(x) != 4 or x[3] % weights[3]:
        raise GraphError(f"{where}: weights of shape {weights} do not match the input {x}")
    window = _window(imp, operator, where, weights[1:3], weights[0])
    op = Conv2D(**window, groups=x[3] // weights[3], clamp=imp.clamp(operator, where), **_legacy(imp, operator, 0))
    imp.emit(op, inputs, operator.outputs[0], where)


def _depthwise(imp, operator: RawOperator, where: str) -> None:
    inputs = _weighted(imp, operator, where)
    x, weights = (imp.shape(i) for i in operator.inputs[:2])
    if len(weights) != 4 or len(x) != 4 or weights[3] % x[3]:
        raise GraphError(f"{where}: weights of shape {weights} do not match the input {x}")
    multiplier, stated = weights[3] // x[3], operator.options["multiplier"]
    if stated not in (0, multiplier):  # 0: older converters left it to the shapes
        raise GraphError(f"{where}: depth multiplier {stated} does not match weights {weights} and input {x}")
    window = _window(imp, operator, where, weights[1:3], weights[3])
    op = DepthwiseConv2D(**window, multiplier=multiplier, clamp=imp.clamp(operator, where), **_legacy(imp, operator, 0))
    imp.emit(op, inputs, operator.outputs[0], where)


def _transpose_conv(imp, operator: RawOperator, where: str) -> None:
    wanted = imp.integers(operator.inputs[0], where)
    if len(wanted) == 4:
        imp.expect(operator.outputs[0], wanted, where)
    shape = imp.shape(operator.outputs[0])
    weights, x = (imp.shape(i) for i in operator.inputs[1:3])
    if len(x) != 4 or len(weights) != 4 or weights[3] != x[3] or shape != (x[0], *wanted[1:3], weights[0]):
        raise GraphError(f"{where}: weights {weights} and input {x} do not make the output {shape}, "
                         f"stated as {wanted}")
    options = operator.options
    stride = options["stride_y"], options["stride_x"]
    if not all(1 <= value <= MAX_WINDOW for value in (*stride, *weights[1:3])):
        raise GraphError(f"{where}: stride and kernel must lie in 1..{MAX_WINDOW}, not {stride} and {weights[1:3]}")
    padding = [(0, 0), (0, 0)]
    for axis in range(2):
        given, made, kernel = x[1 + axis], shape[1 + axis], weights[1 + axis]
        # the forward convolution from output to input, whose padding this one undoes
        forward = -(-made // stride[axis]) if options["padding"] == "SAME" else (made - kernel) // stride[axis] + 1
        if forward != given:
            raise GraphError(f"{where}: {options['padding']} from {given} to {made} pixels with stride {stride[axis]} "
                             f"and kernel {kernel} does not fit")
        if options["padding"] == "SAME":
            padding[axis] = same_padding(made, kernel, stride[axis])
    names = [imp.value(operator.inputs[2], where, ("INT8", "UINT8")),
             imp.constant(operator.inputs[1], where, ("INT8", "UINT8"))]
    op = TransposeConv2D(shape[1:3], stride, tuple(padding), imp.clamp(operator, where), **_legacy(imp, operator, 2))
    imp.emit(op, [*names, _bias(imp, operator, names, where)], operator.outputs[0], where)


def _fully_connected(imp, operator: RawOperator, where: str) -> None:
    inputs = _weighted(imp, operator, where)
    if operator.options["weights_format"] != 0:
        raise GraphError(f"{where}: shuffled weights are not supported, only the default format")
    x, weights = (imp.shape(i) for i in operator.inputs[:2])
    if len(weights) != 2 or not prod(weights) or prod(x) % weights[1] or (
            operator.options["keep_dims"] and x[-1:] != weights[1:]):
        raise GraphError(f"{where}: weights of shape {weights} do not match the input {x}")
    rows = x[:-1] if operator.options["keep_dims"] else (prod(x) // weights[1],)
    imp.expect(operator.outputs[0], (*rows, weights[0]), where)
    if x[-1:] != weights[1:] and prod(x) > weights[1]:  # the elements in their order, in rows like the weights'
        rows = (prod(x) // weights[1], weights[1])
        inputs[0] = imp.emit(Reshape(rows), [inputs[0]], imp.temporary(inputs[0], "rows", rows), where)
    keep = bool(operator.options["keep_dims"])
    imp.emit(FullyConnected(imp.clamp(operator, where), keep), inputs, operator.outputs[0], where)


def _batch_matmul(imp, operator: RawOperator, where: str) -> None:
    operands = []
    for position, key in enumerate(("adjoint_a", "adjoint_b")):
        name = imp.activation(operator.inputs[position], where)
        if operator.options[key]:
            shape = imp.of(name).shape
            order = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
            if len(shape) < 2:
                raise GraphError(f"{where}: {name!r} of shape {shape} must have 2 dimensions or more")
            turned = imp.temporary(name, "turned", [shape[axis] for axis in order])
            name = imp.emit(Transpose(order), [name], turned, where)
        operands.append(name)
    a, b = (imp.of(name).shape for name in operands)
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise GraphError(f"{where}: the shapes {a} and {b} do not multiply")
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise GraphError(f"{where}: the batch axes of {a} and {b} do not broadcast") from None
    imp.expect(operator.outputs[0], (*batch, a[-2], b[-1]), where)
    imp.activation(operator.outputs[0], where)
    imp.emit(MatMul(), operands, operator.outputs[0], where)


def _pool(imp, operator: RawOperator, where: str) -> None:
    kernel = operator.options["kernel_y"], operator.options["kernel_x"]
    kind = MaxPool2D if operator.name == "MAX_POOL_2D" else AveragePool2D
    x = imp.activation(operator.inputs[0], where)
    # averages of uint8 are of positive numbers, so that ties go up; those of int8 go away from zero
    legacy = _legacy(imp, operator, 0) if kind is AveragePool2D else {}
    op: Op = kind(kernel=kernel, **_window(imp, operator, where, kernel), clamp=imp.clamp(operator, where), **legacy)
    imp.emit(op, [x], operator.outputs[0], where)


def _reduce(imp, operator: RawOperator, where: str) -> None:
    x, axes = imp.shape(operator.inputs[0]), imp.integers(operator.inputs[1], where)
    if not axes or min(axes) < -len(x) or max(axes) >= len(x):
        raise GraphError(f"{where}: axes {axes} must lie in the shape {x}")
    axes = tuple(sorted({axis % len(x) for axis in axes}))
    keep = bool(operator.options["keep_dims"])
    imp.expect(operator.outputs[0], tuple(1 if axis in axes else n for axis, n in enumerate(x)
                                          if keep or axis not in axes), where)
    name = imp.value(operator.inputs[0], where)
    if operator.name == "MEAN" and len(x) == 4 and axes == (1, 2) and imp.of(name).dtype == np.int8:
        op: Op = Mean(keep)
    else:
        op = Reduce(operator.name.removeprefix("REDUCE_").lower(), axes, keep, **_legacy(imp, operator, 0))
    imp.emit(op, [name], operator.outputs[0], where)


CONVERT = {
    "CONV_2D": ((2, 3), 1, _conv), "DEPTHWISE_CONV_2D": ((2, 3), 1, _depthwise),
    "FULLY_CONNECTED": ((2, 3), 1, _fully_connected), "TRANSPOSE_CONV": ((3, 4), 1, _transpose_conv),
    "BATCH_MATMUL": ((2,), 1, _batch_matmul), "MAX_POOL_2D": ((1,), 1, _pool), "AVERAGE_POOL_2D": ((1,), 1, _pool),
    "MEAN": ((2,), 1, _reduce), "SUM": ((2,), 1, _reduce), "REDUCE_MAX": ((2,), 1, _reduce),
    "REDUCE_MIN": ((2,), 1, _reduce),
}
