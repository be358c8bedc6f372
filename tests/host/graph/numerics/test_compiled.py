"""Compiled loops make the bytes that numpy makes, and never fail for want of numba or its cache."""

import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from lepton.graph import Arithmetic, Quantization, Tensor, interpret, lookup, ops
from lepton.graph.numerics import compiled, loops

pytest.importorskip("numba", reason="numba (extra fast) is not installed")
IMAGE = (1, 60, 50, 40)  # 120 000 elements
INT8 = np.dtype(np.int8)


def tensor(name, shape, scale=None, zero=0, dtype=INT8):
    q = None if scale is None else Quantization(np.array([scale], np.float32), np.array([zero], np.int32))
    return Tensor(name, tuple(shape), np.dtype(dtype), q)


def image(random, shape):
    return random.integers(-128, 128, shape).astype(np.int8)


def same(monkeypatch, name, op, arithmetic, inputs, output, values):
    """The loop `name` is what computes, and gives numpy's result."""
    run = compiled.loop
    calls = []

    def noted(wanted, size, often=False):
        made = run(wanted, size, often)
        if made is not None:
            calls.append(wanted)
        return made

    monkeypatch.setenv(compiled.SWITCH, "0")
    wanted = interpret.compute(op, arithmetic, inputs, values, output)
    monkeypatch.setenv(compiled.SWITCH, "1")
    monkeypatch.setattr(compiled, "loop", noted)
    found = interpret.compute(op, arithmetic, inputs, values, output)
    monkeypatch.setattr(compiled, "loop", run)
    assert name in calls
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", loops.TYPES)
def test_every_loop_compiles(name):
    compiled._compiled(loops.FUNCTIONS[name], loops.TYPES[name], cache=False)
    assert compiled.loop(name, 1 << 16) is not None


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
@pytest.mark.parametrize("zero", [-128, -1, 0, 127])
def test_quantize(monkeypatch, arithmetic, zero, seed=51):
    random = np.random.default_rng(seed)
    halves = ((np.arange(-300, 300) + 0.5) * 0.25).astype(np.float32)
    extremes = np.array([np.nan, -np.nan, np.inf, -np.inf, 0, -0.0, 1e-45, 3e38, -3e38, 1e9, -1e9], np.float32)
    x = np.concatenate([random.normal(0, 9, 70_001).astype(np.float32), halves, extremes,
                        np.nextafter(halves, np.float32(0)), np.nextafter(halves, np.float32(np.inf))])
    for scale in (0.25, 0.0371, 1e-38):
        same(monkeypatch, "quantize", ops.Quantize(), arithmetic, [tensor("x", x.shape, dtype=np.float32)],
             tensor("y", x.shape, scale, zero), [x])


@pytest.mark.parametrize("zero", [-128, 5, 127])
def test_dequantize(monkeypatch, zero):
    x = image(np.random.default_rng(52), IMAGE)
    same(monkeypatch, "dequantize", ops.Dequantize(), Arithmetic.FLOAT, [tensor("x", IMAGE, 0.0371, zero)],
         tensor("y", IMAGE, dtype=np.float32), [x])


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "odd address", "read only"])
def test_table(monkeypatch, layout):
    random = np.random.default_rng(53)
    x = image(random, IMAGE)
    if layout == "transposed":
        x = x.swapaxes(1, 2).copy().swapaxes(1, 2)
    elif layout == "odd address":
        x = np.frombuffer(b"?" + x.tobytes(), np.int8)[1:].reshape(IMAGE)
    x.flags.writeable = layout != "read only" and x.flags.owndata
    same(monkeypatch, "take", ops.Table(random.bytes(256)), Arithmetic.FIXED, [tensor("x", IMAGE, 0.1)],
         tensor("y", IMAGE, 0.2), [x])


SHAPES = {"equal": (IMAGE, IMAGE), "channel": (IMAGE, (1, 1, 1, 40)), "channel first": ((40,), IMAGE),
          "pixel": (IMAGE, (1, 60, 50, 1)), "pixel first": ((1, 60, 50, 1), IMAGE), "rows": ((60, 1, 1), IMAGE),
          "prime": ((1, 2003, 40), (40,))}


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize(("op", "arithmetic"), [
    (ops.SquaredDifference(), Arithmetic.FIXED),
    *product([ops.Add(), ops.Add(clamp=(-7, 90), unsigned=True), ops.Sub(), ops.Mul(in_float=True),
              ops.Mul(clamp=(0, 127))], Arithmetic)], ids=repr)
def test_two_operands(monkeypatch, op, arithmetic, shapes, seed=54):
    random = np.random.default_rng(seed)
    a, b = SHAPES[shapes]
    made = np.broadcast_shapes(a, b)
    for scales in (random.uniform(0.01, 0.1, 3), (0.05, 0.07, 0.1), (0.25, 0.5, 0.5)):  # of some, halves everywhere
        inputs = [tensor(name, shape, scale, int(random.integers(-128, 128)))
                  for name, shape, scale in (("a", a, scales[0]), ("b", b, scales[1]))]
        output = tensor("y", made, scales[2], int(random.integers(-9, 9)))
        same(monkeypatch, "take_pairs", op, arithmetic, inputs, output, [image(random, a), image(random, b)])


@pytest.mark.parametrize(("op", "arithmetic"), [
    (ops.Add(), Arithmetic.FIXED), (ops.Sub(), Arithmetic.FIXED), (ops.Add(), Arithmetic.FLOAT),
    (ops.Mul(), Arithmetic.FLOAT), (ops.Mul(), Arithmetic.TORCH)], ids=repr)
def test_a_formula_is_found_for_a_table(op, arithmetic):
    kinds = [("int8", float(np.float32(scale)), zero) for scale, zero in ((0.0371, 5), (0.0523, -17), (0.0811, 3))]
    assert lookup._formula(op, arithmetic, *kinds) is not None


def test_no_formula_is_used_that_misses_one_result():
    kinds = [("int8", float(np.float32(scale)), 0) for scale in (0.0371, 0.0523, 0.0911)]
    assert lookup._formula(ops.Mul(), Arithmetic.FIXED, *kinds) is None


@pytest.mark.parametrize("shape", [(900, 91), (70, 1001), (30_001, 3), (9, 8191)])
@pytest.mark.parametrize(("arithmetic", "name"), [(Arithmetic.FIXED, "softmax_fixed"),
                                                  (Arithmetic.FLOAT, "softmax_float")])
def test_softmax(monkeypatch, arithmetic, name, shape):
    random = np.random.default_rng(55)
    x = image(random, shape)
    x[0] = -128
    x[1] = 127
    for scale in (1e-6, 0.07, 3.0):
        same(monkeypatch, name, ops.Softmax(), arithmetic, [tensor("x", shape, scale, 4)],
             tensor("y", shape, 1 / 256, -128), [x])
    same(monkeypatch, name, ops.Softmax(axis=0), arithmetic, [tensor("x", shape[::-1], 0.1, 4)],
         tensor("y", shape[::-1], 1 / 256, -128), [np.ascontiguousarray(x.T)])


@pytest.mark.parametrize("kind", ["sum", "mean"])
@pytest.mark.parametrize("axes", [(1, 2), (0, 1), (3,), (2,), (0, 1, 2, 3)])
def test_reductions(monkeypatch, kind, axes):
    shape = (3, 61, 29, 23)
    for x in (image(np.random.default_rng(56), shape), np.full(shape, -128, np.int8)):
        made = tuple(1 if i in axes else n for i, n in enumerate(shape))
        same(monkeypatch, "sum_middle", ops.Reduce(kind, axes), Arithmetic.FIXED, [tensor("x", shape, 0.05, 3)],
             tensor("y", made, 0.6, -4), [x])


@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("size", [(97, 90), (301, 9), (7, 301)])
@pytest.mark.parametrize(("arithmetic", "unsigned"), [(Arithmetic.FIXED, False), (Arithmetic.FLOAT, False),
                                                      (Arithmetic.FLOAT, True)])
def test_bilinear(monkeypatch, arithmetic, unsigned, size, coordinates):
    random = np.random.default_rng(57)
    shape = (1, 33, 29, 35)
    made = (1, *size, 35)
    op = ops.Resize(size, "bilinear", coordinates, unsigned=unsigned)
    same(monkeypatch, "bilinear", op, arithmetic, [tensor("x", shape, 0.1)], tensor("y", made, 0.1),
         [image(random, shape)])
    if not unsigned:
        x = random.normal(0, 1e3, shape).astype(np.float32)
        x[0, 5] = -0.0
        x[0, 9] = np.inf
        with np.errstate(invalid="ignore"):
            same(monkeypatch, "bilinear_float", op, arithmetic, [tensor("x", shape, dtype=np.float32)],
                 tensor("y", made, dtype=np.float32), [x])


@pytest.mark.parametrize("switch", ["0", "1"])
def test_bilinear_does_not_read_behind_the_image(monkeypatch, switch):
    """A step that is rounded up leads behind the last of 29 columns or rows; numpy and loops take the last one."""
    monkeypatch.setenv(compiled.SWITCH, switch)
    x = np.arange(29 * 29, dtype=np.int64).reshape(1, 29, 29, 1).repeat(5, axis=3).astype(np.int8)
    made = (1, 301, 301, 5)
    found = interpret.compute(ops.Resize((301, 301), "bilinear", "asymmetric"), Arithmetic.FIXED,
                              [tensor("x", x.shape, 0.1)], [x], tensor("y", made, 0.1))
    np.testing.assert_array_equal(found[0, -1, -1], x[0, -1, -1])


SCRIPT = """
import os, sys, threading
import numpy as np
from lepton.graph import Arithmetic, Quantization, Tensor, interpret, ops

def run(size):
    q = Quantization(np.array([0.1], np.float32), np.array([3], np.int32))
    x = np.linspace(-20, 20, size, dtype=np.float32)
    tensors = Tensor("x", (size,), np.dtype(np.float32)), Tensor("y", (size,), np.dtype(np.int8), q)
    return interpret.compute(ops.Quantize(), Arithmetic.FLOAT, [tensors[0]], [x], tensors[1])

"""


def python(code, **environment):
    ended = subprocess.run([sys.executable, "-c", SCRIPT + code], env={**os.environ, **environment}, timeout=60,
                           capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def test_small_operands_and_the_switch_load_nothing():
    assert python("run(4000); print('numba' in sys.modules)") == "False\n"
    assert python("run(1 << 17); print('numba' in sys.modules)", LEPTON_COMPILED="0") == "False\n"
    assert python("run(1 << 17); run(1 << 10); print('numba' in sys.modules)") == "True\n"


def test_without_numba_numpy_computes():
    wanted = python("print(run(1 << 17).tobytes().hex())", LEPTON_COMPILED="0")
    assert python("sys.modules['numba'] = None; print(run(1 << 17).tobytes().hex())") == wanted


def test_a_cache_that_cannot_be_written_is_not_used(tmp_path):
    (tmp_path / "file").write_text("")
    code = "from lepton.graph.numerics import compiled; run(1 << 17); print(compiled._loaded['quantize'] is not None)"
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path / "file" / "folder")) == "True\n"


def test_threads_and_forks_may_be_the_first_to_load(tmp_path):
    """Children are forked while threads compile."""
    code = """
results, children = [], []
threads = [threading.Thread(target=lambda: results.append(run(1 << 17).tobytes())) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if len(run(1 << 17)) == 1 << 17 else 1)
    children.append(child)
for thread in threads:
    thread.join()
print(len(set(results)), len(results), [os.waitpid(child, 0)[1] for child in children])
"""
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path)) == "1 4 [0, 0, 0]\n"
