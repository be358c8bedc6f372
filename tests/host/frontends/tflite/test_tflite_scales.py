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

from tests.host.frontends.tflite.random_scales import CASES, Draw, check, fused
from tests.litert_models import Tensor, build

EVERY = np.arange(-128, 128)
INT8_ONLY = ("ABS", "EXP", "LOG", "ELU", "RSQRT", "SQRT")


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


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("operator", FUNCTIONS)
def test_functions_of_one_value(operator, dtype):
    if dtype == np.uint8 and operator in INT8_ONLY:
        pytest.skip("LiteRT has no kernel for uint8")
    function = FUNCTIONS[operator]
    draw = Draw(len(operator), dtype)
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


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL"])
def test_functions_of_two_values(operator, dtype):
    """Every pair of values of two tensors of 64 elements each."""
    draw = Draw(len(operator) + 7, dtype)
    models = []
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
    draw = Draw(11, dtype)
    models = []
    for _ in range(CASES):
        a = draw.tensor((64, 1))
        b = draw.tensor((1, 64))
        divisors = draw.values((1, 64))
        divisors[divisors == b.zero[0]] += 1
        y = draw.tensor((64, 64), a.scale[0] / b.scale[0] / 20)
        model = build("DIV", [a, b], y, 1 if dtype == np.uint8 else 2, "DivOptions", **fused(draw))
        models.append((model, [draw.values((64, 1)), divisors]))
    check(models)


def test_squared_difference():
    draw = Draw(12)
    models = []
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
    draw = Draw(len(kind), dtype)
    models = []
    for _ in range(CASES // 3):
        a = draw.tensor((64, 1))
        b = Tensor(a.scale, int(a.zero[0]), shape=(1, 64), dtype=dtype) if draw.random.random() < 0.3 else draw.tensor(
            (1, 64), a.scale[0])
        model = build(name, [a, b], Tensor(shape=(64, 64), dtype=np.bool_), 2, f"{kind}Options")
        models.append((model, [draw.values((64, 1)), draw.values((1, 64))]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_log_softmax(dtype):
    draw = Draw(13, dtype)
    models = []
    for i in range(CASES):
        x = draw.tensor((5, int(draw.random.choice([2, 12, 200]))))
        y = Tensor(1 / 16, draw.info.max, shape=x.shape, dtype=dtype)
        values = draw.values(x.shape) if i % 3 else np.minimum(draw.values(x.shape), draw.info.min + 9)
        models.append((build("LOG_SOFTMAX", [x], y, 1 if dtype == np.uint8 else 2, "LogSoftmaxOptions"), [values]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_l2_normalization(dtype):
    draw = Draw(14, dtype)
    models = []
    for i in range(CASES):
        x = draw.tensor((5, int(draw.random.choice([1, 3, 12, 500]))))
        y = Tensor(1 / 128, 0 if dtype == np.int8 else 128, shape=x.shape, dtype=dtype)
        values = draw.values(x.shape) if i % 3 else np.full(x.shape, int(x.zero[0])).astype(dtype)
        models.append((build("L2_NORMALIZATION", [x], y, 1 if dtype == np.uint8 else 2, "L2NormOptions"), [values]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("axes", [(1, 2), (3,), (0, 1, 2, 3)])
def test_sum(axes, dtype):
    draw = Draw(sum(axes), dtype)
    models = []
    for _ in range(CASES // 2):
        x = draw.tensor((1, *(int(n) for n in draw.random.integers(1, 12, 3))))
        shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
        y = draw.tensor(shape, x.scale[0] * 10)
        model = build("SUM", [x, Tensor(data=np.array(axes, np.int32))], y, 2, "ReducerOptions", KeepDims=True)
        models.append((model, [draw.values(x.shape)]))
    check(models, optimized=dtype == np.int8)  # the reference kernel reads int8 values as uint8


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_prelu(dtype):
    draw = Draw(3, dtype)
    models = []
    for _ in range(CASES):
        x = draw.tensor((1, 16, 16))
        alpha = draw.tensor((1, 1, 16))
        alpha.data = draw.values((1, 1, 16))
        model = build("PRELU", [x, alpha], draw.tensor((1, 16, 16), x.scale[0]), 1)
        models.append((model, [draw.values((1, 16, 16))]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("axes", [(1, 2), (3,), (1,), (0, 1, 2, 3), (2, 3)])
def test_mean(axes, dtype):
    draw = Draw(sum(axes) + 10 * len(axes), dtype)
    models = []
    for _ in range(CASES // 2):
        x = draw.tensor((1, *(int(n) for n in draw.random.integers(1, 12, 3))))
        shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
        y = draw.tensor(shape, x.scale[0])
        model = build("MEAN", [x, Tensor(data=np.array(axes, np.int32))], y, 1 if dtype == np.uint8 else 2,
                      "ReducerOptions", KeepDims=True)
        models.append((model, [draw.values(x.shape)]))
    check(models)


def test_concatenation_of_uint8_values_of_several_scales():
    draw = Draw(9, np.uint8)
    models = []
    for _ in range(CASES):
        parts = [draw.tensor((1, 256))]
        parts.append(draw.tensor((1, 256), parts[0].scale[0]))
        y = draw.tensor((1, 512), parts[0].scale[0])
        model = build("CONCATENATION", parts, y, 1, "ConcatenationOptions", Axis=1)
        models.append((model, [np.arange(256).astype(np.uint8)[None]] * 2))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_softmax(dtype):
    draw = Draw(4, dtype)
    models = []
    for _ in range(CASES):
        x = draw.tensor((5, 12))
        y = Tensor(1 / 256, draw.info.min, shape=(5, 12), dtype=dtype)
        beta = float(draw.random.choice([1.0, 0.5, 2.0, draw.random.uniform(0.01, 5)]))
        model = build("SOFTMAX", [x], y, 1 if dtype == np.uint8 else 2, "SoftmaxOptions", Beta=beta)
        models.append((model, [draw.values((5, 12))]))
    check(models)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_between_reals_and_integers(dtype):
    draw = Draw(8, dtype)
    models = []
    for _ in range(CASES // 2):
        x = draw.tensor((1, 256))
        reals = Tensor(shape=(1, 256), dtype=np.float32)
        models.append((build("DEQUANTIZE", [x], reals, 2, "DequantizeOptions"), [draw.values(x.shape)]))
        values = (draw.random.integers(-300, 300, (1, 256)) + draw.random.choice([0, 0.5, 0.25])) * x.scale[0]
        models.append((build("QUANTIZE", [reals], x, 1, "QuantizeOptions"), [values.astype(np.float32)]))
    check(models)


@pytest.mark.parametrize("operator,options,other", [
    ("MUL", "MulOptions", (1, 4)), ("FULLY_CONNECTED", "FullyConnectedOptions", (4, 4)),
    ("BATCH_MATMUL", "BatchMatMulOptions", (4, 4)), ("PRELU", "", (4,))])
def test_factors_that_no_int32_can_be_shifted_by(operator, options, other):
    """C leaves such shifts undefined; LiteRT's results come of what the processor makes of them."""
    for scale, defined in ((1e-5, False), (1e-2, True)):
        x = Tensor(1e3, 3, shape=(4, 4))
        factor = Tensor(100.0, 0, data=np.arange(np.prod(other), dtype=np.int8).reshape(other) - 3)
        model = build(operator, [x, factor], Tensor(scale, 1, shape=(4, 4)), 2, options)
        if defined:
            import_tflite(model)
        else:
            with pytest.raises(GraphError, match=r"\(1000, 100\) are 2\*\*30 times that of the output \(1e-05\) or "
                                                 r"more, for which LiteRT has no defined result"):
                import_tflite(model)
