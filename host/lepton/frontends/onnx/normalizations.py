"""Normalizations and norms, in float on the host."""

import numpy as np

from lepton.graph import ArgMax, Function, OneHot, Reduce
from lepton.graph.builder import Value
from lepton.graph.composites import scaled
from lepton.graph.ops import LocalResponse

from .elementwise import function, function_named
from .node import Converter, OnnxNode
from .pools import along_axis

_EPSILON = 1e-5  # the default of ONNX's operator specification (BatchNormalization-15)
_GROUPS_BY_CHANNEL = 21  # the opset since which a GroupNormalization scales channels, not groups


def _float_input(node: OnnxNode, least_rank: int) -> Value:
    x = node.host()
    if x.dtype != np.float32 or x.rank < least_rank:
        raise node.error(f"the input must be float32 of at least {least_rank} dimensions, not {x.dtype} of shape "
                         f"{tuple(x.shape)}")
    node.only_first_output()
    return x


def _parameter(node: OnnxNode, position: int, what: str, channels: int) -> np.ndarray:
    """A float32 constant for each channel, or one for all."""
    value = node.constant(position, what)
    if value.dtype != np.float32 or value.shape not in ((), (1,), (channels,)):
        raise node.error(f"{what} must be float32 and fit {(channels,)}, not {value.dtype} of shape {value.shape}")
    return value


def batch_norm(node: OnnxNode) -> None:
    """One factor and one addend for each channel, computed at import in ONNX Runtime's order."""
    x = _float_input(node, 2)
    if node.flag("training_mode") or not node.flag("spatial", 1):
        raise node.error("only inference with statistics for each channel is supported")
    scale = _parameter(node, 1, "the scale", x.shape[1])
    bias = _parameter(node, 2, "the bias", x.shape[1])
    mean = _parameter(node, 3, "the mean", x.shape[1])
    variance = _parameter(node, 4, "the variance", x.shape[1])
    # onnxruntime/core/providers/cpu/nn/batch_norm.h: new_scale and new_bias
    with np.errstate(all="ignore"):
        factor = np.float32(1) / np.sqrt(variance + np.float32(node.given.get("epsilon", _EPSILON))) * scale
        shift = bias - mean * factor
    if not np.all(np.isfinite(factor) & np.isfinite(shift)):
        raise node.error("the statistics make factors that are not finite")
    along = (-1, *[1] * (x.rank - 2))
    node.set_host(scaled(x, factor.reshape(along), shift.reshape(along)))


def normalization(node: OnnxNode) -> None:
    """Layer, instance and root-mean-square normalizations, and ONNX Runtime's with a shortcut."""
    node.set_host(function(node))


def rms_normalization(node: OnnxNode) -> None:
    """RMSNormalization, computed as ONNX Runtime's SimplifiedLayerNormalization."""
    node.set_host(function_named(node, "SimplifiedLayerNormalization"))


def group_normalization(node: OnnxNode) -> None:
    if node.state.opset < _GROUPS_BY_CHANNEL:
        raise node.error(f"supported from opset {_GROUPS_BY_CHANNEL}, where scales are those of channels")
    node.set_host(function(node))


def local_response(node: OnnxNode) -> None:
    """LRN. ONNX Runtime takes images only, and an odd number of channels."""
    x = _float_input(node, 1)
    size = node.given.get("size", 0)
    if x.rank != 4 or size < 1 or size % 2 == 0:
        raise node.error("size must be odd and above 0, and the input (batch, channels, height, width), not "
                         f"{size} and {tuple(x.shape)}")
    # The defaults of ONNX's operator specification (LRN-13).
    alpha = float(node.given.get("alpha", 1e-4))
    beta = float(node.given.get("beta", 0.75))
    bias = float(node.given.get("bias", 1.0))
    node.set_host(node.emit(LocalResponse(size, alpha, beta, bias, axis=1, mean=True), x))


def log_softmax(node: OnnxNode) -> None:
    def emit(x: Value, axis: int) -> Value:
        return x.apply(Function("LogSoftmax", (("axis", axis),)))  # one of opset 13, whatever the network's is

    node.set_host(along_axis(node, _float_input(node, 1), node.state.opset, emit))


def hardmax(node: OnnxNode) -> None:
    """Hardmax: 1 at the first of the largest elements along an axis, 0 elsewhere."""
    def emit(x: Value, axis: int) -> Value:
        one = x.builder.constant(np.float32(1))
        zero = x.builder.constant(np.float32(0))
        return x.apply(ArgMax(axis, keep_dims=False)).apply(OneHot(x.shape[axis], axis), one, zero)

    node.set_host(along_axis(node, _float_input(node, 1), node.state.opset, emit))


def norm(kind: str) -> Converter:
    """ReduceL1, ReduceL2, ReduceLogSum and others; `kind` as in the graph's `Reduce`."""
    def convert(node: OnnxNode) -> None:
        x = _float_input(node, 0)
        stated = node.axes()
        if stated is None and node.flag("noop_with_empty_axes"):
            axes: set[int] = set()
        else:
            axes = {node.axis(axis, x.rank) for axis in stated or range(x.rank)}
        node.set_host(x.apply(Reduce(kind, tuple(sorted(axes)), node.flag("keepdims", 1))))
    return convert
