"""Steps that are prepared to run often, however small, give the bytes of the code in numpy, which is the definition."""

import threading

import numpy as np
import pytest
from lepton.graph import Arithmetic, GraphError, Quantization, Tensor, interpret, ops
from lepton.graph.core import OperandList
from lepton.graph.numerics import compiled, onnxruntime_kernels

pytest.importorskip("numba", reason="numba (extra fast) is not installed")

INT8 = np.dtype(np.int8)
FLOAT32 = np.dtype(np.float32)
SCALES = (1e-6, 1e-3, 0.0371, 0.25, 0.5, 1.0, 7.3, 300.0)


def tensor(name, shape, scale=None, zero=0, dtype=INT8, data=None, axis=None):
    scale = None if scale is None else np.atleast_1d(np.asarray(scale, np.float32))
    q = None if scale is None else Quantization(scale, np.full(len(scale), zero, np.int32), axis)
    return Tensor(name, tuple(shape), np.dtype(dtype), q, data)


def integers(random, shape, dtype=INT8):
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, shape, dtype, endpoint=True)


def floats(random, shape):
    values = random.normal(0, 3, shape).astype(np.float32)
    values.reshape(-1)[::7] = 0
    values.reshape(-1)[::5] = np.rint(values.reshape(-1)[::5])  # equal ones
    return values


def same(monkeypatch, op, arithmetic, inputs, output, *executions):
    """Each execution with what the first one prepared."""
    kernel = interpret.prepare(op, arithmetic, inputs, output, often=True)
    for values in executions:
        monkeypatch.setenv(compiled.SWITCH, "0")
        wanted = interpret.compute(op, arithmetic, inputs, values, output)
        monkeypatch.setenv(compiled.SWITCH, "1")
        for found in [kernel(values), kernel(values)]:  # the first one may leave another kernel for the second
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_array_equal(found, wanted)
            assert found.flags.c_contiguous


def infer(op, inputs):
    return op.infer(OperandList(inputs))


def one(random, op, arithmetic, x, dtype=INT8, scale=None, zero=0):
    """Inputs and output of an operator of `x` alone; its scales are random where there are any."""
    quantized = np.dtype(dtype) == INT8
    scaled = random.choice(SCALES) if quantized else None
    inputs = [tensor("x", x.shape, scaled, int(random.integers(-128, 128)), dtype)]
    shape, made = infer(op, inputs)
    keeps = op.keeps_quantization and quantized
    if keeps:
        output = Tensor("y", shape, made, inputs[0].quantization)
    else:
        output = tensor("y", shape, scale if scale is not None or made != INT8 else random.choice(SCALES), zero, made)
    return inputs, output


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
    a, b = (2, 3, 5, 4), (2, 3, 4, 7)
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


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (3, 4, 33)])
def test_unit_length_of_floats(monkeypatch, shape):
    x = floats(np.random.default_rng(360), shape)
    tensors = [tensor("x", shape, dtype=np.float32)], tensor("y", shape, dtype=np.float32)
    same(monkeypatch, ops.L2Normalize(), Arithmetic.FIXED, *tensors, [x], [np.zeros_like(x)], [x * np.float32(1e-9)],
         [x * np.float32(1e15)])


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


@pytest.mark.parametrize(("op", "places"), [
    (ops.GatherND(), [1, 2]), (ops.GatherND(), [[1, 2], [0, 3]]), (ops.GatherND(), [[[1]], [[2]]]),
    (ops.GatherND(1), [[1], [0], [3]]), (ops.Gather(1), 2), (ops.Gather(0), [[1, 1], [2, 0]])], ids=str)
def test_elements_at_constant_places(monkeypatch, op, places):
    random = np.random.default_rng(372)
    data = np.array(places, np.int64)
    inputs = [tensor("x", (3, 4), dtype=FLOAT32), tensor("i", data.shape, dtype=np.int64, data=data)]
    output = tensor("y", infer(op, inputs)[0], dtype=FLOAT32)
    same(monkeypatch, op, Arithmetic.FLOAT, inputs, output, *([floats(random, (3, 4)), data] for _ in range(2)))


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.int64])
@pytest.mark.parametrize("widths", [((0, 0), (1, 2)), ((3, 0), (0, 0)), ((0, 0), (0, 0))])
def test_padding(monkeypatch, widths, dtype):
    x = np.random.default_rng(373).integers(-9, 9, (3, 4)).astype(dtype)
    inputs = [tensor("x", x.shape, dtype=dtype)]
    op = ops.Pad(widths, -7)
    same(monkeypatch, op, Arithmetic.FLOAT, inputs, tensor("y", infer(op, inputs)[0], dtype=dtype), [x], [x + x])


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


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "edge"])
@pytest.mark.parametrize("widths", [((0, 0), (1, 2)), ((2, 1), (3, 0)), ((0, 0), (0, 0))])
def test_padding_by_the_image(monkeypatch, widths, mode):
    x = np.random.default_rng(603).integers(-9, 9, (3, 4)).astype(np.int8)
    inputs = [tensor("x", x.shape, dtype=INT8)]
    op = ops.Pad(widths, mode=mode)
    same(monkeypatch, op, Arithmetic.FLOAT, inputs, tensor("y", infer(op, inputs)[0], dtype=INT8), [x], [x + x])


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


def test_threads_share_what_is_prepared():
    random = np.random.default_rng(800)
    op, shape = ops.Conv2D(), (1, 9, 9, 8)
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
