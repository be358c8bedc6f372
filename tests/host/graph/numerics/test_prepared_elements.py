"""Functions of single elements, prepared to run often, give the bytes and errors of the code in numpy."""

import numpy as np
import pytest
from lepton.graph import Arithmetic, GraphError, interpret, ops

from tests.host.graph.numerics.prepared import FLOAT32, SCALES, floats, infer, integers, one, same, tensor

pytest.importorskip("numba", reason="numba (extra fast) is not installed")


BROADCASTS = [((1,), (1,)), ((7,), (1,)), ((1,), (9,)), ((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((3, 1), (3, 5)),
              ((2, 1, 4), (1, 3, 1)), ((), (5,)), ((2, 3, 4), (2, 3, 1))]


@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@pytest.mark.parametrize("arithmetic", list(Arithmetic))
def test_two_small_operands(monkeypatch, shapes, arithmetic):
    random = np.random.default_rng(400)
    made = np.broadcast_shapes(*shapes)
    values = [integers(random, shape) for shape in shapes]
    for scales in ((0.05, 0.07, 0.1), (0.25, 0.5, 0.5), random.uniform(0.01, 0.1, 3), (1e-3, 0.4, 0.2)):
        inputs = [tensor(name, shape, scale, int(random.integers(-128, 128)))
                  for name, shape, scale in zip("ab", shapes, scales, strict=False)]
        output = tensor("y", made, scales[2], int(random.integers(-128, 128)))
        for op in (ops.Add(), ops.Add(unsigned=True), ops.Sub(clamp=(-20, 90)), ops.Mul()):
            same(monkeypatch, op, arithmetic, inputs, output, values)
        if arithmetic is Arithmetic.FIXED:
            truth = tensor("y", made, dtype=np.bool_)
            same(monkeypatch, ops.Compare("less"), arithmetic, inputs, truth, values)
            same(monkeypatch, ops.SquaredDifference(), arithmetic, inputs, output, values)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("shapes", [((3, 5),) * 3, ((5,), (3, 5), ()), ((0, 4),) * 3], ids=str)
def test_choices(monkeypatch, dtype, shapes):
    random = np.random.default_rng(500)
    values = [random.integers(0, 2, shapes[0]).astype(bool).reshape(shapes[0]),
              *(np.asarray(random.integers(0, 100, shape)).astype(dtype) for shape in shapes[1:])]
    inputs = [tensor(f"x{i}", v.shape, dtype=v.dtype) for i, v in enumerate(values)]
    made, kind = infer(ops.Select(), inputs)
    same(monkeypatch, ops.Select(), Arithmetic.FIXED, inputs, tensor("y", made, dtype=kind), values)


WHOLE = [ops.Div(), ops.FloorDiv(), ops.FloorMod(), *map(ops.IntegerDivision, ("quotient", "remainder", "modulo"))]


@pytest.mark.parametrize("op", WHOLE, ids=repr)
@pytest.mark.parametrize("shapes", [((40, 50), (40, 50)), ((40, 50), ()), ((40, 50), (1, 1)), ((40, 50), (50,))],
                         ids=str)
def test_quotients_of_integers(monkeypatch, op, shapes):
    random = np.random.default_rng(600)
    kind = np.dtype(np.int32)
    a = integers(random, shapes[0], kind)
    b = np.asarray(integers(random, shapes[1], kind) >> random.integers(0, 32, shapes[1]).astype(np.int32), np.int32)
    b = np.where(b == 0, np.int32(-1), b)
    a.reshape(-1)[:3] = -2**31, 2**31 - 1, 0
    inputs = [tensor("a", a.shape, dtype=kind), tensor("b", b.shape, dtype=kind)]
    with np.errstate(over="ignore"):
        same(monkeypatch, op, Arithmetic.FLOAT, inputs, tensor("y", a.shape, dtype=kind), [a, b], [a // 3, b])


@pytest.mark.parametrize("op", WHOLE, ids=repr)
def test_a_divisor_of_0_is_an_error_each_time(op):
    a = np.arange(6, dtype=np.int32)
    tensors = [tensor(name, a.shape, dtype=np.int32) for name in ("a", "divisor", "y")]
    kernel = interpret.prepare(op, Arithmetic.FLOAT, tensors[:2], tensors[2])
    right = kernel([a, a + 1])
    for _ in range(2):
        with pytest.raises(GraphError, match="'divisor' must not be 0 where it divides integers"):
            kernel([a, a])
    np.testing.assert_array_equal(kernel([a, a + 1]), right)


@pytest.mark.parametrize("divisors", [(40, 50), (), (1,)], ids=str)
def test_remainders_of_floats(monkeypatch, divisors):
    random = np.random.default_rng(601)
    a = floats(random, (40, 50))
    b = np.asarray(floats(random, divisors), np.float32)
    a.reshape(-1)[:4] = np.inf, np.nan, -0.0, 1e-42
    inputs = [tensor("a", a.shape, dtype=FLOAT32), tensor("b", b.shape, dtype=FLOAT32)]
    with np.errstate(all="ignore"):
        same(monkeypatch, ops.FloorMod(), Arithmetic.FIXED, inputs, tensor("y", a.shape, dtype=FLOAT32), [a, b],
             [-a, b], [a * np.float32(1e20), b])


@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (2, 0, 3), (2, 3, 5)])
def test_moves_and_simple_functions(monkeypatch, shape):
    """Also of arrays without dimensions, of which numpy makes scalars, and without elements."""
    random = np.random.default_rng(390)
    x = np.asarray(random.normal(0, 3, shape), np.float32)
    x.reshape(-1)[:2] = np.nan
    x.reshape(-1)[1:3] = -0.0
    last = len(shape) - 1
    found = [ops.Reshape((x.size,)), ops.Reshape(shape), ops.Transpose(tuple(reversed(range(len(shape))))),
             ops.Slice((0,) * len(shape), shape, (1,) * len(shape)), ops.Cast("int64"), ops.Cast("float32"),
             *(ops.Unary(kind) for kind in ("neg", "abs", "floor", "relu", "sigmoid", "sqrt", "sign"))]
    if x.size:
        found += [ops.Softmax(beta=beta, axis=axis) for beta in (1.0, 0.5) for axis in {0, last} if shape]
    if x.size and shape:
        found.append(ops.Slice((*(0,) * last, shape[last] - 1), (*shape[:last], -1), (*(1,) * last, -1)))
    for op in found:
        inputs, output = one(random, op, Arithmetic.FIXED, x, FLOAT32)
        with np.errstate(all="ignore"):
            same(monkeypatch, op, Arithmetic.FIXED, inputs, output, [x], [x[...] * np.float32(2)], [-x])
    for op in (ops.Add(), ops.Sub(), ops.Mul(), ops.Div(), ops.Maximum(), ops.Minimum(), ops.Compare("less")):
        inputs = [tensor(n, shape, dtype=FLOAT32) for n in "ab"]
        made, dtype = infer(op, inputs)
        same(monkeypatch, op, Arithmetic.FIXED, inputs, tensor("y", made, dtype=dtype), [x, x * 2], [x, -x])


@pytest.mark.parametrize("size", [1, 3, 999, 1 << 15])
def test_single_elements(monkeypatch, size):
    random = np.random.default_rng(700)
    x = floats(random, size) * 100
    for arithmetic in Arithmetic:
        for scale in SCALES:
            inputs = [tensor("x", (size,), dtype=np.float32)]
            output = tensor("y", (size,), scale, int(random.integers(-128, 128)))
            same(monkeypatch, ops.Quantize(), arithmetic, inputs, output, [x], [x * 1e30])
            codes = integers(random, size)
            same(monkeypatch, ops.Dequantize(), arithmetic, [output], inputs[0], [codes])
            same(monkeypatch, ops.Table(random.bytes(256)), arithmetic, [output], output, [codes])
