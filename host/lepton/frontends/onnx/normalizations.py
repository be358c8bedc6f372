"""Normalizations and what they are made of, in float on the host.

A BatchNormalization is ONNX Runtime's to the last bit. The others sum floats in an order of their own, so that they
are its results but for the rounding of float32.
"""

import numpy as np
import onnx

from lepton.graph import Add, Div, GraphError, Mul, Reduce, Sub, Unary

from .elementwise import apply, number
from .importer import Importer, attributes, checked_axis, stated_axes

_EPSILON = 1e-5


def _float_input(importer: Importer, node: onnx.NodeProto, least_rank: int) -> str:
    x = importer.host(node.input[0])
    t = importer.graph.tensors[x]
    if t.dtype != np.float32 or len(t.shape) < least_rank:
        raise GraphError(f"{importer.where}: the input must be float32 of at least {least_rank} dimensions, not "
                         f"{t.dtype} of shape {t.shape}")
    if any(importer.readers[name] for name in node.output[1:]):
        raise GraphError(f"{importer.where}: only first outputs are supported, not the statistics beside them")
    return x


def _parameter(importer: Importer, node: onnx.NodeProto, position: int, what: str, shape: tuple[int, ...]
               ) -> np.ndarray | None:
    """A float32 constant that broadcasts to `shape`."""
    value = importer.constant(node, position, what)
    if value is None:
        return None
    try:
        fits = value.dtype == np.float32 and np.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise GraphError(f"{importer.where}: {what} must be float32 and fit {shape}, not {value.dtype} of shape "
                         f"{value.shape}")
    return value


def _over_channels(values: np.ndarray, rank: int) -> np.ndarray:
    return values.reshape(-1, *[1] * (rank - 2))


def _scaled(importer: Importer, x: str, factor: np.ndarray | None, shift: np.ndarray | None) -> str:
    for op, values in ((Mul(), factor), (Add(), shift)):
        if values is not None:
            x = apply(importer, op, x, importer.constant_tensor(f"{importer.label}.parameter", values))
    return x


def batch_norm(importer: Importer, node: onnx.NodeProto):
    given, x = attributes(node), _float_input(importer, node, 2)
    shape = importer.graph.tensors[x].shape
    if given.get("training_mode", 0) or not given.get("spatial", 1):
        raise GraphError(f"{importer.where}: only inference with statistics for each channel is supported")
    scale, bias, mean, variance = (_parameter(importer, node, i, what, (shape[1],)) for i, what in enumerate(
        ("the scale", "the bias", "the mean", "the variance"), 1))
    with np.errstate(all="ignore"):
        factor = np.float32(1) / np.sqrt(variance + np.float32(given.get("epsilon", _EPSILON))) * scale
        shift = bias - mean * factor
    if not np.all(np.isfinite(factor) & np.isfinite(shift)):
        raise GraphError(f"{importer.where}: the statistics make factors that are not finite")
    importer.set_host(node.output[0], _scaled(importer, x, _over_channels(factor, len(shape)),
                                              _over_channels(shift, len(shape))))


def _reduced(importer: Importer, kind: str, x: str, axes: tuple[int, ...], keep: bool = True) -> str:
    shape = importer.graph.tensors[x].shape
    made = tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)
    return importer.emit(Reduce(kind, axes, keep), [x], importer.label, made, np.float32)


def _centred(importer: Importer, x: str, axes: tuple[int, ...], epsilon: float) -> str:
    """(x - mean) / sqrt(variance + epsilon)"""
    x = apply(importer, Sub(), x, _reduced(importer, "mean", x, axes))
    return apply(importer, Div(), x, _deviation(importer, x, axes, epsilon))


def _deviation(importer: Importer, x: str, axes: tuple[int, ...], epsilon: float) -> str:
    variance = _reduced(importer, "mean", apply(importer, Mul(), x, x), axes)
    return apply(importer, Unary("sqrt"), apply(importer, Add(), variance, number(importer, epsilon, x)))


def layer_norm(importer: Importer, node: onnx.NodeProto):
    """LayerNormalization, and SimplifiedLayerNormalization (RMSNormalization), which takes no mean off."""
    given, x = attributes(node), _float_input(importer, node, 1)
    shape = importer.graph.tensors[x].shape
    axis = checked_axis(importer, given.get("axis", -1), len(shape))
    axes, epsilon = tuple(range(axis, len(shape))), given.get("epsilon", _EPSILON)
    factor, shift = (_parameter(importer, node, i, what, shape) for i, what in ((1, "the scale"), (2, "the bias")))
    if node.op_type == "LayerNormalization":
        y = _centred(importer, x, axes, epsilon)
    else:
        y = apply(importer, Div(), x, _deviation(importer, x, axes, epsilon))
    importer.set_host(node.output[0], _scaled(importer, y, factor, shift))


def skip_layer_norm(importer: Importer, node: onnx.NodeProto):
    """com.microsoft: two operands, and a bias, are added before the normalization."""
    x = _float_input(importer, node, 2)
    shape = importer.graph.tensors[x].shape
    x = apply(importer, Add(), x, importer.host(node.input[1]))
    bias = _parameter(importer, node, 4, "the bias of the sum", shape)
    x = _scaled(importer, x, None, bias)
    factor, shift = (_parameter(importer, node, i, what, shape) for i, what in ((2, "the scale"), (3, "the bias")))
    y = _centred(importer, x, (len(shape) - 1,), attributes(node).get("epsilon", _EPSILON))
    importer.set_host(node.output[0], _scaled(importer, y, factor, shift))


def instance_norm(importer: Importer, node: onnx.NodeProto):
    x = _float_input(importer, node, 3)
    shape = importer.graph.tensors[x].shape
    factor, shift = (_over_channels(_parameter(importer, node, i, what, (shape[1],)), len(shape))
                     for i, what in ((1, "the scale"), (2, "the bias")))
    y = _centred(importer, x, tuple(range(2, len(shape))), attributes(node).get("epsilon", _EPSILON))
    importer.set_host(node.output[0], _scaled(importer, y, factor, shift))


def log_softmax(importer: Importer, node: onnx.NodeProto):
    x = _float_input(importer, node, 1)
    shape = importer.graph.tensors[x].shape
    axis = checked_axis(importer, attributes(node).get("axis", 1 if importer.opset < 13 else -1), len(shape))
    axes = tuple(range(axis, len(shape))) if importer.opset < 13 else (axis,)
    shifted = apply(importer, Sub(), x, _reduced(importer, "max", x, axes))
    total = _reduced(importer, "sum", apply(importer, Unary("exp"), shifted), axes)
    importer.set_host(node.output[0], apply(importer, Sub(), shifted, apply(importer, Unary("log"), total)))


def norm(importer: Importer, node: onnx.NodeProto):
    """ReduceL1, ReduceL2 and ReduceSumSquare."""
    given, x = attributes(node), _float_input(importer, node, 1)
    rank, axes = len(importer.graph.tensors[x].shape), stated_axes(importer, node)
    if axes is None and given.get("noop_with_empty_axes", 0):
        axes = ()
    else:
        axes = tuple(sorted({checked_axis(importer, axis, rank) for axis in (axes or range(rank))}))
    powers = apply(importer, Unary("abs"), x) if node.op_type == "ReduceL1" else apply(importer, Mul(), x, x)
    y = _reduced(importer, "sum", powers, axes, bool(given.get("keepdims", 1)))
    importer.set_host(node.output[0], apply(importer, Unary("sqrt"), y) if node.op_type == "ReduceL2" else y)


CONVERTERS = {
    "BatchNormalization": batch_norm, "LayerNormalization": layer_norm, "SimplifiedLayerNormalization": layer_norm,
    "RMSNormalization": layer_norm, "SkipLayerNormalization": skip_layer_norm, "InstanceNormalization": instance_norm,
    "LogSoftmax": log_softmax, **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare"), norm),
}
