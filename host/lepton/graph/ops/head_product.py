"""Products of parts of two tensors: what the products of attention's heads come to without their transposes."""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..core import FULL, Call, Op, OperandList, Pair, Shape, Signature, Tensor
from ..numerics.requantize import from_sums, sum_scales
from .conditions import clamp_range, dims, int8, require
from .weights import product

__all__ = ["HeadProduct"]


@dataclass(frozen=True)
class HeadProduct(Op):
    """inputs: a, b int8, both computed: for every head out[m][n] = sum over d of a[m][d] * b[n][d].

    A tensor (..., C) is taken as pixels of C channels. A head's part of `a` begins at (pixel, channel) `a[head]` and
    has `rows` pixels of `depth` channels; that of `b` has `columns` pixels of `depth` channels, that of the result, of
    shape `shape`, `rows` pixels of `columns` channels. Parts of the operands may overlap, those of the result make up
    all of it. The arithmetic is that of `MatMul`.
    """

    operands = (2, 2)

    rows: int
    columns: int
    depth: int
    a: tuple[Pair, ...]
    b: tuple[Pair, ...]
    out: tuple[Pair, ...]
    shape: Shape
    clamp: Pair = FULL

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        require(len(self.a) == len(self.b) == len(self.out) > 0, "there must be as many parts of both operands and of "
                f"the result, not {len(self.a)}, {len(self.b)} and {len(self.out)}")
        shapes = [dims(inputs[0].shape), dims(inputs[1].shape), dims(self.shape)]
        sizes = ((self.rows, self.depth), (self.columns, self.depth), (self.rows, self.columns))
        for shape, parts, (pixels, channels) in zip(shapes, (self.a, self.b, self.out), sizes, strict=True):
            limits = prod(shape[:-1]) - pixels, (shape[-1] if shape else 0) - channels
            inside = all(0 <= part[axis] <= limits[axis] for part in parts for axis in (0, 1))
            require(inside and min(pixels, channels) > 0,
                    f"parts of {pixels} pixels of {channels} channels at {list(parts)} must lie in shape {shape}")
        taken = np.zeros((prod(self.shape[:-1]), self.shape[-1]), np.int64)
        for pixel, channel in self.out:
            taken[pixel:pixel + self.rows, channel:channel + self.columns] += 1
        require(bool((taken == 1).all()), "the parts of the result must be all of it, each element once")
        return dims(self.shape), np.dtype(np.int8)

    def check(self, signature: Signature) -> None:
        int8(*signature.inputs, signature.output)
        clamp_range(self.clamp)

    def compute(self, call: Call) -> np.ndarray:
        left, right = call.inputs
        scales = sum_scales(call.arithmetic, left, right, call.output, in_double=False)
        a = _parts(call.values[0].astype(np.int16) - left.zero_point, self.a, self.rows, self.depth)
        b = _parts(call.values[1].astype(np.int16) - right.zero_point, self.b, self.columns, self.depth)
        made = from_sums(call.arithmetic, product(a, b.transpose(0, 2, 1)), scales, call.output.zero_point, self.clamp)
        result = np.empty((prod(self.shape[:-1]), self.shape[-1]), np.int8)
        for part, (pixel, channel) in zip(made, self.out, strict=True):
            result[pixel:pixel + self.rows, channel:channel + self.columns] = part
        return result.reshape(self.shape)

    def macs(self, signature: Signature) -> int:
        return len(self.out) * self.rows * self.columns * self.depth


def _parts(x: np.ndarray, parts: tuple[Pair, ...], pixels: int, channels: int) -> np.ndarray:
    """(heads, pixels, channels)."""
    flat = x.reshape(-1, x.shape[-1])
    return np.stack([flat[pixel:pixel + pixels, channel:channel + channels] for pixel, channel in parts])
