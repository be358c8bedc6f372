"""Normalizations and norms, in float on the host."""

from math import prod

import numpy as np
import onnx

from lepton.graph import Add, Function, GraphError, Mul, Reduce

from .elementwise import apply, function
from .importer import Importer, attributes, checked_axis, stated_axes

_EPSILON = 1e-5
_GROUPS_BY_CHANNEL = 21  # the opset since which a GroupNormalization scales channels, not groups


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


def normalization(importer: Importer, node: onnx.NodeProto):
    """Layer, instance, group and root-mean-square normalizations, and ONNX Runtime's with a shortcut."""
    node = onnx.NodeProto.FromString(node.SerializeToString())
    if node.op_type == "RMSNormalization":
        node.op_type = "SimplifiedLayerNormalization"
    if node.op_type == "GroupNormalization" and importer.opset < _GROUPS_BY_CHANNEL:
        raise GraphError(f"{importer.where}: supported from opset {_GROUPS_BY_CHANNEL}, where scales are those of "
                         "channels")
    importer.set_host(node.output[0], function(importer, node))


def log_softmax(importer: Importer, node: onnx.NodeProto):
    x = _float_input(importer, node, 1)
    shape = importer.graph.tensors[x].shape
    axis = checked_axis(importer, attributes(node).get("axis", 1 if importer.opset < 13 else -1), len(shape))
    if importer.opset < 13:  # over all dimensions from `axis` on
        x = importer.reshape(x, (prod(shape[:axis]), prod(shape[axis:])))
        axis = 1
    y = apply(importer, Function("LogSoftmax", (("axis", axis),)), x)
    importer.set_host(node.output[0], importer.reshape(y, shape))


REDUCTIONS = {"ReduceL1": "l1", "ReduceL2": "l2", "ReduceSumSquare": "sum_square", "ReduceLogSum": "log_sum",
              "ReduceLogSumExp": "log_sum_exp"}


def norm(importer: Importer, node: onnx.NodeProto):
    given, x = attributes(node), _float_input(importer, node, 0)
    shape, axes, keep = importer.graph.tensors[x].shape, stated_axes(importer, node), bool(given.get("keepdims", 1))
    if axes is None and given.get("noop_with_empty_axes", 0):
        axes = ()
    else:
        axes = tuple(sorted({checked_axis(importer, axis, len(shape)) for axis in (axes or range(len(shape)))}))
    importer.set_host(node.output[0], importer.emit(Reduce(REDUCTIONS[node.op_type], axes, keep), [x]))


CONVERTERS = {
    "BatchNormalization": batch_norm, "LogSoftmax": log_softmax, **dict.fromkeys(REDUCTIONS, norm),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization",
                     "SimplifiedLayerNormalization", "SkipLayerNormalization"), normalization),
}
