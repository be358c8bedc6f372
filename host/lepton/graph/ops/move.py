"""Operators that move data: any type, any rank; input and output have the same type and quantization."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ..core import Call, GraphError, Op, OperandList, Pair, Shape, Signature, Tensor
from ..numerics.transposing import swapper
from .conditions import axis_of, dims, of_type, require, same_quantization, same_type

__all__ = ["Concat", "Gather", "Move", "Pad", "Reshape", "Slice", "Transpose"]

_FEW = 1 << 15  # elements of which the places are kept, in 256 KiB


@dataclass(frozen=True)
class Move(Op):
    """Base of the operators that move elements of their first input."""

    keeps_quantization = True

    def check(self, signature: Signature) -> None:
        same_quantization(signature.inputs[0], signature.output)


@dataclass(frozen=True)
class Reshape(Move):
    """input: x; the same elements in their order, with another shape."""

    rearranges = True
    reorders = True

    shape: Shape

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x = inputs[0]
        require(min(self.shape, default=1) >= 0 and prod(x.shape) == prod(self.shape), f"input {dims(x.shape)} and "
                f"output {dims(self.shape)} must have as many elements")
        return dims(self.shape), np.dtype(x.dtype)

    def byte_map(self) -> bytes:
        return bytes(range(256))

    def compute(self, call: Call) -> np.ndarray:
        shape = tuple(call.output.shape)
        return call.through(lambda x: x.reshape(shape))


@dataclass(frozen=True)
class Transpose(Move):
    """Axis i of the output is axis `order[i]` of the input."""

    rearranges = True
    reorders = True

    order: tuple[int, ...]

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        shape = dims(inputs[0].shape)
        require(sorted(self.order) == list(range(len(shape))),
                f"order {tuple(self.order)} must name each axis of {shape} once")
        return tuple(shape[i] for i in self.order), np.dtype(inputs[0].dtype)

    def compute(self, call: Call) -> np.ndarray:
        order = self.order
        if not order:  # numpy's ascontiguousarray would add an axis
            return call.x
        swap = call.once("swap", lambda: swapper(call.x.shape, order, call.x.dtype, call.often))
        return call.through(swap or (lambda x: np.ascontiguousarray(x.transpose(order))))


@dataclass(frozen=True)
class Concat(Move):
    """Any number of inputs, along `axis`."""

    operands = (1, 1 << 16)  # far above any network's, so that a file cannot ask for more

    axis: int

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        first = dims(inputs[0].shape)
        axis = axis_of(self.axis, len(first))
        for tensor in inputs:
            shape = dims(tensor.shape)
            require(len(shape) == len(first) and (*shape[:axis], *shape[axis + 1:]) == (
                *first[:axis], *first[axis + 1:]),
                f"{tensor.name!r} of shape {shape} does not fit {first} along axis {axis}")
        total = sum(int(t.shape[axis]) for t in inputs)
        return (*first[:axis], total, *first[axis + 1:]), same_type(*inputs)

    def check(self, signature: Signature) -> None:
        for tensor in signature.inputs:
            same_quantization(tensor, signature.output)

    def permuted(self, order: tuple[int, ...]) -> "Concat":
        return Concat(order[self.axis % len(order)])

    def compute(self, call: Call) -> np.ndarray:
        axis = self.axis
        return call.through_all(lambda *arrays: np.concatenate(arrays, axis=axis))


@dataclass(frozen=True)
class Slice(Move):
    """numpy's x[begin:end:step] for each axis; begin and end are in 0..extent. For steps below 0, end may be -1: up to
    the first element."""

    rearranges = True

    begin: tuple[int, ...]
    end: tuple[int, ...]
    step: tuple[int, ...]

    @property
    def index(self) -> tuple[slice, ...]:
        """The same as an index of numpy."""
        return tuple(slice(begin, None if end < 0 else end, step)
                     for begin, end, step in zip(self.begin, self.end, self.step, strict=True))

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x = inputs[0]
        rank = len(inputs[0].shape)
        require(len(self.begin) == len(self.end) == len(self.step) == rank, f"begin, end and step must have {rank} "
                f"values, not {len(self.begin)}, {len(self.end)}, {len(self.step)}")
        for extent, begin, end, step in zip(x.shape, self.begin, self.end, self.step, strict=True):
            require(step != 0 and 0 <= begin <= extent and (0 <= end <= extent or (end == -1 and step < 0)),
                    f"begin {begin}, end {end} and step {step} must lie in an axis of {extent}")
        shape = tuple(len(range(int(n))[part]) for n, part in zip(x.shape, self.index, strict=True))
        return shape, np.dtype(x.dtype)

    def permuted(self, order: tuple[int, ...]) -> "Slice":
        places = np.argsort(order)
        return Slice(*(tuple(values[axis] for axis in places) for values in (self.begin, self.end, self.step)))

    def compute(self, call: Call) -> np.ndarray:
        index = self.index
        return call.through(lambda x: np.ascontiguousarray(x[index])) if index else call.x


@dataclass(frozen=True)
class Pad(Move):
    """(before, after) per axis; filled with `value` (of the tensor's type), or by `mode` "reflect",
    "symmetric" or "edge" as numpy.pad."""

    widths: tuple[Pair, ...]
    value: float = 0
    mode: str = "constant"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        shape = dims(inputs[0].shape)
        require(len(self.widths) == len(shape) and all(min(pair) >= 0 for pair in self.widths),
                f"widths must be {len(shape)} pairs of at least 0, not {self.widths}")
        require(self.mode in ("constant", "reflect", "symmetric", "edge"),
                f"mode must be constant, reflect, symmetric or edge, not {self.mode!r}")
        if self.mode in ("reflect", "symmetric"):
            # "symmetric" repeats the element at the border, "reflect" does not.
            most = int(self.mode == "symmetric")
            require(all(max(pair) < n + most for pair, n in zip(self.widths, shape, strict=True)),
                    f"widths {self.widths} reflect more than {shape} has")
        made = tuple(n + int(sum(pair)) for n, pair in zip(shape, self.widths, strict=True))
        return made, np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        super().check(signature)
        dtype = np.dtype(signature.output.dtype)
        if self.mode == "constant" and dtype.kind in "iu":
            info = np.iinfo(dtype)
            require(self.value == int(self.value) and info.min <= self.value <= info.max,
                    f"the value must be a {dtype}, not {self.value}")

    def permuted(self, order: tuple[int, ...]) -> "Pad":
        return replace(self, widths=tuple(self.widths[axis] for axis in np.argsort(order)))

    def compute(self, call: Call) -> np.ndarray:
        if self.mode == "constant":  # as numpy.pad, in a third of its time for small arrays
            shape = tuple(call.output.shape)
            value = np.asarray(self.value).astype(call.x.dtype)
            inside = self._inside(call.x.shape)

            def kernel(x: np.ndarray) -> np.ndarray:
                result = np.full(shape, value)
                result[inside] = x
                return result
            return call.through(kernel)
        made = np.pad(call.x, self.widths, self.mode)  # type: ignore[call-overload]  # one of numpy's modes: `infer`
        if 0 < made.size <= _FEW and call.often:  # numpy prepares each axis anew, which takes 40 us
            places = np.pad(np.arange(call.x.size).reshape(call.x.shape), self.widths,
                            self.mode)  # type: ignore[call-overload]
            return call.through(lambda x: x.take(places))
        return made

    def _inside(self, shape: Shape) -> tuple[slice, ...]:
        return tuple(slice(before, before + n) for (before, _), n in zip(self.widths, shape, strict=True))


@dataclass(frozen=True)
class Gather(Move):
    """inputs: x, indices int32 or int64 (constant or computed); takes along `axis`, as numpy.take.

    Indices below 0 count from the end, as in ONNX and PyTorch; with `Arithmetic.FIXED` they are errors, as in LiteRT.
    """

    rearranges = True

    operands = (2, 2)

    axis: int

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, indices = inputs
        of_type(indices, np.int32, np.int64)
        shape = dims(x.shape)
        axis = axis_of(self.axis, len(shape))
        return (*shape[:axis], *dims(indices.shape), *shape[axis + 1:]), np.dtype(x.dtype)

    def check(self, signature: Signature) -> None:
        super().check(signature)
        if signature.inputs[1].data is not None:
            self._in_range(signature, signature.inputs[1].data)

    def permuted(self, order: tuple[int, ...]) -> "Gather":
        return Gather(order[self.axis % len(order)])

    def dropped_axes(self, inputs: OperandList[Tensor]) -> set[int]:
        """An index without dimensions drops the axis."""
        x, indices = inputs
        return set() if indices.shape else {self.axis % len(x.shape)}

    def compute(self, call: Call) -> np.ndarray:
        """Raises `GraphError` for indices outside of the axis, which may be computed from the network's inputs."""
        if call.inputs[1].data is None:
            self._in_range(call, call.values[1])
        else:
            self._in_range(call, call.values[1])
            places = call.values[1]
            return call.through(lambda x: x.take(places, axis=self.axis))
        return call.x.take(call.values[1], axis=self.axis)

    def _in_range(self, signature: Signature, indices: np.ndarray) -> None:
        x = signature.inputs[0]
        extent = int(signature.inputs[0].shape[self.axis])
        lowest = 0 if signature.fixed else -extent
        wrong = indices[(indices < lowest) | (indices >= extent)]
        if wrong.size:
            raise GraphError(f"index {int(wrong.flat[0])} of {signature.inputs[1].name!r} must lie in "
                             f"{lowest}..{extent - 1}, axis {self.axis} of {x.name!r} having {extent} elements")
