"""Requantization in float32 against numpy's and ONNX Runtime's."""

import numpy as np
import onnxruntime
import pytest
from lepton_sim.golden.numerics import multiply_in_float32
from onnx import TensorProto, helper, numpy_helper

from tests.float_cases import float_cases


def _columns(seed, random_cases=0):
    x, multiplier, right = np.array(float_cases(seed, random_cases), np.int64).T
    return x, multiplier, right, np.ldexp(multiplier.astype(np.float32), -(31 + right)).astype(np.float32)


def test_is_ieee():
    x, multiplier, right, scale = _columns(1, 20_000)
    wanted = np.rint(x.astype(np.int32).astype(np.float32) * scale).astype(np.int64)
    assert np.array_equal(multiply_in_float32(x, multiplier, 0, right), wanted)
    # the cases are worth something: a product that is rounded only once differs in many of them
    once = np.rint(np.float64(x) * np.float64(scale)).astype(np.int64)
    assert (once != wanted).sum() > 20


def test_left_shift():
    """A scale of 1 and above: the shift comes before the conversion, and wraps."""
    x = np.array([-9, -1, 0, 1, 9, 12345])
    for left in (1, 8, 17):
        scale = np.float32(2.0**left * 0.7)
        multiplier = int(np.float32(0.7) * 2**31)
        assert np.array_equal(multiply_in_float32(x, multiplier, left, 0), np.rint(x.astype(np.float32) * scale))
    assert multiply_in_float32(1 << 30, 1 << 30, 1, 0) == -(1 << 30)
    assert multiply_in_float32((1 << 31) - 1, 1 << 30, 0, 0) == -(1 << 30), "2**31, modulo 2**32"
    assert multiply_in_float32((1 << 31) - 65, 1 << 30, 0, 0) == (1 << 30) - 64


def _qlinear_conv(bias, scale, zero):
    """Accumulators `bias`, one per output channel, through ONNX Runtime's requantization by `scale`."""
    channels = len(bias)
    constants = dict(
        x_scale=np.float32(1), zero=np.int8(0), weights=np.zeros((channels, 1, 1, 1), np.int8), scale=scale,
        zeros=np.zeros(channels, np.int8), y_scale=np.float32(1), y_zero=np.int8(zero), bias=bias.astype(np.int32))
    names = ["x", "x_scale", "zero", "weights", "scale", "zeros", "y_scale", "y_zero", "bias"]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", names, ["y"])], "requantize",
        [helper.make_tensor_value_info("x", TensorProto.INT8, [1, 1, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.INT8, [1, channels, 1, 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.zeros((1, 1, 1, 1), np.int8)})[0].reshape(-1)


@pytest.mark.parametrize("zero", [0, -128, 77])
def test_is_onnx_runtimes(zero):
    x, multiplier, right, scale = _columns(2 + zero, 3000)
    got = np.clip(multiply_in_float32(x, multiplier, 0, right) + zero, -128, 127)
    assert len(np.unique(got)) > 100
    assert np.array_equal(got, _qlinear_conv(x, scale, zero))
