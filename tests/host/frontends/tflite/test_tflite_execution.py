"""Every operator, imported, compiled and run on the golden device, against LiteRT's reference kernels."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

import lepton.device
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
from lepton.runtime import Session

from tests.litert_models import Operator, Tensor, build, build_network, references

SAME = 0
VALID = 1
RELU = 1
RELU6 = 3


def compare(model: bytes, *inputs: np.ndarray, config="tiny") -> None:
    """All outputs, byte for byte."""
    graph = import_tflite(model)
    compiled = compile_graph(graph, config)
    with lepton.device.open("golden", config=config) as device, Session(compiled, device) as session:
        got = session.run(dict(zip(graph.inputs, inputs, strict=True))).outputs
    for name, expected in zip(graph.outputs, references(model, *inputs), strict=True):
        assert got[name].dtype == expected.dtype
        np.testing.assert_array_equal(got[name], expected, name)


class Case:
    """Random tensors of one model."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)

    def scale(self, low=-2.5, high=-0.5) -> float:
        return float(np.float32(10 ** self.random.uniform(low, high)))

    def activation(self, *shape, scale=None, zero=None, dtype=np.int8) -> Tensor:
        info = np.iinfo(dtype)
        zero = int(self.random.integers(info.min, info.max + 1)) if zero is None else zero
        return Tensor(self.scale() if scale is None else scale, zero, shape=shape, dtype=dtype)

    def like(self, tensor: Tensor, *shape) -> Tensor:
        return Tensor(tensor.scale, int(tensor.zero[0]), shape=shape, dtype=tensor.dtype)

    def values(self, tensor: Tensor) -> np.ndarray:
        if tensor.dtype == np.float32:
            return self.random.normal(0, 2, tensor.shape).astype(np.float32)
        info = np.iinfo(tensor.dtype)
        data = self.random.integers(info.min, info.max + 1, tensor.shape).astype(tensor.dtype)
        data.flat[:2] = info.min, info.max
        return data

    def weights(self, x: Tensor, shape, axis=None, outputs=0, dtype=np.int8, zero=0) -> tuple[Tensor, Tensor]:
        scale = self.random.uniform(0.002, 0.02, shape[axis]) if axis is not None else self.scale(-3, -1.5)
        info = np.iinfo(dtype)
        data = self.random.integers(info.min + (dtype == np.int8), info.max + 1, shape).astype(dtype)
        count = shape[axis] if axis is not None else outputs
        bias = self.random.integers(-3000, 3000, count, dtype=np.int32)
        return (Tensor(scale, zero, data=data, axis=axis or 0),
                Tensor(np.float32(scale) * x.scale[0], data=bias))


def integers(*values) -> Tensor:
    return Tensor(data=np.array(values, np.int32))


def size(n: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    return -(-n // stride) if padding == SAME else (n - (kernel - 1) * dilation - 1) // stride + 1


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
@pytest.mark.parametrize("target", [(8, 12), (3, 9), (4, 6), (7, 1)])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_resizing(operator, align, half, target, dtype):
    case = Case(target[0])
    x = case.activation(1, 4, 6, 5, dtype=dtype)
    options = "ResizeBilinearOptions" if operator == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
    compare(build(operator, [x, integers(*target)], case.like(x, 1, *target, 5), 2 if "BI" in operator else 3, options,
                  AlignCorners=align, HalfPixelCenters=half), case.values(x))


MOVES = [
    ("RESHAPE", (2, 3, 4), [(4, 6)], [[4, 6]], 1, "", {}),
    ("TRANSPOSE", (2, 3, 4), [(4, 2, 3)], [[2, 0, 1]], 2, "TransposeOptions", {}),
    ("SLICE", (2, 5, 4), [(1, 3, 4)], [[1, 2, 0], [1, 3, -1]], 2, "SliceOptions", {}),
    ("STRIDED_SLICE", (2, 9, 4), [(2, 3, 4)], [[0, 7, 0], [2, -10, 4], [1, -3, 1]], 2, "StridedSliceOptions", {}),
    ("STRIDED_SLICE", (2, 9, 4), [(9, 2)], [[1, 0, 1], [2, 0, 3], [1, 1, 1]], 2, "StridedSliceOptions",
     {"ShrinkAxisMask": 1, "EndMask": 2}),
    ("PAD", (1, 3, 4, 2), [(1, 5, 4, 3)], [[[0, 0], [1, 1], [0, 0], [0, 1]]], 2, "PadOptions", {}),
    ("MIRROR_PAD", (3, 4), [(5, 7)], [[[1, 1], [2, 1]]], 2, "MirrorPadOptions", {"Mode": 0}),
    ("MIRROR_PAD", (3, 4), [(5, 7)], [[[1, 1], [2, 1]]], 2, "MirrorPadOptions", {"Mode": 1}),
    ("EXPAND_DIMS", (3, 4), [(3, 1, 4)], [1], 1, "ExpandDimsOptions", {}),
    ("SQUEEZE", (3, 1, 4), [(3, 4)], [], 1, "SqueezeOptions", {}),
    ("TILE", (2, 3), [(4, 9)], [[2, 3]], 2, "TileOptions", {}),
    ("BROADCAST_TO", (3, 1), [(2, 3, 4)], [[2, 3, 4]], 2, "BroadcastToOptions", {}),
    ("SPACE_TO_DEPTH", (1, 4, 6, 3), [(1, 2, 3, 12)], [], 2, "SpaceToDepthOptions", {"BlockSize": 2}),
    ("DEPTH_TO_SPACE", (1, 2, 3, 12), [(1, 4, 6, 3)], [], 1, "DepthToSpaceOptions", {"BlockSize": 2}),
    ("SPACE_TO_BATCH_ND", (1, 5, 6, 3), [(4, 3, 3, 3)], [[2, 2], [[1, 0], [0, 0]]], 2, "SpaceToBatchNDOptions", {}),
    ("BATCH_TO_SPACE_ND", (4, 3, 3, 3), [(1, 5, 6, 3)], [[2, 2], [[1, 0], [0, 0]]], 2, "BatchToSpaceNDOptions", {}),
    ("GATHER", (5, 4), [(5, 3)], [[3, 0, 3]], 2, "GatherOptions", {"Axis": 1}),
    ("UNPACK", (2, 3, 2), [(2, 3), (2, 3)], [], 2, "UnpackOptions", {"Axis": 2, "Num": 2}),
    ("SPLIT_V", (2, 6), [(2, 1), (2, 3), (2, 2)], [[1, 3, 2], [1]], 2, "SplitVOptions", {"NumSplits": 3}),
]


@pytest.mark.parametrize(("operator", "shape", "made", "constants", "version", "options", "fields"), MOVES)
def test_moves(operator, shape, made, constants, version, options, fields):
    case = Case(1)
    x = case.activation(*shape)
    inputs = [x, *(Tensor(data=np.array(c, np.int32)) for c in constants)]
    model = build(operator, inputs, [case.like(x, *m) for m in made], version, options, **fields)
    compare(model, case.values(x))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_joins(dtype):
    case = Case(2)
    x = case.activation(1, 3, 4, 5, dtype=dtype)
    legacy = dtype == np.uint8  # whose operands may have scales of their own
    b = case.activation(1, 3, 4, 2, dtype=dtype) if legacy else case.like(x, 1, 3, 4, 2)
    joined = build("CONCATENATION", [x, b], case.like(x, 1, 3, 4, 7), 1 if legacy else 2, "ConcatenationOptions",
                   Axis=-1)
    compare(joined, case.values(x), case.values(b))
    parts = [case.like(x, 3, 2) for _ in range(3)]
    compare(build("PACK", parts, case.like(x, 3, 3, 2), 2, "PackOptions", Axis=1, ValuesCount=3),
            *map(case.values, parts))
    whole = case.like(x, 2, 6)
    halves = [case.like(x, 2, 3) for _ in range(2)]
    compare(build("SPLIT", [integers(1), whole], halves, 2, "SplitOptions", NumSplits=2), case.values(whole))


@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1, 5), (), (1, 4, 3, 5)])
def test_small_constants_next_to_what_a_table_made(operator, first, shape):
    """The layer of the table computes the sum or product in its tail; the constant may be the first operand."""
    case = Case(len(shape))
    x = case.activation(1, 4, 3, 5)
    looked_up = case.activation(1, 4, 3, 5)
    constant = Tensor(case.scale(), 7, data=case.random.integers(-128, 128, shape).astype(np.int8))
    operands = [constant, looked_up] if first else [looked_up, constant]
    y = case.activation(1, 4, 3, 5)
    model = build_network([Operator("RELU", 2, [x], [looked_up]),
                           Operator(operator, 2, operands, [y], f"{operator.title()}Options", {})], [x], [y])
    compare(model, case.random.integers(-128, 128, x.shape).astype(np.int8))
