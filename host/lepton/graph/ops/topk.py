"""The places of the largest or smallest elements along one axis, on the host."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from .conditions import axis_of, dims, require

__all__ = ["TopK"]

_FEW = 32  # of the largest elements: sorting all of a row is as fast for more


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
