"""QOperator networks (QLinearConv and its family): random shapes, zero points, scales and ties against ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton.frontends.onnx import import_onnx
from lepton.graph import GraphError

from tests.host.frontends.onnx.onnx_models import Net, array, difference, exact_products, operators

BYTES = (np.int8, np.uint8)
MICROSOFT = "com.microsoft"
few = settings(max_examples=25, deadline=None, derandomize=True)


def zero_point(rng, dtype, size=None):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, size).astype(dtype)


def scale(rng, knife_edge, size=None, low=-4.0, high=0.0):
    """With powers of two every half is a tie."""
    exponent = rng.uniform(low, high, size)
    return np.asarray(np.exp2(np.round(exponent)) if knife_edge else np.exp2(exponent), np.float32)


def params(net, rng, dtype, knife_edge, **limits):
    return [net.constant(scale(rng, knife_edge, **limits)), net.constant(zero_point(rng, dtype), dtype)]


@exact_products
@few
@given(seed=st.integers(0, 2**32 - 1), x_type=st.sampled_from(BYTES), w_type=st.sampled_from(BYTES),
       knife_edge=st.booleans(), depthwise=st.booleans(), per_channel=st.booleans(), bias=st.booleans())
def test_qlinear_conv(seed, x_type, w_type, knife_edge, depthwise, per_channel, bias):
    rng = np.random.default_rng(seed)
    if w_type == np.uint8 and x_type == np.int8:
        x_type = np.uint8  # ONNX Runtime has no kernel for int8 times uint8
    groups, each = (int(rng.integers(2, 9)), 1) if depthwise else (int(rng.integers(1, 3)), int(rng.integers(1, 9)))
    outputs = groups * int(rng.integers(1, 4))
    kernel, stride, dilation = ([int(v) for v in rng.integers(1, high, 2)] for high in (4, 3, 3))
    pads = [int(v) for v in rng.integers(0, 3, 4)]
    size = [int(v) + (k - 1) * d for v, k, d in zip(rng.integers(1, 7, 2), kernel, dilation, strict=True)]
    channels = outputs if per_channel else None
    w_zero = zero_point(rng, w_type)  # one for all channels, as ONNX Runtime demands
    if per_channel or w_type == np.int8:
        w_zero = np.zeros((), w_type) if w_type == np.int8 else w_zero
    net = Net()
    x = net.input((1, groups * each, *size), x_type)
    info = np.iinfo(w_type)
    weights = rng.integers(info.min, info.max + 1, (outputs, each, *kernel)).astype(w_type)
    w = [net.constant(weights), net.constant(scale(rng, knife_edge, channels)),
         net.constant(np.full(channels, w_zero) if per_channel else w_zero)]
    out = params(net, rng, x_type, knife_edge, low=2, high=6)
    last = [net.constant(rng.integers(-2**14, 2**14, outputs), np.int32)] if bias else []
    y = net("QLinearConv", x, *params(net, rng, x_type, knife_edge), *w, *out, *last, group=groups, strides=stride,
            dilations=dilation, pads=pads)
    assert difference(net.model(y), rng, runs=1) == 0


@exact_products
@few
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(BYTES), w_type=st.sampled_from(BYTES),
       knife_edge=st.booleans(), kind=st.sampled_from(("constant", "columns", "computed", "QGemm")))
def test_matrix_products(seed, dtype, w_type, knife_edge, kind):
    rng = np.random.default_rng(seed)
    w_type = w_type if dtype == np.uint8 else np.int8
    rows, inner, columns = (int(v) for v in rng.integers(1, 12, 3))
    net = Net()
    a = net.input((rows, inner) if kind == "QGemm" else (1, rows, inner), dtype)
    a_params = params(net, rng, dtype, knife_edge)
    out = params(net, rng, dtype, knife_edge, low=1, high=4)
    info = np.iinfo(w_type)
    weights = rng.integers(info.min, info.max + 1, (inner, columns)).astype(w_type)
    b_params = params(net, rng, w_type, knife_edge)
    if kind == "computed":
        y = net("QLinearMatMul", a, *a_params, net.input((1, inner, columns), w_type), *b_params, *out)
    elif kind == "QGemm":
        bias = net.constant(rng.integers(-2**12, 2**12, columns), np.int32)
        y = net("QGemm", a, *a_params, net.constant(weights.T), *b_params, bias, *out, transB=1, domain=MICROSOFT)
    else:
        if kind == "columns":
            b_params = [net.constant(scale(rng, knife_edge, columns)), net.constant(zero_point(rng, w_type, columns))]
        y = net("QLinearMatMul", a, *a_params, net.constant(weights), *b_params, *out)
    assert difference(net.model(y), rng, runs=1) == 0


@few
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(BYTES), knife_edge=st.booleans(),
       op=st.sampled_from(("QLinearAdd", "QLinearMul")), other=st.sampled_from(((1, 3, 5, 7), (1, 3, 1, 1), (7,), ())))
def test_sums_and_products(seed, dtype, knife_edge, op, other):
    rng = np.random.default_rng(seed)
    net = Net()
    a = net.input((1, 3, 5, 7), dtype)
    b = net.input(other, dtype)
    y = net(op, a, *params(net, rng, dtype, knife_edge), b, *params(net, rng, dtype, knife_edge),
            *params(net, rng, dtype, knife_edge, low=-2, high=1), domain=MICROSOFT)
    assert difference(net.model(y), rng, runs=4) == 0


@few
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(BYTES), knife_edge=st.booleans(),
       op=st.sampled_from(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearLeakyRelu",
                           "QLinearSoftmax")))
def test_one_operand(seed, dtype, knife_edge, op):
    rng = np.random.default_rng(seed)
    if op == "QLinearSoftmax" and dtype == np.int8:
        return  # its int8 kernel wraps a probability of 1 around to -128
    options = {"QLinearAveragePool": {"kernel_shape": [int(v) for v in rng.integers(1, 4, 2)],
                                      "strides": [int(v) for v in rng.integers(1, 3, 2)]},
               "QLinearLeakyRelu": {"alpha": 0.2}, "QLinearSoftmax": {"axis": int(rng.integers(1, 4)), "opset": 13}}
    net = Net()
    x = net.input((1, 3, int(rng.integers(3, 8)), int(rng.integers(3, 8))), dtype)
    out = params(net, rng, dtype, knife_edge)
    if op == "QLinearSoftmax":
        out = [net.constant(1 / 256, np.float32), net.constant(0, np.uint8)]
    y = net(op, x, *params(net, rng, dtype, knife_edge), *out, domain=MICROSOFT, **options.get(op, {}))
    assert difference(net.model(y), rng, runs=2) == 0


@few
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(BYTES), knife_edge=st.booleans())
def test_concat(seed, dtype, knife_edge):
    rng = np.random.default_rng(seed)
    net = Net()
    out = params(net, rng, dtype, knife_edge)
    parts = [part for _ in range(3) for part in
             (net.input((1, int(rng.integers(1, 4)), 3, 2), dtype), *params(net, rng, dtype, knife_edge))]
    model = net.model(net("QLinearConcat", *out, *parts, *out[:0], axis=1, domain=MICROSOFT))
    assert difference(model, rng, runs=1) == 0
    assert "Concat" in operators(model)


@few
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(BYTES), knife_edge=st.booleans())
def test_quantize_and_dequantize(seed, dtype, knife_edge):
    rng = np.random.default_rng(seed)
    step = scale(rng, knife_edge)
    zero = zero_point(rng, dtype)
    net = Net()
    model = net.model(net.quantize(net.input((1, 2000)), step, zero, dtype), net.dequantize(
        net.input((1, 256), dtype), step, zero, dtype))
    bound = 130 * float(step)
    assert difference(model, rng, low=-bound, high=bound) == 0


def test_without_zero_points():
    net = Net()
    y = net("QuantizeLinear", net.input((1, 9)), array(0.1, np.float32))
    model = net.model(net("DequantizeLinear", y, array(0.1, np.float32)), y)
    assert difference(model, np.random.default_rng(1)) == 0


@pytest.mark.parametrize("bad, text", [
    (np.nan, "scales must be finite and above 0, not nan"), (0.0, "scales must be finite and above 0, not 0.0"),
    (-0.5, "scales must be finite and above 0, not -0.5"), (np.inf, "scales must be finite and above 0, not inf")])
def test_bad_scales(bad, text):
    net = Net()
    x = net.input((1, 4, 3, 3), np.uint8)
    y = net("QLinearSigmoid", x, array(bad, np.float32), array(1, np.uint8), array(1, np.float32), array(1, np.uint8),
            domain=MICROSOFT)
    with pytest.raises(GraphError, match=text):
        import_onnx(net.model(y))


@exact_products
@pytest.mark.parametrize("dtype", (np.int8, np.uint8))
@pytest.mark.parametrize("coordinates", ("align_corners", "half_pixel", "asymmetric"))
def test_interpolation_where_onnx_runtime_puts_channels_last(coordinates, dtype):
    """Between its integer convolutions it does, and then has other arithmetic; alone it does not."""
    rng = np.random.default_rng(3)
    net = Net()

    def layer(x, channels):
        weights = rng.integers(-127, 128, (4, channels, 1, 1)).astype(np.int8)
        return net("QLinearConv", x, array(0.02, np.float32), array(3, dtype), weights, array(0.01, np.float32),
                   array(0, np.int8), array(0.04, np.float32), array(7, dtype))

    def resized(x):
        return net("Resize", x, np.zeros(0, np.float32), np.zeros(0, np.float32), array([1, 4, 15, 4], np.int64),
                   mode="linear", coordinate_transformation_mode=coordinates)

    x = net.input((1, 4, 7, 9), dtype)
    model = net.model(layer(resized(layer(x, 4)), 4), resized(x))
    assert difference(model, rng, runs=3) == 0
