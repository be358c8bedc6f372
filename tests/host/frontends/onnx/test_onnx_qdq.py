"""QDQ networks: the imported graph, evaluated in numpy, equals ONNX Runtime with its default options bit for bit."""

import numpy as np
import pytest
from lepton.frontends.onnx import import_onnx
from onnx import helper

from tests.host.frontends.onnx.onnx_models import (
    Net,
    array,
    difference,
    integer_products_are_exact,
    operators,
    reference,
    run,
)

BYTES = (np.int8, np.uint8)
SHAPE = (1, 4, 7, 6)
exact_products = pytest.mark.skipif(
    not integer_products_are_exact(), reason="ONNX Runtime's integer kernels saturate on this CPU (no VNNI)")


def single(build, dtype, scales=(0.05, 0.04), zeros=(3, 20), shape=SHAPE, opset=17):
    """x quantized, an operator on it, its result quantized."""
    net = Net(opset)
    x = net.qdq(net.input(shape), scales[0], zeros[0], dtype)
    return net.model(net.qdq(build(net, x), scales[1], zeros[1], dtype))


def op(name, *constants, **attributes):
    return lambda net, x: net(name, x, *constants, **attributes)


def silu(net, x):
    return net("Mul", x, net("Sigmoid", x))


def hard_swish_in_parts(net, x):
    gate = net("Clip", net("Add", x, array(3, np.float32)), array(0, np.float32), array(6, np.float32))
    return net("Mul", x, net("Div", gate, array(6, np.float32)))


ELEMENTWISE = {
    "relu": op("Relu"), "clip": op("Clip", array(0, np.float32), array(6, np.float32)), "leaky": op("LeakyRelu"),
    "sigmoid": op("Sigmoid"), "tanh": op("Tanh"), "hard_sigmoid": op("HardSigmoid"), "hard_swish": op("HardSwish"),
    "elu": op("Elu"), "erf": op("Erf"), "silu": silu, "hard_swish_in_parts": hard_swish_in_parts,
    "prelu": op("PRelu", array([0.3], np.float32)), "add": op("Add", array(1.5, np.float32)),
    "div": op("Div", array(3.3, np.float32)), "pow": op("Pow", array(2, np.float32)), "softplus": op("Softplus"),
    "twice": lambda net, x: net("Relu", net("Tanh", x)),
}


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_functions_of_one_value_are_one_table(name, dtype):
    model = single(ELEMENTWISE[name], dtype)
    assert difference(model, np.random.default_rng(1)) == 0
    assert operators(model) == ["Quantize", "Table", "Dequantize"]


@pytest.mark.parametrize("dtype", BYTES)
def test_gelu_is_one_table(dtype):
    for attributes in ({}, {"approximate": "tanh"}):
        model = single(op("Gelu", **attributes), dtype, opset=20)
        assert difference(model, np.random.default_rng(2)) == 0
        assert operators(model) == ["Quantize", "Table", "Dequantize"]


MOVING = {
    "max_pool": op("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    "max_pool_ceil": op("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "resize": op("Resize", np.zeros(0, np.float32), array([1, 1, 2, 3], np.float32), mode="nearest"),
    "pad": op("Pad", array([0, 0, 1, 2, 0, 0, 2, 1], np.int64)),
    "reflect": op("Pad", array([0, 0, 1, 2, 0, 0, 2, 1], np.int64), mode="reflect"),
    "slice": op("Slice", array([1, -1], np.int64), array([3, -9], np.int64), array([1, 3], np.int64),
                array([1, -2], np.int64)),
    "transpose": op("Transpose", perm=[0, 3, 1, 2]), "reshape": op("Reshape", array([1, -1], np.int64)),
    "flatten": op("Flatten"), "gather": op("Gather", array([2, 0, -1], np.int64), axis=1),
    "depth_to_space": op("DepthToSpace", blocksize=2), "crd": op("DepthToSpace", blocksize=2, mode="CRD"),
    "unsqueeze": op("Unsqueeze", array([1], np.int64)), "reduce_max": op("ReduceMax", axes=[2, 3]),
    "global_max": op("GlobalMaxPool"), "tile": op("Tile", array([1, 2, 1, 1], np.int64)),
    "expand": lambda net, x: net("Expand", net("ReduceMax", x, axes=[2]), array([1, 4, 5, 6], np.int64)),
}


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("same", (True, False))
@pytest.mark.parametrize("name", MOVING)
def test_moved_values_stay_int8(name, same, dtype):
    model = single(MOVING[name], dtype, *(((0.05, 0.05), (3, 3)) if same else ()))
    assert difference(model, np.random.default_rng(3), runs=1) == 0
    found = operators(model)
    assert found.count("Dequantize") == 1 and found.count("Table") == (0 if same else 1)


OTHERS = {
    "average": op("AveragePool", kernel_shape=[2, 3], strides=[2, 1], pads=[1, 1, 0, 1]),
    "average_counted": op("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "global_average": op("GlobalAveragePool"), "softmax": op("Softmax", axis=1), "softmax_last": op("Softmax"),
    "bilinear": op("Resize", np.zeros(0, np.float32), array([1, 1, 2, 1.5], np.float32), mode="linear"),
    "bilinear_corners": op("Resize", np.zeros(0, np.float32), np.zeros(0, np.float32), array([1, 4, 9, 5], np.int64),
                           mode="linear", coordinate_transformation_mode="align_corners"),
    "prelu": op("PRelu", array([[[0.1]], [[-0.2]], [[1.5]], [[0]]], np.float32)),
    "scaled": op("Mul", array([[[0.5]], [[2]], [[-1]], [[1.3]]], np.float32)),
}


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("same", (True, False))
@pytest.mark.parametrize("name", OTHERS)
def test_other_operators(name, same, dtype):
    scales, zeros = ((0.05, 0.05), (3, 3)) if same else ((0.05, 1 / 256), (3, np.iinfo(dtype).min)) if (
        "softmax" in name) else ((0.05, 0.04), (3, 20))
    assert difference(single(OTHERS[name], dtype, scales, zeros), np.random.default_rng(4)) == 0


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("name", ("Add", "Sub", "Mul", "Div", "Max", "Min", "Concat", "MatMul"))
@pytest.mark.parametrize("shape", (SHAPE, (1, 4, 1, 1)))
def test_two_operands(name, dtype, shape):
    if (name == "Concat" and shape != SHAPE) or not integer_products_are_exact():
        pytest.skip("no such operator, or no exact reference on this CPU")
    net = Net()
    if name == "MatMul":
        shape = (1, 4, 6, 5)
    a = net.qdq(net.input(SHAPE), 0.05, 3, dtype)
    b = net.qdq(net.input(shape), 0.04, 5, dtype)
    y = net(name, a, b, **({"axis": 1} if name == "Concat" else {}))
    model = net.model(net.qdq(y, 1.3 if name == "MatMul" else 0.07, 9, dtype))
    assert difference(model, np.random.default_rng(5), runs=4) == 0


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
}


@exact_products
@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("zero", ("lowest", "inside"))
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, zero, dtype):
    rng = np.random.default_rng(6)
    zero = np.iinfo(dtype).min if zero == "lowest" else 20
    model = single(lambda net, x: convolution(net, x, rng, **CONVOLUTIONS[name]), dtype, (0.05, 0.11), (3, zero))
    in_float = name.startswith("transposed") or ("relu" in name and zero == 20)  # by ONNX Runtime: rounded sums
    assert difference(model, rng) <= (2 if in_float else 0)
    kind = "TransposeConv2D" if "transposed" in name else "DepthwiseConv2D" if name == "depthwise" else "Conv2D"
    assert operators(model) == ["Quantize", "Transpose", kind, "Dequantize", "Transpose"]


@pytest.mark.parametrize("dtype", BYTES)
def test_transposed_convolutions_of_one_dimension(dtype):
    rng = np.random.default_rng(8)
    model = single(lambda net, x: convolution(net, x, rng, transposed=True, kernel=(3,), strides=[2], pads=[1, 0]),
                   dtype, shape=(1, 4, 9))
    assert difference(model, rng) <= 1  # computed in float by ONNX Runtime


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
    model = single(op(name, *NORMALIZATIONS[name](rng)), np.uint8, (0.05, 0.03), (128, 128))
    assert difference(model, rng, runs=4) == 0
    single_axis = single(op("ReduceL2", axes=[1]), np.int8, (0.05, 0.1), (3, -128))
    assert difference(single_axis, rng) == 0


@pytest.mark.parametrize("dtype", BYTES)
def test_a_float_layer_behind_a_function(dtype):
    def build(net, x):
        return convolution(net, net.qdq(net("Tanh", x), 0.05, 3, dtype), rng, transposed=True, strides=[2, 2])

    rng = np.random.default_rng(7)
    model = single(build, dtype)
    assert difference(model, rng) <= 2
    assert operators(model) == ["Quantize", "Table", "Transpose", "TransposeConv2D", "Dequantize", "Transpose"]


@exact_products
def test_a_float_bias_and_batch_normalization():
    rng = np.random.default_rng(8)

    def build(net, x):
        w = net.weights(rng.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8), rng.uniform(0.002, 0.01, 6))
        return net("Conv", x, w, rng.uniform(-2, 2, 6).astype(np.float32))

    assert difference(single(build, np.int8, (0.05, 0.1)), rng) == 0


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
    x = net.qdq(net.input(SHAPE), 0.05, 3)
    y = net("Identity", x)
    model = net.model(y, x, net("Flatten", y))
    assert difference(model, np.random.default_rng(11)) == 0


@exact_products
def test_attention():
    """Products of computed matrices, and transposes that no image explains."""
    rng, net = np.random.default_rng(12), Net()

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
    rng, net = np.random.default_rng(13), Net()
    x = net.input(("batch", 4, 6, 5))
    batch = net("Unsqueeze", net("Gather", net("Shape", x), array(0, np.int64)), array([0], np.int64))
    shape = net("Concat", batch, array([-1], np.int64), axis=0)
    flat = net.qdq(net("Reshape", net.qdq(x, 0.05, 3, np.uint8), shape), 0.05, 3, np.uint8)
    y = net("Gemm", flat, net.weights(rng.integers(-127, 128, (5, 120)).astype(np.int8), 0.01), transB=1)
    model = net.model(net.qdq(y, 0.5, 7, np.uint8))
    graph, feeds = import_onnx(model), {x: rng.uniform(-4, 4, (1, 4, 6, 5)).astype(np.float32)}
    assert graph.tensors[x].shape == (1, 4, 6, 5)
    np.testing.assert_array_equal(run(graph, feeds)[0], reference(model, feeds)[0])


def test_old_files_list_their_constants_among_the_inputs():
    rng, net = np.random.default_rng(14), Net(10)
    up = net("Resize", net.qdq(net.input((1, 3, 4, 4)), 0.05, 3), array([1, 1, 2, 2], np.float32), mode="nearest")
    model = net.model(net.qdq(up, 0.05, 3))
    model.ir_version = 3
    for constant in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
    graph, feeds = import_onnx(model), {"x0": rng.uniform(-4, 4, (1, 3, 4, 4)).astype(np.float32)}
    assert graph.inputs == ["x0"]
    np.testing.assert_array_equal(run(graph, feeds)[0], reference(model, feeds)[0])
