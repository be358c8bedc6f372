"""Networks of one ONNX operator each, for `host_kernels.py`: on a small and on a large operand."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from lepton.graph.ops.functions import FUNCTIONS

from tests.host.frontends.onnx.onnx_models import Net

Shape = tuple[int, ...]
Model = Callable[[], onnx.ModelProto]

SMALL = (1, 16, 8, 8)
LARGE = (1, 64, 112, 112)
OPSET = 21
MICROSOFT = "com.microsoft"
ZERO = np.array(3, np.int8)
EARLY = {"BiasGelu": MICROSOFT, "FastGelu": MICROSOFT, "QuickGelu": MICROSOFT, "SkipLayerNormalization": MICROSOFT}
REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
              "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
FLOAT_FUNCTIONS = ("Exp", "Log", "Sqrt", "Neg", "Abs", "Sigmoid", "Tanh", "Floor", "Ceil", "Round", "Reciprocal", "Erf",
                   "Sign", "Relu")


def real(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def one(operator: str, source: Shape, *given: object, dtype: type = np.int8, opset: int = 17, domain: str = "",
        outputs: int = 1, **attributes: object) -> Model:
    """The operator of one input and constants."""
    return several(operator, [(source, dtype)], *given, opset=opset, domain=domain, outputs=outputs, **attributes)


def several(operator: str, sources: Sequence[tuple[Shape, type]], *given: object, opset: int = 17, domain: str = "",
            outputs: int = 1, **attributes: object) -> Model:
    def made() -> onnx.ModelProto:
        net = Net(opset)
        result = net(operator, *(net.input(*source) for source in sources), *given, domain=domain, outputs=outputs,
                     **attributes)
        return net.model(*([result] if isinstance(result, str) else result))
    return made


def dequantized(operator: str, source: Shape, *given: object, **attributes: object) -> Model:
    """The operator on floats behind an int8 input: networks that are not quantized at all are refused."""
    def made() -> onnx.ModelProto:
        net = Net()
        return net.model(net(operator, net.dequantize(net.input(source, np.int8), 0.05, 3), *given, **attributes))
    return made


def weight_only(source: Shape, weights: np.ndarray) -> Model:
    """Floats times quantized weights."""
    def made() -> onnx.ModelProto:
        net = Net()
        codes = np.rint(weights * 100).astype(np.int8)
        return net.model(net("MatMul", net.input(source), net.weights(codes, 0.01)))
    return made


def integers(shape: Shape) -> dict[str, Model]:
    n, c, h, _ = shape
    size = h if h <= 8 else h // 4
    image = (n, c, size, size)

    def two(operator: str, other: Shape) -> Model:
        def made() -> onnx.ModelProto:
            net = Net()
            a = net.input(shape, np.int8)
            b = net.input(other, np.int8)
            return net.model(net(operator, a, real(0.05), ZERO, b, real(0.07), ZERO, real(0.2), ZERO, domain=MICROSOFT))
        return made

    def layer(weights: np.ndarray, **attributes: object) -> Model:
        bias = np.arange(len(weights), dtype=np.int32)
        return one("QLinearConv", image, real(0.05), ZERO, weights, real(0.02), np.array(0, np.int8), real(2.0), ZERO,
                   bias, **attributes)

    def codes(*size: int) -> np.ndarray:
        return np.random.default_rng(1).integers(-127, 128, size).astype(np.int8)

    row = (1, 1000) if h > 8 else (1, 10)
    rows = (1917, 91) if h > 8 else (64, 10)
    probability = real(1 / 256), np.array(-128, np.int8)
    pool = {"kernel_shape": [3, 3], "strides": [2, 2]}
    return {
        "QLinearAdd": two("QLinearAdd", shape), "QLinearAdd of a channel": two("QLinearAdd", (1, c, 1, 1)),
        "QLinearMul": two("QLinearMul", shape), "QLinearMul of a channel": two("QLinearMul", (1, c, 1, 1)),
        "QuantizeLinear": one("QuantizeLinear", shape, real(0.05), ZERO, dtype=np.float32),
        "DequantizeLinear": one("DequantizeLinear", shape, real(0.05), ZERO),
        "QLinearSigmoid": one("QLinearSigmoid", shape, real(0.05), ZERO, *probability, domain=MICROSOFT),
        "QLinearLeakyRelu": one("QLinearLeakyRelu", shape, real(0.05), ZERO, real(0.05), ZERO, domain=MICROSOFT),
        "QLinearSoftmax of one row": softmax(row, probability),
        "QLinearSoftmax of rows": softmax(rows, probability),
        "QLinearGlobalAveragePool": one("QLinearGlobalAveragePool", shape, real(0.05), ZERO, real(0.02), ZERO,
                                        channels_last=0, domain=MICROSOFT),
        "QLinearAveragePool": one("QLinearAveragePool", shape, real(0.05), ZERO, real(0.05), ZERO, domain=MICROSOFT,
                                  **pool),
        "MaxPool": one("MaxPool", shape, **pool),
        "QLinearConv 1x1": layer(codes(c, c, 1, 1)), "QLinearConv 3x3": layer(codes(c, c, 3, 3), pads=[1, 1, 1, 1]),
        "QLinearConv depthwise": layer(codes(c, 1, 3, 3), pads=[1, 1, 1, 1], group=c),
        "QLinearMatMul": one("QLinearMatMul", (size * size, c), real(0.05), ZERO, codes(c, c), real(0.02),
                             np.array(0, np.int8), real(2.0), ZERO),
        "Resize bilinear": one("Resize", shape, "", np.array([1, 1, 2, 2], np.float32), mode="linear"),
        "Resize nearest": one("Resize", shape, "", np.array([1, 1, 2, 2], np.float32), mode="nearest"),
    }


def softmax(rows: Shape, quantization: Sequence[np.ndarray]) -> Model:
    def made() -> onnx.ModelProto:
        net = Net()
        result = net("QLinearSoftmax", net.input(rows, np.int8), real(0.05), ZERO, *quantization, axis=1, opset=13,
                     domain=MICROSOFT)
        return net.model(result)
    return made


def floats(shape: Shape) -> dict[str, Model]:
    n, c, h, w = shape
    x = (shape, np.float32)
    channel = np.linspace(0.5, 1.5, c).astype(np.float32)
    weights = np.random.default_rng(1).normal(0, 0.1, (c, c, 3, 3)).astype(np.float32)
    size = h if h <= 8 else h // 4
    last = np.linspace(0.5, 1.5, w).astype(np.float32)
    rows: dict[str, Model] = {}
    for name in FUNCTIONS:
        more: tuple[object, ...] = ()
        attributes: dict[str, object] = {}
        if name in ("LayerNormalization", "BiasGelu"):
            more = (last, last) if name == "LayerNormalization" else (last,)
        elif name == "SimplifiedLayerNormalization":
            more = (last,)
        elif name in ("InstanceNormalization", "GroupNormalization"):
            more = channel, channel
            attributes = {"num_groups": 4} if name == "GroupNormalization" else {}
        elif name in ("Mod", "Pow"):
            more = (last,)
            attributes = {"fmod": 1} if name == "Mod" else {}
        if name == "SkipLayerNormalization":
            rows[name] = several(name, [((n, c, w), np.float32)] * 2, last, domain=MICROSOFT)
        else:
            rows[name] = one(name, shape, *more, dtype=np.float32, opset=OPSET, domain=EARLY.get(name, ""),
                             **attributes)
    for name in FLOAT_FUNCTIONS:
        rows[name] = one(name, shape, dtype=np.float32)
    for name in REDUCTIONS:
        rows[name] = one(name, shape, np.array([2, 3]), dtype=np.float32, opset=OPSET)
    rows |= {
        "Add float32": several("Add", [x, x]), "Mul float32": several("Mul", [x, x]),
        "Div float32": several("Div", [x, x]), "Softmax float32": one("Softmax", shape, dtype=np.float32, axis=1),
        "Einsum": several("Einsum", [((4, size, c), np.float32), ((4, c, size), np.float32)], equation="bik,bkj->bij"),
        "DequantizeLinear, Conv": dequantized("Conv", (n, c, size, size), weights, pads=[1, 1, 1, 1]),
        "DequantizeLinear, ConvTranspose": dequantized("ConvTranspose", (n, c, size, size), weights, strides=[2, 2]),
        "DequantizeLinear, Gemm": dequantized("Gemm", (size * size, c), weights[:, :, 0, 0], weights[0, :, 0, 0]),
        "MatMul with quantized weights": weight_only((size * size, c), weights[:, :, 0, 0]),
        "AveragePool float32": one("AveragePool", shape, dtype=np.float32, kernel_shape=[3, 3], strides=[2, 2]),
        "GlobalAveragePool float32": one("GlobalAveragePool", shape, dtype=np.float32),
        "Resize float32": one("Resize", shape, "", np.array([1, 1, 2, 2], np.float32), dtype=np.float32, mode="linear"),
        "GatherElements": one("GatherElements", (h, c * w), np.zeros((h, c * w), np.int64), dtype=np.float32),
        "ScatterElements": one("ScatterElements", (h, c * w), np.zeros((1, c * w), np.int64),
                               np.ones((1, c * w), np.float32), dtype=np.float32),
        "ScatterND": one("ScatterND", (h, c * w), np.arange(h)[:, None], np.ones((h, c * w), np.float32),
                         dtype=np.float32),
        "Div int32": one("Div", shape, np.array(7, np.int32), dtype=np.int32),
        "Mod int32": one("Mod", shape, np.array(7, np.int32), dtype=np.int32),
        "TopK": one("TopK", (h * w, c), np.array([5]), dtype=np.float32, outputs=2),
        "ReverseSequence": one("ReverseSequence", (h, c * w), np.full(c * w, h // 2, np.int64), dtype=np.float32,
                               time_axis=0, batch_axis=1),
        "CumSum": one("CumSum", (h * w, c), np.array(1), dtype=np.float32),
        "ArgMax": one("ArgMax", (h * w, c), dtype=np.float32, axis=1),
        "Where": several("Where", [(shape, np.bool_), x, x]),
        "Transpose": one("Transpose", shape, dtype=np.float32, perm=[0, 2, 3, 1]),
        "Concat": several("Concat", [x, x], axis=1),
        "Pad": one("Pad", shape, np.array([0, 0, 1, 1, 0, 0, 1, 1]), dtype=np.float32),
    }
    return rows


def rows(large: bool) -> dict[str, Model]:
    shape = LARGE if large else SMALL
    return integers(shape) | floats(shape)
