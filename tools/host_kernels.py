"""Times the host's kernels next to the frameworks' own, on one thread, all in one run.

    .venv/bin/python tools/host_kernels.py [WORD ...]

Rows whose name has one of the words, or all. A row is a network of one operator, taken in by the front end. Moves
(transpositions to and from the framework's order of axes) are not counted. "Lepton" has the compiled loops (extra
`fast`), "numpy" is without them. LiteRT's reference kernels are those whose
bytes Lepton has; its optimized ones may round otherwise. Milliseconds, each the least of several runs; results are
compared byte by byte with the reference.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import onnxruntime  # noqa: E402
from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: E402
from lepton.frontends import import_onnx, import_tflite  # noqa: E402
from lepton.graph import Graph  # noqa: E402
from lepton.graph.interpret import compute, operands  # noqa: E402
from lepton.graph.numerics import compiled  # noqa: E402

from tests.host.frontends.onnx.onnx_models import Net, feeds_for  # noqa: E402
from tests.litert_models import Tensor, build  # noqa: E402

RUNS = 15
ENOUGH = 1.0  # seconds after which no further run is started
MOVES = ("Transpose", "Reshape")
IMAGE = (1, 112, 112, 64)


def least(run: Callable[[], object]) -> float:
    """Milliseconds of the fastest of several runs, after a first one that makes what is kept."""
    run()
    best, started = float("inf"), time.perf_counter()
    for _ in range(RUNS):
        begun = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begun)
        if time.perf_counter() - started > ENOUGH:
            break
    return best * 1e3


def ours(graph: Graph, feeds: dict[str, np.ndarray], loops: bool) -> tuple[float, list[np.ndarray]]:
    """Milliseconds of the graph's operators without moves, with compiled loops or without, and its outputs."""
    os.environ[compiled.SWITCH] = str(int(loops))
    values, spent = dict(feeds), 0.0
    for node in graph.nodes:
        tensors = [graph.tensors[name] if name else None for name in node.inputs]
        output = graph.tensors[node.outputs[0]]
        arrays = operands(tensors, values)
        values[output.name] = compute(node.op, graph.arithmetic, tensors, arrays, output)
        if type(node.op).__name__ not in MOVES:
            spent += least(lambda n=node, t=tensors, a=arrays, o=output: compute(n.op, graph.arithmetic, t, a, o))
    return spent, [values[name] for name in graph.outputs]


def litert(model: bytes, feeds: list[np.ndarray], resolver: OpResolverType) -> tuple[float, list[np.ndarray]]:
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver, num_threads=1)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.set_tensor(detail["index"], value)
    spent = least(interpreter.invoke)
    return spent, [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def q(*shape: int, scale: float = 0.05, zero: int = 3, dtype=np.int8, data=None) -> Tensor:
    if data is not None:
        return Tensor(scale, zero, data=data)
    return Tensor(scale, zero, shape=shape, dtype=dtype)


def tflite_rows() -> dict[str, Callable[[], bytes]]:
    real = Tensor(shape=IMAGE, dtype=np.float32)
    small, big = (1, 33, 33, 21), (1, 257, 257, 21)
    size = {n: Tensor(data=np.array([n, n], np.int32)) for n in (56, 65, 257)}
    axes = Tensor(data=np.array([1, 2], np.int32))
    alpha = np.random.default_rng(1).integers(-128, 128, (1, 1, IMAGE[-1])).astype(np.int8)
    channel = (1, 1, 1, IMAGE[-1])
    pool = {"Padding": 1, "StrideW": 2, "StrideH": 2, "FilterWidth": 3, "FilterHeight": 3}
    softmax = {"Beta": 1.0}

    def resize(source: tuple[int, ...], target: int, kind: str, **options: bool) -> Callable[[], bytes]:
        made = q(1, target, target, source[-1])
        return lambda: build(f"RESIZE_{kind.upper()}", [q(*source), size[target]], made, 2,
                             f"Resize{kind.title().replace('_', '')}Options", **options)

    return {
        "add": lambda: build("ADD", [q(*IMAGE), q(*IMAGE, scale=0.07)], q(*IMAGE, scale=0.1), 2, "AddOptions"),
        "sub": lambda: build("SUB", [q(*IMAGE), q(*IMAGE, scale=0.07)], q(*IMAGE, scale=0.1), 2, "SubOptions"),
        "mul": lambda: build("MUL", [q(*IMAGE), q(*IMAGE)], q(*IMAGE, scale=0.2), 2, "MulOptions"),
        "mul of a channel": lambda: build("MUL", [q(*IMAGE), q(*channel)], q(*IMAGE, scale=0.2), 2, "MulOptions"),
        "squared difference": lambda: build("SQUARED_DIFFERENCE", [q(*IMAGE), q(*IMAGE)], q(*IMAGE, scale=0.3), 2,
                                            "SquaredDifferenceOptions"),
        "prelu": lambda: build("PRELU", [q(*IMAGE), q(data=alpha)], q(*IMAGE), 1),
        "quantize": lambda: build("QUANTIZE", [real], q(*IMAGE), 1, "QuantizeOptions"),
        "requantize": lambda: build("QUANTIZE", [q(*IMAGE)], q(*IMAGE, scale=0.08), 1, "QuantizeOptions"),
        "dequantize": lambda: build("DEQUANTIZE", [q(*IMAGE)], real, 2, "DequantizeOptions"),
        "logistic": lambda: build("LOGISTIC", [q(*IMAGE)], q(*IMAGE, scale=1 / 256, zero=-128), 2),
        "softmax of 1000": lambda: build("SOFTMAX", [q(1, 1000)], q(1, 1000, scale=1 / 256, zero=-128), 2,
                                         "SoftmaxOptions", **softmax),
        "softmax 1917 x 91": lambda: build("SOFTMAX", [q(1917, 91)], q(1917, 91, scale=1 / 256, zero=-128), 2,
                                           "SoftmaxOptions", **softmax),
        "softmax 257 x 257 x 21": lambda: build("SOFTMAX", [q(*big)], q(*big, scale=1 / 256, zero=-128), 2,
                                                "SoftmaxOptions", **softmax),
        "bilinear 33 to 257": resize(small, 257, "bilinear", AlignCorners=True),
        "bilinear 33 to 65, half pixel": resize((1, 33, 33, 256), 65, "bilinear", HalfPixelCenters=True),
        "bilinear 257 to 56": resize(big, 56, "bilinear"),
        "nearest 33 to 257": resize(small, 257, "nearest_neighbor"),
        "mean": lambda: build("MEAN", [q(*IMAGE), axes], q(1, 1, 1, IMAGE[-1]), 2, "ReducerOptions", KeepDims=True),
        "sum": lambda: build("SUM", [q(*IMAGE), axes], q(1, 1, 1, IMAGE[-1], scale=9), 2, "ReducerOptions",
                             KeepDims=True),
        "max pool": lambda: build("MAX_POOL_2D", [q(*IMAGE)], q(1, 55, 55, 64), 2, "Pool2DOptions", **pool),
        "average pool": lambda: build("AVERAGE_POOL_2D", [q(*IMAGE)], q(1, 55, 55, 64), 2, "Pool2DOptions", **pool),
        "matrix product": lambda: build("BATCH_MATMUL", [q(8, 128, 64), q(8, 64, 128)], q(8, 128, 128, scale=0.4), 2,
                                        "BatchMatMulOptions"),
    }


def onnx_rows() -> dict[str, Callable[[], object]]:
    shape = (1, 64, 112, 112)
    zero = np.array(3, np.int8)

    def f(value: float) -> np.ndarray:
        return np.array(value, np.float32)

    def two(operator: str, other: tuple[int, ...]) -> Callable[[], object]:
        def made() -> object:
            net = Net()
            a, b = net.input(shape, np.int8), net.input(other, np.int8)
            return net.model(net(operator, a, f(0.05), zero, b, f(0.07), zero, f(0.2), zero, domain="com.microsoft"))
        return made

    def one(operator: str, *given: object, dtype: type = np.int8, source: tuple[int, ...] = shape,
            **attributes: object) -> Callable[[], object]:
        def made() -> object:
            net = Net()
            return net.model(net(operator, net.input(source, dtype), *given, **attributes))
        return made

    return {
        "add": two("QLinearAdd", shape), "mul": two("QLinearMul", shape), "mul of a channel": two("QLinearMul",
                                                                                                 (1, 64, 1, 1)),
        "quantize": one("QuantizeLinear", f(0.05), zero, dtype=np.float32),
        "dequantize": one("DequantizeLinear", f(0.05), zero),
        "softmax 1917 x 91": one("QLinearSoftmax", f(0.05), zero, f(1 / 256), np.array(-128, np.int8), axis=1, opset=13,
                                 source=(1917, 91), domain="com.microsoft"),
        "bilinear 56 to 112": one("Resize", "", np.array([1, 1, 2, 2], np.float32), source=(1, 64, 56, 56),
                                  mode="linear"),
        "max pool": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2]),
        "average pool": one("QLinearAveragePool", f(0.05), zero, f(0.05), zero, kernel_shape=[3, 3], strides=[2, 2],
                            domain="com.microsoft"),
        "mean": one("QLinearGlobalAveragePool", f(0.05), zero, f(0.02), zero, channels_last=0, domain="com.microsoft"),
    }


def equal(got: list[np.ndarray], want: list[np.ndarray]) -> str:
    return "yes" if all(np.array_equal(a, b) for a, b in zip(got, want, strict=True)) else "NO"


def row(name: str, *cells: float | str) -> None:
    print(f"{name:40}", *(f"{cell:12.3f}" if isinstance(cell, float) else f"{cell:>12}" for cell in cells), flush=True)


def main(words: list[str]) -> None:
    random = np.random.default_rng(5)

    def wanted(name: str) -> bool:
        return not words or any(word in name for word in words)

    row("TFLite", "Lepton", "numpy", "reference", "optimized", "equal")
    for name, make in tflite_rows().items():
        if wanted(name):
            model = make()
            graph = import_tflite(model)
            tensors = [graph.tensors[n] for n in graph.inputs]
            feeds = [random.normal(0, 3, t.shape).astype(np.float32) if t.dtype == np.float32
                     else random.integers(-128, 128, t.shape).astype(np.int8) for t in tensors]
            values = dict(zip(graph.inputs, feeds, strict=True))
            in_numpy, _ = ours(graph, values, loops=False)
            spent, outputs = ours(graph, values, loops=True)
            reference, want = litert(model, feeds, OpResolverType.BUILTIN_REF)
            optimized, others = litert(model, feeds, OpResolverType.AUTO)
            exact = equal(outputs, others if name == "sum" else want)  # the reference kernel's sums are wrong
            row(name, spent, in_numpy, reference, optimized, exact)
    row("ONNX", "Lepton", "numpy", "Runtime", "", "equal")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, make in onnx_rows().items():
        if wanted(name):
            model = make()
            feeds = feeds_for(model, random)
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
            graph = import_onnx(model)
            in_numpy, _ = ours(graph, feeds, loops=False)
            spent, outputs = ours(graph, feeds, loops=True)
            reference = least(lambda s=session, f=feeds: s.run(None, f))
            row(name, spent, in_numpy, reference, "", equal(outputs, session.run(None, feeds)))


if __name__ == "__main__":
    main(sys.argv[1:])
