"""Pools, reductions and softmax."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from lepton.graph import AveragePool2D, MaxPool2D, Mean, Pad, Pair, Reduce, Softmax
from lepton.graph.builder import Value
from lepton.graph.ops.windows import NONE

from .layers import wait
from .node import Converter, OnnxNode, source_of
from .operands import from_image, image, with_shape
from .values import BYTES, UINT8, Tabulated
from .windows import Pooling, of_image, pooling

# From this opset on ONNX Runtime's AveragePool adds pixel after pixel (onnxruntime/core/providers/cpu/nn/pool.cc,
# AveragePoolV19), before only where ceil_mode and count_include_pad meet; else MlasPool adds rows first.
_SUMS_IN_ORDER = 19
# Since which Softmax works along one axis, by default the last; before, over all from axis 1 on (Softmax-13).
ALONG_ONE_AXIS = 13


def _picking(node: OnnxNode, emit: Callable[[Value], Value]) -> None:
    """`emit` picks elements by their order: it works on the int8 tensor of a value that rises with it."""
    value = source_of(node)
    if isinstance(value, Tabulated) and value.rising:
        node.set(value.moved(emit(value.tensor)))
    else:
        node.set_host(emit(node.host()))


def _pooling(node: OnnxNode, x: Value) -> Pooling:
    if len(node.proto.output) > 1 and node.proto.output[1]:
        raise node.error("only the values are supported as a result, not their indices")
    kernel = node.given.get("kernel_shape")
    if not kernel:
        raise node.error("kernel_shape must be given")
    pool = pooling(node, kernel, x.shape[2:])
    w = pool.window
    for extent, before_after in zip(w.kernel, w.padding, strict=True):
        if max(before_after) >= extent:
            raise node.error(f"padding {w.padding} must be less than the kernel {w.kernel}, or windows would be empty")
    return pool


def _without(x: Value, cut: Sequence[Pair]) -> Value:
    """`x` less its first and last elements along each axis of the image."""
    for axis, (first, last) in enumerate(cut, 2):
        x = x.slice(axis, first, x.shape[axis] - last)
    return x


def max_pool(node: OnnxNode) -> None:
    def emit(x: Value) -> Value:
        pool = _pooling(node, x)
        w = pool.window
        op = MaxPool2D(w.kernel, w.stride, w.padding, dilation=w.dilation)
        x = _without(x, pool.cut)
        return from_image(node.emit(op, image(x), q=x.quantization), x.rank)

    _picking(node, emit)


def average_pool(node: OnnxNode) -> None:
    """What windows reach beyond the padding counts with it in MlasPool, and not where pixels are added in order."""
    x = node.host()
    pool = _pooling(node, x)
    w = pool.window
    padding = w.padding
    counted = node.flag("count_include_pad")
    in_order = node.state.opset >= _SUMS_IN_ORDER or (counted and node.flag("ceil_mode"))
    x = _without(x, pool.cut)
    if counted and in_order and pool.overhangs:
        counted = False
        x = x.apply(Pad(((0, 0), (0, 0), *pool.padding)))
        (_, bottom), (_, right) = of_image(pool.padding, (0, 0))
        padding = (0, padding[0][1] - bottom), (0, padding[1][1] - right)
    op = AveragePool2D(w.kernel, w.stride, padding, dilation=w.dilation, count_padding=counted, in_order=in_order)
    node.set_host(from_image(node.emit(op, image(x)), x.rank))


def qlinear_average_pool(node: OnnxNode) -> None:
    """com.microsoft QLinearAveragePool: with count_include_pad it divides by the whole kernel. One window over the
    whole image is the global average."""
    # onnxruntime/contrib_ops/cpu/quantization/qlinear_pool.cc
    dtype = node.value().dtype
    _channels_first(node)
    x = node.codes_as_stated()
    pool = _pooling(node, x)
    w = pool.window
    if w.dilation != (1, 1):
        raise node.error(f"averages of 8-bit values with dilations {w.dilation} are not supported")
    whole = w.kernel == of_image(x.shape[2:], 1) and w.padding == NONE and not np.any(pool.cut)
    op = Mean() if whole else AveragePool2D(w.kernel, w.stride, w.padding, unsigned=dtype == UINT8,
                                            count_padding=node.flag("count_include_pad"))
    x = _without(x, pool.cut)
    node.set_codes(from_image(node.emit(op, image(x), q=node.output_quantization), x.rank), dtype)


def _channels_first(node: OnnxNode) -> None:
    if node.flag("channels_last"):
        raise node.error("channels_last is not supported")


def _image_axes(node: OnnxNode) -> tuple[int, ...]:
    shape = node.settled().shape
    if len(shape) < 3:
        raise node.error(f"the input must be (batch, channels, height, width), not {shape}")
    return tuple(range(2, len(shape)))


def global_average(node: OnnxNode) -> None:
    axes = _image_axes(node)
    if len(axes) > 2:  # the graph's Mean is one of images
        _reduce(node, "mean", axes, True)
        return
    x = node.host()
    node.set_host(from_image(node.emit(Mean(), image(x)), x.rank))


def qlinear_global_average(node: OnnxNode) -> None:
    """com.microsoft QLinearGlobalAveragePool."""
    # onnxruntime/contrib_ops/cpu/quantization/qlinear_global_average_pool.cc
    dtype = node.value().dtype
    _image_axes(node)
    _channels_first(node)
    x = node.codes_as_stated()
    node.set_codes(from_image(node.emit(Mean(), image(x), q=node.output_quantization), x.rank), dtype)


def global_max(node: OnnxNode) -> None:
    _reduce(node, "max", tuple(range(2, len(node.settled().shape))), True)


def reduction(kind: str) -> Converter:
    """A reduction along axes; `kind` as in the graph's `Reduce`."""
    def convert(node: OnnxNode) -> None:
        value = node.settled()
        rank = len(value.shape)
        stated = node.axes()
        if stated is None and node.flag("noop_with_empty_axes"):
            node.set(value)
            return
        axes = tuple(sorted(node.axis(axis, rank) for axis in (range(rank) if stated is None else stated)))
        if len(set(axes)) != len(axes):
            raise node.error(f"axes {axes} name a dimension twice")
        if kind == "mean" and axes == (2, 3) and rank == 4 and isinstance(value, Tabulated) and value.real:
            wait(node)  # a mean over the image
        else:
            _reduce(node, kind, axes, node.flag("keepdims", 1))
    return convert


def _reduce(node: OnnxNode, kind: str, axes: tuple[int, ...], keep: bool) -> None:
    op = Reduce(kind, axes, keep)
    if kind in ("max", "min"):
        _picking(node, lambda x: node.emit(op, x, q=x.quantization))
    elif node.computed().dtype in BYTES:
        raise node.error(f"a {kind} of 8-bit integers is not supported")
    else:
        node.set_host(node.emit(op, node.host()))


def softmax(node: OnnxNode) -> None:
    x = node.host()
    node.set_host(along_axis(node, x, node.state.opset, lambda rows, axis: node.emit(Softmax(axis=axis), rows)))


def qlinear_softmax(node: OnnxNode) -> None:
    """com.microsoft QLinearSoftmax; its attribute `opset` says which Softmax it was."""
    # onnxruntime/contrib_ops/cpu/quantization/qlinear_softmax.cc
    dtype = node.computed().dtype
    q = node.output_quantization
    y = along_axis(node, node.codes_as_stated(), node.given.get("opset", node.state.opset),
                   lambda rows, axis: node.emit(Softmax(axis=axis), rows, q=q))
    node.set_codes(y, dtype)


def along_axis(node: OnnxNode, x: Value, opset: int, emit: Callable[[Value, int], Value]) -> Value:
    """`emit` (of a tensor, along an axis) as Softmax and LogSoftmax of that opset work."""
    axis = node.axis(node.given.get("axis", 1 if opset < ALONG_ONE_AXIS else -1), x.rank)
    if opset >= ALONG_ONE_AXIS:
        return with_shape(emit(x, axis), x.shape)
    return with_shape(emit(with_shape(x, (prod(x.shape[:axis]), prod(x.shape[axis:]))), 1), x.shape)
