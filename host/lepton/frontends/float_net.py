"""A float network reduced to what the chip computes: convolutions, sums, pooling, with the rest folded in.

The PyTorch front end lowers a module to this; the quantizer runs it to collect ranges and then replaces
each node by its int8 operator. Values are (N, C, H, W) or (N, features), as in PyTorch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from lepton.graph import GraphError

Clamp = tuple[float | None, float | None]
NO_PADDING = ((0, 0), (0, 0))


@dataclass(eq=False)
class FloatNode:
    """One operation: kind is input, conv, linear, add, max_pool, average_pool, mean, flatten, softmax, or one
    that `fold` removes: batch_norm (weight is the factor, bias the summand), clip, pad.
    """

    kind: str
    name: str
    inputs: list["FloatNode"]
    shape: tuple[int, ...]  # with a batch of 1
    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = NO_PADDING
    groups: int = 1
    clamp: Clamp = (None, None)

    def run(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The node's value for a batch."""
        y = _RUN[self.kind](self, *inputs)
        return y if self.clamp == (None, None) else torch.clamp(y, *self.clamp)


Observe = Callable[[FloatNode, torch.Tensor], None]


@dataclass(eq=False)
class FloatNet:
    """Nodes in execution order; the first one is the input."""

    name: str
    nodes: list[FloatNode]
    outputs: list[FloatNode]

    def run(self, x: torch.Tensor, observe: Observe | None = None) -> list[torch.Tensor]:
        """The outputs for a batch; `observe` sees every node's value, clamped where an activation was folded in."""
        last_use = {source: index for index, node in enumerate(self.nodes) for source in node.inputs}
        values: dict[FloatNode, torch.Tensor] = {}
        with torch.no_grad():
            for index, node in enumerate(self.nodes):
                values[node] = x if node.kind == "input" else node.run(*(values[source] for source in node.inputs))
                if observe is not None:
                    observe(node, values[node])
                for source in set(node.inputs):  # batches of activations are large: drop what is no longer needed
                    if last_use[source] == index and source not in self.outputs:
                        del values[source]
        return [values[node] for node in self.outputs]


def _pad(node: FloatNode, x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    (top, bottom), (left, right) = node.padding
    return F.pad(x, (left, right, top, bottom), value=value) if node.padding != NO_PADDING else x


def _average(node: FloatNode, x: torch.Tensor) -> torch.Tensor:
    y = F.avg_pool2d(_pad(node, x), node.kernel, node.stride)
    if node.padding == NO_PADDING:
        return y
    return y / F.avg_pool2d(_pad(node, torch.ones_like(x[:1, :1])), node.kernel, node.stride)


_RUN = {
    "conv": lambda n, x: F.conv2d(_pad(n, x), n.weight, n.bias, n.stride, 0, n.dilation, n.groups),
    "linear": lambda n, x: F.linear(x, n.weight, n.bias),
    "add": lambda n, a, b: a + b,
    "max_pool": lambda n, x: F.max_pool2d(_pad(n, x, -torch.inf), n.kernel, n.stride),
    "average_pool": _average,
    "mean": lambda n, x: x.mean((2, 3)).reshape(len(x), *n.shape[1:]),
    "flatten": lambda n, x: x.reshape(len(x), *n.shape[1:]),
    "softmax": lambda n, x: F.softmax(x, -1),
}

_CLAMPED = {"conv", "linear", "add", "max_pool", "average_pool"}


def fold(net: FloatNet) -> FloatNet:
    """Folds batch normalization, padding and activations into the operations they belong to, in place.

    What cannot be folded becomes a layer of its own: a batch normalization a 1 x 1 depthwise convolution, an
    activation a 1 x 1 maximum. Raises GraphError where there is no such layer.
    """
    _prune(net)
    for node in list(net.nodes):
        if node.kind == "pad":
            _fold_pad(net, node)
    for node in list(net.nodes):
        if node.kind == "batch_norm":
            _fold_batch_norm(net, node)
    for node in list(net.nodes):
        if node.kind == "clip":
            _fold_clip(net, node)
    return net


def _prune(net: FloatNet):
    """Drops what no output needs; the input stays."""
    needed = set(net.outputs)
    for node in reversed(net.nodes):
        if node in needed:
            needed.update(node.inputs)
    net.nodes = [node for node in net.nodes if node in needed or node.kind == "input"]


def _consumers(net: FloatNet, node: FloatNode) -> list[FloatNode]:
    return [n for n in net.nodes if node in n.inputs]


def _only_for(net: FloatNet, source: FloatNode, node: FloatNode) -> bool:
    return source not in net.outputs and _consumers(net, source) == [node]


def _bypass(net: FloatNet, node: FloatNode):
    """Removes a node: whoever read it reads its input."""
    source = node.inputs[0]
    net.nodes.remove(node)
    for consumer in net.nodes:
        consumer.inputs = [source if n is node else n for n in consumer.inputs]
    net.outputs = [source if n is node else n for n in net.outputs]


def _fold_pad(net: FloatNet, node: FloatNode):
    consumers = _consumers(net, node)
    if node in net.outputs or any(n.kind not in ("conv", "pad") for n in consumers):
        raise GraphError(f"{node.name}: zero padding is supported only before a convolution, not before "
                         f"{', '.join(n.kind for n in consumers) or 'the output'}")
    for consumer in consumers:
        consumer.padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(consumer.padding, node.padding, strict=True))
    _bypass(net, node)


def _fold_batch_norm(net: FloatNet, node: FloatNode):
    source, factor, summand = node.inputs[0], node.weight, node.bias
    if source.kind in ("conv", "linear") and source.clamp == (None, None) and _only_for(net, source, node):
        shape = (-1, *[1] * (source.weight.ndim - 1))
        source.weight = source.weight * factor.reshape(shape)
        source.bias = summand if source.bias is None else source.bias * factor + summand
        _bypass(net, node)
    elif len(node.shape) == 4:
        node.kind, node.weight, node.groups = "conv", factor.reshape(-1, 1, 1, 1), node.shape[1]
    else:
        raise GraphError(f"{node.name}: a batch normalization must follow a convolution or a linear layer, or work on "
                         f"images, not on {source.name} of shape {node.shape}")


def _fold_clip(net: FloatNet, node: FloatNode):
    source = node.inputs[0]
    if source.kind in _CLAMPED and _only_for(net, source, node):
        source.clamp = _compose(source.clamp, node.clamp)
        _bypass(net, node)
    elif len(node.shape) == 4:
        node.kind = "max_pool"
    else:
        raise GraphError(f"{node.name}: an activation on features must be the only use of a linear layer or an "
                         f"addition, not of {source.name} ({source.kind})")


def _compose(first: Clamp, then: Clamp) -> Clamp:
    """clamp(clamp(x, *first), *then) as one clamp."""
    def clipped(bound: float | None, other: float | None) -> float | None:
        if bound is None:
            return other
        low, high = then
        bound = bound if low is None else max(bound, low)
        return bound if high is None else min(bound, high)

    return clipped(first[0], then[0]), clipped(first[1], then[1])
