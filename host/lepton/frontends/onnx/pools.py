"""Pools, reductions and softmax."""

import numpy as np
import onnx

from lepton.graph import AveragePool2D, GraphError, MaxPool2D, Mean, Quantization, Reduce, Softmax

from .importer import Importer, attributes, checked_axis, stated_axes
from .layers import is_real, pending
from .operands import codes_as_stated, from_image, image
from .values import BYTES, Computed
from .windows import Window, window

REDUCTIONS = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod"}


def rising(value: Computed) -> bool:
    """Does the value rise with its int8 tensor, so that the largest element of one is the largest of the other?"""
    return value.table is not None and bool(np.all(value.table[1:] >= value.table[:-1]))


def _apply(importer: Importer, node: onnx.NodeProto, emit, orderly: bool):
    """Lets `emit` work on the int8 tensor of a value where the operator only picks elements, else on the value."""
    name, value = node.output[0], importer.computed(node.input[0])
    if orderly and value.dtype in BYTES:
        importer.codes(node.input[0])
        value = importer.computed(node.input[0])
    if orderly and rising(value):
        result = emit(value.tensor)
        importer.values[name] = Computed(result, importer.graph.tensors[result].shape, value.dtype, value.table)
    else:
        importer.set_host(name, emit(importer.host(node.input[0])))


def _pooled(importer: Importer, node: onnx.NodeProto, given: dict, x: str) -> tuple[Window, str]:
    if len(node.output) > 1 and node.output[1]:
        raise GraphError(f"{importer.where}: only the values are supported as a result, not their indices")
    if not given.get("kernel_shape"):
        raise GraphError(f"{importer.where} has no kernel_shape")
    w = window(importer, given, tuple(given["kernel_shape"]), importer.graph.tensors[x].shape[2:])
    for kernel, before_after in zip(w.kernel, w.padding, strict=True):
        if max(before_after) >= kernel:
            raise GraphError(f"{importer.where}: padding {w.padding} must be less than the kernel {w.kernel}, or "
                             "windows would be empty")
    return w, image(importer, x)


def _emit_pool(importer: Importer, node: onnx.NodeProto, op, x: str, w: Window, nhwc: str, q: Quantization | None
               ) -> str:
    y = importer.emit(op, [nhwc], node.output[0], q)
    return from_image(importer, y, len(importer.graph.tensors[x].shape))


def max_pool(importer: Importer, node: onnx.NodeProto):
    def emit(x: str) -> str:
        w, nhwc = _pooled(importer, node, attributes(node), x)
        op = MaxPool2D(w.kernel, w.stride, w.padding, dilation=w.dilation)
        return _emit_pool(importer, node, op, x, w, nhwc, importer.graph.tensors[x].quantization)

    _apply(importer, node, emit, orderly=True)


def average_pool(importer: Importer, node: onnx.NodeProto):
    given, name, dtype = attributes(node), node.output[0], importer.value(node.input[0]).dtype
    quantized = node.op_type == "QLinearAveragePool"
    if quantized and given.get("channels_last", 0):
        raise GraphError(f"{importer.where}: channels_last is not supported")
    x = codes_as_stated(importer, node) if quantized else importer.host(node.input[0])
    w, nhwc = _pooled(importer, node, given, x)
    if w.dilation != (1, 1):
        raise GraphError(f"{importer.where}: averages with dilations {w.dilation} are not supported")
    op = AveragePool2D(w.kernel, w.stride, w.padding, count_padding=bool(given.get("count_include_pad", 0)),
                       unsigned=quantized and dtype == np.uint8, in_order=importer.opset >= 19)
    y = _emit_pool(importer, node, op, x, w, nhwc, importer.quantities[name] if quantized else None)
    if quantized:
        importer.set_codes(name, y, dtype)
    else:
        importer.set_host(name, y)


def global_average(importer: Importer, node: onnx.NodeProto):
    name, dtype = node.output[0], importer.value(node.input[0]).dtype
    shape = importer.settled(node.input[0]).shape
    if len(shape) < 3:
        raise GraphError(f"{importer.where}: the input must be (batch, channels, height, width), not {shape}")
    if node.op_type == "GlobalAveragePool" and len(shape) > 4:
        _reduce(importer, node, "mean", tuple(range(2, len(shape))), True)
        return
    if node.op_type == "GlobalAveragePool":
        x = image(importer, importer.host(node.input[0]))
        y = importer.emit(Mean(), [x], name)
        importer.set_host(name, from_image(importer, y, len(shape)))
        return
    if attributes(node).get("channels_last", 0):
        raise GraphError(f"{importer.where}: channels_last is not supported")
    x = image(importer, codes_as_stated(importer, node))
    y = importer.emit(Mean(), [x], name, importer.quantities[name])
    importer.set_codes(name, from_image(importer, y, len(shape)), dtype)


def global_max(importer: Importer, node: onnx.NodeProto):
    _reduce(importer, node, "max", tuple(range(2, len(importer.settled(node.input[0]).shape))), True)


def reduce(importer: Importer, node: onnx.NodeProto):
    given, value = attributes(node), importer.settled(node.input[0])
    rank, axes = len(value.shape), stated_axes(importer, node)
    if axes is None and given.get("noop_with_empty_axes", 0):
        importer.values[node.output[0]] = value
        return
    axes = tuple(sorted(checked_axis(importer, axis, rank) for axis in (range(rank) if axes is None else axes)))
    if len(set(axes)) != len(axes):
        raise GraphError(f"{importer.where}: axes {axes} name a dimension twice")
    kind, keep = REDUCTIONS[node.op_type], bool(given.get("keepdims", 1))
    if kind == "mean" and axes == (2, 3) and rank == 4 and isinstance(value, Computed) and is_real(value):
        pending(importer, node)
        return
    _reduce(importer, node, kind, axes, keep)


def _reduce(importer: Importer, node: onnx.NodeProto, kind: str, axes: tuple[int, ...], keep: bool):
    def emit(x: str) -> str:
        return importer.emit(Reduce(kind, axes, keep), [x], node.output[0], importer.graph.tensors[x].quantization)

    value = importer.computed(node.input[0])
    if kind in ("max", "min") or value.dtype not in BYTES:
        _apply(importer, node, emit, orderly=kind in ("max", "min"))
    else:
        raise GraphError(f"{importer.where}: a {kind} of 8-bit integers is not supported")


def softmax(importer: Importer, node: onnx.NodeProto):
    given, name = attributes(node), node.output[0]
    value = importer.computed(node.input[0])
    quantized = node.op_type == "QLinearSoftmax"
    opset = given.get("opset", importer.opset) if quantized else importer.opset
    axis = checked_axis(importer, given.get("axis", 1 if opset < 13 else -1), len(value.shape))
    dtype = value.dtype
    x = codes_as_stated(importer, node) if quantized else importer.host(node.input[0])
    t = importer.graph.tensors[x]
    shape = t.shape
    if opset < 13:  # over all dimensions from `axis` on
        x = importer.reshape(x, (int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))))
        axis = 1
    y = importer.emit(Softmax(axis=axis), [x], name, importer.quantities[name] if quantized else None)
    y = importer.reshape(y, shape)
    if quantized:
        importer.set_codes(name, y, dtype)
    else:
        importer.set_host(name, y)


CONVERTERS = {
    "MaxPool": max_pool, "AveragePool": average_pool, "QLinearAveragePool": average_pool,
    "GlobalAveragePool": global_average, "QLinearGlobalAveragePool": global_average, "GlobalMaxPool": global_max,
    **dict.fromkeys(REDUCTIONS, reduce), "Softmax": softmax, "QLinearSoftmax": softmax,
}
