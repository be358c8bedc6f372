"""How far floats on the host are from ONNX Runtime's: with its own kernels not at all, in numpy a few last places.

docs/onnx.md states what is measured here.
"""

import numpy as np
import pytest
from lepton.frontends.onnx import import_onnx
from lepton.graph.numerics import onnxruntime_kernels

from tests.host.frontends.onnx.onnx_models import Net, array, feeds_for, reference, run

SHAPE = (1, 8, 12, 32)
LARGEST = 4e-6  # difference in numpy, relative to the largest result (or 1, where that is less)


def floats(seed, *shape, low=-1.0, high=1.0):
    return array(np.random.default_rng(seed).uniform(low, high, shape), np.float32)


def op(name, *constants, **attributes):
    return lambda net, x: net(name, x, *constants, **attributes)


def positive(name):
    return lambda net, x: net(name, net("Add", net("Abs", x), array(0.01, np.float32)))


ROUNDED = {  # results that depend on who computes them
    **{name: op(name) for name in ("Exp", "Sigmoid", "Tanh", "Erf", "Softplus", "Elu", "Selu", "Celu", "Mish", "Sin",
                                   "Cos", "Softsign", "Softmax", "LogSoftmax", "GlobalAveragePool", "Sinh", "Atan")},
    "Log": positive("Log"), "Softmax of channels": op("Softmax", axis=1), "Gelu": op("Gelu"),
    "Gelu, tanh": op("Gelu", approximate="tanh"), "Pow": op("Pow", array(3, np.float32)),
    "LayerNormalization": op("LayerNormalization", floats(1, 32), floats(2, 32)),
    "InstanceNormalization": op("InstanceNormalization", floats(1, 8), floats(2, 8)),
    "GroupNormalization": op("GroupNormalization", floats(1, 8), floats(2, 8), num_groups=2),
    "SkipLayerNormalization": lambda net, x: net(
        "SkipLayerNormalization", net("Reshape", x, array([8, 12, 32], np.int64)), floats(3, 8, 12, 32), floats(1, 32),
        floats(2, 32), domain="com.microsoft"),
    "ReduceSum": op("ReduceSum", array([2, 3], np.int64)), "ReduceMean": op("ReduceMean", array([3], np.int64)),
    "ReduceL2": op("ReduceL2", array([2], np.int64)), "ReduceLogSumExp": op("ReduceLogSumExp", array([1], np.int64)),
    "AveragePool": op("AveragePool", kernel_shape=[3, 2], pads=[1, 0, 1, 1]),
    "Einsum": lambda net, x: net("Einsum", x, x, equation="nchw,nchv->ncwv"),
    "Conv": op("Conv", floats(1, 6, 4, 3, 3), floats(2, 6), group=2, strides=[2, 1], pads=[1, 0, 2, 1]),
    # ONNX Runtime does not fold these weights, and so adds in another order than with constant ones.
    "Conv with quantized weights": lambda net, x: net("Conv", x, net.weights(array(
        np.random.default_rng(1).integers(-127, 128, (8, 8, 3, 3)), np.int8), 0.01), pads=[1] * 4),
    "Conv of lines": lambda net, x: net("Conv", net("Reshape", x, array([1, 8, -1], np.int64)), floats(1, 6, 8, 5)),
    "ConvTranspose": op("ConvTranspose", floats(1, 8, 3, 3, 3), group=2, strides=[2, 3], output_padding=[1, 0]),
    "MatMul": op("MatMul", floats(1, 32, 17)), "MatMul, computed": lambda net, x: net("MatMul", x, net(
        "Transpose", x, perm=[0, 1, 3, 2])),
    "Gemm": lambda net, x: net("Gemm", net("Reshape", x, array([96, 32], np.int64)), floats(1, 32, 9), floats(2, 9)),
}
EXACT = {  # single operations of float32, in numpy as well
    **{name: op(name) for name in ("Relu", "Abs", "Neg", "Floor", "Ceil", "Round", "HardSwish", "HardSigmoid",
                                   "LeakyRelu", "ThresholdedRelu", "Sign")},
    "Sqrt": positive("Sqrt"), "Reciprocal": positive("Reciprocal"), "Mul": lambda net, x: net("Mul", x, net("Abs", x)),
    "Div": lambda net, x: net("Div", x, positive("Sqrt")(net, x)), "Clip": op("Clip", array(-1, np.float32)),
    "BatchNormalization": op("BatchNormalization", *(floats(i, 8, low=0.1) for i in range(4))),
    "Resize": op("Resize", "", array([1, 1, 2, 1.7], np.float32), mode="linear"),
    "Where": lambda net, x: net("Where", net("Greater", x, net("Neg", x)), x, array(0, np.float32)),
    "Hardmax": lambda net, x: net("Hardmax", net("Round", x)),  # several elements are the largest
    "Hardmax of channels": op("Hardmax", axis=1),
    "Max": lambda net, x: net("Max", x, net("Neg", x), array(0.5, np.float32)),
    "Sum": lambda net, x: net("Sum", x, x, net("Abs", x)), "Mean": lambda net, x: net("Mean", x, x, net("Abs", x)),
}


def results(build, opset):
    net = Net(opset)
    x = net.input(SHAPE)
    side = net.qdq(net.input((1, 4)), 0.1, 0)  # so that layers count as those of a network that is quantized
    model = net.model(build(net, x), side)
    feeds = feeds_for(model, np.random.default_rng(4))
    return run(import_onnx(model), feeds)[0], reference(model, feeds)[0]


@pytest.mark.parametrize("opset", (18, 21))
@pytest.mark.parametrize("name", (*ROUNDED, *EXACT))
def test_floats_with_the_kernels_of_onnx_runtime(name, opset):
    if name in ("Gelu", "Gelu, tanh", "GroupNormalization") and opset < 21:
        pytest.skip("newer than the opset")
    got, want = results((ROUNDED | EXACT)[name], opset)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", (*ROUNDED, *EXACT))
def test_floats_without_onnx_runtime(name, monkeypatch):
    """As on a device that has only the runtime."""
    monkeypatch.setenv(onnxruntime_kernels.SWITCH, "0")
    assert not onnxruntime_kernels.available()
    got, want = results((ROUNDED | EXACT)[name], 21)
    assert got.shape == want.shape and got.dtype == want.dtype
    if name in EXACT:
        np.testing.assert_array_equal(got, want)
    else:
        assert np.abs(got - want).max() <= LARGEST * max(1.0, np.abs(want).max())


def layer_in_float(build, scales, dtype=np.uint8):
    """A layer that ONNX Runtime computes in float, since an activation or a second reader is behind it."""
    net = Net()
    x = net.qdq(net.input((1, 4, 40, 40)), scales[0], 128, dtype)
    return net.model(net.qdq(build(net, x), scales[1], 128, dtype))


@pytest.mark.parametrize("scales,most", (((0.05, 0.3), 2e-3), ((0.0527341, 0.3141592), 1e-4)))
@pytest.mark.parametrize("kind", ("Conv", "ConvTranspose"))
def test_integer_layers_that_onnx_runtime_leaves_in_float(kind, scales, most):
    """One step off where a float sum is rounded across a half: often where scales make ties, else hardly ever."""
    rng = np.random.default_rng(5)
    weights = rng.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8)
    step = 0.01 if most > 1e-3 else 0.0123456
    model = layer_in_float(lambda net, x: net("Relu", net(kind, x, net.weights(weights, step))), scales)
    graph = import_onnx(model)
    wrong = 0
    total = 0
    for _ in range(6):
        feeds = feeds_for(model, rng)
        got = run(graph, feeds)[0]
        want = reference(model, feeds)[0]
        off = np.abs(got - want)
        assert off.max() <= 1.01 * scales[1]
        wrong += int((off > 0).sum())
        total += off.size
    assert wrong <= most * total
    assert graph.notes == [f"{kind} 'v3_0': ONNX Runtime computes it in float32; results can be one step off where a "
                           "sum lies on the border of two"]


def test_layers_that_onnx_runtime_computes_with_integers_have_no_note():
    net = Net()
    x = net.qdq(net.input((1, 4, 8, 8)), 0.05, 128, np.uint8)
    weights = np.random.default_rng(6).integers(-127, 128, (4, 4, 3, 3)).astype(np.int8)
    graph = import_onnx(net.model(net.qdq(net("Conv", x, net.weights(weights, 0.01)), 0.3, 128, np.uint8)))
    assert graph.notes == []
