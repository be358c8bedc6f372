"""Bilinear interpolation of int8 by exact weights."""

from dataclasses import dataclass

import numpy as np

from ..core import FULL, Arithmetic, Call, Op, OperandList, Pair, Shape, Signature, Tensor
from ..numerics.requantize import inverse_scale
from .conditions import clamp_range, image, int8, require, same_type
from .interpolation import Taps, exact_taps, taps_matrix

__all__ = ["Bilinear"]


@dataclass(frozen=True)
class Bilinear(Op):
    """input: x int8 (1, H, W, C) to int8 of `size` (height, width), each with its own scale and zero point.

    PyTorch interpolates real numbers in float32 between a dequantize and a quantize. Here a result is an exact sum of
    up to four products with whole numbers, multiplied by one float32 scale and rounded half to even, as that of a
    convolution: it differs by 1 where PyTorch's float32 sum and the exact one are on different sides of a half.
    `corners`: the corners' pixels are aligned ("align_corners"), otherwise pixels are squares ("half_pixel").
    """

    one_image = True

    size: Pair
    corners: bool = False
    clamp: Pair = FULL

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        batch, _, _, channels = image(inputs[0])
        require(min(self.size) >= 1, f"the size must be at least (1, 1), not {self.size}")
        return (batch, int(self.size[0]), int(self.size[1]), channels), np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        x = signature.inputs[0]
        require(same_type(x, signature.output) == np.int8, f"{x.name!r} must be int8")
        int8(x, signature.output)
        clamp_range(self.clamp)
        require(signature.arithmetic is Arithmetic.TORCH, "exact weights belong to PyTorch's arithmetic")

    def taps(self, axis: int, extent: int) -> list[Taps]:
        """The input positions that each output position along an axis, 0 or 1, is made of."""
        return exact_taps(extent, self.size[axis], self.corners)

    def compute(self, call: Call) -> np.ndarray:
        x = call.x[0].astype(np.int64) - call.inputs[0].zero_point
        rows, columns = (self.taps(axis, x.shape[axis]) for axis in (0, 1))
        total = np.einsum("oh,hwc->owc", taps_matrix(rows, x.shape[0]), x)
        total = np.einsum("pw,owc->opc", taps_matrix(columns, x.shape[1]), total)
        sums = np.multiply.outer([t.total for t in rows], [t.total for t in columns])
        scales = interpolation_scale(call.inputs[0], call.output, sums)[..., None]
        zero = call.output.zero_point
        return np.clip(np.rint(total.astype(np.float32) * scales) + zero, *self.clamp).astype(np.int8)[None]


def interpolation_scale(source: Tensor, output: Tensor, total: np.ndarray | int) -> np.ndarray:
    """float32 factors of sums whose weights add up to `total`: the exact product with PyTorch's 1 / output scale,
    rounded once."""
    return np.asarray(float(source.scale) * float(inverse_scale(output.scale)) / np.asarray(total)).astype(np.float32)
