"""Small graphs for the tests of the front ends, a comparison of graphs, and LiteRT's reference kernels."""

import numpy as np
import pytest
from lepton.graph import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mean,
    Node,
    Quantization,
    Reshape,
    Softmax,
    Tensor,
)


def quantization(scale, zero_point=0, axis=None) -> Quantization:
    scale = np.atleast_1d(np.asarray(scale, np.float32))
    return Quantization(scale, np.full(scale.shape, zero_point, np.int32), axis)


class Builder:
    """Adds operators to a graph; returns the names of their outputs."""

    def __init__(self, shape=(1, 9, 8, 3), seed=1, name="small"):
        self.graph = Graph(name, inputs=["image"])
        self.random = np.random.default_rng(seed)
        self.activation("image", shape, 0.02, -3)

    def activation(self, name, shape, scale=0.05, zero_point=-5):
        self.graph.tensors[name] = Tensor(name, tuple(shape), np.dtype(np.int8), quantization(scale, zero_point))
        return name

    def constant(self, name, data, q):
        self.graph.tensors[name] = Tensor(name, data.shape, data.dtype, q, data)
        return name

    def weights(self, x, name, shape, axis, bias=True, per_channel=True):
        """The operator's inputs: activation `x` and new constants; output channels are along `axis` of `shape`."""
        channels = shape[axis]
        x_scale = self.graph.tensors[x].quantization.scale[0]
        scale = self.random.uniform(0.002, 0.02, channels) if per_channel else 0.01
        weights = self.random.integers(-127, 128, shape, dtype=np.int8)
        axes = (axis, 0) if per_channel else (None, None)
        names = [x, self.constant(f"{name}.weight", weights, quantization(scale, axis=axes[0]))]
        if not bias:
            return [*names, ""]
        values = self.random.integers(-500, 500, channels, dtype=np.int32)
        bias_scale = np.float32(scale) * x_scale
        return [*names, self.constant(f"{name}.bias", values, quantization(bias_scale, axis=axes[1]))]

    def node(self, name, op, inputs, shape, scale=0.05, zero_point=-5):
        self.activation(name, shape, scale, zero_point)
        self.graph.nodes.append(Node(op, list(inputs), [name], name))
        return name

    def done(self, *outputs) -> Graph:
        self.graph.outputs = list(outputs) or self.graph.nodes[-1].outputs
        return self.graph


def every_operator() -> Graph:
    """One node or more of each operator: SAME, VALID and neither, strides, dilation, groups, per tensor, no bias."""
    b = Builder()
    b.node("same", Conv2D(padding=((1, 1), (1, 1)), clamp=(-5, 127)), b.weights("image", "same", (8, 3, 3, 3), 0),
           (1, 9, 8, 8))
    b.node("depthwise", DepthwiseConv2D(stride=(2, 2), padding=((1, 1), (0, 1)), multiplier=2),
           b.weights("same", "depthwise", (1, 3, 3, 16), 3), (1, 5, 4, 16))
    b.node("odd", Conv2D(stride=(2, 2), padding=((2, 0), (1, 1))),
           b.weights("same", "odd", (16, 3, 3, 8), 0, per_channel=False), (1, 5, 4, 16))
    b.node("add", Add(clamp=(-5, 115)), ["depthwise", "odd"], (1, 5, 4, 16))
    b.node("dilated", Conv2D(dilation=(2, 1), groups=2), b.weights("add", "dilated", (6, 2, 2, 8), 0), (1, 3, 3, 6),
           0.5, 3)
    b.node("max", MaxPool2D((2, 2), (1, 1), ((0, 1), (0, 1))), ["dilated"], (1, 3, 3, 6), 0.5, 3)
    b.node("average", AveragePool2D((2, 3), (1, 1)), ["max"], (1, 2, 1, 6), 0.5, 3)
    b.node("flat", Reshape((1, 12)), ["average"], (1, 12), 0.5, 3)
    b.node("dense", FullyConnected(keep_dims=False),
           b.weights("flat", "dense", (6, 12), 0, bias=False, per_channel=False), (1, 6), 1.0, -12)
    b.node("probabilities", Softmax(beta=0.015625), ["dense"], (1, 6), 1 / 256, -128)
    b.node("mean", Mean(keep_dims=False), ["dilated"], (1, 6), 0.3, -7)
    b.node("mean_kept", Mean(), ["add"], (1, 1, 1, 16), 0.04, 2)
    return b.done("probabilities", "mean", "mean_kept")


def difference(a: Graph, b: Graph) -> str:
    """What differs between two graphs; empty when nothing does."""
    for what in ("name", "inputs", "outputs"):
        if getattr(a, what) != getattr(b, what):
            return f"{what}: {getattr(a, what)} and {getattr(b, what)}"
    if (nodes := [[(n.op, n.inputs, n.outputs, n.name) for n in g.nodes] for g in (a, b)]) and nodes[0] != nodes[1]:
        return "nodes: " + str(next((x, y) for x, y in zip(*nodes, strict=False) if x != y))
    if set(a.tensors) != set(b.tensors):
        return f"tensors: {set(a.tensors) ^ set(b.tensors)}"
    for name, x in a.tensors.items():
        y = b.tensors[name]
        if (x.name, x.shape, x.dtype) != (y.name, y.shape, y.dtype):
            return f"tensor {name}"
        if (x.data is None) != (y.data is None) or (x.data is not None and not np.array_equal(x.data, y.data)):
            return f"data of {name}"
        p = x.quantization
        q = y.quantization
        if (p is None) != (q is None) or (p is not None and not (
                np.array_equal(p.scale, q.scale) and np.array_equal(p.zero_point, q.zero_point) and p.axis == q.axis)):
            return f"quantization of {name}: {p} and {q}"
    return ""


def run_litert(model: bytes, images: np.ndarray) -> list[np.ndarray]:
    """Outputs of LiteRT's reference kernels, one array (N, ...) per output; images int8 (N, H, W, C)."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_content=model,
                                     experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    outputs = [[] for _ in interpreter.get_output_details()]
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        for values, details in zip(outputs, interpreter.get_output_details(), strict=True):
            values.append(interpreter.get_tensor(details["index"])[0])
    return [np.stack(values) for values in outputs]
