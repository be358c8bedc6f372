"""QDQ layers with weights, normalizations and whole networks, against ONNX Runtime with its default options."""

import numpy as np
import pytest
from lepton.frontends.onnx import import_onnx
from onnx import helper

from tests.host.frontends.onnx.onnx_models import (
    IMAGE,
    Net,
    array,
    difference,
    exact_products,
    op,
    operators,
    reference,
    requantized,
    run,
)
from tests.seeds import seeds

BYTES = (np.int8, np.uint8)


def convolution(net, x, rng, outputs=6, relu=None, transposed=False, kernel=(3, 2), groups=1, channels=4, **attributes):
    shape = (channels, outputs // groups) if transposed else (outputs, channels // groups)
    codes = rng.integers(-127, 128, (*shape, *kernel)).astype(np.int8)
    scale = rng.uniform(0.002, 0.01, outputs).astype(np.float32)
    if transposed and groups > 1:  # there is no axis of output channels
        scale = scale[0]
    w = net.weights(codes, scale, 1 if transposed else 0)
    b = net.weights(rng.integers(-3000, 3000, outputs).astype(np.int32), np.float32(scale * np.float32(0.05)))
    y = net("ConvTranspose" if transposed else "Conv", x, w, b, **attributes, group=groups)
    return y if relu is None else relu(net, y)


CONVOLUTIONS = {
    "plain": {}, "strided": {"strides": [2, 1], "pads": [1, 0, 2, 1]}, "dilated": {"dilations": [2, 3]},
    "grouped": {"groups": 2}, "depthwise": {"groups": 4, "outputs": 8}, "same": {"auto_pad": "SAME_LOWER"},
    "relu": {"relu": op("Relu")}, "relu6": {"relu": op("Clip", array(0, np.float32), array(6, np.float32))},
    "transposed": {"transposed": True, "strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
    "transposed_relu": {"transposed": True, "relu": op("Relu"), "strides": [3, 2]},
    "transposed_dilated": {"transposed": True, "dilations": [2, 3], "pads": [1, 1, 0, 2]},
    "transposed_groups": {"transposed": True, "groups": 2, "strides": [2, 1]},
    "transposed_larger": {"transposed": True, "kernel": (1, 2), "strides": [2, 3], "output_shape": [14, 18]},
}


@exact_products
@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("zero", ("lowest", "inside"))
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, zero, dtype):
    rng = np.random.default_rng(6)
    zero = np.iinfo(dtype).min if zero == "lowest" else 20
    model = requantized(lambda net, x: convolution(net, x, rng, **CONVOLUTIONS[name]), dtype, (0.05, 0.11), (3, zero))
    in_float = name.startswith("transposed") or ("relu" in name and zero == 20)  # by ONNX Runtime: rounded sums
    assert difference(model, rng) <= (2 if in_float else 0)
    kind = "TransposeConv2D" if "transposed" in name else "DepthwiseConv2D" if name == "depthwise" else "Conv2D"
    assert operators(model) == ["Quantize", "Transpose", kind, "Dequantize", "Transpose"]


@pytest.mark.parametrize("seed", seeds(811457692))
def test_transposed_convolutions_of_round_scales(seed):
    """Every 600th sum lies on a half (0.05 * 0.01 / 0.3), where ONNX Runtime's float32 sum may be rounded either way:
    at most 2 of 1000 values differ, by a step."""
    rng = np.random.default_rng(seed)
    net = Net()
    w = net.weights(rng.integers(-127, 128, (4, 5, 3, 3)).astype(np.int8), 0.01)
    x = net.qdq(net.input((1, 4, 6, 7)), 0.05, 3)
    y = net.quantize(net("ConvTranspose", x, w, strides=[2, 2]), 0.3, 5)
    model = net.model(y)
    graph = import_onnx(model)
    away = []
    for _ in range(8):
        feeds = {"x0": rng.uniform(-3, 3, (1, 4, 6, 7)).astype(np.float32)}
        away.append(np.abs(run(graph, feeds)[0].astype(int) - reference(model, feeds)[0]))
    assert np.max(away) <= 1 and np.mean(np.array(away) > 0) <= 0.002


@pytest.mark.parametrize("dtype", BYTES)
def test_transposed_convolutions_of_one_dimension(dtype):
    rng = np.random.default_rng(8)
    model = requantized(lambda net, x: convolution(net, x, rng, transposed=True, kernel=(3,), strides=[2], pads=[1, 0]),
                   dtype, shape=(1, 4, 9))
    assert difference(model, rng) <= 1  # computed in float by ONNX Runtime


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("bias", (False, True))
def test_transposed_convolutions_in_groups_with_scales_of_channels(bias, dtype):
    """All groups share the scales and zero points; between dilated taps stands each channel's own zero."""
    rng = np.random.default_rng(9)
    info = np.iinfo(dtype)
    scales = rng.uniform(0.002, 0.01, 3).astype(np.float32)
    codes = rng.integers(info.min, info.max + 1, (4, 3, 2, 3)).astype(dtype)

    def build(net, x):
        w = net.weights(codes, scales, 1, zero=rng.integers(info.min, info.max + 1, 3))
        b = [net.weights(rng.integers(-3000, 3000, 6).astype(np.int32), np.tile(scales * np.float32(0.05), 2))]
        return net("ConvTranspose", x, w, *b[:bias], group=2, dilations=[2, 1], strides=[1, 2])

    model = requantized(build, np.int8, (0.05, 0.11))
    assert "TransposeConv2D" in operators(model)
    assert difference(model, rng) <= 2  # computed in float by ONNX Runtime


def floats(rng, *shape):
    return array(rng.uniform(0.5, 1.5, shape), np.float32)


NORMALIZATIONS = {
    "BatchNormalization": lambda rng: [floats(rng, 4) for _ in range(4)],
    "InstanceNormalization": lambda rng: [floats(rng, 4), floats(rng, 4)],
    "LayerNormalization": lambda rng: [floats(rng, 6), floats(rng, 6)], "LogSoftmax": lambda rng: [],
}


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalizations(name):
    """Of floats in ONNX Runtime, too; its sums are in another order, which the last bits of a float may show."""
    rng = np.random.default_rng(9)
    model = requantized(op(name, *NORMALIZATIONS[name](rng)), np.uint8, (0.05, 0.03), (128, 128))
    assert difference(model, rng, runs=4) == 0
    single_axis = requantized(op("ReduceL2", axes=[1]), np.int8, (0.05, 0.1), (3, -128))
    assert difference(single_axis, rng) == 0


@pytest.mark.parametrize("dtype", BYTES)
def test_a_float_layer_behind_a_function(dtype):
    def build(net, x):
        return convolution(net, net.qdq(net("Tanh", x), 0.05, 3, dtype), rng, transposed=True, strides=[2, 2])

    rng = np.random.default_rng(7)
    model = requantized(build, dtype)
    assert difference(model, rng) <= 2
    assert operators(model) == ["Quantize", "Table", "Transpose", "TransposeConv2D", "Dequantize", "Transpose"]


@exact_products
def test_a_float_bias_and_batch_normalization():
    rng = np.random.default_rng(8)

    def build(net, x):
        w = net.weights(rng.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8), rng.uniform(0.002, 0.01, 6))
        return net("Conv", x, w, rng.uniform(-2, 2, 6).astype(np.float32))

    assert difference(requantized(build, np.int8, (0.05, 0.1)), rng) == 0


@exact_products
@pytest.mark.parametrize("dtype", BYTES)
def test_a_network_has_no_transposes_inside(dtype):
    """Convolutions, a residual block, squeeze and excitation, a channel shuffle, concat and a classifier."""
    rng = np.random.default_rng(9)
    net = Net()

    def q(x, scale=0.1, zero=10):
        return net.qdq(x, scale, zero, dtype)

    x = q(net.input((1, 4, 8, 8)), 0.05)
    a = q(convolution(net, x, rng, outputs=8, kernel=(3, 3), pads=[1, 1, 1, 1]))
    b = q(net("Add", a, q(convolution(net, a, rng, outputs=8, kernel=(1, 1), channels=8))))
    gate = q(convolution(net, q(net("GlobalAveragePool", b)), rng, outputs=8, kernel=(1, 1), channels=8))
    c = q(net("Mul", b, q(net("Sigmoid", gate), 1 / 256, np.iinfo(dtype).min)), 0.05)
    d = c
    d = q(net("Reshape", d, array([1, 2, 4, 8, 8], np.int64)), 0.05)
    d = q(net("Transpose", d, perm=[0, 2, 1, 3, 4]), 0.05)
    d = q(net("Reshape", d, array([1, 8, 8, 8], np.int64)), 0.05)
    halves = net("Split", d, outputs=2, axis=1)
    e = q(net("Concat", *[q(half, 0.05) for half in halves[::-1]], axis=1), 0.05)
    f = q(net("MaxPool", e, kernel_shape=[2, 2], strides=[2, 2]), 0.05)
    flat = q(net("Flatten", f), 0.05)
    y = net("Gemm", flat, net.weights(rng.integers(-127, 128, (5, 128)).astype(np.int8), 0.01),
            net.weights(rng.integers(-999, 999, 5).astype(np.int32), 0.0005), transB=1)
    model = net.model(q(y, 0.5))
    assert difference(model, rng) == 0
    found = operators(model)
    assert found.count("Transpose") == 1, found  # the input's
    assert "Gather" in found  # the shuffle
    assert not {"Recenter", "Unary"} & set(found)


@exact_products
@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("kind", ("Gemm", "MatMul"))
def test_a_classifier_whose_result_stays_float(kind, dtype):
    rng = np.random.default_rng(10)
    net = Net()
    x = net.qdq(net.input((1, 12)), 0.05, 3, dtype)
    codes = rng.integers(-127, 128, (7, 12)).astype(np.int8)
    if kind == "Gemm":
        y = net("Gemm", x, net.weights(codes, 0.01), net.weights(rng.integers(-999, 999, 7).astype(np.int32), 0.0005),
                transB=1)
    else:
        y = net("MatMul", x, net.weights(np.ascontiguousarray(codes.T), rng.uniform(0.01, 0.02, 7), 1))
    model = net.model(y, net("Relu", y))
    assert difference(model, rng) == 0
    assert "FullyConnected" not in operators(model)


def test_outputs_that_share_a_tensor_or_have_its_name():
    net = Net()
    x = net.qdq(net.input(IMAGE), 0.05, 3)
    y = net("Identity", x)
    model = net.model(y, x, net("Flatten", y))
    assert difference(model, np.random.default_rng(11)) == 0


@exact_products
def test_attention():
    """Products of computed matrices, and transposes that no image explains."""
    rng = np.random.default_rng(12)
    net = Net()

    def q(x, scale=0.1, zero=100):
        return net.qdq(x, scale, zero, np.uint8)

    def linear(x):
        return q(net("MatMul", x, net.weights(rng.integers(-127, 128, (8, 8)).astype(np.int8), 0.01)))

    x = q(net.input((1, 6, 8)), 0.05, 3)
    queries, keys, values = (q(net("Transpose", q(net("Reshape", linear(x), array([1, 6, 2, 4], np.int64))),
                                   perm=[0, 2, 1, 3])) for _ in range(3))
    scores = q(net("MatMul", queries, q(net("Transpose", keys, perm=[0, 1, 3, 2]))), 0.3, 128)
    shares = q(net("Softmax", q(net("Mul", scores, array(0.5, np.float32)), 0.15, 128), axis=-1), 1 / 256, 0)
    y = q(net("Transpose", q(net("MatMul", shares, values)), perm=[0, 2, 1, 3]))
    model = net.model(linear(q(net("Reshape", y, array([1, 6, 8], np.int64)))))
    assert difference(model, rng) == 0
    assert operators(model).count("MatMul") == 2


@exact_products
def test_shapes_computed_from_an_open_batch_are_folded():
    rng = np.random.default_rng(13)
    net = Net()
    x = net.input(("batch", 4, 6, 5))
    batch = net("Unsqueeze", net("Gather", net("Shape", x), array(0, np.int64)), array([0], np.int64))
    shape = net("Concat", batch, array([-1], np.int64), axis=0)
    flat = net.qdq(net("Reshape", net.qdq(x, 0.05, 3, np.uint8), shape), 0.05, 3, np.uint8)
    y = net("Gemm", flat, net.weights(rng.integers(-127, 128, (5, 120)).astype(np.int8), 0.01), transB=1)
    model = net.model(net.qdq(y, 0.5, 7, np.uint8))
    graph = import_onnx(model)
    feeds = {x: rng.uniform(-4, 4, (1, 4, 6, 5)).astype(np.float32)}
    assert graph.tensors[x].shape == (1, 4, 6, 5)
    np.testing.assert_array_equal(run(graph, feeds)[0], reference(model, feeds)[0])


def test_old_files_list_their_constants_among_the_inputs():
    rng = np.random.default_rng(14)
    net = Net(10)
    up = net("Resize", net.qdq(net.input((1, 3, 4, 4)), 0.05, 3), array([1, 1, 2, 2], np.float32), mode="nearest")
    model = net.model(net.qdq(up, 0.05, 3))
    model.ir_version = 3
    for constant in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
    graph = import_onnx(model)
    feeds = {"x0": rng.uniform(-4, 4, (1, 3, 4, 4)).astype(np.float32)}
    assert graph.inputs == ["x0"]
    np.testing.assert_array_equal(run(graph, feeds)[0], reference(model, feeds)[0])
