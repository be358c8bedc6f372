"""Operators that compute, imported, compiled and run on the golden device, against LiteRT's reference kernels."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")


from tests.host.frontends.tflite.execution import RELU, RELU6, SAME, Case, compare, integers, size
from tests.litert_models import Tensor, build


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_convolutions(seed, dtype):
    case = Case(seed)
    r = case.random
    legacy = dtype == np.uint8
    h, w, c = (int(n) for n in r.integers((4, 4, 1), (9, 9, 11)))
    k, s, padding = (int(n) for n in r.integers((1, 1, 0), (4, 3, 2)))
    x = case.activation(1, h, w, c, dtype=dtype)
    zero = int(r.integers(0, 256)) if legacy else 0
    window = {"Padding": padding, "StrideH": s, "StrideW": s, "FusedActivationFunction": [0, RELU, RELU6][seed % 3]}
    shape = (1, size(h, k, s, padding), size(w, k, s, padding))
    outputs = int(r.integers(1, 10))
    weights, bias = case.weights(x, (outputs, k, k, c), None if legacy else 0, outputs, dtype, zero)
    y = case.activation(*shape, outputs, scale=case.scale(-1, 0.5), dtype=dtype)
    compare(build("CONV_2D", [x, weights, bias], y, 1 if legacy else 3, "Conv2DOptions", **window,
                  DilationHFactor=1, DilationWFactor=1), case.values(x))
    multiplier = int(r.integers(1, 3))
    weights, bias = case.weights(x, (1, k, k, c * multiplier), None if legacy else 3, c * multiplier, dtype, zero)
    y = case.activation(*shape, c * multiplier, scale=case.scale(-1, 0.5), dtype=dtype)
    compare(build("DEPTHWISE_CONV_2D", [x, weights, bias], y, 1 if legacy else 3, "DepthwiseConv2DOptions", **window,
                  DepthMultiplier=multiplier, DilationHFactor=1, DilationWFactor=1), case.values(x))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_fully_connected_and_batches_of_it(seed, dtype):
    case = Case(seed)
    rows, inputs, outputs = (int(n) for n in case.random.integers((1, 3, 1), (5, 40, 20)))
    x = case.activation(rows, inputs, dtype=dtype)
    zero = int(case.random.integers(0, 256)) if dtype == np.uint8 else 0
    weights, bias = case.weights(x, (outputs, inputs), None, outputs, dtype, zero)
    y = case.activation(rows, outputs, scale=case.scale(-1, 0.5), dtype=dtype)
    compare(build("FULLY_CONNECTED", [x, weights, bias], y, 1 if dtype == np.uint8 else 4, "FullyConnectedOptions",
                  FusedActivationFunction=seed % 2), case.values(x))
    image = case.like(x, rows, 1, inputs, 3)  # 3 rows of it for every image: TFLite looks at the elements only
    y = case.activation(3 * rows, outputs, scale=case.scale(-1, 0.5), dtype=dtype)
    compare(build("FULLY_CONNECTED", [image, weights, bias], y, 1 if dtype == np.uint8 else 4, "FullyConnectedOptions"),
            case.values(image))


@pytest.mark.parametrize("seed", range(6))
def test_transposed_convolutions(seed):
    case = Case(seed)
    r = case.random
    h, w, c, outputs, k, s, padding = (int(n) for n in r.integers((2, 2, 1, 1, 1, 1, 0), (6, 6, 9, 9, 5, 4, 2)))
    made = (1, h * s, w * s, outputs) if padding == SAME else (1, (h - 1) * s + k, (w - 1) * s + k, outputs)
    x = case.activation(1, h, w, c)
    weights, bias = case.weights(x, (outputs, k, k, c), 0)
    y = case.activation(*made, scale=case.scale(-1, 0.5))
    model = build("TRANSPOSE_CONV", [integers(*made), weights, x, bias], y, 3, "TransposeConvOptions",
                  Padding=padding, StrideH=s, StrideW=s)
    compare(model, case.values(x))


@pytest.mark.parametrize("adjoint", [(False, False), (True, False), (False, True)])
def test_matrix_products(adjoint):
    case = Case(sum(adjoint))
    a = case.activation(2, *((9, 5) if adjoint[0] else (5, 9)))
    b = case.activation(2, *((7, 9) if adjoint[1] else (9, 7)))
    y = case.activation(2, 5, 7, scale=case.scale(-1, 0))
    model = build("BATCH_MATMUL", [a, b], y, 2, "BatchMatMulOptions", AdjX=adjoint[0], AdjY=adjoint[1])
    compare(model, case.values(a), case.values(b))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("operator", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("seed", range(3))
def test_pools(seed, operator, dtype):
    case = Case(seed)
    h, w, c, kh, kw, s = (int(n) for n in case.random.integers((4, 4, 1, 1, 1, 1), (9, 9, 9, 5, 5, 4)))
    padding = seed % 2
    x = case.activation(1, h, w, c, dtype=dtype)
    y = case.like(x, 1, size(h, kh, s, padding), size(w, kw, s, padding), c)
    model = build(operator, [x], y, 1 if dtype == np.uint8 else 2, "Pool2DOptions", Padding=padding, StrideH=s,
                  StrideW=s, FilterHeight=kh, FilterWidth=kw, FusedActivationFunction=RELU if seed == 2 else 0)
    compare(model, case.values(x))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize(("operator", "axes", "keep"), [
    ("MEAN", (1, 2), True), ("MEAN", (1, 2), False), ("MEAN", (3,), True), ("MEAN", (1,), False),
    ("MEAN", (0, 1, 2, 3), False), ("REDUCE_MAX", (2,), True),
    ("REDUCE_MIN", (1, 3), False)])
def test_reductions(operator, axes, keep, dtype):
    case = Case(len(axes) + 7 * keep)
    x = case.activation(1, 5, 6, 7, dtype=dtype)
    reduced = {axis % 4 for axis in axes}
    shape = [1 if a in reduced else n for a, n in enumerate(x.shape) if keep or a not in reduced]
    extremum = operator.startswith("REDUCE")
    y = case.like(x, *shape) if extremum else case.activation(*shape, scale=x.scale[0] * 0.7, dtype=dtype)
    compare(build(operator, [x, integers(*axes)], y, 2, "ReducerOptions", KeepDims=keep), case.values(x))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("shapes", [((1, 4, 5, 6), (1, 4, 5, 6)), ((1, 4, 5, 6), (1, 1, 1, 6)), ((1, 4, 5, 6), ()),
                                    ((3, 1, 2), (4, 1))])
@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL"])
def test_arithmetic(operator, shapes, dtype):
    case = Case(len(shapes[1]) + 10 * len(operator))
    a, b = (case.activation(*shape, dtype=dtype) for shape in shapes)
    y = case.activation(*np.broadcast_shapes(*shapes), scale=float(max(a.scale[0], b.scale[0])) * 1.3, dtype=dtype)
    options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}[operator]
    model = build(operator, [a, b], y, 2, options, FusedActivationFunction=len(shapes[0]) % 2)
    compare(model, case.values(a), case.values(b) if shapes[1] else np.array(77, dtype))


def test_addition_of_a_constant():
    case = Case(3)
    a = case.activation(1, 4, 5, 6)
    b = Tensor(0.02, 3, data=case.values(case.activation(1, 1, 1, 6)))
    compare(build("ADD", [a, b], case.activation(1, 4, 5, 6), 2, "AddOptions"), case.values(a))


@pytest.mark.parametrize("operator", ["MAXIMUM", "MINIMUM"])
def test_extrema(operator):
    case = Case(5)
    a = case.activation(1, 4, 5, 6)
    b = case.like(a, 1, 1, 5, 1)
    compare(build(operator, [a, b], case.like(a, 1, 4, 5, 6), 2, "MaximumMinimumOptions"), case.values(a),
            case.values(b))


@pytest.mark.parametrize("seed", range(3))
def test_prelu_and_softmax(seed):
    case = Case(seed)
    x = case.activation(1, 4, 3, 6)
    alpha = Tensor(0.01, 5, data=case.values(case.activation(1, 1, 6)))
    compare(build("PRELU", [x, alpha], case.activation(1, 4, 3, 6), 1), case.values(x))
    probabilities = Tensor(1 / 256, -128, shape=(1, 4, 3, 6))
    compare(build("SOFTMAX", [x], probabilities, 2, "SoftmaxOptions", Beta=[1.0, 0.5, 2.0][seed]), case.values(x))
    legacy = case.activation(2, 9, dtype=np.uint8)
    compare(build("SOFTMAX", [legacy], Tensor(1 / 256, 0, shape=(2, 9), dtype=np.uint8), 1, "SoftmaxOptions", Beta=1.0),
            case.values(legacy))


def test_quantize_and_dequantize():
    case = Case(1)
    x = Tensor(shape=(3, 50), dtype=np.float32)
    y = case.activation(3, 50, zero=-7)
    values = case.values(x)
    values[0, :9] = (np.arange(9) - 4.5) * y.scale[0]  # ties
    compare(build("QUANTIZE", [x], y, 1, "QuantizeOptions"), values)
    compare(build("DEQUANTIZE", [y], x, 2, "DequantizeOptions"), case.values(y))
    legacy = case.activation(3, 50, dtype=np.uint8)
    compare(build("DEQUANTIZE", [legacy], x, 1, "DequantizeOptions"), case.values(legacy))
    compare(build("QUANTIZE", [legacy], y, 1, "QuantizeOptions"), case.values(legacy))


@pytest.mark.parametrize(("operator", "version"), [("LOGISTIC", 2), ("HARD_SWISH", 1), ("RELU6", 2)])
def test_tables(operator, version):
    case = Case(version)
    x = case.activation(1, 4, 5, 7)
    y = Tensor(1 / 256, -128, shape=x.shape) if operator == "LOGISTIC" else case.activation(*x.shape, scale=x.scale[0])
    compare(build(operator, [x], y, version), case.values(x))


@pytest.mark.parametrize(("align", "half"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("operator", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
@pytest.mark.parametrize("target", [(8, 12), (16, 48), (3, 9), (4, 6), (7, 1)])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_resizing(operator, align, half, target, dtype):
    case = Case(target[0])
    x = case.activation(1, 4, 6, 5, dtype=dtype)
    options = "ResizeBilinearOptions" if operator == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
    compare(build(operator, [x, integers(*target)], case.like(x, 1, *target, 5), 2 if "BI" in operator else 3, options,
                  AlignCorners=align, HalfPixelCenters=half), case.values(x))
