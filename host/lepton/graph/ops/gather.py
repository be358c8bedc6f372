"""Elements taken from computed places, on the host. A `Gather` at constant places along one axis is in `move`."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from ..numerics.gathering import MOST, at_places
from ..operands import OfOne
from .conditions import axis_of, dims, of_type, require, same_quantization
from .places import from_front

__all__ = ["GatherElements", "GatherND"]

_OfTwo = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _shapes(inputs: OperandList[Tensor]) -> tuple[Shape, Shape]:
    """The shapes of x and of the indices, which must be int32 or int64."""
    x, indices = (dims(t.shape) for t in inputs)
    of_type(inputs[1], np.int32, np.int64)
    return x, indices


@dataclass(frozen=True)
class GatherND(Op):
    """inputs: x, indices int32 or int64 (..., K); the slices x[index] of K leading axes, behind `batch_dims` common
    ones."""

    operands = (2, 2)
    keeps_quantization = True

    batch_dims: int = 0

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, indices = _shapes(inputs)
        b = self.batch_dims
        require(0 <= b < min(len(x), len(indices)) and x[:b] == indices[:b],
                f"x of shape {x} and indices of shape {indices} must have {b} batch axes in common")
        require(1 <= indices[-1] <= len(x) - b, f"indices of {indices[-1]} numbers do not fit x of shape {x}")
        return (*indices[:-1], *x[b + indices[-1]:]), np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        same_quantization(signature.inputs[0], signature.output)

    def compute(self, call: Call) -> np.ndarray:
        x = call.x
        if call.inputs[1].data is not None:
            where = self._where(call)
            return call.through(lambda array: array[where])
        return x[self._where(call)]

    def _where(self, call: Call) -> tuple[np.ndarray, ...]:
        x, indices = call.values
        b = self.batch_dims
        k = indices.shape[-1]
        places = from_front(call, indices, x.shape[b:b + k])
        batch = np.indices(indices.shape[:-1], sparse=True)[:b]
        return *batch, *np.moveaxis(places, -1, 0)


@dataclass(frozen=True)
class GatherElements(Op):
    """inputs: x, indices int32 or int64 of the same rank; output[i, j] = x[indices[i, j], j] for `axis` 0."""

    operands = (2, 2)
    keeps_quantization = True

    axis: int = 0

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, indices = _shapes(inputs)
        axis = axis_of(self.axis, len(x))
        require(len(x) == len(indices) and all(m <= n for i, (m, n) in enumerate(zip(indices, x, strict=True))
                                               if i != axis), f"indices of shape {indices} do not fit x of shape {x}")
        return indices, np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        same_quantization(signature.inputs[0], signature.output)

    def compute(self, call: Call) -> np.ndarray:
        x, indices = call.values
        axis = self.axis % x.ndim
        if call.inputs[1].data is not None and x.dtype.itemsize == 4 and x.size < MOST:
            return call.through(self._constant_places(call))
        others = x.shape[:axis] == indices.shape[:axis] and x.shape[axis + 1:] == indices.shape[axis + 1:]
        word = {1: np.int8, 4: np.int32}.get(x.dtype.itemsize) if others and indices.size and x.shape[axis] else None
        name = "along_bytes" if word is np.int8 else "along_words"
        name = f"{name}_int32" if indices.dtype == np.int32 else name
        loop = None if word is None else compiled.loop(name, indices.size, call.often)
        if loop is not None and word is not None:
            return call.through_all(self._at_computed_places(call, loop, np.dtype(word)))
        return x[self._where(call)]

    def _at_computed_places(self, call: Call, loop: compiled.Loop, word: np.dtype) -> _OfTwo:
        x, indices = call.values
        axis = self.axis % x.ndim
        shape = indices.shape
        before = prod(x.shape[:axis])
        behind = prod(x.shape[axis + 1:])
        source = before, x.shape[axis], behind
        target = before, shape[axis], behind
        fixed = call.fixed

        def kernel(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
            made = np.empty(shape, x.dtype)
            wrong = np.empty(1, np.int64)
            loop(x.view(word).reshape(source), indices.reshape(target), fixed, wrong, made.view(word).reshape(target))
            return x[self._where(call.of((x, indices)))] if wrong[0] else made  # raises, and says which is wrong
        return kernel

    def _where(self, call: Call) -> tuple[np.ndarray, ...]:
        x, indices = call.values
        axis = self.axis % x.ndim
        where: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
        where[axis] = from_front(call, indices, [x.shape[axis]])
        return tuple(where)

    def _constant_places(self, call: Call) -> OfOne:
        shape = call.values[1].shape
        rows = [int(n) for n in np.cumprod((1, *call.x.shape[:0:-1]))[::-1]]  # elements between two of each axis
        flat = sum(where * step for where, step in zip(self._where(call), rows, strict=True))
        return at_places(np.broadcast_to(flat, shape), shape, call.x.dtype, call.often)
