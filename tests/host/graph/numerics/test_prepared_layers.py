"""Layers that are prepared to run often, however small, give the bytes of the code in numpy."""

import threading

import numpy as np
import pytest
from lepton.graph import Arithmetic, interpret, ops
from lepton.graph.numerics import compiled, onnxruntime_kernels

from tests.host.graph.numerics.prepared import FLOAT32, INT8, SCALES, floats, infer, integers, one, same, tensor

pytest.importorskip("numba", reason="numba (extra fast) is not installed")


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
@pytest.mark.parametrize("seed", range(12))
def test_layers(monkeypatch, seed, arithmetic):
    """Convolutions, products of matrices: strides, dilations, paddings, groups, clamps, and sums that wrap around."""
    random = np.random.default_rng(seed)
    groups = int(random.integers(1, 4))
    channels = groups * int(random.integers(1, 6))
    outputs = groups * int(random.integers(1, 8))
    kernel = tuple(int(n) for n in random.integers(1, 4, 2))
    window = {"stride": tuple(int(n) for n in random.integers(1, 3, 2)),
              "dilation": tuple(int(n) for n in random.integers(1, 3, 2)),
              "padding": tuple((int(a), int(b)) for a, b in random.integers(0, 3, (2, 2)))}
    low, high = sorted(int(n) for n in random.integers(-128, 128, 2))
    shape = (int(random.integers(1, 3)), *(int(n) for n in random.integers(6, 10, 2)), channels)
    x = tensor("x", shape, random.choice(SCALES), int(random.integers(-128, 128)))
    bias_values = integers(random, outputs, np.dtype(np.int32))

    def weights(op, size, axis, count, multiplied=1):
        scales = random.choice(SCALES, count) if random.integers(2) else [random.choice(SCALES)]
        data = integers(random, size)
        w = tensor("w", size, scales, int(random.integers(-2, 3)), data=data, axis=axis if len(scales) > 1 else None)
        bias = tensor("b", (count,), dtype=np.int32, data=np.resize(bias_values, count))
        inputs = [x, w, bias] if random.integers(2) else [x, w]
        made, dtype = infer(op, inputs)
        output = tensor("y", made, random.choice(SCALES), int(random.integers(-128, 128)), dtype)
        same(monkeypatch, op, arithmetic, inputs, output,
             *([integers(random, shape), *(t.data for t in inputs[1:])] for _ in range(2)))

    weights(ops.Conv2D(**window, groups=groups, clamp=(low, high), unsigned=bool(random.integers(2))),
            (outputs, *kernel, channels // groups), 0, outputs)
    multiplier = int(random.integers(1, 3))
    weights(ops.DepthwiseConv2D(**window, multiplier=multiplier), (1, *kernel, channels * multiplier), 3,
            channels * multiplier)
    weights(ops.FullyConnected(clamp=(low, high)), (outputs, channels), 0, outputs)
    a = (2, 3, 5, 4)
    b = (2, 3, 4, 7)
    inputs = [tensor("a", a, 0.1, 5), tensor("b", b, 0.02, -7)]
    same(monkeypatch, ops.MatMul(), arithmetic, inputs, tensor("y", (2, 3, 5, 7), random.choice(SCALES), 3),
         [integers(random, a), integers(random, b)])


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
@pytest.mark.parametrize("seed", range(8))
def test_pools_and_images(monkeypatch, seed, arithmetic):
    random = np.random.default_rng(100 + seed)
    kernel = tuple(int(n) for n in random.integers(1, 4, 2))
    window = {"kernel": kernel, "stride": tuple(int(n) for n in random.integers(1, 4, 2)),
              "padding": tuple((int(random.integers(0, k)), int(random.integers(0, k))) for k in kernel)}
    shape = (int(random.integers(1, 3)), *(int(n) for n in random.integers(7, 12, 2)), int(random.integers(1, 40)))
    low, high = sorted(int(n) for n in random.integers(-128, 128, 2))
    size = tuple(int(n) for n in random.integers(1, 25, 2))
    flags = [bool(n) for n in random.integers(0, 2, 3)]
    coordinates = str(random.choice(["half_pixel", "asymmetric", "align_corners"]))
    for op in (ops.MaxPool2D(**window, clamp=(low, high), dilation=(1, 2)),
               ops.AveragePool2D(**window, clamp=(low, high), count_padding=flags[0], unsigned=flags[1]),
               ops.Resize(size, "bilinear", coordinates, unsigned=flags[2]),
               ops.Resize(size, "bilinear", coordinates, unsigned=flags[2], in_float=True),
               ops.Resize(size, "nearest", coordinates)):
        inputs, output = one(random, op, arithmetic, np.empty(shape))
        same(monkeypatch, op, arithmetic, inputs, output, *([integers(random, shape)] for _ in range(2)))
    for op in (ops.MaxPool2D(**window), ops.AveragePool2D(**window, count_padding=flags[0], in_order=True),
               ops.Resize(size, "bilinear", coordinates), ops.Resize(size, "nearest", coordinates)):
        inputs, output = one(random, op, arithmetic, np.empty(shape), FLOAT32)
        x = floats(random, shape)
        broken = x.copy()
        broken[0, 3, 3] = np.nan
        broken[0, 4, 3] = np.inf
        with np.errstate(invalid="ignore"):
            same(monkeypatch, op, arithmetic, inputs, output, [x], [broken])


@pytest.mark.parametrize("channels", [1, 5, 8, 16, 48])
@pytest.mark.parametrize("seed", range(6))
def test_averages_in_the_order_of_onnx_runtime(monkeypatch, seed, channels):
    """Which order it is depends on strides, paddings and channels."""
    pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is not installed")
    random = np.random.default_rng(150 + seed)
    height, width = (int(n) for n in random.integers(1, 20, 2))
    kernel = int(random.integers(1, min(height, 5) + 1)), int(random.integers(1, min(width, 5) + 1))
    stride = tuple(int(n) for n in random.integers(1, 4, 2))
    padding = tuple((int(random.integers(0, k)), int(random.integers(0, k))) for k in kernel)
    shape = (int(random.integers(1, 3)), height, width, channels)
    for op in (ops.AveragePool2D(kernel, stride, padding, count_padding=bool(seed % 2)),
               ops.AveragePool2D(kernel, stride), ops.AveragePool2D((height, width)), ops.Mean()):
        inputs, output = one(random, op, Arithmetic.FLOAT, np.empty(shape), FLOAT32)
        executions = [[floats(random, shape)], [floats(random, shape) * np.float32(1e30)],
                       [np.full(shape, -0.0, np.float32)], [np.full(shape, np.inf, np.float32)]]
        same(monkeypatch, op, Arithmetic.FLOAT, inputs, output, *executions)


def test_an_average_is_computed_by_a_loop(monkeypatch):
    """ONNX Runtime's own kernel, which has another layout, only says which order is right."""
    pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is not installed")
    random = np.random.default_rng(151)
    monkeypatch.setenv(compiled.SWITCH, "1")
    for op, shape in ((ops.AveragePool2D((3, 3), (2, 2)), (1, 9, 9, 5)), (ops.Mean(), (1, 9, 9, 5)),
                      (ops.AveragePool2D((3, 3), (3, 3)), (1, 9, 9, 5)), (ops.AveragePool2D((9, 9)), (1, 9, 9, 5))):
        inputs, output = one(random, op, Arithmetic.FLOAT, np.empty(shape), FLOAT32)
        kernel = interpret.prepare(op, Arithmetic.FLOAT, inputs, output)
        x = floats(random, shape)
        wanted = kernel([x])
        with monkeypatch.context() as patch:
            patch.setattr(onnxruntime_kernels, "run", lambda *_, **__: pytest.fail("not by a loop"))
            np.testing.assert_array_equal(kernel([x]), wanted)


@pytest.mark.parametrize(("op", "shapes"), [
    (ops.Function("Acos"), [(2, 7)]), (ops.Function("BiasGelu"), [(3, 8), (8,)]), (ops.Unary("sigmoid"), [(4, 5)]),
    (ops.Reduce("sum", (1,), keep_dims=False), [(3, 4, 5)]), (ops.Reduce("l2", (0, 2)), [(3, 4, 5)]),
    (ops.Softmax(axis=1), [(2, 3, 4)]), (ops.Einsum("ij,jk->ik"), [(3, 4), (4, 2)]),
    (ops.MatMul(), [(2, 3, 4), (2, 4, 5)]),
    (ops.FloatConv((1, 1), (1, 1), ((1, 1), (0, 0))), [(1, 3, 6, 6), (4, 3, 3, 3), None]),
    (ops.FloatConv((1, 1), (1, 1), ((1, 1), (0, 0))), [(1, 3, 6, 6), (4, 3, 3, 3), (4,)])], ids=str)
def test_kernels_of_onnx_runtime(monkeypatch, op, shapes):
    """The first execution leaves the kernel of the later ones, also for operands in another order of memory."""
    pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is not installed")
    random = np.random.default_rng(152)
    inputs = [None if s is None else tensor(f"x{i}", s, dtype=FLOAT32) for i, s in enumerate(shapes)]
    shape, dtype = infer(op, inputs)
    operands = [[None if s is None else floats(random, s) for s in shapes] for _ in range(3)]
    operands[1] = [None if x is None else np.asfortranarray(x) for x in operands[1]]
    same(monkeypatch, op, Arithmetic.FLOAT, inputs, tensor("y", shape, dtype=dtype), *operands)


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
@pytest.mark.parametrize("seed", range(8))
def test_rows_and_reductions(monkeypatch, seed, arithmetic):
    random = np.random.default_rng(200 + seed)
    shape = tuple(int(n) for n in random.integers(1, 14, 3))
    count = int(random.integers(1, shape[-1] + 1))
    axes = tuple(range(*sorted(random.choice(4, 2, replace=False))))
    for op in (ops.ArgMax(-1), ops.ArgMax(2, dtype="int32", keep_dims=False), ops.ArgMax(1), ops.TopK(count),
               ops.TopK(count, dtype="int32"), ops.TopK(count, largest=False), ops.Reduce("mean", axes),
               ops.Reduce("sum", axes, keep_dims=False), ops.Reduce("max", axes)):
        inputs, output = one(random, op, arithmetic, np.empty(shape), scale=random.choice(SCALES),
                             zero=int(random.integers(-128, 128)))
        if isinstance(op, ops.ArgMax | ops.TopK):
            output = tensor("y", output.shape, dtype=output.dtype)
        few = random.integers(-2, 3, shape).astype(np.int8)  # many equal ones
        same(monkeypatch, op, arithmetic, inputs, output, [integers(random, shape)], [few],
             [np.full(shape, -128, INT8)])
    for op in (ops.ArgMax(-1), ops.ArgMax(-1, dtype="int32"), ops.TopK(count), ops.TopK(count, dtype="int32"),
               ops.CumSum(-1), ops.CumSum(0), ops.CumSum(-1, exclusive=True)):
        inputs, output = one(random, op, arithmetic, np.empty(shape), FLOAT32)
        x = floats(random, shape)
        broken = x.copy()
        broken[..., shape[-1] // 2] = np.nan
        same(monkeypatch, op, arithmetic, inputs, output, [x], [broken], [np.full(shape, -np.inf, np.float32)],
             [np.full(shape, -0.0, np.float32)])


@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (2, 5, 7), (64, 16)])
def test_softmax_and_norms(monkeypatch, shape):
    random = np.random.default_rng(300 + len(shape) + shape[0])
    executions = [[integers(random, shape)], [np.full(shape, 127, INT8)], [np.full(shape, -128, INT8)]]
    for scale in (1e-6, 0.003, 0.07, 0.5, 3.0):
        x = tensor("x", shape, scale, int(random.integers(-128, 128)))
        probability = tensor("y", shape, 1 / 256, -128)
        same(monkeypatch, ops.Softmax(), Arithmetic.FIXED, [x], probability, *executions)
        same(monkeypatch, ops.Softmax(beta=0.7), Arithmetic.FIXED, [x], probability, *executions)
        same(monkeypatch, ops.Softmax(), Arithmetic.FLOAT, [x], probability, *executions)
        same(monkeypatch, ops.Softmax(axis=0), Arithmetic.FLOAT, [x], probability, *executions)
        same(monkeypatch, ops.LogSoftmax(), Arithmetic.FIXED, [x], tensor("y", shape, 1 / 16, 127), *executions)
        for unsigned in (False, True):
            same(monkeypatch, ops.L2Normalize(unsigned), Arithmetic.FIXED, [x], tensor("y", shape, 1 / 128, 0),
                 *executions)


@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (2, 5, 7), (64, 16), (4, 1000)])
@pytest.mark.parametrize("op", [ops.Softmax(), ops.Softmax(beta=0.7), ops.LogSoftmax()], ids=repr)
def test_softmax_of_floats(monkeypatch, op, shape):
    x = floats(np.random.default_rng(602), shape)
    broken = x.copy()
    broken[0, 0] = np.nan
    broken[-1, -1] = np.inf
    tensors = [tensor("x", shape, dtype=FLOAT32)], tensor("y", shape, dtype=FLOAT32)
    with np.errstate(all="ignore"):
        same(monkeypatch, op, Arithmetic.FIXED, *tensors, [x], [x * np.float32(30)],
             [np.full(shape, -np.inf, np.float32)], [broken])


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (3, 4, 33)])
def test_unit_length_of_floats(monkeypatch, shape):
    x = floats(np.random.default_rng(360), shape)
    tensors = [tensor("x", shape, dtype=np.float32)], tensor("y", shape, dtype=np.float32)
    same(monkeypatch, ops.L2Normalize(), Arithmetic.FIXED, *tensors, [x], [np.zeros_like(x)], [x * np.float32(1e-9)],
         [x * np.float32(1e15)])


@pytest.mark.parametrize("seed", range(8))
def test_boxes_of_detectors(monkeypatch, seed):
    random = np.random.default_rng(380 + seed)
    count = int(random.choice([1, 2, 30, 200]))
    classes = int(random.integers(1, 9))
    shapes = (1, count, 4), (1, count, classes + seed % 2), (count, 4)
    inputs = [tensor(name, shape, dtype=FLOAT32) for name, shape in zip("esa", shapes, strict=True)]
    anchors = random.uniform(0.1, 0.9, shapes[2]).astype(np.float32)
    executions = []
    for _ in range(3):
        scores = np.rint(random.uniform(0, 1, shapes[1]) * 20).astype(np.float32) / np.float32(20)  # many equal ones
        executions.append([random.normal(0, 2, shapes[0]).astype(np.float32), scores, anchors])
    broken = [value.copy() for value in executions[0]]
    broken[0][0, -1, 3] = np.inf
    broken[1][0, 0, -1] = np.nan
    for each, regular in ((1, False), (min(classes, 2), False), (1, True)):
        op = ops.DetectionPostProcess(10, classes, each, (10.0, 10.0, 5.0, 5.0), float(random.choice([0, 0.25, 0.99])),
                                      float(random.choice([0.1, 0.5, 1.0])), regular, 5)
        output = tensor("y", *infer(op, inputs)[:1], dtype=FLOAT32)
        with np.errstate(all="ignore"):
            same(monkeypatch, op, Arithmetic.FIXED, inputs, output, *executions, broken, executions[1])


def test_threads_share_what_is_prepared():
    random = np.random.default_rng(800)
    op = ops.Conv2D()
    shape = (1, 9, 9, 8)
    w = tensor("w", (8, 3, 3, 8), 0.02, data=integers(random, (8, 3, 3, 8)))
    inputs = [tensor("x", shape, 0.1, 3), w]
    kernel = interpret.prepare(op, Arithmetic.FIXED, inputs, tensor("y", (1, 7, 7, 8), 0.5, -3))
    images = [integers(random, shape) for _ in range(8)]
    wanted = [kernel([image, w.data]) for image in images]
    wrong = []

    def run(image, result):
        for _ in range(50):
            if not np.array_equal(kernel([image, w.data]), result):
                wrong.append(image)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(images, wanted, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
