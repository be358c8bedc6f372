"""Operators that the host computes, imported, compiled and run on the golden device, against LiteRT's reference
kernels: comparisons, choices, quotients, indices and float functions."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lepton.frontends import import_tflite
from lepton.graph import GraphError
from lepton.runtime import RuntimeModelError

from tests.host.frontends.tflite.golden_runs import constant, of, quantized, run, same
from tests.litert_models import Operator, Tensor, build, build_network

RNG = np.random.default_rng(77)


def int8(*shape) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype(np.int8)


# Comparisons and choices

@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("kind", ["Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"])
def test_comparisons(kind, dtype):
    name = kind.upper() if kind in ("Equal", "Less", "Greater") else kind.upper().replace("EQUAL", "_EQUAL")
    a, b = (RNG.integers(-2, 3, shape).astype(dtype) for shape in ((3, 1), (1, 5)))
    same(build(name, [of(dtype, 3, 1), of(dtype, 1, 5)], of(np.bool_, 3, 5), 1, f"{kind}Options"), a, b)


def test_logic_and_choice():
    a, b = (RNG.integers(0, 2, (3, 5)).astype(bool) for _ in range(2))
    for name, options in (("LOGICAL_AND", "LogicalAndOptions"), ("LOGICAL_OR", "LogicalOrOptions")):
        same(build(name, [of(np.bool_, 3, 5)] * 1 + [of(np.bool_, 3, 5)], of(np.bool_, 3, 5), 1, options), a, b)
    same(build("LOGICAL_NOT", [of(np.bool_, 3, 5)], of(np.bool_, 3, 5), 1, "LogicalNotOptions"), a)
    for name, shape in (("SELECT", (3, 5)), ("SELECT", (3,)), ("SELECT_V2", (3, 5)), ("SELECT_V2", (5,)),
                        ("SELECT_V2", ())):
        options = "SelectOptions" if name == "SELECT" else "SelectV2Options"
        model = build(name, [of(np.bool_, *shape), quantized(3, 5), quantized(3, 5)], quantized(3, 5), 1, options)
        same(model, RNG.integers(0, 2, shape).astype(bool).reshape(shape), int8(3, 5), int8(3, 5))


def test_a_choice_between_scales_is_refused():
    model = build("SELECT_V2", [of(np.bool_, 5), quantized(5), quantized(5, scale=0.1)], quantized(5), 1,
                  "SelectV2Options")
    with pytest.raises(GraphError, match="must have the same scale and zero point"):
        import_tflite(model)


# Casts and padding by a value

@pytest.mark.parametrize("source", [np.float32, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("target", [np.float32, np.int32, np.int64, np.bool_])
def test_casts(source, target):
    values = np.array([[-7.5, -1, -0.25, 0], [0.5, 1, 2.75, 1e6]]).astype(source)
    codes = {np.float32: 0, np.int32: 2, np.int64: 4, np.bool_: 6}
    fields = {"InDataType": codes[source], "OutDataType": codes[target]}
    same(build("CAST", [of(source, 2, 4)], of(target, 2, 4), 1, "CastOptions", **fields), values)


@pytest.mark.parametrize("widths", [[(0, 0), (1, 2), (0, 1), (0, 0)], [(0, 0), (0, 0), (3, 0), (1, 2)]])
def test_padding_by_a_value(widths):
    shape = 1, 3, 4, 2
    made = tuple(n + sum(w) for n, w in zip(shape, widths, strict=True))
    by = constant(widths)
    same(build("PADV2", [quantized(*shape), by, Tensor(0.05, 3, data=np.array([-77], np.int8))], quantized(*made), 2,
               "PadV2Options"), int8(*shape))
    values = RNG.normal(size=shape).astype(np.float32)
    same(build("PADV2", [of(np.float32, *shape), by, constant([-2.5], np.float32)], of(np.float32, *made), 1,
               "PadV2Options"), values)


# Quotients and powers

@pytest.mark.parametrize(("name", "options"), [("FLOOR_DIV", "FloorDivOptions"), ("FLOOR_MOD", "FloorModOptions"),
                                               ("DIV", "DivOptions")])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_quotients(name, options, dtype):
    a = RNG.integers(-20, 20, (4, 6)).astype(dtype) * dtype(1.5 if dtype == np.float32 else 1)
    b = RNG.choice([-7, -2, -1, 1, 3, 5], (1, 6)).astype(dtype)
    same(build(name, [of(dtype, 4, 6), of(dtype, 1, 6)], of(dtype, 4, 6), 1, options), a, b)


@pytest.mark.parametrize("name", ["FLOOR_DIV", "FLOOR_MOD", "DIV"])
def test_integers_are_not_divided_by_0(name):
    options = {"FLOOR_DIV": "FloorDivOptions", "FLOOR_MOD": "FloorModOptions", "DIV": "DivOptions"}[name]
    model = build(name, [of(np.int32, 3), of(np.int32, 3)], of(np.int32, 3), 1, options)
    with pytest.raises(RuntimeModelError, match="'tensor_1' must not be 0 where it divides integers"):
        run(model, np.array([1, 2, 3], np.int32), np.array([1, 0, 3], np.int32))


def test_powers_and_squares():
    a = RNG.uniform(0.1, 3, (4, 6)).astype(np.float32)
    b = RNG.uniform(-2, 2, (4, 6)).astype(np.float32)
    same(build("POW", [of(np.float32, 4, 6), of(np.float32, 4, 6)], of(np.float32, 4, 6), 1, "PowOptions"), a, b,
         tolerance=1e-6)
    i, j = (RNG.integers(low, 5, (4, 6)).astype(np.int32) for low in (-4, 0))
    same(build("POW", [of(np.int32, 4, 6), of(np.int32, 4, 6)], of(np.int32, 4, 6), 1, "PowOptions"), i, j)
    same(build("SQUARE", [of(np.float32, 4, 6)], of(np.float32, 4, 6), 1, "SquareOptions"), b)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_sums_of_several_operands(count):
    floats = [RNG.normal(0, 10.0 ** RNG.integers(-3, 4), (4, 6)).astype(np.float32) for _ in range(count)]
    integers = [RNG.integers(-2 ** 31, 2 ** 31, (4, 6)).astype(np.int32) for _ in range(count)]
    for dtype, values in ((np.float32, floats), (np.int32, integers)):
        operands = [of(dtype, 4, 6) for _ in range(count)]
        same(build("ADD_N", operands, of(dtype, 4, 6), 1, "AddNOptions"), *values)


def test_sums_of_several_int8_operands_are_refused():
    with pytest.raises(GraphError, match="'tensor_0' has the data type INT8, supported here is FLOAT32 or INT32"):
        import_tflite(build("ADD_N", [quantized(4, 6), quantized(4, 6)], quantized(4, 6), 1, "AddNOptions"))


# Indices

def test_elements_by_several_indices():
    x = quantized(4, 5, 3)
    for indices, made in (([[0, 1], [3, 4]], (2, 3)), ([[[2]], [[0]]], (2, 1, 5, 3)), ([[1, 2, 0]], (1,))):
        same(build("GATHER_ND", [x, constant(indices)], quantized(*made), 1, "GatherNdOptions"), int8(4, 5, 3))
    with pytest.raises(RuntimeModelError, match=r"index 5 of 'tensor_1' must lie in 0\.\.4"):
        run(build("GATHER_ND", [x, of(np.int32, 1, 2)], quantized(1, 3), 1, "GatherNdOptions"), int8(4, 5, 3),
            np.array([[0, 5]], np.int32))


@pytest.mark.parametrize(("shape", "indices", "axis", "batch"), [
    ((2, 5, 3), (2, 4), 1, 1), ((2, 5, 3), (2,), 1, 1), ((2, 3, 5), (2, 3, 2), 2, 2), ((2, 4, 5, 3), (2, 6), 2, 1),
    ((2, 3, 4, 5), (2, 3), 3, 1)])
def test_gather_in_batches(shape, indices, axis, batch):
    places = RNG.integers(0, shape[axis], indices).astype(np.int32)
    made = (*shape[:axis], *indices[batch:], *shape[axis + 1:])
    model = build("GATHER", [quantized(*shape), of(np.int32, *indices)], quantized(*made), 5, "GatherOptions",
                  Axis=axis, BatchDims=batch)
    same(model, int8(*shape), places)


@pytest.mark.parametrize(("begin", "end", "strides", "masks", "made"), [
    ([0, 1], [2, 3], [1, 1], {"EllipsisMask": 1}, (2, 5, 2)),
    ([1, 0, 1], [2, 0, 3], [1, 1, 1], {"EllipsisMask": 2}, (1, 5, 2)),
    ([0, 0, 2], [0, 0, 3], [1, 1, 1], {"NewAxisMask": 1, "EllipsisMask": 2, "ShrinkAxisMask": 4}, (1, 2, 5)),
    ([0, 1], [0, 2], [1, 1], {"NewAxisMask": 1, "ShrinkAxisMask": 2}, (1, 5, 4)),
    ([0, 1, 1], [2, 3, 2], [1, 1, 1], {"Offset": True}, (2, 3, 2)),
    ([-1, 4], [-3, 0], [-1, -2], {"EndMask": 2}, (2, 3, 4)),
])
def test_slices_with_ellipsis_new_axes_and_offsets(begin, end, strides, masks, made):
    constants = [constant(values) for values in (begin, end, strides)]
    model = build("STRIDED_SLICE", [quantized(2, 5, 4), *constants], quantized(*made), 2, "StridedSliceOptions",
                  **masks)
    same(model, int8(2, 5, 4))


def test_products_of_integers():
    x = RNG.integers(-3, 4, (3, 4)).astype(np.int32)
    same(build("REDUCE_PROD", [of(np.int32, 3, 4), constant([1])], of(np.int32, 3), 1, "ReducerOptions"), x)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis):
    shape = [(3, 2, 4), (4, 3, 2), (3, 4, 2)][axis + 1 if axis >= 0 else 0]
    model = build("ONE_HOT", [of(np.int32, 3, 2), constant(4), constant(5, np.float32), constant(-1, np.float32)],
                  of(np.float32, *shape), 1, "OneHotOptions", Axis=axis)
    same(model, np.array([[0, 3], [-1, 4], [2, 1]], np.int32))


def test_reversed_axes_and_rows_by_their_number():
    for axes in ([1], [0], [2]):
        same(build("REVERSE_V2", [quantized(2, 3, 4), constant(axes)], quantized(2, 3, 4), 2, "ReverseV2Options"),
             int8(2, 3, 4))
    table = Tensor(0.1, 0, data=int8(7, 5))
    same(build("EMBEDDING_LOOKUP", [of(np.int32, 4), table], quantized(4, 5, scale=0.1, zero=0), 1),
         np.array([0, 6, 6, 2], np.int32))


# What is known at import

@pytest.mark.parametrize(("name", "options", "constants", "made"), [
    ("FILL", "FillOptions", [constant([2, 3]), constant(1.5, np.float32)], of(np.float32, 2, 3)),
    ("RANGE", "RangeOptions", [constant(2), constant(11), constant(3)], of(np.int32, 3)),
    ("BROADCAST_ARGS", "", [constant([3, 1]), constant([2, 1, 5])], of(np.int32, 3)),
])
def test_constant_outputs(name, options, constants, made):
    """With a computed output as well, since a network of constants alone has no input."""
    x = quantized(1, 8)
    y = quantized(1, 8)
    operators = [Operator(name, 1, constants, [made], options), Operator("RELU", 2, [x], [y])]
    same(build_network(operators, [x], [made, y]), int8(1, 8))


def test_ranks_and_zeros():
    x = of(np.float32, 3, 4)
    rank = of(np.int32)
    zeros = of(np.float32, 3, 4)
    operators = [Operator("RANK", 1, [x], [rank], "RankOptions"), Operator("ZEROS_LIKE", 1, [x], [zeros],
                                                                          "ZerosLikeOptions")]
    same(build_network(operators, [x], [rank, zeros]), np.ones((3, 4), np.float32))


# Functions

@pytest.mark.parametrize(("name", "options", "fields"), [
    ("RELU", "", {}), ("RELU6", "", {}), ("RELU_N1_TO_1", "", {}), ("RELU_0_TO_1", "", {}), ("FLOOR", "", {}),
    ("CEIL", "", {}), ("ROUND", "", {}), ("ABS", "AbsOptions", {}), ("NEG", "NegOptions", {}),
    ("SIGN", "SignOptions", {}), ("LEAKY_RELU", "LeakyReluOptions", {"Alpha": 0.3})])
def test_exact_functions_of_float32(name, options, fields):
    x = np.concatenate([RNG.normal(0, 4, 40), [0, -0.5, 0.5, 1.5, 2.5, -1.5]]).astype(np.float32)
    model = build(name, [of(np.float32, 46)], of(np.float32, 46), 1, options, **fields)
    same(model, x, optimized=name in ("CEIL", "ROUND"))  # which have no reference kernel


@pytest.mark.parametrize(("name", "options", "fields"), [
    ("EXP", "ExpOptions", {}), ("SQRT", "", {}), ("RSQRT", "", {}), ("LOG", "", {}), ("SIN", "", {}),
    ("COS", "CosOptions", {}), ("LOGISTIC", "", {}), ("TANH", "", {}), ("HARD_SWISH", "HardSwishOptions", {}),
    ("GELU", "GeluOptions", {"Approximate": True}), ("GELU", "GeluOptions", {"Approximate": False}),
    ("LOG_SOFTMAX", "LogSoftmaxOptions", {}), ("L2_NORMALIZATION", "L2NormOptions", {})])
def test_functions_of_float32_within_a_millionth(name, options, fields):
    positive = name in ("SQRT", "RSQRT", "LOG")
    x = RNG.normal(0, 3, (4, 9)).astype(np.float32)
    model = build(name, [of(np.float32, 4, 9)], of(np.float32, 4, 9), 1, options, **fields)
    same(model, np.abs(x) + 0.01 if positive else x, tolerance=1e-6)


def test_negation_of_int8():
    every = np.arange(-128, 128).astype(np.int8)
    x = Tensor(0.1, 0, shape=(256,))
    same(build("NEG", [x], Tensor(0.1, 0, shape=(256,)), 1, "NegOptions"), every)
    with pytest.raises(GraphError, match="LiteRT negates the int8 values as they are"):
        import_tflite(build("NEG", [x], Tensor(0.2, 0, shape=(256,)), 1, "NegOptions"))


@pytest.mark.parametrize("name", ["FLOOR", "SIN", "SIGN"])
def test_functions_that_int8_has_none_of(name):
    model = build(name, [quantized(4)], quantized(4), 1, "SignOptions" if name == "SIGN" else "")
    with pytest.raises(GraphError, match=rf"\({name}\): int8 is not supported, in LiteRT either"):
        import_tflite(model)


# Layers of float32 between integer ones

def test_pools_products_and_slopes_of_float32():
    x = RNG.normal(0, 2, (1, 6, 5, 3)).astype(np.float32)
    for name in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        model = build(name, [of(np.float32, 1, 6, 5, 3)], of(np.float32, 1, 3, 3, 3), 1, "Pool2DOptions", StrideH=2,
                      StrideW=2, FilterHeight=3, FilterWidth=2, FusedActivationFunction=1)
        same(model, x, tolerance=1e-6)
    a = RNG.normal(0, 1, (2, 4, 7)).astype(np.float32)
    b = RNG.normal(0, 1, (2, 5, 7)).astype(np.float32)
    same(build("BATCH_MATMUL", [of(np.float32, 2, 4, 7), of(np.float32, 2, 5, 7)], of(np.float32, 2, 4, 5), 1,
               "BatchMatMulOptions", AdjY=True), a, b, tolerance=1e-5)
    slopes = constant(RNG.normal(0, 1, (1, 1, 3)), np.float32)
    same(build("PRELU", [of(np.float32, 1, 6, 5, 3), slopes], of(np.float32, 1, 6, 5, 3), 1), x)


@pytest.mark.parametrize("name", ["TILE", "BROADCAST_TO"])
def test_results_that_no_memory_holds_are_refused(name):
    model = build(name, [quantized(1, 1), constant([2**30, 3])], quantized(1, 1), 1)
    with pytest.raises(GraphError, match=r"the result's shape \(1073741824, 3\) must have dimensions of at least 1"):
        import_tflite(model)
