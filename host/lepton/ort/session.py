"""`InferenceSession`: run, get_inputs and get_outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..arch import ChipConfig
from ..compiler import compile_graph
from ..deployment import Deployment, chosen_config
from ..device import Device
from ..runtime import Report

PROVIDER = "LeptonExecutionProvider"
_BATCH = 1  # of a network that leaves its first dimension open: the chip computes one input at a time
Shape = tuple[int, ...]


class InvalidArgument(ValueError):
    """An input of another type or shape, or an output that the network does not have (ONNX Runtime's name)."""


class SessionOptions:
    """Accepts any attribute that a script sets; none has an effect on the chip."""

    def __init__(self) -> None:
        self.log_severity_level = 2

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


class RunOptions(SessionOptions):
    """Accepted, without effect."""


def get_available_providers() -> list[str]:
    """The one that computes here."""
    return [PROVIDER]


@dataclass(frozen=True)
class NodeArg:
    """An input or output: its type as "tensor(float)", and its shape with names or None where the file leaves a
    dimension open."""

    name: str
    type: str
    shape: list[int | str | None]


class InferenceSession:
    """An ONNX network, with the methods of ONNX Runtime's session.

    path_or_bytes: the file, or its bytes. Options and providers are accepted and have no effect. device, config: a
    device or its name, and the chip; by default those that the environment names, else the golden model of `base`.
    calibration: typical inputs, for a float network (as for `lepton.compile`).

    A network that leaves the first dimension of all inputs and outputs open takes any number of inputs, which run one
    by one. One that leaves other dimensions open is compiled for each shape that it is given. Raises
    `lepton.graph.GraphError`, a ValueError, for what the compiler does not take.
    """

    def __init__(self, path_or_bytes: str | PathLike | bytes, sess_options: object = None,
                 providers: Sequence[object] | None = None, provider_options: Sequence[object] | None = None, *,
                 device: str | Device | None = None, config: str | ChipConfig | None = None,
                 calibration: Any = None, **options: object) -> None:
        self._read(path_or_bytes)
        self._device = device
        self._config = chosen_config(config, device)
        self._calibration = calibration
        self._deployments: dict[tuple[Shape, ...], Deployment] = {}
        self.report: Report | None = None  # of the last inference: what ONNX Runtime does not have
        if self._fixed():
            self._deployment(tuple(_sizes(arg.shape) for arg in self._inputs))

    def _read(self, source: str | PathLike | bytes) -> None:
        """What the file says of inputs and outputs."""
        import onnx

        self._source = bytes(source) if isinstance(source, bytes | bytearray) else Path(source)
        model = onnx.load_model_from_string(self._source) if isinstance(self._source, bytes) else onnx.load(
            self._source, load_external_data=False)
        known = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [_node_arg(value) for value in model.graph.input if value.name not in known]
        self._outputs = [_node_arg(value) for value in model.graph.output]

    def get_inputs(self) -> list[NodeArg]:
        return list(self._inputs)

    def get_outputs(self) -> list[NodeArg]:
        return list(self._outputs)

    def get_providers(self) -> list[str]:
        return [PROVIDER]

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, np.ndarray],
            run_options: object = None) -> list[np.ndarray]:
        """The outputs of these names, of all where none is given.

        Raises ValueError for inputs that are missing, and `InvalidArgument` for what does not fit.
        """
        names = [arg.name for arg in self._inputs]
        if missing := [name for name in names if name not in input_feed]:
            raise ValueError(f"Required inputs ({missing}) are missing from input feed ({list(input_feed)}).")
        if unknown := [name for name in input_feed if name not in names]:
            raise InvalidArgument(f"Invalid input name: {unknown[0]}")
        known = [arg.name for arg in self._outputs]
        wanted = list(output_names) if output_names else known
        if unknown := [name for name in wanted if name not in known]:
            raise InvalidArgument(f"Invalid output name:{unknown[0]}")
        arrays = [np.asarray(input_feed[name]) for name in names]
        for arg, array in zip(self._inputs, arrays, strict=True):
            _check(arg, array)
        made = self._batched(arrays) if self._open_batch() else self._once(arrays)
        return [made[known.index(name)] for name in wanted]

    def _fixed(self) -> bool:
        """Whether the network can be compiled before it has inputs."""
        return self._open_batch() or all(isinstance(n, int) for arg in self._inputs for n in arg.shape)

    def _open_batch(self) -> bool:
        """Whether the first dimension is open, and no other, in all inputs and outputs."""
        return all(arg.shape and not isinstance(arg.shape[0], int) and all(isinstance(n, int) for n in arg.shape[1:])
                   for arg in (*self._inputs, *self._outputs))

    def _batched(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        counts = {len(array) for array in arrays}
        if len(counts) != 1 or not min(counts):
            raise InvalidArgument(f"the inputs must have equally many entries along the first axis, and one at least, "
                                  f"not {[len(array) for array in arrays]}")
        singles = [self._once([array[i:i + 1] for array in arrays]) for i in range(counts.pop())]
        return [np.concatenate(values) for values in zip(*singles, strict=True)]

    def _once(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        deployment = self._deployment(tuple(array.shape for array in arrays))
        result = deployment.run({info.name: array
                                 for info, array in zip(deployment.model.inputs, arrays, strict=True)})
        self.report = result.report
        return [result.outputs[info.name] for info in deployment.model.outputs]

    def _deployment(self, shapes: tuple[Shape, ...]) -> Deployment:
        if shapes not in self._deployments:
            from ..frontends.onnx.calibrate import quantize_onnx
            from ..frontends.onnx.convert import import_onnx

            named = {arg.name: shape for arg, shape in zip(self._inputs, shapes, strict=True)
                     if not all(isinstance(n, int) for n in arg.shape)}
            source: Any = self._source
            if self._calibration is not None:
                source = quantize_onnx(source, self._calibration, shapes=named or None)
            graph = import_onnx(source, shapes=None if self._calibration is not None else named or None)
            self._deployments[shapes] = Deployment(compile_graph(graph, self._config), self._device)
        return self._deployments[shapes]


def _sizes(shape: Sequence[int | str | None]) -> Shape:
    return tuple(n if isinstance(n, int) else _BATCH for n in shape)


def _check(arg: NodeArg, array: np.ndarray) -> None:
    """Raise `InvalidArgument` where an array does not fit an input."""
    actual = _TYPES.get(array.dtype.name, array.dtype.name)
    if actual != arg.type:
        raise InvalidArgument(f"Unexpected input data type. Actual: ({actual}) , expected: ({arg.type})")
    if array.ndim != len(arg.shape):
        raise InvalidArgument(f"Invalid rank for input: {arg.name} Got: {array.ndim} Expected: {len(arg.shape)} Please "
                              "fix either the inputs/outputs or the model.")
    for axis, (found, expected) in enumerate(zip(array.shape, arg.shape, strict=True)):
        if isinstance(expected, int) and found != expected:
            raise InvalidArgument(f"Got invalid dimensions for input: {arg.name} for the following indices index: "
                                  f"{axis} Got: {found} Expected: {expected} Please fix either the inputs/outputs or "
                                  "the model.")


_TYPES = {"float32": "tensor(float)", "float64": "tensor(double)", "float16": "tensor(float16)",
          **{name: f"tensor({name})" for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
                                                  "uint64", "bool")}}


def _node_arg(value: Any) -> NodeArg:
    import onnx

    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim]
    return NodeArg(value.name, _TYPES.get(dtype, f"tensor({dtype})"), shape)
