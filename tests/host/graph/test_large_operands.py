"""Host kernels on operands so large that they take tables or work in blocks, against the frameworks' own kernels."""

import numpy as np
import pytest
from lepton.graph import Arithmetic, OperandList, Quantization, interpret, lookup, ops
from lepton.graph import Tensor as GraphTensor
from lepton.graph.numerics.tables import mapped

litert_models = pytest.importorskip("tests.litert_models")
Tensor = litert_models.Tensor
build = litert_models.build
reference = litert_models.reference

SHAPES = {"equal": ((1, 40, 33, 17), (1, 40, 33, 17)), "channel": ((1, 40, 33, 17), (1, 1, 1, 17)),
          "first": ((1, 1, 1, 17), (1, 40, 33, 17)), "pixel": ((1, 40, 33, 17), (1, 40, 33, 1)),
          "one": ((1, 40, 33, 17), (1, 1, 1, 1)), "one first": ((1, 1, 1, 1), (1, 40, 33, 17)),
          "outer": ((1, 40, 1, 17), (1, 1, 33, 17))}


def image(random, shape):
    return random.integers(-128, 128, shape).astype(np.int8)


def same(model, *values):
    from lepton.frontends import import_tflite
    graph = import_tflite(model)
    got = interpret.evaluate(graph, dict(zip(graph.inputs, values, strict=True)))[graph.outputs[0]]
    wanted = reference(model, *values)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL", "SQUARED_DIFFERENCE", "LESS_EQUAL"])
def test_two_operands_are_litert_s(operator, shapes, seed=31):
    random = np.random.default_rng(seed)
    a, b = SHAPES[shapes]
    options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "LESS_EQUAL": "LessEqualOptions",
               "SQUARED_DIFFERENCE": "SquaredDifferenceOptions"}[operator]
    y = {} if operator == "LESS_EQUAL" else {"scale": random.uniform(0.05, 0.3), "zero": int(random.integers(-20, 20))}
    made = Tensor(**y, shape=np.broadcast_shapes(a, b), dtype=np.int8 if y else np.bool_)
    inputs = [Tensor(random.uniform(0.02, 0.1), int(random.integers(-128, 128)), shape=s) for s in (a, b)]
    same(build(operator, inputs, made, 2, options), image(random, a), image(random, b))


def test_prelu_is_litert_s():
    random = np.random.default_rng(32)
    alpha = Tensor(0.01, -5, data=image(random, (1, 1, 17)))
    x = Tensor(0.05, 7, shape=(1, 40, 33, 17))
    same(build("PRELU", [x, alpha], Tensor(0.04, -3, shape=x.shape), 1), image(random, x.shape))


@pytest.mark.parametrize("length", [21, 1000])
def test_softmax_is_litert_s(length):
    random = np.random.default_rng(33)
    x = Tensor(0.07, 4, shape=(70_000 // length, length))
    values = image(random, x.shape)
    values[0, :200] = 127  # the largest of them many times; LiteRT aborts from 256 times on
    same(build("SOFTMAX", [x], Tensor(1 / 256, -128, shape=x.shape), 2, "SoftmaxOptions", Beta=1.0), values)


@pytest.mark.parametrize("centres", [{}, {"AlignCorners": True}, {"HalfPixelCenters": True}])
@pytest.mark.parametrize("size", [(201, 90), (7, 90), (90, 5), (4, 3)])
def test_bilinear_is_litert_s(size, centres):
    random = np.random.default_rng(34)
    x = Tensor(0.05, 3, shape=(1, 33, 29, 11))
    wanted = Tensor(data=np.array(size, np.int32))
    model = build("RESIZE_BILINEAR", [x, wanted], Tensor(0.05, 3, shape=(1, *size, 11)), 2, "ResizeBilinearOptions",
                  **centres)
    same(model, image(random, x.shape))


def test_quantize_rounds_every_half_as_litert():
    """Halves, their neighbours, and values far outside (those beyond int32 are undefined in LiteRT)."""
    halves = (np.arange(-300, 300) + 0.5).astype(np.float32)
    x = np.concatenate([halves, np.nextafter(halves, np.float32(0)), np.nextafter(halves, np.float32(np.inf)),
                        np.float32([0, -0.0, 1e-45, 1e9, -1e9]), np.arange(40_000, dtype=np.float32) / 99])
    for zero in (-128, -1, 0, 127):
        same(build("QUANTIZE", [Tensor(shape=x.shape, dtype=np.float32)], Tensor(1.0, zero, shape=x.shape), 1,
                   "QuantizeOptions"), x)


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
@pytest.mark.parametrize("op", [ops.Add(), ops.Add(clamp=(-7, 90), unsigned=True), ops.Sub(), ops.Mul(in_float=True),
                                ops.Mul(clamp=(0, 127))])
def test_the_table_holds_what_compute_makes(op, arithmetic):
    random = np.random.default_rng(35)
    tensors = [GraphTensor(name, (130, 127), np.dtype(np.int8), Quantization(np.array([scale], np.float32), zero))
               for name, scale, zero in (("a", 0.03, np.int32([9])), ("b", 0.05, np.int32([-70])),
                                         ("y", 0.06, np.int32([-4])))]
    values = [image(random, (130, 127)), image(random, (130, 127))]
    call = interpret.Call(arithmetic, OperandList(tensors[:2]), tensors[2], OperandList(values))
    found = lookup.run(op, call)
    assert found is not None
    np.testing.assert_array_equal(found, op.compute(call))


@pytest.mark.parametrize("size", [7, 16_384, 70_001, 70_002])
def test_bytes_are_mapped_in_their_order(size):
    random = np.random.default_rng(36)
    table = random.integers(0, 256, 256, np.uint8)
    x = random.integers(0, 256, size, np.uint8)
    np.testing.assert_array_equal(mapped(table.tobytes(), x), table[x])
