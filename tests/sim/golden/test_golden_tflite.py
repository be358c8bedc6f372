"""Golden commands against LiteRT's reference kernels, byte for byte."""

import math

import numpy as np
import pytest
import tflite
from lepton.arch import PRESETS, Rounding
from lepton_sim.golden.numerics import multiply_by_quantized_multiplier, quantize_multiplier

from tests.litert_models import Tensor, build, reference
from tests.sim.golden import golden_lowering as lower
from tests.sim.golden.golden_lowering import ROOMY, Window

CONFIGS = {"tiny": PRESETS["tiny"].with_(scratchpad_kib=256, weight_kib=256, accumulator_rows=1024), "base": ROOMY}
ACTIVATIONS = {"NONE": tflite.ActivationFunctionType.NONE, "RELU": tflite.ActivationFunctionType.RELU,
               "RELU6": tflite.ActivationFunctionType.RELU6}


def _limits(activation, scale, zero):
    """TFLite's CalculateActivationRangeQuantized for int8."""
    def quantized(value):
        return zero + math.floor(np.float32(value) / np.float32(scale) + 0.5)
    low = max(-128, quantized(0)) if activation != "NONE" else -128
    return low, min(127, quantized(6)) if activation == "RELU6" else 127


def _span(size, kernel, stride, dilation, padding):
    """(output size, padding before) of one axis, as TFLite's ComputePaddingHeightWidth."""
    effective = (kernel - 1) * dilation + 1
    out = -(-size // stride) if padding == "SAME" else -(-(size - effective + 1) // stride)
    return out, max(0, (out - 1) * stride + effective - size) // 2


def _window(shape, kernel, stride, dilation, padding):
    spans = [_span(*values, padding) for values in zip(shape[:2], kernel, stride, dilation, strict=True)]
    return Window(kernel, tuple(s[0] for s in spans), stride, tuple(s[1] for s in spans), dilation)


def _values(rng, shape, extreme):
    """Random int8, or a mixture of the two extremes only, or one of them throughout."""
    if extreme is None:
        return rng.integers(-128, 128, shape).astype(np.int8)
    if extreme == "both":
        return rng.choice([-128, 127], shape).astype(np.int8)
    return np.full(shape, extreme, np.int8)


def _check_conv(rng, config, shape, outputs, kernel, stride, dilation, padding, activation="NONE", extreme=None,
                bias_range=1 << 14, bias=None, out_scale=None):
    x = _values(rng, shape, extreme)
    weights = np.maximum(_values(rng, (outputs, *kernel, shape[2]), extreme), -127)
    if bias is None:
        bias = rng.integers(-bias_range, bias_range, outputs).astype(np.int32)
    zero_in, zero_out = (int(v) for v in rng.integers(-128, 128, 2))
    scale_in = np.float32(rng.uniform(0.005, 0.1))
    scales = rng.uniform(0.001, 0.02, outputs).astype(np.float32)
    fan_in = kernel[0] * kernel[1] * shape[2]
    scale_out = np.float32(scale_in * scales.mean() * 75 * math.sqrt(fan_in) if out_scale is None else out_scale)
    window = _window(shape, kernel, stride, dilation, padding)
    model = build(
        "CONV_2D", [Tensor(scale_in, zero_in, shape=(1, *shape)), Tensor(scales, data=weights),
                    Tensor(scale_in * scales, data=bias)],
        Tensor(scale_out, zero_out, shape=(1, *window.out, outputs)), 3, "Conv2DOptions",
        Padding=getattr(tflite.Padding, padding), StrideH=stride[0], StrideW=stride[1], DilationHFactor=dilation[0],
        DilationWFactor=dilation[1], FusedActivationFunction=ACTIVATIONS[activation])
    expected = reference(model, x[None])[0]
    factors = [quantize_multiplier(float(scale_in) * float(s) / float(scale_out)) for s in scales]
    got = lower.conv(x, weights, bias, *np.array(factors).T, zero_in, zero_out,
                     *_limits(activation, scale_out, zero_out), window, config)
    np.testing.assert_array_equal(got, expected)
    return expected


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seed", range(12))
def test_random_convolutions(seed, config):
    rng = np.random.default_rng([seed, 1])
    kernel = tuple(int(v) for v in rng.integers(1, 5, 2))
    dilation = tuple(int(v) for v in rng.integers(1, 3, 2))
    shape = (*(int(v) for v in rng.integers(9, 14, 2)), int(rng.integers(1, 21)))
    _check_conv(rng, CONFIGS[config], shape, int(rng.integers(1, 20)), kernel,
                tuple(int(v) for v in rng.integers(1, 4, 2)), dilation, ["SAME", "VALID"][seed % 2],
                ["NONE", "RELU", "RELU6"][seed % 3])


@pytest.mark.parametrize("extreme", [-128, 127, "both"])
def test_extreme_values(extreme):
    """Sums as large as they get: 3x3 of 40 channels."""
    rng = np.random.default_rng(2)
    _check_conv(rng, ROOMY, (6, 6, 40), 17, (3, 3), (1, 1), (1, 1), "SAME", extreme=extreme)


def test_accumulators_that_wrap():
    """A bias near the ends of int32 takes the sum past them; the reference kernel wraps."""
    rng = np.random.default_rng(3)
    bias = np.where(np.arange(16) % 2, (1 << 31) - 1, -1 << 31).astype(np.int32)
    expected = _check_conv(rng, ROOMY, (8, 8, 16), 16, (3, 3), (1, 1), (1, 1), "SAME", bias=bias, out_scale=30000.0)
    # In most channels some sums stay on the bias's side and others come out at the other end.
    assert (np.ptp(expected.astype(int), axis=(0, 1)) > 10).sum() >= 12


def test_scale_above_one():
    """A left shift: the output is finer than the sum."""
    rng = np.random.default_rng(4)
    _check_conv(rng, ROOMY, (4, 4, 3), 5, (1, 1), (1, 1), (1, 1), "VALID", bias_range=100, out_scale=1e-6)


@pytest.mark.parametrize("inputs, outputs, extreme", [(1, 1, None), (16, 16, None), (100, 35, None), (640, 10, -128),
                                                      (640, 10, "both")])
def test_fully_connected(inputs, outputs, extreme):
    rng = np.random.default_rng([inputs, outputs])
    x = _values(rng, inputs, extreme)
    weights = np.maximum(_values(rng, (outputs, inputs), extreme), -127)
    bias = rng.integers(-5000, 5000, outputs).astype(np.int32)
    scale_in = np.float32(0.031)
    scale_w = np.float32(0.0072)
    zero_in = -17
    zero_out = 9
    scale_out = np.float32(scale_in * scale_w * 75 * math.sqrt(inputs))
    model = build("FULLY_CONNECTED", [Tensor(scale_in, zero_in, shape=(1, inputs)), Tensor(scale_w, data=weights),
                                      Tensor(scale_in * scale_w, data=bias)],
                  Tensor(scale_out, zero_out, shape=(1, outputs)), 4, "FullyConnectedOptions")
    # The kernel multiplies the two input scales in float32 here (GetQuantizedConvolutionMultipler).
    factor = quantize_multiplier(float(scale_in * scale_w) / float(scale_out))
    got = lower.fully_connected(x, weights, bias, *factor, zero_in, zero_out, -128, 127)
    np.testing.assert_array_equal(got, reference(model, x[None])[0])


def test_fully_connected_rounds_once():
    """Enough outputs that rounding twice would show: it differs in about one of a thousand."""
    rng = np.random.default_rng(11)
    inputs = 64
    outputs = 4000
    x = _values(rng, inputs, None)
    weights = np.maximum(_values(rng, (outputs, inputs), None), -127)
    bias = rng.integers(-5000, 5000, outputs).astype(np.int32)
    scale_in = np.float32(0.031)
    scale_w = np.float32(0.0072)
    zero_in = -17
    zero_out = 9
    scale_out = np.float32(scale_in * scale_w * 600)
    model = build("FULLY_CONNECTED", [Tensor(scale_in, zero_in, shape=(1, inputs)), Tensor(scale_w, data=weights),
                                      Tensor(scale_in * scale_w, data=bias)],
                  Tensor(scale_out, zero_out, shape=(1, outputs)), 4, "FullyConnectedOptions")
    factor = quantize_multiplier(float(scale_in * scale_w) / float(scale_out))
    args = (x, weights, bias, *factor, zero_in, zero_out, -128, 127)
    once, twice = (lower.fully_connected(*args, rounding=rounding)
                   for rounding in (Rounding.SINGLE, Rounding.DOUBLE))
    wanted = reference(model, x[None])[0]
    np.testing.assert_array_equal(once, wanted)
    assert (twice != wanted).any(), "the case does not tell one rounding from two"


@pytest.mark.parametrize("extreme", [None, -128, 127, "both"])
@pytest.mark.parametrize("seed", range(3))
def test_add(seed, extreme):
    rng = np.random.default_rng([seed, 5])
    a = _values(rng, 331, extreme)
    b = _values(rng, 331, extreme)
    scales = rng.uniform(0.003, 0.2, 3).astype(np.float32)
    zeros = [int(v) for v in rng.integers(-128, 128, 3)]
    model = build("ADD", [Tensor(scales[0], zeros[0], shape=(1, 331)), Tensor(scales[1], zeros[1], shape=(1, 331))],
                  Tensor(scales[2], zeros[2], shape=(1, 331)), 2, "AddOptions")
    # tensorflow/lite/kernels/add.cc, Prepare
    twice = 2 * max(float(scales[0]), float(scales[1]))
    factors = [quantize_multiplier(f) for f in (
        float(scales[0]) / twice, float(scales[1]) / twice, twice / ((1 << 20) * float(scales[2])))]
    multipliers, lefts, rights = zip(*factors, strict=True)
    assert not any(lefts)
    got = lower.add(a, b, -128, 127, zeros, multipliers, rights)
    np.testing.assert_array_equal(got, reference(model, a[None], b[None])[0])


@pytest.mark.parametrize("operator", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("shape, kernel, stride, extreme", [
    ((8, 8, 16), (2, 2), (2, 2), None), ((9, 7, 21), (3, 3), (2, 2), None), ((7, 5, 3), (3, 2), (1, 2), "both"),
    ((8, 8, 64), (8, 8), (8, 8), None), ((7, 7, 5), (7, 7), (7, 7), -128), ((5, 25, 20), (5, 25), (1, 1), "both"),
])
def test_pools(operator, padding, shape, kernel, stride, extreme):
    rng = np.random.default_rng([*shape, *kernel])
    x = _values(rng, shape, extreme)
    window = _window(shape, kernel, stride, (1, 1), padding)
    if math.prod(window.out) > 100 and operator == "AVERAGE_POOL_2D" and padding == "SAME":
        window = _window(shape, kernel, (5, 5), (1, 1), padding)
    model = build(operator, [Tensor(0.1, 3, shape=(1, *shape))], Tensor(0.1, 3, shape=(1, *window.out, shape[2])), 2,
                  "Pool2DOptions", Padding=getattr(tflite.Padding, padding), StrideH=window.stride[0],
                  StrideW=window.stride[1], FilterHeight=kernel[0], FilterWidth=kernel[1])
    pool = lower.max_pool if operator == "MAX_POOL_2D" else lower.average_pool
    np.testing.assert_array_equal(pool(x, -128, 127, window), reference(model, x[None])[0])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 9, 12, 15, 25, 49, 64, 81, 125, 196, 625])
def test_average_parameters_divide_every_sum_exactly(count):
    sums = np.arange(-128 * count, 127 * count + 1)
    away = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
    multiplier, left, right = lower.average_parameters(count)
    np.testing.assert_array_equal(multiply_by_quantized_multiplier(sums, multiplier, left, right), away)
