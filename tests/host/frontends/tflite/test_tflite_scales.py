"""Every operator over scales that are far apart, have few decimals, and zero points at the ends of their range.

What LiteRT's reference kernels compute in float32, in double or in fixed point shows in the last bit of a factor, and
few decimals make ties. A network that LiteRT runs must give its bytes or, for scales beyond any use, be refused; one on
which it aborts must be refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lepton.frontends import import_tflite
from lepton.graph import GraphError
from lepton.graph.interpret import evaluate

from tests.litert_child import reference_results
from tests.litert_models import Tensor, build

EVERY = np.arange(-128, 128)
CASES = 60
# What LiteRT's kernels run with, though C++ does not define it: conversions beyond int32, shifts by less than 0
UNDEFINED = ("TFLite has no defined result", "cannot be computed, in TFLite either", "a scale must be below 2**30")
INT8_ONLY = ("ABS", "EXP", "LOG", "ELU", "RSQRT", "SQRT")


class Draw:
    """Random scales and zero points of one data type."""

    def __init__(self, seed: int, dtype=np.int8):
        self.random, self.dtype, self.info = np.random.default_rng(seed), np.dtype(dtype), np.iinfo(dtype)

    def scale(self, near: float | None = None) -> float:
        """Any scale, or one in a ratio of 1e-6 to 1e6, mostly of 0.1 to 10, to `near`; half of them with few digits."""
        r = self.random
        span = 6 if r.random() < 0.2 else 1
        value = 10 ** r.uniform(-4, 1) if near is None else near * 10 ** r.uniform(-span, span)
        if r.random() < 0.5:
            value = float(f"{value:.{int(r.integers(1, 4))}g}")
        return float(np.float32(value))

    def zero(self) -> int:
        ends = (self.info.min, self.info.max, (self.info.min + self.info.max + 1) // 2)
        return int(self.random.choice(ends) if self.random.random() < 0.4 else
                   self.random.integers(self.info.min, self.info.max + 1))

    def tensor(self, shape, near: float | None = None) -> Tensor:
        return Tensor(self.scale(near), self.zero(), shape=shape, dtype=self.dtype)

    def values(self, shape) -> np.ndarray:
        return self.random.integers(self.info.min, self.info.max + 1, shape).astype(self.dtype)


@dataclass
class Function:
    """An operator on one value: `y` is the only quantization of its result, if there is one."""

    options: str = ""
    version: int = 2
    y: tuple[float, int] | None = None
    x_zero: int | None = None  # the only one that LiteRT takes for all values
    fields: Callable[[np.random.Generator], dict] = field(default=lambda r: {})


FUNCTIONS = {
    "RELU": Function(), "RELU6": Function(), "RELU_N1_TO_1": Function(version=1), "RELU_0_TO_1": Function(version=1),
    "LOGISTIC": Function(y=(1 / 256, -128)), "TANH": Function(y=(1 / 128, 0)),
    "HARD_SWISH": Function("HardSwishOptions", 1), "QUANTIZE": Function("QuantizeOptions"),
    "LEAKY_RELU": Function("LeakyReluOptions", fields=lambda r: {
        "Alpha": float(r.choice([0.1, 0.2, 0.3, 0.01, 0.25, 0.05, 0.15, -0.3, 1.7, 0.0, r.normal()]))}),
    "GELU": Function("GeluOptions", fields=lambda r: {"Approximate": bool(r.integers(2))}),
    "ABS": Function("AbsOptions", 1), "EXP": Function("ExpOptions"), "LOG": Function(), "ELU": Function(version=1),
    "RSQRT": Function(x_zero=-128), "SQRT": Function(x_zero=-128),
}


def check(models: list[tuple[bytes, list[np.ndarray]]], optimized: bool = False) -> None:
    """Fails unless each model gives the same bytes, or is refused by both."""
    failures, same = [], 0
    for number, ((model, inputs), wanted) in enumerate(zip(models, reference_results(models, optimized), strict=True)):
        refused = wanted.splitlines()[0] if isinstance(wanted, str) else None
        try:
            graph = import_tflite(model)
            got = evaluate(graph, dict(zip(graph.inputs, inputs, strict=True)))
        except GraphError as error:
            if refused is None and not any(text in str(error) for text in UNDEFINED):
                failures.append(f"{number}: Lepton refuses: {error}")
            continue
        if refused is not None:
            failures.append(f"{number}: LiteRT refuses: {refused}")
            continue
        for name, expected in zip(graph.outputs, wanted, strict=True):
            differ = np.argwhere(got[name].ravel() != expected.ravel()).ravel()
            if got[name].dtype != expected.dtype or got[name].shape != expected.shape or differ.size:
                first = [(int(i), got[name].flat[i], expected.flat[i]) for i in differ[:3]]
                failures.append(f"{number}: {differ.size} of {expected.size} differ: {first}")
        same += 1
    assert not failures, f"{len(failures)} of {len(models)} fail\n" + "\n".join(failures[:20])
    assert same > len(models) // 3


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("operator", FUNCTIONS)
def test_functions_of_one_value(operator, dtype):
    if dtype == np.uint8 and operator in INT8_ONLY:
        pytest.skip("LiteRT has no kernel for uint8")
    function, draw = FUNCTIONS[operator], Draw(len(operator), dtype)
    legacy = 128 * (dtype == np.uint8)
    models = []
    for _ in range(CASES):
        x = draw.tensor((1, 256))
        x.zero[:] = x.zero if function.x_zero is None else function.x_zero
        y = (Tensor(function.y[0], function.y[1] + legacy, shape=(1, 256), dtype=dtype) if function.y
             else draw.tensor((1, 256), x.scale[0]))
        model = build(operator, [x], y, 1 if legacy else function.version, function.options,
                      **function.fields(draw.random))
        models.append((model, [(EVERY + legacy).astype(dtype)[None]]))
    check(models, optimized=operator == "ELU")  # which has no reference kernel


def fused(draw: Draw) -> dict:
    return {"FusedActivationFunction": int(draw.random.choice([0, 0, 1, 2, 3]))}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL"])
def test_functions_of_two_values(operator, dtype):
    """Every pair of values of two tensors of 64 elements each."""
    draw, models = Draw(len(operator) + 7, dtype), []
    for _ in range(CASES):
        a = draw.tensor((64, 1))
        b = draw.tensor((1, 64), a.scale[0])
        near = a.scale[0] * b.scale[0] * 64 if operator == "MUL" else max(a.scale[0], b.scale[0])
        y = draw.tensor((64, 64), near)
        model = build(operator, [a, b], y, 1 if dtype == np.uint8 else 2, f"{operator.title()}Options", **fused(draw))
        models.append((model, [draw.values((64, 1)), draw.values((1, 64))]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_division(dtype):
    """By every value but 0."""
    draw, models = Draw(11, dtype), []
    for _ in range(CASES):
        a, b = draw.tensor((64, 1)), draw.tensor((1, 64))
        divisors = draw.values((1, 64))
        divisors[divisors == b.zero[0]] += 1
        y = draw.tensor((64, 64), a.scale[0] / b.scale[0] / 20)
        model = build("DIV", [a, b], y, 1 if dtype == np.uint8 else 2, "DivOptions", **fused(draw))
        models.append((model, [draw.values((64, 1)), divisors]))
    check(models)


def test_squared_difference():
    draw, models = Draw(12), []
    for _ in range(CASES):
        a = draw.tensor((64, 1))
        b = draw.tensor((1, 64), a.scale[0])
        y = draw.tensor((64, 64), a.scale[0] ** 2 * 100)
        model = build("SQUARED_DIFFERENCE", [a, b], y, 2, "SquaredDifferenceOptions")
        models.append((model, [draw.values((64, 1)), draw.values((1, 64))]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("kind", ["Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"])
def test_comparisons(kind, dtype):
    name = {"NotEqual": "NOT_EQUAL", "LessEqual": "LESS_EQUAL", "GreaterEqual": "GREATER_EQUAL"}.get(kind, kind.upper())
    draw, models = Draw(len(kind), dtype), []
    for _ in range(CASES // 3):
        a = draw.tensor((64, 1))
        b = Tensor(a.scale, int(a.zero[0]), shape=(1, 64), dtype=dtype) if draw.random.random() < 0.3 else draw.tensor(
            (1, 64), a.scale[0])
        model = build(name, [a, b], Tensor(shape=(64, 64), dtype=np.bool_), 2, f"{kind}Options")
        models.append((model, [draw.values((64, 1)), draw.values((1, 64))]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_log_softmax(dtype):
    draw, models = Draw(13, dtype), []
    for i in range(CASES):
        x = draw.tensor((5, int(draw.random.choice([2, 12, 200]))))
        y = Tensor(1 / 16, draw.info.max, shape=x.shape, dtype=dtype)
        values = draw.values(x.shape) if i % 3 else np.minimum(draw.values(x.shape), draw.info.min + 9)
        models.append((build("LOG_SOFTMAX", [x], y, 1 if dtype == np.uint8 else 2, "LogSoftmaxOptions"), [values]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_l2_normalization(dtype):
    draw, models = Draw(14, dtype), []
    for i in range(CASES):
        x = draw.tensor((5, int(draw.random.choice([1, 3, 12, 500]))))
        y = Tensor(1 / 128, 0 if dtype == np.int8 else 128, shape=x.shape, dtype=dtype)
        values = draw.values(x.shape) if i % 3 else np.full(x.shape, int(x.zero[0])).astype(dtype)
        models.append((build("L2_NORMALIZATION", [x], y, 1 if dtype == np.uint8 else 2, "L2NormOptions"), [values]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("axes", [(1, 2), (3,), (0, 1, 2, 3)])
def test_sum(axes, dtype):
    draw, models = Draw(sum(axes), dtype), []
    for _ in range(CASES // 2):
        x = draw.tensor((1, *(int(n) for n in draw.random.integers(1, 12, 3))))
        shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
        y = draw.tensor(shape, x.scale[0] * 10)
        model = build("SUM", [x, Tensor(data=np.array(axes, np.int32))], y, 2, "ReducerOptions", KeepDims=True)
        models.append((model, [draw.values(x.shape)]))
    check(models, optimized=dtype == np.int8)  # the reference kernel reads int8 values as uint8


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_prelu(dtype):
    draw, models = Draw(3, dtype), []
    for _ in range(CASES):
        x, alpha = draw.tensor((1, 16, 16)), draw.tensor((1, 1, 16))
        alpha.data = draw.values((1, 1, 16))
        model = build("PRELU", [x, alpha], draw.tensor((1, 16, 16), x.scale[0]), 1)
        models.append((model, [draw.values((1, 16, 16))]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("axes", [(1, 2), (3,), (1,), (0, 1, 2, 3), (2, 3)])
def test_mean(axes, dtype):
    draw, models = Draw(sum(axes) + 10 * len(axes), dtype), []
    for _ in range(CASES // 2):
        x = draw.tensor((1, *(int(n) for n in draw.random.integers(1, 12, 3))))
        shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
        y = draw.tensor(shape, x.scale[0])
        model = build("MEAN", [x, Tensor(data=np.array(axes, np.int32))], y, 1 if dtype == np.uint8 else 2,
                      "ReducerOptions", KeepDims=True)
        models.append((model, [draw.values(x.shape)]))
    check(models)


def test_concatenation_of_uint8_values_of_several_scales():
    draw, models = Draw(9, np.uint8), []
    for _ in range(CASES):
        parts = [draw.tensor((1, 256))]
        parts.append(draw.tensor((1, 256), parts[0].scale[0]))
        y = draw.tensor((1, 512), parts[0].scale[0])
        model = build("CONCATENATION", parts, y, 1, "ConcatenationOptions", Axis=1)
        models.append((model, [np.arange(256).astype(np.uint8)[None]] * 2))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_softmax(dtype):
    draw, models = Draw(4, dtype), []
    for _ in range(CASES):
        x, y = draw.tensor((5, 12)), Tensor(1 / 256, draw.info.min, shape=(5, 12), dtype=dtype)
        beta = float(draw.random.choice([1.0, 0.5, 2.0, draw.random.uniform(0.01, 5)]))
        model = build("SOFTMAX", [x], y, 1 if dtype == np.uint8 else 2, "SoftmaxOptions", Beta=beta)
        models.append((model, [draw.values((5, 12))]))
    check(models)


WINDOW = {"Padding": 0, "StrideH": 1, "StrideW": 1}
DILATION = {"DilationHFactor": 1, "DilationWFactor": 1}


def layer(draw: Draw, kind: str) -> tuple[bytes, list[np.ndarray]]:
    """A layer with weights whose scales have nothing to do with each other."""
    legacy, outputs = draw.dtype == np.uint8, 6
    x = draw.tensor((1, 5, 4, 3) if kind != "FULLY_CONNECTED" else (7, 30))
    shape, axis = {"CONV_2D": ((outputs, 3, 2, 3), 0), "DEPTHWISE_CONV_2D": ((1, 3, 2, outputs), 3),
                   "TRANSPOSE_CONV": ((outputs, 3, 2, 3), 0), "FULLY_CONNECTED": ((outputs, 30), 0)}[kind]
    per_channel = not legacy and bool(draw.random.integers(2))
    scale = [draw.scale(0.01) for _ in range(outputs)] if per_channel else [draw.scale(0.01)]
    data = draw.random.integers(draw.info.min + (not legacy), draw.info.max + 1, shape).astype(draw.dtype)
    weights = Tensor(scale, draw.zero() if legacy else 0, data=data, axis=axis if per_channel else 0)
    bias = Tensor(np.float32(scale) * x.scale[0], data=draw.random.integers(-2**20, 2**20, outputs, dtype=np.int32))
    made = {"FULLY_CONNECTED": (7, outputs)}.get(kind, (1, 5, 4, outputs))
    y = draw.tensor(made, float(x.scale[0]) * scale[0] * 1000)
    if kind == "FULLY_CONNECTED":  # products beyond int32 are undefined in LiteRT and saturate in Lepton
        y.scale = np.maximum(y.scale, np.float32(x.scale[0] * max(scale) / 1000))
    values = [draw.values(x.shape)]
    if kind == "FULLY_CONNECTED":
        return build(kind, [x, weights, bias], y, 1 if legacy else 5, "FullyConnectedOptions", **fused(draw)), values
    if kind == "TRANSPOSE_CONV":
        return build(kind, [Tensor(data=np.array(made, np.int32)), weights, x, bias], y, 3, "TransposeConvOptions",
                     **WINDOW, **fused(draw)), values
    more = {"DepthMultiplier": 2} if kind == "DEPTHWISE_CONV_2D" else {}
    options = "Conv2DOptions" if kind == "CONV_2D" else "DepthwiseConv2DOptions"
    return build(kind, [x, weights, bias], y, 1 if legacy else 3, options, **WINDOW, **DILATION, **more,
                 **fused(draw)), values


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"])
def test_layers(kind, dtype):
    draw = Draw(len(kind), dtype)
    check([layer(draw, kind) for _ in range(CASES)])


def test_matrix_products():
    draw, models = Draw(5), []
    for _ in range(CASES):
        a, b = draw.tensor((2, 5, 9)), draw.tensor((2, 9, 7))
        y = draw.tensor((2, 5, 7), float(a.scale[0] * b.scale[0] * 100))
        models.append((build("BATCH_MATMUL", [a, b], y, 2, "BatchMatMulOptions"), [draw.values(a.shape),
                                                                                draw.values(b.shape)]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("operator", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_pools(operator, dtype):
    draw, models = Draw(6, dtype), []
    for _ in range(CASES // 2):
        x = draw.tensor((1, 6, 5, 3))
        y = Tensor(x.scale, int(x.zero[0]), shape=(1, 3, 3, 3), dtype=dtype)
        models.append((build(operator, [x], y, 1 if dtype == np.uint8 else 2, "Pool2DOptions", Padding=0, StrideH=2,
                             StrideW=2, FilterHeight=3, FilterWidth=2, **fused(draw)), [draw.values(x.shape)]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_between_reals_and_integers(dtype):
    draw, models = Draw(8, dtype), []
    for _ in range(CASES // 2):
        x = draw.tensor((1, 256))
        reals = Tensor(shape=(1, 256), dtype=np.float32)
        models.append((build("DEQUANTIZE", [x], reals, 2, "DequantizeOptions"), [draw.values(x.shape)]))
        values = (draw.random.integers(-300, 300, (1, 256)) + draw.random.choice([0, 0.5, 0.25])) * x.scale[0]
        models.append((build("QUANTIZE", [reals], x, 1, "QuantizeOptions"), [values.astype(np.float32)]))
    check(models)
