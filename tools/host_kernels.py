"""Times every operator of the graph on the host next to the frameworks' own kernels, on one thread, in one run.

    .venv/bin/python tools/host_kernels.py [--all] [WORD ...]

Rows whose name has one of the words, or all; the slowest in relation to a framework first. A row is a network of one
operator, taken in by the front end, on a small operand (1 024 elements) and on a large one (802 816). Operators that
the front end adds on both sides of it (transpositions to and from the framework's order of axes) are not counted.

The kernels take turns; microseconds are the least of several calls. Rows above a ratio of 1.1 are timed up to two
times more, and each kernel keeps its least. "Lepton" has compiled loops, "numpy" is without
them. "reference" are LiteRT's BUILTIN_REF kernels, whose bytes Lepton has: in a network, and as a "call", which gets
arrays and makes a new one, as a host step does. "optimized" are those that LiteRT takes by default (XNNPACK), whose
results may be others, and ONNX Runtime's and PyTorch's. "float": equal but for last places.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import onnxruntime  # noqa: E402
import torch  # noqa: E402
from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: E402
from lepton.frontends import import_onnx, import_tflite  # noqa: E402
from lepton.graph import Arithmetic, Graph, Node, Tensor  # noqa: E402
from lepton.graph.numerics import compiled, onnxruntime_kernels  # noqa: E402
from lepton.graph.ops import OPERATORS, Aten  # noqa: E402
from lepton.program.steps import HostStep  # noqa: E402

from tools import host_kernels_onnx, host_kernels_tflite  # noqa: E402

ENOUGH = 0.4  # seconds for the calls of one row
ROUNDS = 15  # turns of each kernel
TURN = 2e-4  # seconds of one turn: short calls are repeated
LIMIT = 1.1  # ratio from which a row is timed again
AGAIN = 2  # times at most: other processes slow down single rows
IN_NUMPY = 1  # place among the kernels of a row
MOVES = ("Transpose", "Reshape")
WRONG_REFERENCE = ("SUM",)  # LiteRT's reference kernel reads int8 sums as uint8

Values = dict[str, np.ndarray]


def in_turns(kernels: Sequence[Callable[[], object] | None]) -> list[float]:
    """Microseconds of the fastest call of each; NaN for None. The one at IN_NUMPY is without compiled loops."""
    best = [float("nan")] * len(kernels)
    repeats = [1] * len(kernels)
    for i, run in enumerate(kernels):
        if run is not None:
            os.environ[compiled.SWITCH] = str(int(i != IN_NUMPY))
            run()  # makes what is kept
            begun = time.perf_counter()
            run()
            repeats[i] = max(1, int(TURN / (time.perf_counter() - begun)))
            best[i] = float("inf")
    started = time.perf_counter()
    for _ in range(ROUNDS):
        for i, run in enumerate(kernels):
            if run is not None:
                os.environ[compiled.SWITCH] = str(int(i != IN_NUMPY))
                begun = time.perf_counter()
                for _ in range(repeats[i]):
                    run()
                best[i] = min(best[i], (time.perf_counter() - begun) / repeats[i] * 1e6)
        if time.perf_counter() - started > ENOUGH:
            break
    return best


def steps_of(graph: Graph, loops: bool) -> list[HostStep]:
    os.environ[compiled.SWITCH] = str(int(loops))
    steps = []
    for node in graph.nodes:
        inputs = tuple(graph.tensors[name] if name else None for name in node.inputs)
        steps.append(HostStep(node.label, node.op, graph.arithmetic, inputs, graph.tensors[node.outputs[0]]))
    return steps


def ours(graph: Graph, feeds: Values, loops: bool) -> tuple[Callable[[], object], Values]:
    """What runs the operators that count, with compiled loops or without, and all values of the graph."""
    steps = steps_of(graph, loops)
    values = dict(feeds)
    for step in steps:
        step.run(values)
    counted = [s for s in steps if type(s.op).__name__ not in MOVES] or steps
    only = counted[0]
    if len(counted) == 1:
        return lambda: only.run(values), values
    return lambda: [step.run(values) for step in counted], values


def litert(model: bytes, feeds: Sequence[np.ndarray], resolver: OpResolverType) -> Interpreter | None:
    """None where LiteRT has no such kernel."""
    try:
        interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver, num_threads=1)
        interpreter.allocate_tensors()
        for detail, value in zip(interpreter.get_input_details(), feeds, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
    except (RuntimeError, ValueError):
        return None
    return interpreter


def invoked(interpreter: Interpreter | None, feeds: Sequence[np.ndarray]) -> list[Callable[[], object] | None]:
    """What runs the kernel alone, and what also hands it its operands and takes a new array, as a host step does."""
    if interpreter is None:
        return [None, None]
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def call() -> list[np.ndarray]:
        for index, value in zip(inputs, feeds, strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]
    return [interpreter.invoke, call]


def outputs_of(interpreter: Interpreter) -> list[np.ndarray]:
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def agreement(got: list[np.ndarray], want: list[np.ndarray]) -> str:
    same = [np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(got, want, strict=True)]
    if all(same):
        return "equal"
    if all(a.dtype.kind == "f" for a in got):
        return "float"  # to the last places
    return "DIFFER"


@dataclass
class KernelTimes:
    name: str
    operators: list[str]
    times: list[float]  # Lepton, numpy, reference, its call, optimized, its call
    equal: str

    @property
    def ratio(self) -> float:
        """To what Lepton must not be slower than: array in, array out."""
        return self.times[0] / (self.times[5] if np.isnan(self.times[3]) else self.times[3])

    def print(self) -> None:
        lepton, in_numpy, reference, reference_call, optimized, optimized_call = self.times
        limit = optimized_call if np.isnan(reference_call) else reference_call
        cells = [lepton, in_numpy, reference, reference_call, optimized, optimized_call]
        ratios = [lepton / limit, in_numpy / limit, lepton / reference, lepton / optimized_call]
        print(f"{self.name:38}", *("         -" if np.isnan(c) else f"{c:10.1f}" for c in cells),
              *("      -" if np.isnan(c) else f"{c:7.2f}" for c in ratios), f" {self.equal:6}",
              " ".join(self.operators), flush=True)


def operand(random: np.random.Generator, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Values that every operator takes."""
    if dtype == np.float32:
        return (np.abs(random.normal(0, 3, shape)) + 0.25).astype(np.float32)
    if dtype == np.bool_:
        return random.integers(0, 2, shape).astype(bool)
    if dtype in (np.int32, np.int64):
        return random.integers(1, 8, shape).astype(dtype)
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max + 1, shape).astype(dtype)


def names_of(graph: Graph) -> list[str]:
    names = [type(node.op).__name__ for node in graph.nodes]
    return [n for n in names if n not in MOVES] or names


def tflite_row(name: str, model: bytes, *, random: np.random.Generator) -> KernelTimes:
    graph = import_tflite(model)
    tensors = [graph.tensors[n] for n in graph.inputs]
    feeds = [operand(random, t.shape, np.dtype(t.dtype)) for t in tensors]
    values = dict(zip(graph.inputs, feeds, strict=True))
    in_numpy, _ = ours(graph, values, loops=False)
    run, made = ours(graph, values, loops=True)
    reference = litert(model, feeds, OpResolverType.BUILTIN_REF)
    optimized = litert(model, feeds, OpResolverType.AUTO)
    judge = optimized if reference is None or name.split()[0] in WRONG_REFERENCE else reference
    equal = "-" if judge is None else agreement([made[n] for n in graph.outputs], outputs_of(judge))
    times = in_turns([run, in_numpy, *invoked(reference, feeds), *invoked(optimized, feeds)])
    return KernelTimes(name, names_of(graph), times, equal)


def onnx_row(name: str, model: object, *, random: np.random.Generator) -> KernelTimes:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    graph = import_onnx(model)
    feeds = {n: operand(random, graph.tensors[n].shape, np.dtype(graph.tensors[n].dtype)) for n in graph.inputs}
    in_numpy, _ = ours(graph, feeds, loops=False)
    run, made = ours(graph, feeds, loops=True)
    equal = agreement([made[n] for n in graph.outputs], session.run(None, feeds))
    return KernelTimes(name, names_of(graph), in_turns([run, in_numpy, None, None, None,
                                                 lambda: session.run(None, feeds)]), equal)


def torch_row(name: str, operator: tuple[Callable[..., torch.Tensor], Aten, Sequence[np.ndarray]]) -> KernelTimes:
    function, op, arrays = operator
    tensors = [Tensor(f"x{i}", a.shape, a.dtype) for i, a in enumerate(arrays)]
    made = function(*map(torch.from_numpy, arrays)).numpy()
    output = Tensor("y", made.shape, made.dtype)
    graph = Graph(name, {t.name: t for t in (*tensors, output)}, [Node(op, [t.name for t in tensors], ["y"])],
                  [t.name for t in tensors], ["y"], Arithmetic.TORCH)
    values = {t.name: a for t, a in zip(tensors, arrays, strict=True)}
    run, results = ours(graph, values, loops=True)

    def call() -> np.ndarray:
        with torch.no_grad():
            return function(*map(torch.from_numpy, arrays)).numpy()

    equal = agreement([results["y"]], [made])
    return KernelTimes(name, ["Aten"], in_turns([run, None, None, None, None, call]), equal)


def torch_rows(large: bool) -> dict[str, Callable[[], object]]:
    shape = (1, 64, 112, 112) if large else (1, 16, 8, 8)
    x = np.random.default_rng(4).normal(0, 3, shape).astype(np.float32)
    one = '[[{"operand": 0}], {}]'
    aten = torch.ops.aten
    return {
        "gelu": lambda: (aten.gelu.default, Aten("gelu.default", shape, "float32", one), [x]),
        "silu": lambda: (aten.silu.default, Aten("silu.default", shape, "float32", one), [x]),
        "log_softmax": lambda: (lambda v: aten._log_softmax.default(v, -1, False), Aten(
            "_log_softmax.default", shape, "float32", '[[{"operand": 0}, -1, false], {}]'), [x]),
        "add": lambda: (aten.add.Tensor, Aten("add.Tensor", shape, "float32",
                                              '[[{"operand": 0}, {"operand": 1}], {}]'), [x, x]),
    }


def timed_again(measure: Callable[[object], KernelTimes], make: Callable[[], object]) -> KernelTimes:
    """A row with the least of each kernel, timed more than once where it is above the limit."""
    row = measure(make())
    for _ in range(AGAIN):
        if row.ratio > LIMIT:
            row.times = [min(pair) for pair in zip(row.times, measure(make()).times, strict=True)]
    return row


def main(words: list[str]) -> None:
    random = np.random.default_rng(5)
    timed = set()
    torch.set_num_threads(1)
    onnxruntime_kernels.SMALL = sys.maxsize  # on one thread, however large operands are
    tables = (("TFLite", host_kernels_tflite.rows, partial(tflite_row, random=random)),
              ("ONNX", host_kernels_onnx.rows, partial(onnx_row, random=random)), ("PyTorch", torch_rows, torch_row))
    for title, models, measure in tables:
        for large in (False, True):
            rows = [timed_again(partial(measure, name), make)
                    for name, make in models(large).items() if not words or any(word in name for word in words)]
            print(f"\n{title + (', large' if large else ', small'):38}", *(f"{c:>10}" for c in (
                "Lepton", "numpy", "reference", "its call", "optimized", "its call")), "L/call n/call  L/ref  L/opt")
            for row in sorted(rows, key=lambda r: -r.ratio):
                timed.update(row.operators)
                row.print()
            print(f"above {LIMIT}: {sum(row.ratio > LIMIT for row in rows)} of {len(rows)}")
    if not words:
        print("not timed:", ", ".join(sorted(set(OPERATORS) - timed)) or "none")


if __name__ == "__main__":
    main(sys.argv[1:])
