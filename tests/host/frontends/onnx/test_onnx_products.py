"""Matrix products between DequantizeLinear and QuantizeLinear, against ONNX Runtime with its default options."""

import numpy as np
import pytest

from tests.host.frontends.onnx.onnx_models import Net, array, difference, exact_products, operators, single

BYTES = (np.int8, np.uint8)


@exact_products
@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("relu", (True, False))
def test_matrix_products(dtype, relu):
    rng = np.random.default_rng(7)
    net = Net()
    x = net.qdq(net.input((1, 4, 3, 5)), 0.05, 3, dtype)
    y = net("Gemm", net("Flatten", x), net.weights(rng.integers(-127, 128, (7, 60)).astype(np.int8), 0.01),
            net.weights(rng.integers(-999, 999, 7).astype(np.int32), 0.0005), transB=1)
    y = net.qdq(net("Relu", y) if relu else y, 0.2, 11, dtype)
    z = net("MatMul", x, net.weights(rng.integers(-127, 128, (5, 9)).astype(np.int8), rng.uniform(0.01, 0.02, 9), 1))
    z = net.qdq(net("Relu", z) if relu else z, 0.15, 11, dtype)
    assert difference(net.model(y, z), rng) == 0


@exact_products
@pytest.mark.parametrize("batches", ((1,), (1, 1), (2,), (3, 2)))
@pytest.mark.parametrize("scales", ("one", "columns"))
def test_products_with_constant_batches_of_matrices(batches, scales):
    rng = np.random.default_rng(1)
    codes = rng.integers(-127, 128, (*batches, 20, 7)).astype(np.int8)
    if scales == "columns" and max(batches) > 1:
        pytest.skip("ONNX's quantization of single columns is along an axis of the whole tensor")
    scale = 0.01 if scales == "one" else rng.uniform(0.01, 0.02, 7)
    model = single(lambda net, x: net("MatMul", x, net.weights(codes, scale, axis=len(batches) + 1)),
                   (*batches[-1:], 3, 20), scales=(0.05, 0.3))
    assert difference(model, rng) == 0
    assert "FullyConnected" in operators(model) or max(batches) > 1


@exact_products
@pytest.mark.parametrize("left,right", (((20,), (20, 7)), ((2, 3, 20), (20,)), ((3, 20), (20,)), ((20,), (2, 20, 7))))
def test_products_with_vectors(left, right):
    rng = np.random.default_rng(2)
    codes = rng.integers(-127, 128, right).astype(np.int8)
    model = single(lambda net, x: net("MatMul", x, net.weights(codes, 0.01)), left, scales=(0.05, 0.3))
    assert difference(model, rng) == 0
    net = Net()
    a, b = (net.qdq(net.input(shape), 0.05, zero) for shape, zero in ((left, 3), (right, -4)))
    assert difference(net.model(net.qdq(net("MatMul", a, b), 0.3, 5)), rng) == 0


@exact_products
def test_one_bias_for_all_columns():
    rng = np.random.default_rng(10)
    codes = rng.integers(-127, 128, (20, 7)).astype(np.int8)
    step = np.float32(0.05) * np.float32(0.01)
    for quantized in (True, False):
        net = Net()
        y = net("Gemm", net.qdq(net.input((1, 20)), 0.05, 3), net.weights(codes, 0.01),
                net.dequantize(array([300], np.int32), step, 0, np.int32))
        assert difference(net.model(net.qdq(y, 0.3, -5) if quantized else y), rng) == 0


@exact_products
@pytest.mark.parametrize("alpha", (0.5, 0.37, 3.3))
@pytest.mark.parametrize("relu", (True, False))
def test_gemm_with_factors_and_transposes(alpha, relu):
    """As ONNX Runtime's integer layer, and in float where there is a beta, a transposed A or an activation."""
    rng = np.random.default_rng(13)
    codes = rng.integers(-127, 128, (20, 7)).astype(np.int8)
    for transposed in (False, True):
        for beta in (None, 1.0, 2.0):
            def build(net, x, transposed=transposed, beta=beta):
                bias = [] if beta is None else [net.weights(rng.integers(-999, 999, 7).astype(np.int32), 0.0005)]
                y = net("Gemm", x, net.weights(codes, rng.uniform(0.01, 0.02, 7), axis=1), *bias, alpha=alpha,
                        beta=beta or 1.0, transA=int(transposed))
                return net("Relu", y) if relu else y

            model = single(build, (20, 6) if transposed else (6, 20), scales=(0.05, 0.3))
            assert difference(model, rng) <= (0 if beta is None and not relu and not transposed else 1)
            assert "FullyConnected" in operators(model)


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("options", (
    {"transB": 1, "alpha": 0.5}, {"transA": 1, "alpha": -0.3}, {"alpha": 0.5, "beta": 2.0}, {"beta": 0.5},
    {"transB": 1}, {"transA": 1}, {"transA": 1, "transB": 1}, {}))
def test_a_gemm_of_two_computed_matrices(options, dtype):
    """Transposes, factors and bias count, with an activation that keeps ONNX Runtime from its integer kernel, too."""
    rng = np.random.default_rng(14)
    for bias in (False, True):
        net = Net()
        a = net.qdq(net.input((6, 6)), 0.0517, 3, dtype)
        b = net.qdq(net.input((6, 6)), 0.0493, -4 if dtype == np.int8 else 100, dtype)
        y = net("Gemm", a, b, *([rng.uniform(-3, 3, 6).astype(np.float32)] if bias else []), **options)
        model = net.model(net.qdq(net("Relu", y), 0.0971, 5, dtype))
        assert difference(model, rng, low=-2, high=2) <= 1


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("operator", ("Conv", "ConvTranspose"))
def test_a_convolution_with_computed_weights_is_computed_in_float(operator, dtype):
    net = Net()
    x = net.qdq(net.input((1, 4, 4, 4)), 0.0517, 3, dtype)
    weights = net.qdq(net.input((4, 4, 1, 1)), 0.0493, 5, dtype)
    model = net.model(net.qdq(net("Relu", net(operator, x, weights)), 0.0971, 5, dtype))
    assert difference(model, np.random.default_rng(15), low=-2, high=2) == 0
    assert ("FloatConv" if operator == "Conv" else "FloatConvTranspose") in operators(model)


@exact_products
@pytest.mark.parametrize("shapes", (((3, 5), (5, 4)), ((2, 3, 5), (2, 5, 4)), ((2, 3, 5), (5, 4)), ((3, 5), (2, 5, 4))))
@pytest.mark.parametrize("constant", (False, True))
def test_products_of_two_8_bit_values_with_a_float_result(shapes, constant):
    """ONNX Runtime makes one operator of DequantizeLinear, MatMul without a QuantizeLinear behind it."""
    rng = np.random.default_rng(4)
    net = Net()
    a, b = (net.input(shape) for shape in shapes)
    left = net.qdq(a, 0.05, 3, np.uint8)
    right = net.dequantize(rng.integers(0, 256, shapes[1]).astype(np.uint8), 0.03, 90, np.uint8) if constant else (
        net.qdq(b, 0.03, 90, np.uint8))
    model = net.model(net("MatMul", left, right), net("Neg", b))
    assert difference(model, rng) == 0


@exact_products
@pytest.mark.parametrize("quantized", (False, True))
@pytest.mark.parametrize("relu", (False, True))
@pytest.mark.parametrize("shape", ((4, 4), (4, 1), (1, 4), (1, 1)))
def test_a_bias_for_each_row(shape, relu, quantized):
    """As many rows as columns, so that one could be taken for the other."""
    rng = np.random.default_rng(6)
    net = Net()
    x = net.qdq(net.input((4, 6)), 0.05, 3)
    bias = net.weights(rng.integers(-3000, 3000, shape).astype(np.int32), 0.0005)
    y = net("Gemm", x, net.weights(rng.integers(-127, 128, (4, 6)).astype(np.int8), 0.01), bias, transB=1)
    y = net("Relu", y) if relu else y
    assert difference(net.model(net.qdq(y, 0.2171, 11) if quantized else y), rng) == 0
