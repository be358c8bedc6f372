"""From a float network and the ranges of its values to an int8 graph with TFLite's semantics.

Scales follow TFLite's int8 quantization specification: bias scale = input scale * weight scale, pooling and
reshaping keep their input's quantization, softmax has 1/256.
"""

import numpy as np

from lepton.graph import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    GraphError,
    MaxPool2D,
    Mean,
    Node,
    Op,
    Quantization,
    Reshape,
    Softmax,
    Tensor,
)

from .float_net import FloatNet, FloatNode
from .geometry import clamp_range
from .ranges import affine

KEEPS_QUANTIZATION = {"max_pool", "average_pool", "flatten"}
LARGEST_WEIGHT = 127
# A bias larger than this would leave no room for the products in the int32 accumulator.
LARGEST_BIAS = 2**30


def build_graph(net: FloatNet, ranges: dict[FloatNode, tuple[float, float]]) -> Graph:
    """The int8 graph of `net`; `ranges` gives every node's (low, high). Raises GraphError for what has no int8 form."""
    builder = _Builder(net, ranges)
    for node in net.nodes:
        builder.add(node)
    builder.graph.outputs = [node.name for node in net.outputs]
    for node in net.outputs:
        builder.channels_last(node, "an output of the network")
    return builder.graph


class _Builder:
    def __init__(self, net: FloatNet, ranges: dict):
        self.ranges = ranges
        self.graph = Graph(net.name)
        self.quantizations: dict[FloatNode, Quantization] = {}
        self.flattened: dict[FloatNode, tuple[int, int, int]] = {}  # (C, H, W) before a flatten that mixed them

    def add(self, node: FloatNode):
        self.quantizations[node] = self.quantization(node)
        shape = node.shape if len(node.shape) == 2 else (1, *node.shape[2:], node.shape[1])
        self.graph.tensors[node.name] = Tensor(node.name, shape, np.dtype(np.int8), self.quantizations[node])
        if node.kind == "input":
            self.graph.inputs.append(node.name)
            return
        if node.kind not in ("linear", "flatten"):
            for source in node.inputs:
                self.channels_last(source, f"an input of {node.name}")
        op, constants = _OPERATORS[node.kind](self, node)
        self.graph.nodes.append(Node(op, [n.name for n in node.inputs] + constants, [node.name], node.name))

    def quantization(self, node: FloatNode) -> Quantization:
        if node.kind in KEEPS_QUANTIZATION:
            return self.quantizations[node.inputs[0]]
        scale, zero_point = (1 / 256, -128) if node.kind == "softmax" else affine(*self.ranges[node])
        return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int32))

    def clamp(self, node: FloatNode) -> tuple[int, int]:
        q = self.quantizations[node]
        return clamp_range(node.clamp, q.scale[0], int(q.zero_point[0]))

    def channels_last(self, node: FloatNode, what: str):
        if node in self.flattened:
            raise GraphError(f"{node.name}: {what} would be in another order than in PyTorch: a flattened image "
                             f"{self.flattened[node]} may only feed linear layers")

    # Weights

    def constants(self, node: FloatNode, weight: np.ndarray, axis: int, per_channel: bool) -> list[str]:
        """Names of the int8 weights (output channels along `axis`) and the int32 bias."""
        channels = weight.shape[axis]
        bias = np.zeros(channels) if node.bias is None else node.bias.double().numpy()
        if not (np.all(np.isfinite(weight)) and np.all(np.isfinite(bias))):
            raise GraphError(f"{node.name}: weights and biases must be finite")
        input_scale = self.quantizations[node.inputs[0]].scale
        others = tuple(i for i in range(weight.ndim) if i != axis)
        largest = np.abs(weight).max(others) / LARGEST_WEIGHT
        typical = largest.max() or 1.0
        # A channel without weights may have any scale; one with a huge bias needs a larger one than its weights.
        least = np.abs(bias) / (float(input_scale[0]) * LARGEST_BIAS)
        scale = np.maximum(np.where(largest > 0, largest, typical), least)
        scale = (scale if per_channel else scale.max(keepdims=True)).astype(np.float32)
        scale = np.maximum(scale, np.finfo(np.float32).tiny)
        shape = [1] * weight.ndim
        shape[axis] = -1
        quantized = np.clip(np.round(weight / scale.astype(np.float64).reshape(shape)), -LARGEST_WEIGHT, LARGEST_WEIGHT)
        bias_scale = input_scale * scale
        limit = np.iinfo(np.int32)
        bias = np.clip(np.round(bias / bias_scale.astype(np.float64)), limit.min, limit.max)
        axes = (axis, 0) if scale.size > 1 else (None, None)
        return [self.constant(f"{node.name}.weight", quantized.astype(np.int8), scale, axes[0]),
                self.constant(f"{node.name}.bias", bias.astype(np.int32), bias_scale, axes[1])]

    def constant(self, name: str, data: np.ndarray, scale: np.ndarray, axis: int | None) -> str:
        data.flags.writeable = False
        q = Quantization(scale, np.zeros(scale.shape, np.int32), axis)
        self.graph.tensors[name] = Tensor(name, data.shape, data.dtype, q, data)
        return name

    # Operators

    def conv(self, node: FloatNode) -> tuple[Op, list[str]]:
        weight = node.weight.double().numpy()  # (O, C / groups, Kh, Kw)
        fields = {"stride": node.stride, "dilation": node.dilation, "padding": node.padding, "clamp": self.clamp(node)}
        channels = node.inputs[0].shape[1]
        if node.groups == channels > 1:
            weight = np.ascontiguousarray(weight.transpose(1, 2, 3, 0))
            return (DepthwiseConv2D(**fields, multiplier=weight.shape[3] // channels),
                    self.constants(node, weight, 3, per_channel=True))
        weight = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
        return Conv2D(**fields, groups=node.groups), self.constants(node, weight, 0, per_channel=True)

    def linear(self, node: FloatNode) -> tuple[Op, list[str]]:
        weight = node.weight.double().numpy()
        if node.inputs[0] in self.flattened:
            outputs = len(weight)
            weight = weight.reshape(outputs, *self.flattened[node.inputs[0]]).transpose(0, 2, 3, 1).reshape(outputs, -1)
        return FullyConnected(self.clamp(node)), self.constants(node, weight, 0, per_channel=False)

    def add_values(self, node: FloatNode) -> tuple[Op, list[str]]:
        return Add(self.clamp(node)), []

    def pool(self, node: FloatNode) -> tuple[Op, list[str]]:
        kind = MaxPool2D if node.kind == "max_pool" else AveragePool2D
        return kind(node.kernel, node.stride, node.padding, self.clamp(node)), []

    def mean(self, node: FloatNode) -> tuple[Op, list[str]]:
        return Mean(), []

    def flatten(self, node: FloatNode) -> tuple[Op, list[str]]:
        source = node.inputs[0]
        if source in self.flattened:
            self.flattened[node] = self.flattened[source]
        elif len(source.shape) == 4 and source.shape[2:] != (1, 1):
            self.flattened[node] = source.shape[1:]
        return Reshape(), []

    def softmax(self, node: FloatNode) -> tuple[Op, list[str]]:
        return Softmax(), []


_OPERATORS = {
    "conv": _Builder.conv, "linear": _Builder.linear, "add": _Builder.add_values, "max_pool": _Builder.pool,
    "average_pool": _Builder.pool, "mean": _Builder.mean, "flatten": _Builder.flatten, "softmax": _Builder.softmax}
