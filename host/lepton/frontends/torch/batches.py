"""Calibration data as tuples of tensors, one for each input of the module: float32, or whole numbers and booleans as
they are."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch.fx import GraphModule

from lepton.graph import GraphError

from ..calibration import load_calibration

_TYPES = ("float16", "float32", "float64", "int32", "int64", "bool")  # of arrays; only floats are converted
Calibration = str | PathLike | np.ndarray | torch.Tensor | Mapping | Iterable


def input_names(module: torch.nn.Module) -> list[str]:
    """The names of the inputs of `module` without a default, at least one."""
    if isinstance(module, GraphModule):
        return [node.name for node in module.graph.nodes if node.op == "placeholder"]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    needed = [p.name for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]
    return needed or [next((p.name for p in parameters), "x")]


def batches(calibration: Calibration, names: list[str]) -> Iterator[tuple[torch.Tensor, ...]]:
    """The batches of `calibration`: a file's path, one array, arrays by name, or an iterable of batches.

    A batch is a tensor or an array, or a tuple, list or mapping whose first items, or those of the inputs' names, are
    the inputs (as data loaders give them, with labels behind). Raises GraphError for what is none of these, or holds
    numbers that are not finite.
    """
    if isinstance(calibration, str | PathLike):
        calibration = load_calibration(Path(calibration))
    if isinstance(calibration, np.ndarray | torch.Tensor | Mapping):
        calibration = [calibration]
    if not isinstance(calibration, Iterable):
        raise GraphError(f"calibration data must be batches, not {calibration!r}")
    for batch in calibration:
        if isinstance(batch, Mapping):
            if not set(names) <= set(batch):
                raise GraphError(f"calibration data must have the inputs {', '.join(names)}, not {', '.join(batch)}")
            batch = [batch[name] for name in names]
        elif not isinstance(batch, tuple | list):
            batch = [batch]
        if len(batch) < len(names):
            raise GraphError(f"a calibration batch must have the {len(names)} inputs {', '.join(names)}, "
                             f"not {len(batch)}")
        inputs = tuple(_tensor(value) for value in batch[:len(names)])
        if len({len(x) for x in inputs}) > 1:
            raise GraphError("a calibration batch must hold equally many of each input, not "
                             f"{[len(x) for x in inputs]}")
        yield inputs


def count(calibration: Calibration) -> int | None:
    """How many inputs there are; None for a file that has not been read, and for an iterable."""
    if isinstance(calibration, Mapping):
        calibration = next(iter(calibration.values()), calibration)
    return len(calibration) if isinstance(calibration, np.ndarray | torch.Tensor) and calibration.ndim else None


def _tensor(value: object) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) and (
        value.dtype.name in _TYPES) else value
    if not isinstance(tensor, torch.Tensor) or not tensor.ndim or not len(tensor) or (
            str(tensor.dtype).removeprefix("torch.") not in (*_TYPES, "bfloat16")):
        raise GraphError("a calibration batch must be a float, int32, int64 or bool tensor or array (N, ...), not "
                         f"{getattr(tensor, 'dtype', type(tensor).__name__)} {tuple(getattr(tensor, 'shape', ()))}; "
                         "convert images to float as the module's real inputs are")
    if not tensor.is_floating_point():
        return tensor
    if not torch.isfinite(tensor).all():
        raise GraphError("a calibration batch must be finite")
    return tensor.float()


def shapes(inputs: tuple[torch.Tensor, ...]) -> str:
    """The shapes of tensors as text for errors."""
    return " and ".join(str(tuple(x.shape)) for x in inputs)
