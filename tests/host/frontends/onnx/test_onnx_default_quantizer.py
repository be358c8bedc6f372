"""Networks as ONNX Runtime's `quantize_static` makes them without options: int8, a QDQ pair around every operator.

ONNX Runtime itself leaves the additions of such a network in float, since one operand is int8 and the other one uint8.
"""

import logging

import numpy as np
import onnx
import pytest
from lepton.compiler import compile_graph
from lepton.frontends.onnx import import_onnx
from lepton.graph.interpret import evaluate
from lepton.program import ChipStep, HostStep
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from tests.host.frontends.onnx.golden_runs import compare
from tests.host.frontends.onnx.onnx_models import (
    Net,
    array,
    difference,
    exact_products,
    feeds_for,
    operators,
    reference,
)


class _Reader(CalibrationDataReader):
    def __init__(self, feeds):
        self.feeds = iter(feeds)

    def get_next(self):
        return next(self.feeds, None)


def quantized_by_default(model, folder, seed=0):
    onnx.save(model, folder / "float.onnx")
    rng = np.random.default_rng(seed)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(folder / "float.onnx", folder / "quantized.onnx",
                    _Reader([feeds_for(model, rng, -2, 2) for _ in range(3)]))
    logging.getLogger().setLevel(level)
    return onnx.load(folder / "quantized.onnx")


class Backbone(Net):
    """A float network of convolutions with random weights."""

    def __init__(self, seed):
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def conv(self, x, inputs, outputs, stride=1, kernel=3, groups=1):
        weights = self.rng.standard_normal((outputs, inputs // groups, kernel, kernel)) * 0.3
        return self("Conv", x, array(weights, np.float32), array(self.rng.standard_normal(outputs) / 10, np.float32),
                    pads=[kernel // 2] * 4, strides=[stride] * 2, group=groups, kernel_shape=[kernel] * 2)

    def classifier(self, x, inputs):
        x = self("Flatten", self("GlobalAveragePool", x))
        return self("Gemm", x, array(self.rng.standard_normal((10, inputs)), np.float32),
                    array(self.rng.standard_normal(10), np.float32), transB=1)


def residual():
    net = Backbone(1)
    x = net("Relu", net.conv(net.input((1, 3, 16, 16)), 3, 8))
    channels = 8
    for outputs, stride in ((8, 1), (16, 2), (16, 1), (24, 2)):
        y = net.conv(net("Relu", net.conv(x, channels, outputs, stride)), outputs, outputs)
        shortcut = x if stride == 1 else net.conv(x, channels, outputs, stride, 1)
        x = net("Relu", net("Add", y, shortcut))
        channels = outputs
    return net.model(net.classifier(x, channels))


def inverted(activation):
    def build():
        net = Backbone(2)

        def act(x):
            if activation == "Clip":
                return net("Clip", x, array(0, np.float32), array(6, np.float32))
            return net("Mul", x, net("Sigmoid", x)) if activation == "SiLU" else net(activation, x)

        x = act(net.conv(net.input((1, 3, 20, 20)), 3, 8, 2))
        channels = 8
        for outputs, stride in ((8, 1), (16, 2), (16, 1), (16, 1)):
            y = act(net.conv(x, channels, 4 * channels, kernel=1))
            y = act(net.conv(y, 4 * channels, 4 * channels, stride, groups=4 * channels))
            y = net.conv(y, 4 * channels, outputs, kernel=1)
            x = net("Add", x, y) if stride == 1 and outputs == channels else y
            channels = outputs
        return net.model(net.classifier(x, channels))
    return build


def detector():
    net = Backbone(3)

    def conv(x, inputs, outputs, stride=1, kernel=3):
        x = net.conv(x, inputs, outputs, stride, kernel)
        return net("Mul", x, net("Sigmoid", x))

    def enlarge(x):
        return net("Resize", x, "", array([1, 1, 2, 2], np.float32), mode="nearest")

    fine = conv(net.input((1, 3, 32, 32)), 3, 8, 2)
    middle = conv(fine, 8, 16, 2)
    coarse = conv(middle, 16, 24, 2)
    pooled = net("MaxPool", coarse, kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1])
    coarse = conv(net("Concat", coarse, pooled, axis=1), 48, 24, kernel=1)
    x = conv(net("Concat", enlarge(coarse), middle, axis=1), 40, 16)
    x = net("Add", x, conv(x, 16, 16))
    y = conv(net("Concat", enlarge(x), fine, axis=1), 24, 8)
    return net.model(net("Sigmoid", net.conv(y, 8, 6, kernel=1)), net("Sigmoid", net.conv(x, 16, 6, kernel=1)))


NETWORKS = {  # jobs with additions in float on the host, and jobs now
    "residual": (residual, 4, 1), "inverted, Clip": (inverted("Clip"), 4, 2),
    "inverted, SiLU": (inverted("SiLU"), 4, 1),
    "inverted, HardSwish": (inverted("HardSwish"), 4, 1), "detector": (detector, 2, 1),
}


@exact_products
@pytest.mark.parametrize("name", NETWORKS)
def test_jobs_of_networks_of_the_default_quantizer(name, tmp_path):
    """One job, unless the chip has no integers that give an addition's float32 results for all pairs of bytes."""
    build, before, now = NETWORKS[name]
    model = quantized_by_default(build(), tmp_path)
    compiled = compare(model, "tiny", [feeds_for(model, np.random.default_rng(7), -2, 2)["x0"]])
    assert sum(isinstance(step, ChipStep) for step in compiled.steps) == now < before
    on_host = {type(step.op).__name__ for step in compiled.steps if isinstance(step, HostStep)}
    assert on_host <= {"Quantize", "Dequantize", "Transpose"} | ({"Add"} if now > 1 else set())


def two_operands(op, scales, zeros, dtypes, relu=None):
    """Both inputs 8 bits as they come, so that all 65 536 pairs can be given."""
    net = Net()
    reals = [net.dequantize(net.input((1, 4, 128, 128), dtype), scale, zero, dtype)
             for dtype, scale, zero in zip(dtypes[:2], scales, zeros, strict=False)]
    y = net(op, *reals)
    return net.model(net.quantize(relu(net, y) if relu else y, scales[2], zeros[2], dtypes[2]))


ACTIVATIONS = {"none": None, "relu": lambda net, y: net("Relu", y), "clip": lambda net, y: net(
    "Clip", y, array(-1, np.float32), array(2.5, np.float32))}


@pytest.mark.parametrize("relu", ACTIVATIONS)
@pytest.mark.parametrize("op", ("Add", "Sub", "Mul"))
def test_every_pair_of_bytes_is_what_float_arithmetic_gives(op, relu):
    """Mixed int8 and uint8, scales that make ties, and random ones; chip and host give what ONNX Runtime gives."""
    rng = np.random.default_rng([len(op), len(relu)])
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256), indexing="ij")).reshape(2, 1, 4, 128, 128)
    on_chip = 0
    for attempt in range(8):
        scales = np.float32(2.0 ** rng.integers(-6, 0, 3) if attempt < 3 else rng.uniform(0.01, 0.3, 3))
        dtypes = [np.int8, np.uint8, np.int8] if attempt % 2 else [np.uint8, np.int8, np.uint8]
        zeros = [int(rng.integers(np.iinfo(d).min, np.iinfo(d).max + 1)) for d in dtypes]
        model = two_operands(op, scales, zeros, dtypes, ACTIVATIONS[relu])
        graph = import_onnx(model)
        assert not {"Dequantize", "Quantize"} & set(operators(model))
        feeds = {name: pair.astype(dtype) if dtype == np.uint8 else (pair - 128).astype(dtype)
                 for name, pair, dtype in zip(graph.inputs, pairs, dtypes, strict=False)}
        np.testing.assert_array_equal(evaluate(graph, feeds)[graph.outputs[0]], reference(model, feeds)[0])
        on_chip += any(isinstance(step, ChipStep) for step in compile_graph(graph, "tiny").steps)
    assert on_chip >= (7 if op != "Mul" else 0)


def test_what_nothing_quantizes_stays_float():
    """A sum, a mean or a product that an operator or an output reads in float, and one that is read both ways."""
    net = Net()
    a, b = (net.qdq(net.input((1, 4, 6, 5)), scale, 3) for scale in (0.05, 0.07))
    total = net("Add", a, b)
    model = net.model(total, net.qdq(total, 0.1, 0), net("Abs", net("Sub", a, b)), net("Relu", net("Mul", a, b)),
                      net("ReduceMax", net("Add", a, net("Mul", b, a))))
    assert difference(model, np.random.default_rng(8), low=-2, high=2) == 0


@pytest.mark.parametrize("name,value,table", (("Relu", 3, True), ("Clip", 3, True), ("Sigmoid", 3, False)))
def test_operands_behind_an_activation(name, value, table):
    """What the operand's own scale can say becomes a table in front; the rest is added in float."""
    net = Net()
    a, b = (net.qdq(net.input((1, 4, 6, 5)), scale, value) for scale in (0.05, 0.07))
    bounds = [array(-1, np.float32), array(1, np.float32)] if name == "Clip" else []
    model = net.model(net.qdq(net("Add", net(name, a, *bounds), b), 0.1, 0))
    assert difference(model, np.random.default_rng(9)) == 0
    found = operators(model)
    assert ("Table" in found) == table and (found.count("Dequantize") == 1) == table
