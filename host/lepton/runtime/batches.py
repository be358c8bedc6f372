"""Arrays of many inputs: cut into the inputs of single inferences, and outputs put together again."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..program import TensorInfo
from .errors import InputError


def single_inputs(inputs: np.ndarray | Mapping[str, np.ndarray], infos: Iterable[TensorInfo]
                  ) -> list[dict[str, np.ndarray]]:
    """The inputs of one or more inferences: arrays by name, or the array of a model's only input.

    `infos` are the model's inputs. An array whose first axis is a multiple of the model's holds several inputs. Raises
    `InputError` for arrays that do not hold the same number of inputs; the session looks at shapes and types.
    """
    infos = list(infos)
    if not isinstance(inputs, Mapping):
        if len(infos) != 1:
            raise InputError(f"the model has {len(infos)} inputs ({', '.join(i.name for i in infos)}); give one array "
                             "for each, by name")
        inputs = {infos[0].name: inputs}
    shapes = {info.name: tuple(info.shape) for info in infos}
    batches = {name: _split(np.asarray(array), shapes.get(name)) for name, array in inputs.items()}
    counts = {name: len(batch) for name, batch in batches.items()}
    if len(set(counts.values())) != 1:
        raise InputError(f"the arrays must have the same number of inputs, not {counts}")
    return [dict(zip(batches, values, strict=True)) for values in zip(*batches.values(), strict=True)]


def _split(array: np.ndarray, shape: tuple[int, ...] | None) -> list[np.ndarray]:
    """Single inputs of the model's `shape`; None if the model has no input of that name."""
    if shape == () and array.ndim == 1 and array.size:
        return [np.asarray(value) for value in array]
    if shape and array.ndim == len(shape) and array.shape[1:] == shape[1:] and shape[0] and array.shape[0] \
            and array.shape[0] % shape[0] == 0:
        return np.split(array, array.shape[0] // shape[0])
    return [array]  # the session reports what is wrong with it


def joined(results: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The outputs of several inferences by name, one behind the other along the first axis."""
    return {name: np.concatenate([np.atleast_1d(result[name]) for result in results]) for name in results[0]}


def checked_array(array: np.ndarray, info: TensorInfo, what: str = "input") -> np.ndarray:
    """The array of one input, or of `what` else. Raises `InputError` for another type or shape than the model's."""
    array = np.asarray(array)
    if array.dtype != np.dtype(info.dtype):
        how = ""
        if info.scale is not None and info.dtype == "int8":
            how = f"; quantize it: round(x / {info.scale:.9g}) + {info.zero_point}, clamped to -128..127"
        raise InputError(f"{what} {info.name!r} must have type {info.dtype}, not {array.dtype}{how}")
    if array.shape != tuple(info.shape):
        raise InputError(f"{what} {info.name!r} must have shape {tuple(info.shape)}, not {array.shape}")
    return array
