"""Graphs for the tests of the compiler, random ones too, and the ways to execute them."""

import lepton.device
import numpy as np
import pytest
from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.graph import (
    Add,
    Arithmetic,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mean,
    Mul,
    Node,
    Quantization,
    Reshape,
    Softmax,
    Tensor,
    interpret,
)
from lepton.runtime import Session

# Memories so small that everything is cut: stripes, columns, reductions, weights that do not fit
CRAMPED = {
    "cramped4": PRESETS["tiny"].with_(name="cramped4", scratchpad_kib=4, weight_kib=1, accumulator_rows=16),
    "cramped16": PRESETS["base"].with_(name="cramped16", scratchpad_kib=16, weight_kib=4, accumulator_rows=64),
}
CONFIGS = ["tiny", "base", *CRAMPED]


def quantization(scale, zero_point=0, axis=None) -> Quantization:
    scale = np.atleast_1d(np.asarray(scale, np.float32))
    return Quantization(scale, np.full(scale.shape, zero_point, np.int32), axis)


class Builder:
    """A graph that grows operator by operator; quantization and weights come from a seed."""

    def __init__(self, shape, seed=0, name="network"):
        self.random = np.random.default_rng(seed)
        self.graph = Graph(name, inputs=["image"])
        self._activation("image", shape)

    def _activation(self, name, shape, q=None):
        if q is None:
            q = quantization(self.random.uniform(0.01, 0.1), int(self.random.integers(-128, 128)))
        self.graph.tensors[name] = Tensor(name, tuple(int(n) for n in shape), np.dtype(np.int8), q)
        return name

    def shape(self, name):
        return self.graph.tensors[name].shape

    def node(self, op, inputs, shape, same=False):
        """Append a node; `same` gives the output the quantization of the first input."""
        name = f"t{len(self.graph.nodes)}"
        self._activation(name, shape, self.graph.tensors[inputs[0]].quantization if same else None)
        self.graph.nodes.append(Node(op, list(inputs), [name], f"n{len(self.graph.nodes)}"))
        return name

    def _constants(self, x, weights_shape, axis, bias, per_channel=True, extreme=False):
        outputs = weights_shape[axis]
        name = f"w{len(self.graph.nodes)}"
        fan_in = int(np.prod(weights_shape)) // outputs
        scale = self.random.uniform(0.5, 1.5, outputs if per_channel else 1) / (40 * np.sqrt(fan_in))
        if extreme:
            weights = np.full(weights_shape, -127, np.int8)
        else:
            weights = self.random.integers(-127, 128, weights_shape).astype(np.int8)
        self.graph.tensors[name] = Tensor(name, weights.shape, weights.dtype,
                                          quantization(scale, axis=axis if per_channel else None), weights)
        if not bias:
            return [x, name, ""]
        values = self.random.integers(-3000, 3000, outputs).astype(np.int32)
        x_scale = self.graph.tensors[x].quantization.scale[0]
        q = quantization(self.graph.tensors[name].quantization.scale * x_scale, axis=0 if per_channel else None)
        self.graph.tensors[name + "b"] = Tensor(name + "b", values.shape, values.dtype, q, values)
        return [x, name, name + "b"]

    def conv(self, x, channels, kernel=(3, 3), bias=True, extreme=False, **attributes):
        op = Conv2D(**attributes)
        shape = self.shape(x)
        inputs = self._constants(x, (channels, *kernel, shape[3] // op.groups), 0, bias, extreme=extreme)
        return self.node(op, inputs, (1, *windows(shape, kernel, op), channels))

    def depthwise(self, x, kernel=(3, 3), bias=True, **attributes):
        op = DepthwiseConv2D(**attributes)
        shape = self.shape(x)
        channels = shape[3] * op.multiplier
        inputs = self._constants(x, (1, *kernel, channels), 3, bias)
        return self.node(op, inputs, (1, *windows(shape, kernel, op), channels))

    def dense(self, x, outputs, bias=True, per_channel=False, **attributes):
        inputs = self._constants(x, (outputs, int(np.prod(self.shape(x)))), 0, bias, per_channel)
        return self.node(FullyConnected(**{"keep_dims": False, **attributes}), inputs, (1, outputs))

    def pool(self, x, op):
        shape = self.shape(x)
        return self.node(op, [x], (1, *windows(shape, op.kernel, op), shape[3]), same=True)

    def max_pool(self, x, **attributes):
        return self.pool(x, MaxPool2D(**attributes))

    def average_pool(self, x, **attributes):
        return self.pool(x, AveragePool2D(**attributes))

    def mean(self, x):
        return self.node(Mean(), [x], (1, 1, 1, self.shape(x)[3]))

    def add(self, a, b, **attributes):
        return self.node(Add(**attributes), [a, b], self.shape(a))

    def multiply(self, a, b, **attributes):
        """Shapes are broadcast; the output's scale lets products of int8 fill its range."""
        name = self.node(Mul(**attributes), [a, b], np.broadcast_shapes(self.shape(a), self.shape(b)))
        scale = self.random.uniform(60, 140) * np.prod([float(self.graph.tensors[x].scale) for x in (a, b)])
        self.graph.tensors[name].quantization = quantization(scale, int(self.random.integers(-20, 20)))
        return name

    def reshape(self, x, shape):
        return self.node(Reshape(tuple(shape)), [x], shape, same=True)

    def softmax(self, x, beta=1.0):
        name = self.node(Softmax(beta), [x], self.shape(x))
        self.graph.tensors[name].quantization = quantization(1 / 256, -128)
        return name

    def done(self, *outputs) -> Graph:
        self.graph.outputs = list(outputs) or self.graph.nodes[-1].outputs
        return self.graph


def windows(shape, kernel, op):
    dilation = getattr(op, "dilation", (1, 1))
    return tuple((shape[1 + i] + sum(op.padding[i]) - (kernel[i] - 1) * dilation[i] - 1) // op.stride[i] + 1
                 for i in (0, 1))


def random_inputs(graph, seed):
    """Random int8 inputs, and on every fourth seed extremes."""
    random = np.random.default_rng(seed)
    values = {}
    for name in graph.inputs:
        shape = graph.tensors[name].shape
        if seed % 4 == 3:
            values[name] = random.choice(np.array([-128, 127], np.int8), shape)
        else:
            values[name] = random.integers(-128, 128, shape).astype(np.int8)
    return values


def golden(graph, config, inputs, seed=None):
    """Outputs of the compiled graph on the golden model, which checks for races; compiled models come second."""
    model = compile_graph(graph, config)
    chip = PRESETS[config] if isinstance(config, str) else config
    with lepton.device.open("golden", config=chip, check_races=True, memory_bytes=1 << 26, seed=seed) as device, \
            Session(model, device) as session:
        return session.run(inputs).outputs, model


def litert(graph, inputs):
    """Outputs of LiteRT's reference kernels."""
    interpreter_module = pytest.importorskip("ai_edge_litert.interpreter")
    from lepton.frontends import export_tflite
    return litert_file(export_tflite(graph), inputs, graph, interpreter_module)


def litert_file(content, inputs, graph, interpreter_module):
    resolver = interpreter_module.OpResolverType.BUILTIN_REF
    # without preserving tensors, additions overwrite what other Reshapes of their operand still read
    interpreter = interpreter_module.Interpreter(model_content=content, experimental_op_resolver_type=resolver,
                                                 experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    for name, detail in zip(graph.inputs, interpreter.get_input_details(), strict=True):
        interpreter.set_tensor(detail["index"], inputs[name])
    interpreter.invoke()
    return {name: interpreter.get_tensor(detail["index"])
            for name, detail in zip(graph.outputs, interpreter.get_output_details(), strict=True)}


def exact(graph, config="tiny", arithmetic=Arithmetic.FIXED, on_host=()):
    """The compiled model, after its results on the golden model have been found equal to the kernels'.

    `on_host`: the operators that the host computes, in order; None for any.
    """
    graph.arithmetic = arithmetic
    for seed in (1, 3):  # random, and extremes
        inputs = random_inputs(graph, seed)
        outputs, model = golden(graph, CRAMPED.get(config, config), inputs, seed)
        wanted = interpret.evaluate(graph, inputs)
        for name in graph.outputs:
            np.testing.assert_array_equal(outputs[name], wanted[name], err_msg=name)
    assert on_host is None or [row.op for row in model.placement if row.where == "host"] == list(on_host)
    return model
