"""Elements put at computed places, on the host: into another tensor, or one of each row (`OneHot`)."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from .conditions import axis_of, dims, of_type, require, same_quantization, same_type
from .places import from_front

__all__ = ["OneHot", "ScatterElements", "ScatterND"]

_Places = tuple[np.ndarray, ...]  # an index of numpy

_REDUCTIONS = {"none": None, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _put(x: np.ndarray, where: tuple[np.ndarray, ...], updates: np.ndarray, reduction: str) -> np.ndarray:
    result = x.copy()
    ufunc = _REDUCTIONS[reduction]
    if ufunc is None:
        result[where] = updates
    else:
        ufunc.at(result, where, updates)
    return result


class _Scatter(Op):
    operands = (3, 3)
    keeps_quantization = True

    reduction: str

    def check(self, signature: Signature) -> None:
        require(self.reduction in _REDUCTIONS,
                f"the reduction must be one of {', '.join(_REDUCTIONS)}, not {self.reduction!r}")
        for tensor in (signature.inputs[0], signature.inputs[2]):
            same_quantization(tensor, signature.output)
        if signature.output.quantization is not None:
            require(self.reduction not in ("add", "mul"), "sums and products of quantized values are not supported")

    def compute(self, call: Call) -> np.ndarray:
        x, _, updates = call.values
        where = self._where(call)
        if call.inputs[1].data is None:
            return _put(x, where, updates, self.reduction)
        return call.through_all(lambda x, _, updates: _put(x, where, updates, self.reduction))

    @abstractmethod
    def _where(self, call: Call) -> _Places:
        """The places of the updates in x."""


@dataclass(frozen=True)
class ScatterND(_Scatter):
    """inputs: x, indices int32 or int64 (..., K), updates; x with updates at x[index] of K leading axes."""

    reduction: str = "none"  # or "add", "mul", "max", "min": how an update and the element there become one

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, indices, updates = (dims(t.shape) for t in inputs)
        of_type(inputs[1], np.int32, np.int64)
        require(len(indices) >= 1 and 1 <= indices[-1] <= len(x) and updates == (*indices[:-1], *x[indices[-1]:]),
                f"indices of shape {indices} and updates of shape {updates} do not fit x of shape {x}")
        return x, same_type(inputs[0], inputs[2])

    def _where(self, call: Call) -> _Places:
        x, indices, _ = call.values
        places = from_front(call, indices, x.shape[:indices.shape[-1]])
        return tuple(places[..., k] for k in range(places.shape[-1]))


@dataclass(frozen=True)
class ScatterElements(_Scatter):
    """inputs: x, indices int32 or int64 and updates of one shape; x[indices[i, j], j] = updates[i, j] for `axis` 0."""

    axis: int = 0
    reduction: str = "none"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, indices, updates = (dims(t.shape) for t in inputs)
        of_type(inputs[1], np.int32, np.int64)
        axis = axis_of(self.axis, len(x))
        require(len(x) == len(indices) and indices == updates and all(
            m <= n for i, (m, n) in enumerate(zip(indices, x, strict=True)) if i != axis),
            f"indices of shape {indices} and updates of shape {updates} do not fit x of shape {x}")
        return x, same_type(inputs[0], inputs[2])

    def _where(self, call: Call) -> _Places:
        x, indices, _ = call.values
        axis = self.axis % x.ndim
        where: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
        where[axis] = from_front(call, indices, [x.shape[axis]])
        return tuple(where)


@dataclass(frozen=True)
class OneHot(Op):
    """inputs: indices int32 or int64, and two numbers of one type: the value at the index along the new `axis` of
    `depth` elements, and the one elsewhere. Indices outside of 0..depth - 1 give none."""

    operands = (3, 3)

    depth: int
    axis: int

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        indices, on, off = inputs
        of_type(indices, np.int32, np.int64)
        require(int(np.prod(on.shape)) == int(np.prod(off.shape)) == 1, "the two values must be one number each")
        shape = dims(indices.shape)
        axis = axis_of(self.axis, len(shape) + 1)
        return (*shape[:axis], self.depth, *shape[axis:]), same_type(on, off)

    def check(self, signature: Signature) -> None:
        require(self.depth >= 1, f"depth must be at least 1, not {self.depth}")

    def compute(self, call: Call) -> np.ndarray:
        indices, on, off = call.values
        axis = self.axis % (indices.ndim + 1)
        word = np.dtype(np.int8 if on.dtype.itemsize == 1 else np.int32)
        name = {1: "one_hot_bytes", 4: "one_hot_words"}.get(on.dtype.itemsize)
        loop = None if name is None else compiled.loop(name, prod(call.output.shape), call.often)
        if loop is not None:
            shape = tuple(call.output.shape)
            before = prod(indices.shape[:axis])
            behind = prod(indices.shape[axis:])

            dtype = on.dtype
            matrices = before, self.depth, behind

            def placed(indices: np.ndarray, on: np.ndarray, off: np.ndarray) -> np.ndarray:
                made = np.empty(shape, dtype)
                loop(indices.astype(np.int64, copy=False).reshape(before, behind), on, off,
                     made.view(word).reshape(matrices))
                return made
            if call.inputs[1].data is not None and call.inputs[2].data is not None:
                return call.through(partial(placed, on=on.reshape(1).view(word), off=off.reshape(1).view(word)))
            return call.through_all(lambda indices, on, off: placed(indices, on.reshape(1).view(word),
                                                                    off.reshape(1).view(word)))
        places = np.arange(self.depth).reshape((-1,) + (1,) * (indices.ndim - axis))
        return np.where(np.expand_dims(indices, axis) == places, on.reshape(()), off.reshape(()))
