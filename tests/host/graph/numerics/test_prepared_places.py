"""Elements taken from and put at places, prepared to run often: the bytes and errors of the code in numpy."""

import numpy as np
import pytest
from lepton.graph import Arithmetic, GraphError, interpret, ops

from tests.host.graph.numerics.prepared import FLOAT32, INT8, floats, infer, same, tensor

pytest.importorskip("numba", reason="numba (extra fast) is not installed")


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.float32, np.int64])
@pytest.mark.parametrize(("shape", "places", "axis"), [((3, 4, 5), (3, 4, 2), 2), ((3, 4, 5), (7, 4, 5), 0),
                                                       ((3, 4, 5), (3, 9, 5), 1), ((3, 4, 5), (2, 4, 3), 1)])
def test_elements_by_their_places(monkeypatch, shape, places, axis, dtype):
    random = np.random.default_rng(350)
    x = random.integers(-100, 100, shape).astype(dtype)
    op = ops.GatherElements(axis)
    for kind in (np.int32, np.int64):
        indices = random.integers(-shape[axis], shape[axis], places).astype(kind)
        inputs = [tensor("x", shape, dtype=dtype), tensor("i", places, dtype=kind)]
        same(monkeypatch, op, Arithmetic.FLOAT, inputs, tensor("y", places, dtype=dtype), [x, indices])


@pytest.mark.parametrize(("op", "places"), [
    (ops.GatherND(), [1, 2]), (ops.GatherND(), [[1, 2], [0, 3]]), (ops.GatherND(), [[[1]], [[2]]]),
    (ops.GatherND(1), [[1], [0], [3]]), (ops.Gather(1), 2), (ops.Gather(0), [[1, 1], [2, 0]])], ids=str)
def test_elements_at_constant_places(monkeypatch, op, places):
    random = np.random.default_rng(372)
    data = np.array(places, np.int64)
    inputs = [tensor("x", (3, 4), dtype=FLOAT32), tensor("i", data.shape, dtype=np.int64, data=data)]
    output = tensor("y", infer(op, inputs)[0], dtype=FLOAT32)
    same(monkeypatch, op, Arithmetic.FLOAT, inputs, output, *([floats(random, (3, 4)), data] for _ in range(2)))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.float32, np.int64])
@pytest.mark.parametrize(("places", "axis"), [((3, 4, 2), 2), ((7, 4, 5), 0), ((3, 9, 5), 1), ((2, 4, 3), 1)])
def test_elements_by_constant_places(monkeypatch, places, axis, dtype):
    random = np.random.default_rng(604)
    shape = (3, 4, 5)
    indices = random.integers(-shape[axis], shape[axis], places)
    updates = random.integers(-100, 100, places).astype(dtype)
    x = tensor("x", shape, dtype=dtype)
    at = tensor("i", places, dtype=np.int64, data=indices)
    values = [random.integers(-100, 100, shape).astype(dtype) for _ in range(2)]
    same(monkeypatch, ops.GatherElements(axis), Arithmetic.FLOAT, [x, at], tensor("y", places, dtype=dtype),
         *([v, indices] for v in values))
    if all(n <= most for n, most in zip(places, shape, strict=True)):
        more = tensor("u", places, dtype=dtype)
        same(monkeypatch, ops.ScatterElements(axis, "max"), Arithmetic.FLOAT, [x, at, more],
             tensor("y", shape, dtype=dtype), *([v, indices, updates] for v in values))


@pytest.mark.parametrize(("arithmetic", "wrong", "lowest"), [(Arithmetic.FLOAT, 4, -4), (Arithmetic.FLOAT, -5, -4),
                                                             (Arithmetic.FIXED, -1, 0), (Arithmetic.FIXED, 4, 0)])
@pytest.mark.parametrize(("op", "places"), [(ops.GatherElements(1), (3, 2)), (ops.GatherND(1), (3, 1))], ids=str)
def test_an_index_out_of_range_is_named_each_time(arithmetic, wrong, lowest, op, places):
    indices = np.ones(places, np.int64)
    bad = indices.copy()
    bad[-1, -1] = wrong
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    inputs = [tensor("x", x.shape, dtype=FLOAT32), tensor("indices", places, dtype=np.int64)]
    kernel = interpret.prepare(op, arithmetic, inputs, tensor("y", *infer(op, inputs)[:1], dtype=FLOAT32))
    right = kernel([x, indices])
    for _ in range(2):
        with pytest.raises(GraphError, match=rf"index {wrong} of 'indices' must lie in {lowest}\.\.3"):
            kernel([x, bad])
    np.testing.assert_array_equal(kernel([x, indices]), right)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_scattered_elements(monkeypatch, kind):
    random = np.random.default_rng(371)
    x = random.normal(size=(5, 6, 3)).astype(np.float32)
    tensors = [tensor("x", x.shape, dtype=FLOAT32), tensor("i", (4, 2), dtype=kind),
               tensor("u", (4, 3), dtype=FLOAT32)]
    places = np.stack([random.permutation(np.arange(-4, 5))[:4], random.integers(-6, 6, 4)], axis=-1).astype(kind)
    updates = random.normal(size=(4, 3)).astype(np.float32)
    for reduction in ("none", "add", "max"):
        same(monkeypatch, ops.ScatterND(reduction), Arithmetic.FLOAT, tensors, tensor("y", x.shape, dtype=FLOAT32),
             [x, places, updates])
    elements = random.integers(-6, 6, (2, 4, 3)).astype(kind)
    more = random.normal(size=elements.shape).astype(np.float32)
    tensors = [tensors[0], tensor("i", elements.shape, dtype=kind), tensor("u", elements.shape, dtype=FLOAT32)]
    same(monkeypatch, ops.ScatterElements(1, "max"), Arithmetic.FLOAT, tensors, tensor("y", x.shape, dtype=FLOAT32),
         [x, elements, more])


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.float32, np.int64, np.bool_])
@pytest.mark.parametrize(("shape", "axis"), [((3, 4), 0), ((3, 4), 1), ((3, 4), -1), ((), 0), ((7,), 0)])
def test_one_hot(monkeypatch, shape, axis, dtype):
    """Indices out of range have no element that is on."""
    random = np.random.default_rng(370)
    op = ops.OneHot(5, axis)
    values = np.array(1, dtype), np.array(0, dtype)
    for kind in (np.int32, np.int64):
        inputs = [tensor("i", shape, dtype=kind), *(tensor(n, (), dtype=dtype) for n in ("on", "off"))]
        output = tensor("y", infer(op, inputs)[0], dtype=dtype)
        executions = [[random.integers(-3, 9, shape).astype(kind), *values] for _ in range(2)]
        same(monkeypatch, op, Arithmetic.FLOAT, inputs, output, *executions)
        known = [inputs[0], *(tensor(n, (), dtype=dtype, data=v) for n, v in zip(("on", "off"), values, strict=True))]
        same(monkeypatch, op, Arithmetic.FLOAT, known, output, *executions)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.int64])
@pytest.mark.parametrize("widths", [((0, 0), (1, 2)), ((3, 0), (0, 0)), ((0, 0), (0, 0))])
def test_padding(monkeypatch, widths, dtype):
    x = np.random.default_rng(373).integers(-9, 9, (3, 4)).astype(dtype)
    inputs = [tensor("x", x.shape, dtype=dtype)]
    op = ops.Pad(widths, -7)
    same(monkeypatch, op, Arithmetic.FLOAT, inputs, tensor("y", infer(op, inputs)[0], dtype=dtype), [x], [x + x])


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "edge"])
@pytest.mark.parametrize("widths", [((0, 0), (1, 2)), ((2, 1), (3, 0)), ((0, 0), (0, 0))])
def test_padding_by_the_image(monkeypatch, widths, mode):
    x = np.random.default_rng(603).integers(-9, 9, (3, 4)).astype(np.int8)
    inputs = [tensor("x", x.shape, dtype=INT8)]
    op = ops.Pad(widths, mode=mode)
    same(monkeypatch, op, Arithmetic.FLOAT, inputs, tensor("y", infer(op, inputs)[0], dtype=INT8), [x], [x + x])
