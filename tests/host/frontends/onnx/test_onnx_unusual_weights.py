"""Weights of pruned channels, biases of every shape and infinite constants, quantized and calibrated."""

import numpy as np
import pytest
from lepton.frontends.onnx import import_onnx, quantize_onnx
from lepton.graph import GraphError

from tests.host.frontends.onnx.onnx_models import (
    IMAGE,
    Net,
    array,
    difference,
    exact_products,
    feeds_for,
    reference,
    run,
    single,
)


@exact_products
@pytest.mark.parametrize("scale", (0.0, 1e-42))
@pytest.mark.parametrize("kind", ("conv", "depthwise", "transposed", "gemm", "all"))
def test_pruned_channels_have_the_scale_0(kind, scale):
    """ONNX Runtime gives the zero point; a bias with the same scale is 0, too."""
    rng = np.random.default_rng(3)
    scales = np.float32([0.01, scale, 0.02, 0.005] if kind != "all" else [scale] * 4)
    shape = (4, 20) if kind == "gemm" else (4, 1 if kind == "depthwise" else 4, 3, 3)
    codes = rng.integers(-127, 128, shape).astype(np.int8)
    bias = rng.integers(-3000, 3000, 4).astype(np.int32)

    def build(net, x):
        w = net.weights(codes, scales, axis=1 if kind == "transposed" else 0)
        b = net.weights(bias, scales * np.float32(0.05))
        if kind == "gemm":
            return net("Gemm", x, w, b, transB=1)
        return net("ConvTranspose" if kind == "transposed" else "Conv", x, w, b, group=4 if kind == "depthwise" else 1)

    model = single(build, (2, 20) if kind == "gemm" else IMAGE, scales=(0.05, 0.3))
    assert difference(model, rng) <= (2 if kind == "transposed" else 0)


BIASES = {"(1, N)": (1, 4), "one number": (), "(1,)": (1,), "(1, 1)": (1, 1), "(N,)": (4,), "(M, N)": (3, 4),
          "(M, 1)": (3, 1)}


@exact_products
@pytest.mark.parametrize("shape", BIASES.values(), ids=BIASES)
@pytest.mark.parametrize("kind", ("Gemm", "MatMul", "factors"))
def test_calibration_takes_biases_of_every_shape(kind, shape):
    rng = np.random.default_rng(8)
    weights = rng.standard_normal((8, 4)).astype(np.float32)
    bias = rng.standard_normal(shape).astype(np.float32)
    net = Net()
    x = net.input((8, 3) if kind == "factors" else (3, 8))
    if kind == "MatMul":
        y = net("Add", net("MatMul", x, weights), bias)
    elif kind == "Gemm":
        y = net("Gemm", x, weights, bias)
    else:
        y = net("Gemm", x, np.ascontiguousarray(weights.T), bias, alpha=0.5, beta=2.0, transA=1, transB=1)
    model = net.model(y)
    feeds = feeds_for(model, rng, -2, 2)
    quantized = quantize_onnx(model, feeds)
    assert difference(quantized, rng, runs=1, low=-2, high=2) == 0
    np.testing.assert_allclose(reference(quantized, feeds)[0], reference(model, feeds)[0], atol=0.3)


def test_infinite_constants_in_calibration():
    """A mask of infinities stays in float; infinite weights are refused."""
    rng = np.random.default_rng(9)
    net = Net()
    y = net("MatMul", net.input((1, 8)), rng.standard_normal((8, 4)).astype(np.float32))
    model = net.model(net("Softmax", net("Add", y, array([[0, -np.inf, 0, 0]], np.float32))))
    quantized = quantize_onnx(model, rng.standard_normal((4, 8)).astype(np.float32))
    assert run(import_onnx(quantized), feeds_for(model, rng))[0][0, 1] == 0
    net = Net()
    model = net.model(net("Conv", net.input(IMAGE), np.full((2, 4, 3, 3), np.inf, np.float32)))
    with pytest.raises(GraphError, match="Conv 'v0_0': the weights 'c0' hold infinite values, which cannot be quantiz"):
        quantize_onnx(model, rng.standard_normal(IMAGE).astype(np.float32))
