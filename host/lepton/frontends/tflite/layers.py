"""Convolutions, fully connected layers, matrix products, pools and reductions."""

import warnings
from math import prod
from typing import Any

import numpy as np

from lepton.graph import (
    ArgMax,
    AveragePool2D,
    Conv2D,
    CumSum,
    DepthwiseConv2D,
    FullyConnected,
    GatherElements,
    GraphError,
    MatMul,
    MaxPool2D,
    Mean,
    Reduce,
    TopK,
    TransposeConv2D,
)
from lepton.graph.builder import Value
from lepton.graph.ops.conditions import MAX_WINDOW
from lepton.graph.ops.windows import effective_kernel

from ..geometry import same_padding
from .operation import Convert, Entry, Operation

_EIGHT_BITS = ("INT8", "UINT8")
Pair = tuple[int, int]


def _weighted(op: Operation, x: int, weights: int, bias: int) -> list[Value | None]:
    operands = [op.int8(x), op.constant(weights, *_EIGHT_BITS)]
    return [*operands, op.constant(bias, "INT32") if op.has(bias) else None]


def _symmetric(op: Operation, position: int) -> None:
    """int8 weights of convolutions have zero points of 0 (TFLite's 8-bit quantization specification).

    Of LiteRT's kernels one refuses others, and the rest compute as if they were 0.
    """
    weights = op.x(position).tensor
    q = weights.quantization
    if q is not None and not op.legacy(position) and np.any(q.zero_point):
        raise GraphError(f"weights {weights.name!r} (INT8) have the zero point {q.zero_point[q.zero_point != 0][0]}; "
                         "TFLite's int8 convolutions take 0 only, so quantize the weights symmetrically")


def _check_bias(operands: list[Value | None]) -> None:
    x, weights, bias = (None if v is None else v.tensor for v in operands)
    if bias is None or x is None or weights is None or not (bias.quantization and x.quantization
                                                            and weights.quantization):
        return
    expected = x.quantization.scale * weights.quantization.scale
    given = bias.quantization.scale
    if expected.size in (1, given.size) and not np.allclose(given, expected, rtol=0.01, atol=1e-30):
        warnings.warn(f"the scale of bias {bias.name!r} is not input scale times weight scale; TFLite ignores it, and "
                      "so does Lepton", UserWarning, stacklevel=4)


def _image(op: Operation, position: int, weights: Value | None = None) -> Value:
    x = op.x(position)
    if x.rank != 4:
        raise GraphError(f"the input must have 4 dimensions (NHWC), not {tuple(x.shape)}")
    if weights is not None and weights.rank != 4:
        raise GraphError(f"weights of shape {tuple(weights.shape)} do not match the input {tuple(x.shape)}")
    return x


def _window(op: Operation, x: Value, kernel: Pair, dilated: bool = True) -> dict[str, Any]:
    """Stride, dilation and explicit padding of a sliding window."""
    stride = (op.option("stride_y"), op.option("stride_x"))
    dilation = (op.option("dilation_y"), op.option("dilation_x")) if dilated else (1, 1)
    for what, values in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        if not all(1 <= value <= MAX_WINDOW for value in values):
            raise GraphError(f"{what} must lie in 1..{MAX_WINDOW}, not {values}")
    axes = list(zip(x.shape[1:3], kernel, stride, dilation, strict=True))
    if op.option("padding") == "SAME":
        padding = tuple(same_padding(*axis) for axis in axes)
    else:
        padding = ((0, 0), (0, 0))
        if any(effective_kernel(k, d) > size for size, k, _, d in axes):
            raise GraphError(f"the kernel {kernel} with dilation {dilation} is larger than the input {tuple(x.shape)}")
    return {"stride": stride, "padding": padding} | ({"dilation": dilation} if dilated else {})


def _conv(op: Operation) -> None:
    operands = _weighted(op, 0, 1, 2)
    _symmetric(op, 1)
    _check_bias(operands)
    weights = op.x(1)
    x = _image(op, 0, weights)
    if x.shape[3] % weights.shape[3]:
        raise GraphError(f"weights of shape {tuple(weights.shape)} do not match the input {tuple(x.shape)}")
    window = _window(op, x, (weights.shape[1], weights.shape[2]))
    op.emit(Conv2D(**window, groups=x.shape[3] // weights.shape[3], clamp=op.clamp(), unsigned=op.legacy()), *operands)


def _depthwise(op: Operation) -> None:
    operands = _weighted(op, 0, 1, 2)
    _symmetric(op, 1)
    _check_bias(operands)
    weights = op.x(1)
    x = _image(op, 0, weights)
    multiplier = weights.shape[3] // x.shape[3]
    stated = op.option("multiplier")
    if weights.shape[3] % x.shape[3]:
        raise GraphError(f"weights of shape {tuple(weights.shape)} do not match the input {tuple(x.shape)}")
    if stated not in (0, multiplier):  # 0: older converters left it to the shapes
        raise GraphError(f"depth multiplier {stated} does not match weights {tuple(weights.shape)} and input "
                         f"{tuple(x.shape)}")
    window = _window(op, x, (weights.shape[1], weights.shape[2]))
    op.emit(DepthwiseConv2D(**window, multiplier=multiplier, clamp=op.clamp(), unsigned=op.legacy()), *operands)


def _transpose_conv(op: Operation) -> None:
    shape = op.integers(0)
    weights = op.x(1)
    x = _image(op, 2, weights)
    if len(shape) != 4 or weights.shape[3] != x.shape[3] or (shape[0], shape[3]) != (x.shape[0], weights.shape[0]):
        raise GraphError(f"weights {tuple(weights.shape)} and input {tuple(x.shape)} do not make the output {shape}")
    same = op.option("padding") == "SAME"
    stride = (op.option("stride_y"), op.option("stride_x"))
    if not all(1 <= value <= MAX_WINDOW for value in (*stride, *weights.shape[1:3])):
        raise GraphError(f"stride and kernel must lie in 1..{MAX_WINDOW}, not {stride} and {weights.shape[1:3]}")
    padding = [(0, 0), (0, 0)]
    for axis in range(2):
        given = x.shape[1 + axis]
        made = shape[1 + axis]
        kernel = weights.shape[1 + axis]
        # the forward convolution from output to input, whose padding this one undoes
        forward = -(-made // stride[axis]) if same else (made - kernel) // stride[axis] + 1
        if forward != given:
            raise GraphError(f"{op.option('padding')} from {given} to {made} pixels with stride {stride[axis]} and "
                             f"kernel {kernel} does not fit")
        if same:
            padding[axis] = same_padding(made, kernel, stride[axis])
    made_size = (shape[1], shape[2])
    operands = _weighted(op, 2, 1, 3)
    _symmetric(op, 1)
    _check_bias(operands)
    op.emit(TransposeConv2D(made_size, stride, (padding[0], padding[1]), op.clamp(), op.legacy(2)), *operands)


def _fully_connected(op: Operation) -> None:
    if op.option("weights_format") != 0:
        raise GraphError("shuffled weights are not supported, only the default format")
    operands = _weighted(op, 0, 1, 2)
    _check_bias(operands)
    x = op.x(0)
    weights = op.x(1)
    keep = bool(op.option("keep_dims"))
    length = weights.shape[1] if weights.rank == 2 else 0
    if not length or prod(x.shape) % length or (keep and x.shape[-1:] != (length,)):
        raise GraphError(f"weights of shape {tuple(weights.shape)} do not match the input {tuple(x.shape)}")
    if x.shape[-1:] != (length,) and prod(x.shape) > length:  # the elements in their order, in rows like the weights'
        operands[0] = x.reshape((prod(x.shape) // length, length))
    op.emit(FullyConnected(op.clamp(), keep), *operands)


def _batch_matmul(op: Operation) -> None:
    operands = []
    for position, key in enumerate(("adjoint_a", "adjoint_b")):
        x = op.x(position) if op.output().dtype == np.float32 else op.int8(position)
        if op.option(key):
            if x.rank < 2:
                raise GraphError(f"{x.name!r} of shape {tuple(x.shape)} must have 2 dimensions or more")
            x = x.transpose((*range(x.rank - 2), x.rank - 1, x.rank - 2))
        operands.append(x)
    op.emit(MatMul(), *operands)


def _pool(kind: type[MaxPool2D] | type[AveragePool2D]) -> Convert:
    """Averages of uint8 are of positive numbers, so that ties go up; those of int8 go away from zero."""
    def convert(op: Operation) -> None:
        x = _image(op, 0)
        kernel = (op.option("kernel_y"), op.option("kernel_x"))
        window = _window(op, x, kernel, dilated=False)
        if x.dtype == np.float32:
            op.result(op.fused(x.apply(kind(kernel=kernel, **window))))
            return
        if kind is AveragePool2D:
            window["unsigned"] = op.legacy()
        op.emit(kind(kernel=kernel, **window, clamp=op.clamp()), op.int8())
    return convert


def _axes(op: Operation, rank: int) -> tuple[int, ...]:
    axes = op.integers(1)
    if any(not -rank <= axis < rank for axis in axes) or not axes:
        raise GraphError(f"axes {axes} must lie in the shape {tuple(op.x().shape)}")
    return tuple(sorted({axis % rank for axis in axes}))


def _mean(op: Operation) -> None:
    x = op.x()
    keep = bool(op.option("keep_dims"))
    axes = _axes(op, x.rank)
    if x.rank == 4 and axes == (1, 2) and x.dtype == np.int8:
        op.emit(Mean(keep), x)
    else:
        op.emit(Reduce("mean", axes, keep), x)


def _reduce(op: Operation) -> None:
    kind = op.name.removeprefix("REDUCE_").lower()
    x = op.x()
    op.emit(Reduce(kind, _axes(op, x.rank), bool(op.option("keep_dims")), op.legacy()), x)


def _arg(op: Operation) -> None:
    x = op.x()
    (axis,) = op.integers(1)[:1] or (0,)
    op.emit(ArgMax(axis, False, op.name == "ARG_MIN", dtype=op.output().dtype.name), x)


def _cumulative_sum(op: Operation) -> None:
    x = op.x(0, "FLOAT32", "INT32", "INT64")
    (axis,) = op.integers(1)[:1] or (0,)
    op.emit(CumSum(axis, bool(op.option("exclusive")), bool(op.option("reverse"))), x)


def _top_k(op: Operation) -> None:
    x = op.x()
    (k,) = op.integers(1)[:1] or (0,)
    places = op.builder.emit(TopK(k, dtype=op.output(1).dtype.name), [x])
    op.result(op.builder.emit(GatherElements(-1), [x, places]))
    op.result(places, 1)


CONVERT: dict[str, Entry] = {
    "TOPK_V2": ((2,), 2, _top_k),
    "CUMSUM": ((2,), 1, _cumulative_sum),
    "ARG_MAX": ((2,), 1, _arg), "ARG_MIN": ((2,), 1, _arg),
    "CONV_2D": ((2, 3), 1, _conv), "DEPTHWISE_CONV_2D": ((2, 3), 1, _depthwise),
    "FULLY_CONNECTED": ((2, 3), 1, _fully_connected), "TRANSPOSE_CONV": ((3, 4), 1, _transpose_conv),
    "BATCH_MATMUL": ((2,), 1, _batch_matmul), "MAX_POOL_2D": ((1,), 1, _pool(MaxPool2D)),
    "AVERAGE_POOL_2D": ((1,), 1, _pool(AveragePool2D)), "MEAN": ((2,), 1, _mean), "SUM": ((2,), 1, _reduce),
    "REDUCE_MAX": ((2,), 1, _reduce), "REDUCE_MIN": ((2,), 1, _reduce), "REDUCE_PROD": ((2,), 1, _reduce),
}
