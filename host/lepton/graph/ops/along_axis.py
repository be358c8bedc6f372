"""Along one axis: the place of the largest element, running sums, and sequences in reverse.

Sources: tensorflow/lite/kernels/internal/reference/{arg_min_max,cumsum}.h, internal/optimized/optimized_ops.h
(ReverseSequence).
"""

from dataclasses import dataclass, replace

import numpy as np

from ..core import Call, GraphError, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from ..numerics.gathering import MOST, at_places
from .conditions import axis_of, dims, of_type, require, same_quantization

__all__ = ["ArgMax", "CumSum", "ReverseSequence"]


@dataclass(frozen=True)
class ArgMax(Op):
    """The index of the largest element along `axis`, or with `smallest` of the smallest.

    Of equal elements the first counts, with `last` the last. The input has any type; int8 values are compared as they
    are stored, which has the order of the reals.
    """

    axis: int
    keep_dims: bool = True
    smallest: bool = False
    last: bool = False
    dtype: str = "int64"  # of the output, by numpy's name; TFLite has "int32" too

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        shape = dims(inputs[0].shape)
        axis = axis_of(self.axis, len(shape))
        require(shape[axis] > 0, f"axis {axis} of the input of shape {shape} has no elements")
        return (*shape[:axis], *(1,) * self.keep_dims, *shape[axis + 1:]), np.dtype(self.dtype)

    def check(self, signature: Signature) -> None:
        require(self.dtype in ("int32", "int64"), f"the output must be int32 or int64, not {self.dtype}")

    def compute(self, call: Call) -> np.ndarray:
        loop = call.once("loop", lambda: self._loop(call))
        if loop is not None:
            shape = tuple(call.output.shape)
            count = call.x.size // call.x.shape[-1]
            word = np.int8 if call.x.dtype == np.int8 else np.int32  # floats are compared by their bits

            def kernel(x: np.ndarray) -> np.ndarray:
                places = np.empty(count, np.int64)
                loop(x.view(word).reshape(count, -1), places)
                return (places if self.dtype == "int64" else places.astype(self.dtype)).reshape(shape)
            return call.through(kernel)
        find = np.argmin if self.smallest else np.argmax
        if not self.last:
            return find(call.x, axis=self.axis, keepdims=self.keep_dims)
        backwards = np.flip(call.x, self.axis)
        return call.x.shape[self.axis] - 1 - find(backwards, axis=self.axis, keepdims=self.keep_dims)

    def _loop(self, call: Call) -> compiled.Loop | None:
        """For the first of the largest int8 or float32 along the last axis."""
        name = {"int8": "first_largest", "float32": "first_largest_float"}.get(call.x.dtype.name)
        if name is None or self.smallest or self.last or (self.axis + 1) % call.x.ndim:
            return None
        return compiled.loop(name, call.x.size, call.often)

    def permuted(self, order: tuple[int, ...]) -> "ArgMax":
        return replace(self, axis=order[self.axis % len(order)])

    def dropped_axes(self, inputs: OperandList[Tensor]) -> set[int]:
        return set() if self.keep_dims else {self.axis % len(inputs[0].shape)}


@dataclass(frozen=True)
class CumSum(Op):
    """Running sums along `axis`, of a type that is not quantized; elements are added one after the other.

    exclusive: without the element at the index itself. reverse: from the end to the start.
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        axis_of(self.axis, len(inputs[0].shape))
        return dims(inputs[0].shape), np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        of_type(signature.inputs[0], np.float32, np.int32, np.int64)

    def compute(self, call: Call) -> np.ndarray:
        plain = call.x.dtype == np.float32 and not self.exclusive and not self.reverse and not (
            self.axis + 1) % call.x.ndim
        loop = compiled.loop("running_sums", call.x.size, call.often) if plain else None
        if loop is not None:
            columns = call.x.shape[-1]

            def kernel(x: np.ndarray) -> np.ndarray:
                sums = np.empty(x.shape, np.float32)
                loop(x.reshape(-1, columns), sums.reshape(-1, columns))
                return sums
            return call.through(kernel)
        x = np.moveaxis(np.flip(call.x, self.axis) if self.reverse else call.x, self.axis, -1)
        total = np.cumsum(x, axis=-1, dtype=x.dtype)
        if self.exclusive:
            total = np.concatenate([np.zeros_like(total[..., :1]), total[..., :-1]], axis=-1)
        total = np.moveaxis(total, -1, self.axis)
        return np.flip(total, self.axis) if self.reverse else total

    def permuted(self, order: tuple[int, ...]) -> "CumSum":
        return replace(self, axis=order[self.axis % len(order)])


@dataclass(frozen=True)
class ReverseSequence(Op):
    """inputs: x of any type; lengths int32 or int64, one for each sequence along `batch`.

    The first elements of each sequence along `axis`, as many as its length, in reverse order; the others as they are.
    """

    operands = (2, 2)
    keeps_quantization = True

    axis: int
    batch: int

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, lengths = inputs
        shape = dims(x.shape)
        of_type(lengths, np.int32, np.int64)
        axis = axis_of(self.axis, len(shape))
        batch = axis_of(self.batch, len(shape))
        require(axis != batch, f"the axes of the elements and of the sequences must differ, not both be {axis}")
        require(dims(lengths.shape) == (shape[batch],), f"the lengths must be of shape {(shape[batch],)}, one for each "
                f"sequence, not {dims(lengths.shape)}")
        return shape, np.dtype(x.dtype)

    def check(self, signature: Signature) -> None:
        same_quantization(signature.inputs[0], signature.output)

    def compute(self, call: Call) -> np.ndarray:
        x, lengths = call.values
        extent = x.shape[self.axis]
        wrong = lengths[(lengths < 0) | (lengths > extent)]
        if wrong.size:
            raise GraphError(f"length {wrong[0]} of {call.inputs[1].name!r} must lie in 0..{extent}")
        if call.inputs[1].data is not None and 0 < x.size < MOST:
            places = self._reversed(np.arange(x.size, dtype=np.int32).reshape(x.shape), lengths)
            return call.through(at_places(places, x.shape, x.dtype, call.often))
        return self._reversed(x, lengths)

    def _reversed(self, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        extent = x.shape[self.axis]
        sequences = np.moveaxis(x, (self.batch, self.axis), (0, 1))
        places = np.arange(extent)
        ends = lengths[:, None]
        places = np.where(places < ends, ends - 1 - places, places)
        made = sequences[np.arange(len(lengths))[:, None], places]
        return np.moveaxis(made, (0, 1), (self.batch, self.axis))

    def permuted(self, order: tuple[int, ...]) -> "ReverseSequence":
        return replace(self, axis=order[self.axis % len(order)], batch=order[self.batch % len(order)])
