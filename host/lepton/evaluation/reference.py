"""A network's file as its own framework computes it on the CPU: LiteRT, ONNX Runtime or PyTorch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np


class ReferenceMissing(RuntimeError):
    """The framework is not installed, or does not take the file; the text says which."""


class Reference(ABC):
    """One network in its framework. Inferences are one stream where it has state."""

    framework: str

    @abstractmethod
    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of one inference, in the network's order. Inputs go in their order, whatever their names."""

    @abstractmethod
    def values(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every value that the network computes, by the framework's name; values that it optimizes away are absent."""


def open_reference(path: str | PathLike, shapes: Mapping[str, tuple[int, ...]] | None = None,
                   states: Mapping[str, str] | None = None) -> Reference:
    """The network of a .tflite, .onnx or .pt2 file. `states`: inputs of an .onnx network and the outputs that they
    become, zeros at first. Raises `ReferenceMissing`."""
    suffix = Path(path).suffix.lower()
    made: dict[str, type[Reference]] = {".tflite": _LiteRT, ".onnx": _OnnxRuntime, ".pt2": _Torch}
    if suffix not in made:
        raise ReferenceMissing(f"no framework computes {suffix or 'such'} files")
    kind = made[suffix]
    if states and kind is not _OnnxRuntime:
        raise ReferenceMissing(f"{kind.framework} is asked for networks whose state is in the file alone")
    try:
        if kind is _OnnxRuntime:
            return _OnnxRuntime(Path(path), shapes or {}, states)
        return kind(Path(path), shapes or {})  # type: ignore[call-arg]  # the subclasses take both
    except ReferenceMissing:
        raise
    except ModuleNotFoundError as error:
        raise ReferenceMissing(f"{kind.framework} is not installed") from error
    except Exception as error:  # frameworks raise what they like for files that they do not take
        raise ReferenceMissing(f"{kind.framework} does not take it: {str(error).strip().splitlines()[0]}") from error


class _LiteRT(Reference):
    framework = "LiteRT"

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True,
                                        experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        self._interpreter.allocate_tensors()

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self._invoke(inputs)
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._interpreter.get_output_details()]

    def values(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._invoke(inputs)
        found = {}
        for detail in self._interpreter.get_tensor_details():
            try:
                found[detail["name"]] = self._interpreter.get_tensor(detail["index"])
            except ValueError:  # a tensor without data
                continue
        return found

    def _invoke(self, inputs: Mapping[str, np.ndarray]) -> None:
        for detail, value in zip(self._interpreter.get_input_details(), inputs.values(), strict=True):
            self._interpreter.set_tensor(detail["index"], value)
        self._interpreter.invoke()


class _OnnxRuntime(Reference):
    framework = "ONNX Runtime"

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]], states: Mapping[str, str] | None = None
                 ) -> None:
        self._path = path
        self._session = self._open(str(path))
        self._full: Any = None
        self._names: list[str] = []
        self._states = dict(states or {})
        self._outputs = [info.name for info in self._session.get_outputs()]
        self._kept = {info.name: self._zeros(info, shapes) for info in self._session.get_inputs()
                      if info.name in self._states}

    @staticmethod
    def _zeros(info: Any, shapes: Mapping[str, tuple[int, ...]]) -> np.ndarray:
        """The first value of a state: an open batch is 1, as for the compiler."""
        types = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
        if info.type not in types:  # the stored value that stands for 0 is not in the file's description of inputs
            raise ReferenceMissing(f"the state {info.name!r} is of {info.type}")
        shape = [n if isinstance(n, int) and n > 0 else 1 for n in info.shape]
        return np.zeros(shapes.get(info.name, shape), types[info.type])

    @staticmethod
    def _open(model: str | bytes) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # fatal errors only
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        made = dict(zip(self._outputs, self._session.run(None, self._feeds(inputs)), strict=True))
        self._keep(made)
        return [value for name, value in made.items() if name not in self._states.values()]

    def _feeds(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [info.name for info in self._session.get_inputs() if info.name not in self._states]
        return self._kept | dict(zip(names, inputs.values(), strict=True))

    def _keep(self, made: Mapping[str, np.ndarray]) -> None:
        """Takes the states that an inference has left."""
        self._kept = {read: made[written] for read, written in self._states.items()}

    def values(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._full is None:
            import onnx

            model = onnx.load(self._path)
            self._names = list(dict.fromkeys(name for node in model.graph.node for name in node.output if name))
            del model.graph.output[:]
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._names)
            self._full = self._open(model.SerializeToString())
        made = dict(zip(self._names, self._full.run(self._names, self._feeds(inputs)), strict=True))
        self._keep(made)
        return made


class _Torch(Reference):
    framework = "PyTorch"

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        import torch

        self._torch = torch
        self._module = torch.export.load(path).module()

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        from torch.utils._pytree import tree_leaves

        with self._torch.no_grad():
            made = self._module(*map(self._torch.from_numpy, inputs.values()))
        return [value.numpy() for value in tree_leaves(made) if isinstance(value, self._torch.Tensor)]

    def values(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        from ..frontends.torch.execution import Recorder

        recorder = Recorder(self._module)
        with self._torch.no_grad():
            recorder.run(*map(self._torch.from_numpy, inputs.values()))
        return {node.name: value.detach().numpy() for node, value in recorder.made.items()
                if isinstance(value, self._torch.Tensor) and node.op == "call_function"}
