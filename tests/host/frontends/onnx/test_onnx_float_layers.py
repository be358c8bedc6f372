"""Layers whose results or operands are no 8-bit values: in float32 on the host, in one network with integer layers."""

import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.frontends.onnx import import_onnx
from lepton.program import ChipStep

from tests.host.frontends.onnx.onnx_models import Net, array, difference, feeds_for, operators, reference, run


def codes(rng, *shape):
    return rng.integers(-127, 128, shape).astype(np.int8)


def close(model, rng, steps=0.0, atol=2e-5, seeds=2):
    """Floats are ONNX Runtime's to the rounding of float32; quantized outputs may be one step off at ties."""
    graph = import_onnx(model)
    for _ in range(seeds):
        feeds = feeds_for(model, rng, -2, 2)
        for got, want in zip(run(graph, feeds), reference(model, feeds), strict=True):
            assert got.shape == want.shape and got.dtype == want.dtype
            assert np.mean(np.abs(got - want) > atol) <= steps
    return graph


LAYERS = {
    "conv": lambda net, x, rng: net("Conv", x, net.weights(codes(rng, 4, 4, 3, 3), 0.01), pads=[1] * 4),
    "grouped": lambda net, x, rng: net("Conv", x, net.weights(codes(rng, 4, 2, 3, 3), 0.01), pads=[1] * 4, group=2),
    "depthwise": lambda net, x, rng: net(
        "Conv", x, net.weights(codes(rng, 4, 1, 3, 3), 0.01), array([1, 2, 3, 4], np.float32), pads=[1] * 4, group=4),
    "transposed": lambda net, x, rng: net(
        "ConvTranspose", x, net.weights(codes(rng, 4, 4, 3, 3), 0.01, axis=1), pads=[1] * 4),
    "pixels": lambda net, x, rng: net("Transpose", net("MatMul", net("Transpose", x, perm=[0, 2, 3, 1]), net.weights(
        codes(rng, 4, 4), 0.01)), perm=[0, 3, 1, 2]),
    "mean": lambda net, x, rng: net("ReduceMean", x, axes=[2, 3]),
}
BEHIND = {
    "output": lambda net, y, x: y, "shortcut": lambda net, y, x: net("Relu", net("Add", y, x)),
    "hard-swish": lambda net, y, x: net("HardSwish", y), "reshaped": lambda net, y, x: net("Flatten", net("Relu", y)),
    "scaled": lambda net, y, x: net("Mul", net("Clip", y, array(-1, np.float32), array(4, np.float32)),
                                    array(2, np.float32)),
}


@pytest.mark.parametrize("quantized", (True, False))
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("layer", LAYERS)
def test_results_that_stay_float(layer, behind, quantized):
    """As tools place QDQ that quantize inputs and weights of layers only, and as a last layer without QDQ."""
    rng = np.random.default_rng([len(layer), len(behind)])
    net = Net()
    x = net.qdq(net.input((1, 4, 7, 6)), 0.05, 3)
    y = BEHIND[behind](net, LAYERS[layer](net, x, rng), x)
    close(net.model(net.qdq(y, 0.3, -5) if quantized else y), rng, steps=0.01 if quantized else 0)


def test_a_network_quantized_in_part():
    """Some layers left out by `nodes_to_exclude`: they run in float on the host, the others on the chip."""
    rng = np.random.default_rng(3)
    net = Net()
    weights = [array(rng.standard_normal(shape), np.float32) for shape in ((8, 3, 3, 3), (72, 5), (5,))]
    x = net("Relu", net("Conv", net.input((1, 3, 12, 12)), weights[0], strides=[2, 2]))
    x = net.qdq(x, 0.05, -100)
    y = net.qdq(net("Conv", x, net.weights(codes(rng, 8, 8, 3, 3), 0.002)), 0.05, 3)
    model = net.model(net("Softmax", net("Gemm", net("Flatten", y), *weights[1:])))
    graph = close(model, rng, atol=1e-4)
    names = [type(node.op).__name__ for node in graph.nodes]
    assert "FloatConv" in names and "Conv2D" in names and "FloatGemm" in names
    assert sum(isinstance(step, ChipStep) for step in compile_graph(graph, "tiny").steps) == 1


FLOATS = {
    "volume": ((1, 2, 5, 6, 7), lambda net, x, w: net("Conv", x, w(3, 2, 2, 3, 3), pads=[1, 0, 1, 0, 1, 1],
                                                      strides=[1, 2, 1])),
    "line": ((2, 4, 9), lambda net, x, w: net("Conv", x, w(6, 2, 3), w(6), group=2, strides=[2],
                                              auto_pad="SAME_UPPER")),
    "transposed volume": ((1, 4, 3, 4, 3), lambda net, x, w: net(
        "ConvTranspose", x, w(4, 3, 2, 2, 3), w(6), group=2, strides=[2, 1, 2], pads=[1, 0, 1, 0, 1, 1],
        output_padding=[1, 0, 1], dilations=[1, 2, 1])),
    "transposed, of a size": ((1, 4, 5, 5), lambda net, x, w: net("ConvTranspose", x, w(4, 3, 3, 3), strides=[2, 2],
                                                                  output_shape=[10, 9])),
    "transposed, of a larger size": ((1, 4, 5, 2), lambda net, x, w: net(
        "ConvTranspose", x, w(4, 3, 1, 3), w(3), strides=[3, 2], output_shape=[15, 6])),
    "products": ((2, 1, 3, 4), lambda net, x, w: net("MatMul", x, w(5, 4, 6))),
    "vector": ((4,), lambda net, x, w: net("MatMul", x, w(4, 3))),
    "vectors": ((4,), lambda net, x, w: net("MatMul", x, w(4))),
    "gemm": ((4, 3), lambda net, x, w: net("Gemm", x, w(5, 4), w(1, 5), alpha=0.3, beta=1.7, transA=1, transB=1)),
    "negative alpha": ((3, 4), lambda net, x, w: net("Gemm", net.qdq(x, 0.05, 0), net.weights(
        np.full((4, 5), 3, np.int8), 0.1), alpha=-0.5)),
    "computed weights": ((1, 4, 5, 5), lambda net, x, w: net("Conv", x, net("Sin", w(3, 4, 2, 2)))),
}


@pytest.mark.parametrize("name", FLOATS)
def test_float_layers_of_a_quantized_network(name):
    rng = np.random.default_rng(5)
    net = Net()
    shape, build = FLOATS[name]
    x = net("Abs", net.input(shape))
    y = build(net, x, lambda *s: array(rng.standard_normal(s), np.float32))
    quantized = net.qdq(net.input((1, 4)), 0.1, 0)  # so that the network counts as one that is quantized
    close(net.model(y, quantized), rng)


def test_weights_that_no_integer_layer_has():
    """Scales along another axis, a bias that is computed: in float, with the same results."""
    rng = np.random.default_rng(6)

    def network(build):
        net = Net()
        x = net.qdq(net.input((1, 4, 6, 6)), 0.1, 0)
        return net.model(net.qdq(net("Relu", build(net, x)), 0.1, 0))

    scales = rng.uniform(0.01, 0.1, 4)
    across = network(lambda net, x: net("Conv", x, net.weights(codes(rng, 8, 4, 3, 3), scales, axis=1)))
    assert "FloatConv" in operators(across)
    close(across, rng, steps=0.01)
    computed = network(lambda net, x: net("ConvTranspose", x, net.weights(codes(rng, 4, 8, 3, 3), 0.5),
                                          net.input((8,))))
    assert "FloatConvTranspose" in operators(computed)
    close(computed, rng, steps=0.01)


@pytest.mark.parametrize("dtype", (np.int8, np.uint8, np.float32))
def test_pools_with_dilations(dtype):
    rng = np.random.default_rng(7)
    net = Net()
    x = net.input((1, 4, 9, 8))
    x = net.qdq(x, 0.05, 3, dtype) if dtype != np.float32 else x
    y = net("MaxPool", x, kernel_shape=[3, 2], dilations=[2, 3], strides=[1, 2], pads=[2, 1, 0, 1])
    model = net.model(net.qdq(y, 0.05, 3, dtype) if dtype != np.float32 else y)
    assert difference(model, rng) == 0
    compiled = compile_graph(import_onnx(model), "tiny")
    assert not any(isinstance(step, ChipStep) for step in compiled.steps)
