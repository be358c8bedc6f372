"""QDQ networks: the imported graph, evaluated in numpy, equals ONNX Runtime with its default options bit for bit."""

import numpy as np
import pytest

from tests.host.frontends.onnx.onnx_models import (
    IMAGE,
    Net,
    array,
    difference,
    integer_products_are_exact,
    op,
    operators,
    requantized,
)

BYTES = (np.int8, np.uint8)


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
    model = requantized(ELEMENTWISE[name], dtype)
    assert difference(model, np.random.default_rng(1)) == 0
    assert operators(model) == ["Quantize", "Table", "Dequantize"]


@pytest.mark.parametrize("dtype", BYTES)
def test_gelu_is_one_table(dtype):
    for attributes in ({}, {"approximate": "tanh"}):
        model = requantized(op("Gelu", **attributes), dtype, opset=20)
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
    model = requantized(MOVING[name], dtype, *(((0.05, 0.05), (3, 3)) if same else ()))
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
    assert difference(requantized(OTHERS[name], dtype, scales, zeros), np.random.default_rng(4)) == 0


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("name", ("Add", "Sub", "Mul", "Div", "Max", "Min", "Concat", "MatMul"))
@pytest.mark.parametrize("shape", (IMAGE, (1, 4, 1, 1)))
def test_two_operands(name, dtype, shape):
    if (name == "Concat" and shape != IMAGE) or not integer_products_are_exact():
        pytest.skip("no such operator, or no exact reference on this CPU")
    net = Net()
    if name == "MatMul":
        shape = (1, 4, 6, 5)
    a = net.qdq(net.input(IMAGE), 0.05, 3, dtype)
    b = net.qdq(net.input(shape), 0.04, 5, dtype)
    y = net(name, a, b, **({"axis": 1} if name == "Concat" else {}))
    model = net.model(net.qdq(y, 1.3 if name == "MatMul" else 0.07, 9, dtype))
    assert difference(model, np.random.default_rng(5), runs=4) == 0
