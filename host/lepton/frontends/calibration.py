"""Calibration data in files and in memory, for every front end that quantizes."""

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from lepton.array_files import load_arrays
from lepton.graph import GraphError

Calibration = str | PathLike | np.ndarray | Mapping[str, np.ndarray] | Iterable
Inputs = Mapping[str, tuple[tuple[int, ...], np.dtype]]  # shape and type of each input of a network


def load_calibration(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a .npy file, or those of a .npz file by name.

    Raises GraphError for what is neither, OSError where the file cannot be read.
    """
    try:
        return load_arrays(path)
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise GraphError(f"{path}: not a .npy or .npz file of calibration data ({error})") from None


def calibration_inputs(calibration: Calibration, inputs: Inputs) -> tuple[Iterator[dict[str, np.ndarray]], int | None]:
    """Single inputs of a network, by name, and how many there are, None where that is not known.

    `calibration` is a file's path, an array, arrays by name, or an iterable of such arrays and of tuples in the order
    of the inputs (as data loaders give them, with labels behind). Raises GraphError, while iterating, for what does not
    fit `inputs`.
    """
    if isinstance(calibration, str | PathLike):
        calibration = load_calibration(Path(calibration))
    if isinstance(calibration, np.ndarray | Mapping):
        feeds = list(_single(calibration, inputs))
        return iter(feeds), len(feeds)
    return (feed for batch in calibration for feed in _single(batch, inputs)), None


def _single(batch: Any, inputs: Inputs) -> Iterator[dict[str, np.ndarray]]:
    """The single inputs of a batch."""
    names = list(inputs)
    if not isinstance(batch, Mapping):
        items = list(batch) if isinstance(batch, list | tuple) else [batch]
        if len(items) < len(names):
            raise GraphError(f"calibration data must have the {len(names)} inputs {', '.join(names)}, not {len(items)}")
        batch = dict(zip(names, items, strict=False))
    if not set(names) <= set(batch):
        raise GraphError(f"calibration data must have the inputs {', '.join(names)}, not {', '.join(batch)}")
    arrays = {name: _split(name, np.asarray(batch[name]), *inputs[name]) for name in names}
    counts = {name: len(parts) for name, parts in arrays.items()}
    if len(set(counts.values())) != 1:
        raise GraphError(f"calibration data must hold equally many of each input, not {counts}")
    for i in range(counts[names[0]]):
        yield {name: parts[i] for name, parts in arrays.items()}


def _split(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> list[np.ndarray]:
    """The arrays of `shape` that `array` holds along its first axis."""
    if array.shape == shape[1:]:
        array = array[None]
    if array.ndim != len(shape) or array.shape[1:] != shape[1:] or not array.size or array.shape[0] % shape[0]:
        raise GraphError(f"calibration data for input {name!r} must have the shape {shape}, or several of it along "
                         f"the first axis, not {array.shape}")
    if array.dtype != dtype and not (array.dtype.kind == "f" and np.dtype(dtype).kind == "f"):
        raise GraphError(f"calibration data for input {name!r} must be {np.dtype(dtype)}, not {array.dtype}")
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise GraphError(f"calibration data for input {name!r} hold values that are not finite")
    return np.split(array.astype(dtype, copy=False), array.shape[0] // shape[0])
