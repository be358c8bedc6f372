"""Softmax and layer normalization between quantized layers of tokens: on the chip, next to ONNX Runtime."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import lepton.device
from lepton.compiler import compile_graph
from lepton.frontends.onnx import import_onnx
from lepton.runtime import Session

from tests.host.frontends.onnx.onnx_models import Net, array, exact_products, feeds_for, reference


def tokens(rng, count, channels, function, product):
    """A product with constant weights, `function` of its rows and, with `product`, another product; int8 in and out."""
    def multiply(x):
        codes = rng.integers(-127, 128, (channels, channels)).astype(np.int8)
        return net.qdq(net("MatMul", x, net.weights(codes, 0.3 / (74 * np.sqrt(channels)), axis=1)), 0.02, -4)

    net = Net(17)
    x = multiply(net.dequantize(net.input((1, count, channels), np.int8), 0.05, 3))
    x = net.qdq(*function(net, x))
    if product:
        x = multiply(x)
    return net.model(net.nodes[-2].output[0])  # what the last QuantizeLinear gave


def softmax(net, x):
    return net("Softmax", x, axis=-1), 1 / 255, -128


def normalization(rng, channels, **attributes):
    parameters = rng.uniform(0.5, 1.5, channels), rng.normal(0, 0.3, channels)

    def function(net, x):
        return net("LayerNormalization", x, *(array(p, np.float32) for p in parameters), axis=-1, **attributes), 0.03, 5
    return function


def run_on_golden(model, feeds):
    compiled = compile_graph(import_onnx(model), "tiny")
    with lepton.device.open("golden", config=compiled.config) as device, Session(compiled, device) as session:
        (made,) = session.run(*feeds.values()).outputs.values()
    return compiled, made


@exact_products
@pytest.mark.parametrize("channels", [7, 16, 40])
@pytest.mark.parametrize("kind", ["softmax", "norm"])
def test_rows_of_tokens_are_one_job(kind, channels):
    """Softmax is equal to ONNX Runtime's, a normalization in 99.9 % of the values, and within 1 in the others."""
    for product in (False, True):
        rng = np.random.default_rng(channels)
        function = softmax if kind == "softmax" else normalization(rng, channels, epsilon=1e-5)
        model = tokens(rng, 60, channels, function, product)
        feeds = feeds_for(model, rng)
        compiled, made = run_on_golden(model, feeds)
        assert product is False or [row.op for row in compiled.placement if row.where == "host"] == []
        difference = np.abs(made.astype(int) - reference(model, feeds)[0])
        if kind == "softmax":
            assert not difference.any()
        elif not product:
            assert difference.max() <= 1 and (difference > 0).sum() <= 2 + difference.size // 1000


@exact_products
@pytest.mark.parametrize("factor", [255, 254, 253, 252, 251, 211, 209, 103])
def test_halves_of_a_softmax_are_rounded_to_even(factor):
    """Rows in which 1, 2, 4 or 8 equal maxima have all of the sum; `factor` is the integer part of 1 / scale."""
    x = np.full((4, 12), -4, np.int8)
    for row in range(4):
        x[row, :1 << row] = 4
    net = Net(17)
    scale = 1 / (factor + 0.3)
    same = net.weights(np.eye(12, dtype=np.int8), 1.0)  # a layer on either side keeps the softmax on the chip
    scores = net.qdq(net("MatMul", net.dequantize(net.input(x.shape, np.int8), 20.0, 0), same), 20.0, 0)
    shares = net.qdq(net("Softmax", scores, axis=-1), scale, -128)
    model = net.model(net.quantize(net("MatMul", shares, same), scale, -128))
    compiled, made = run_on_golden(model, {"x0": x})
    assert ("Softmax", "chip") in [(row.op, row.where) for row in compiled.placement]
    np.testing.assert_array_equal(made, reference(model, {"x0": x})[0])
