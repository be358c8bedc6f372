"""Tensors whose scale is 0, as files of constant activations or pruned channels have them."""


import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lepton.compiler import compile_graph
from lepton.device import open as open_device
from lepton.frontends import import_tflite
from lepton.graph import GraphError
from lepton.runtime import Session

from tests.host.frontends.tflite.file_cases import RNG, int8, integers, quantized, same
from tests.litert_models import Tensor, build, references


def convolution(x_scale, w_scale, y_scale, bias_scale=None) -> bytes:
    x = quantized(1, 6, 6, 4, scale=x_scale, zero=5)
    y = quantized(1, 6, 6, 4, scale=y_scale, zero=3)
    weights = Tensor(np.float32(w_scale), 0, data=int8(4, 3, 3, 4), axis=0)
    bias = Tensor(np.float32(w_scale) * np.float32(x_scale) if bias_scale is None else np.float32(bias_scale), 0,
                  data=RNG.integers(-1000, 1000, 4, dtype=np.int32))
    return build("CONV_2D", [x, weights, bias], y, 3, "Conv2DOptions", Padding=0, StrideH=1, StrideW=1,
                 DilationHFactor=1, DilationWFactor=1)


@pytest.mark.parametrize(("x", "weights", "bias"), [
    (0.05, [0.01, 0, 0.02, 0.005], None), (0.05, [0, 0, 0, 0], None), (0.05, 0, None),
    (0.05, [0.01] * 4, [0, 0, 0.0005, 0.0005]), (0.05, 0.01, 0), (0, 0.01, None)])
def test_convolutions_with_scales_of_0(x, weights, bias):
    model = convolution(x, weights, 0.3, bias)
    values = int8(1, 6, 6, 4)
    same(model, values)
    compiled = compile_graph(import_tflite(model), "tiny")
    with open_device("golden", config="tiny") as device, Session(compiled, device) as session:
        np.testing.assert_array_equal(next(iter(session.run(values).outputs.values())), references(model, values)[0])


TABLES = {"RELU": "", "LOGISTIC": "", "TANH": "", "HARD_SWISH": "HardSwishOptions", "LEAKY_RELU": "LeakyReluOptions",
          "QUANTIZE": "QuantizeOptions", "ABS": "AbsOptions", "GELU": "GeluOptions", "EXP": "ExpOptions"}


@pytest.mark.parametrize("operator", TABLES)
def test_functions_of_values_that_are_all_0(operator):
    y = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(operator, (0.1, 4))
    x = quantized(1, 256, scale=0, zero=5)
    version = 1 if operator in ("HARD_SWISH", "ABS") else 2
    every = np.arange(-128, 128).astype(np.int8)[None]
    same(build(operator, [x], quantized(1, 256, scale=y[0], zero=y[1]), version, TABLES[operator]), every)


def test_other_operators_on_values_that_are_all_0():
    x = quantized(1, 8, scale=0, zero=3)
    a = int8(1, 8)
    same(build("MUL", [x, quantized(1, 8)], quantized(1, 8), 2, "MulOptions"), a, int8(1, 8))
    same(build("DEQUANTIZE", [x], Tensor(shape=(1, 8), dtype=np.float32), 2, "DequantizeOptions"), a)
    same(build("RESHAPE", [x, integers([8, 1])], quantized(8, 1, scale=0, zero=3), 1, "ReshapeOptions"), a)
    same(build("MEAN", [x, integers([1])], quantized(1, scale=0.1, zero=4), 2, "ReducerOptions"), a)


def test_scales_of_0_that_have_no_meaning():
    with pytest.raises(GraphError, match="output 'tensor_3' has the scale 0, in which no value can be expressed"):
        import_tflite(convolution(0.05, 0.01, 0))
    x = quantized(1, 8, scale=0)
    with pytest.raises(GraphError, match=r"\(ADD\): an input has the scale 0, which LiteRT does not compute either"):
        import_tflite(build("ADD", [x, quantized(1, 8)], quantized(1, 8), 2, "AddOptions"))
