"""Arrays as a network's tensors."""

import numpy as np
import torch

from ..text import dimensions


class DataError(ValueError):
    """Inputs or labels that do not fit the network; the text says what would."""


def inputs_as_tensor(x: np.ndarray | torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """float32 (N, *shape) of real numbers with the channels first or last, or as rows. Raises `DataError`."""
    array = x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
    if array.dtype.kind not in "fiub" or not array.ndim or not len(array):
        raise DataError(f"inputs must be an array of numbers with one input at least along the first axis, not "
                        f"{array.dtype} of shape {array.shape}")
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError("inputs must be finite")
    if len(shape) == 3 and values.shape[1:] == (shape[1], shape[2], shape[0]) and values.shape[1:] != shape:
        values = np.moveaxis(values, -1, 1)
    elif values.shape[1:] != shape and values[0].size == int(np.prod(shape)) and (values.ndim == 2 or shape[0] == 1):
        values = values.reshape(-1, *shape)
    if values.shape[1:] != shape:
        raise DataError(f"inputs must be (N, {', '.join(map(str, shape))}), channels last, or rows of "
                        f"{int(np.prod(shape))} numbers, not {dimensions(values.shape)}")
    return torch.from_numpy(np.ascontiguousarray(values))


def labels_as_tensor(y: np.ndarray | torch.Tensor, count: int, classes: int | None) -> torch.Tensor:
    """int64 (N,) for `classes`, from whole numbers or one row of shares for each input; float32 targets for None.

    Raises `DataError`.
    """
    array = y.detach().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    if array.ndim == 0 or len(array) != count:
        raise DataError(f"there must be one label for each of the {count} inputs, not shape {array.shape}")
    if classes is None:
        return torch.from_numpy(array.astype(np.float32).reshape(count, -1))
    if array.ndim == 2 and array.shape[1] == classes:
        array = array.argmax(1)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= classes:
        raise DataError(f"labels must be whole numbers from 0 to {classes - 1}, or rows of {classes} numbers, not "
                        f"{array.dtype} of shape {array.shape}"
                        + (f" up to {array.max()}" if array.ndim == 1 and array.size else ""))
    return torch.from_numpy(array.astype(np.int64))
