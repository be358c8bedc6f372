"""Pools, reductions and softmax."""

from collections.abc import Callable
from math import prod

from lepton.graph import AveragePool2D, MaxPool2D, Mean, Reduce, Softmax
from lepton.graph.builder import Value

from .layers import wait
from .node import Converter, OnnxNode, source_of
from .operands import from_image, image, with_shape
from .values import BYTES, UINT8, Tabulated
from .windows import Window, window

# From this opset on ONNX Runtime's AveragePool adds pixel after pixel (onnxruntime/core/providers/cpu/nn/pool.cc,
# AveragePoolV19); before, MlasPool adds rows first.
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


def _pool_window(node: OnnxNode, x: Value) -> Window:
    if len(node.proto.output) > 1 and node.proto.output[1]:
        raise node.error("only the values are supported as a result, not their indices")
    kernel = node.given.get("kernel_shape")
    if not kernel:
        raise node.error("kernel_shape must be given")
    w = window(node, kernel, x.shape[2:])
    for extent, before_after in zip(w.kernel, w.padding, strict=True):
        if max(before_after) >= extent:
            raise node.error(f"padding {w.padding} must be less than the kernel {w.kernel}, or windows would be empty")
    return w


def max_pool(node: OnnxNode) -> None:
    def emit(x: Value) -> Value:
        w = _pool_window(node, x)
        op = MaxPool2D(w.kernel, w.stride, w.padding, dilation=w.dilation)
        return from_image(node.emit(op, image(x), q=x.quantization), x.rank)

    _picking(node, emit)


def _average(node: OnnxNode, x: Value, unsigned: bool = False) -> AveragePool2D:
    w = _pool_window(node, x)
    if w.dilation != (1, 1):
        raise node.error(f"averages with dilations {w.dilation} are not supported")
    return AveragePool2D(w.kernel, w.stride, w.padding, count_padding=node.flag("count_include_pad"),
                         unsigned=unsigned, in_order=node.state.opset >= _SUMS_IN_ORDER)


def average_pool(node: OnnxNode) -> None:
    x = node.host()
    op = _average(node, x)
    node.set_host(from_image(node.emit(op, image(x)), x.rank))


def qlinear_average_pool(node: OnnxNode) -> None:
    """com.microsoft QLinearAveragePool."""
    # onnxruntime/contrib_ops/cpu/quantization/qlinear_pool.cc
    dtype = node.value().dtype
    _channels_first(node)
    x = node.codes_as_stated()
    op = _average(node, x, dtype == UINT8)
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
    """`kind` is that of the graph's `Reduce`."""
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
