"""Elements taken from or put at computed places, on the host.

Indices below 0 count from the end; with `Arithmetic.FIXED` they are errors, as in TFLite. Indices outside of the axis
raise `GraphError`, which names index and limit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np

from ..core import Call, GraphError, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from ..numerics.gathering import MOST, at_places
from ..operands import OfOne
from .conditions import axis_of, dims, of_type, require, same_quantization, same_type

__all__ = ["GatherElements", "GatherND", "OneHot", "ScatterElements", "ScatterND", "TopK"]

_Places = tuple[np.ndarray, ...]  # an index of numpy
_OfTwo = Callable[[np.ndarray, np.ndarray], np.ndarray]

_FEW = 32  # of the largest elements: sorting all of a row is as fast for more
_REDUCTIONS = {"none": None, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _places(call: Call, indices: np.ndarray, extents: Sequence[int]) -> np.ndarray:
    """Indices counted from the front; `extents` are the limits along the last axis of `indices`, or one for all."""
    found = _counted(call, indices, extents)
    if found is not None:
        return found
    limits = np.asarray(extents)
    lowest = limits * 0 if call.fixed else -limits
    wrong = np.argwhere((indices < lowest) | (indices >= limits))
    if len(wrong):
        at = tuple(wrong[0])
        extent = int(np.broadcast_to(limits, indices.shape)[at])
        raise GraphError(f"index {int(indices[at])} of {call.inputs[1].name!r} must lie in "
                         f"{0 if call.fixed else -extent}..{extent - 1}")
    return np.where(indices < 0, indices + limits, indices)


def _counted(call: Call, indices: np.ndarray, extents: Sequence[int]) -> np.ndarray | None:
    """`_places` by a compiled loop; None without one, and where an index is out of range."""
    loop = compiled.loop("from_front", indices.size, call.often)
    if loop is None or not indices.size:
        return None
    result = np.empty(indices.shape, np.int64)
    wrong = np.zeros(1, np.int64)
    columns = len(extents)
    limits = call.once("extents", lambda: np.array(extents, np.int64))
    loop(indices.astype(np.int64, copy=False).reshape(-1, columns), limits, call.fixed,
         result.reshape(-1, columns), wrong)
    return None if wrong[0] else result


@dataclass(frozen=True)
class GatherND(Op):
    """inputs: x, indices int32 or int64 (..., K); the slices x[index] of K leading axes, behind `batch_dims` common
    ones."""

    operands = (2, 2)
    keeps_quantization = True

    batch_dims: int = 0

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, indices = (dims(t.shape) for t in inputs)
        of_type(inputs[1], np.int32, np.int64)
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
        places = _places(call, indices, x.shape[b:b + k])
        batch = np.indices(indices.shape[:-1], sparse=True)[:b]
        return *batch, *np.moveaxis(places, -1, 0)


@dataclass(frozen=True)
class GatherElements(Op):
    """inputs: x, indices int32 or int64 of the same rank; output[i, j] = x[indices[i, j], j] for `axis` 0."""

    operands = (2, 2)
    keeps_quantization = True

    axis: int = 0

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, indices = (dims(t.shape) for t in inputs)
        of_type(inputs[1], np.int32, np.int64)
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
        where[axis] = _places(call, indices, [x.shape[axis]])
        return tuple(where)

    def _constant_places(self, call: Call) -> OfOne:
        shape = call.values[1].shape
        rows = [int(n) for n in np.cumprod((1, *call.x.shape[:0:-1]))[::-1]]  # elements between two of each axis
        flat = sum(where * step for where, step in zip(self._where(call), rows, strict=True))
        return at_places(np.broadcast_to(flat, shape), shape, call.x.dtype, call.often)


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

    def compute(self, call: Call) -> np.ndarray:
        x, _, updates = call.values
        where = self._where(call)
        if call.inputs[1].data is None:
            return _put(x, where, updates, self.reduction)
        return call.through_all(lambda x, _, updates: _put(x, where, updates, self.reduction))

    def _where(self, call: Call) -> _Places:
        x, indices, _ = call.values
        places = _places(call, indices, x.shape[:indices.shape[-1]])
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

    def compute(self, call: Call) -> np.ndarray:
        x, _, updates = call.values
        where = self._where(call)
        if call.inputs[1].data is None:
            return _put(x, where, updates, self.reduction)
        return call.through_all(lambda x, _, updates: _put(x, where, updates, self.reduction))

    def _where(self, call: Call) -> _Places:
        x, indices, _ = call.values
        axis = self.axis % x.ndim
        where: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
        where[axis] = _places(call, indices, [x.shape[axis]])
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


@dataclass(frozen=True)
class TopK(Op):
    """The places of the `k` largest elements along `axis`, or of the smallest, the first of them first.

    Of equal elements the one at the lower place comes first. The elements themselves are what `GatherElements` takes
    at these places. The input has any type, int8 is compared as it is.
    """

    k: int
    axis: int = -1
    largest: bool = True
    dtype: str = "int64"  # of the output, by numpy's name; TFLite has "int32"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        shape = dims(inputs[0].shape)
        axis = axis_of(self.axis, len(shape))
        require(0 < self.k <= shape[axis], f"k must be in 1..{shape[axis]}, the extent of axis {axis}, not {self.k}")
        return (*shape[:axis], self.k, *shape[axis + 1:]), np.dtype(self.dtype)

    def check(self, signature: Signature) -> None:
        require(self.dtype in ("int32", "int64"), f"the output must be int32 or int64, not {self.dtype}")

    def compute(self, call: Call) -> np.ndarray:
        loop = call.once("loop", lambda: self._loop(call))
        if loop is not None:
            return call.through(self._kernel(call, loop))
        return self._sorted(call.x)

    def _kernel(self, call: Call, loop: compiled.Loop) -> Callable[[np.ndarray], np.ndarray]:
        shape = tuple(call.output.shape)
        columns = call.x.shape[-1]
        dtype = np.dtype(self.dtype)

        def kernel(x: np.ndarray) -> np.ndarray:
            made = np.empty(shape, dtype)
            loop(x.reshape(-1, columns), made.reshape(-1, self.k))
            if made.item(0) < 0:  # there is a NaN
                return self._sorted(x)
            return made
        return kernel

    def _sorted(self, array: np.ndarray) -> np.ndarray:
        x = np.moveaxis(array, self.axis, -1)
        if self.largest:  # sorted backwards from the other end, so that equal elements keep their order
            places = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
        else:
            places = np.argsort(x, axis=-1, kind="stable")
        return np.moveaxis(places[..., :self.k], -1, self.axis).astype(self.dtype)

    def _loop(self, call: Call) -> compiled.Loop | None:
        """For few of the largest along the last axis, which are sorted as they are found."""
        name = {"int8": "top", "float32": "top_float"}.get(call.x.dtype.name)
        if name is None or not self.largest or self.k > _FEW or (self.axis + 1) % call.x.ndim or not call.x.size:
            return None
        return compiled.loop(name if self.dtype == "int64" else f"{name}_int32", call.x.size, call.often)

    def permuted(self, order: tuple[int, ...]) -> "TopK":
        return replace(self, axis=order[self.axis % len(order)])
