"""Measures the network's own framework on this machine's CPU, without the chip."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..runtime.costs import made_up

RUNS = 5  # the least of them is the result: other load of the machine only makes runs slower
ENOUGH_SECONDS = 2.0  # no run is started after this time, so that `lepton compile` stays quick


@dataclass(frozen=True)
class CpuTime:
    """Seconds for one inference by `framework` on one thread, the least of several runs."""

    framework: str
    seconds: float


def measure(source: Path, shapes: dict[str, tuple[int, ...]]) -> CpuTime | None:
    """The time for a .tflite, .onnx or .pt2 file with arbitrary inputs; None if its framework cannot run it here.

    `shapes`: by name, the shapes of inputs that an ONNX file leaves open.
    """
    framework, prepare = {".tflite": ("LiteRT", _litert), ".onnx": ("ONNX Runtime", _onnx_runtime),
                          ".pt2": ("PyTorch", _torch)}[source.suffix.lower()]
    try:
        return CpuTime(framework, _least(prepare(source, shapes)))
    except Exception:  # the framework is not installed, or fails in any way: the comparison is left out
        return None


def _least(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()  # the first run includes initialization
    least = time.perf_counter() - started
    for _ in range(RUNS):
        if time.perf_counter() - started > ENOUGH_SECONDS:
            break
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    return least


def _litert(source: Path, shapes: dict[str, tuple[int, ...]]) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=str(source), num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], made_up(detail["shape"], detail["dtype"]))
    return interpreter.invoke


def _onnx_runtime(source: Path, shapes: dict[str, tuple[int, ...]]) -> Callable[[], object]:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # fatal errors only
    session = onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    inputs = {}
    for info in session.get_inputs():
        shape = shapes.get(info.name) or tuple(size if isinstance(size, int) and size > 0 else 1 for size in info.shape)
        inputs[info.name] = made_up(shape, _ONNX_TYPES[info.type])
    return lambda: session.run(None, inputs)


_ONNX_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16",
               "tensor(int8)": "int8", "tensor(uint8)": "uint8", "tensor(int32)": "int32",
               "tensor(int64)": "int64", "tensor(bool)": "bool"}


def _torch(source: Path, shapes: dict[str, tuple[int, ...]]) -> Callable[[], object]:
    import torch
    program = torch.export.load(str(source))
    arguments, named = program.example_inputs
    module = program.module()

    def run() -> object:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.no_grad():
                return module(*arguments, **named)
        finally:
            torch.set_num_threads(threads)

    return run
