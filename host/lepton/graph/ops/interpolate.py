"""Tensors of any rank in another size, as ONNX's Resize interpolates them: cubic, antialiased, cropped, of volumes.

Source: onnxruntime/core/providers/cpu/tensor/upsample.cc. Images that are enlarged or made smaller by nearest pixels or
by plain bilinear interpolation are `Resize`.
"""

from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import onnxruntime_kernels
from .conditions import constant, dims, of_type, require

__all__ = ["Interpolate"]


@dataclass(frozen=True)
class Interpolate(Op):
    """inputs: x float32, and a float32 matrix (old extent, new extent) for each of the axes `along`, constants.

    Each matrix has the weights of an axis: x times all of them is the result, but for the last places, since ONNX
    Runtime adds in another order. Its own kernel is used where it is installed: ONNX's Resize of opset `opset` with
    `attributes` (name, value), `roi`, and either `scales` or `sizes`, for all axes. A matrix's column of NaN stands for
    a place outside, whose value is `outside`.
    """

    operands = (1, 9)

    shape: Shape  # of the result
    along: tuple[int, ...]
    opset: int
    attributes: tuple[tuple[str, float | int | str], ...]
    roi: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    outside: float = 0.0

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x = inputs[0]
        made = list(dims(x.shape))
        require(len(self.along) == len(inputs.given) - 1 and all(0 <= axis < len(made) for axis in self.along),
                f"there must be a matrix for each of the axes {self.along} of a tensor of {len(made)} dimensions")
        for axis, matrix in zip(self.along, inputs.given[1:], strict=True):
            wanted = made[axis], int(self.shape[axis])
            require(dims(matrix.shape) == wanted,
                    f"the matrix of axis {axis} must have the shape {wanted}, not {dims(matrix.shape)}")
            made[axis] = int(self.shape[axis])
        require(tuple(made) == tuple(map(int, self.shape)), f"{dims(x.shape)} becomes {tuple(made)}, not {self.shape}")
        return tuple(made), np.dtype(np.float32)

    def check(self, signature: Signature) -> None:
        for tensor in signature.inputs.given:
            of_type(tensor, np.float32)
        for tensor in signature.inputs.given[1:]:
            constant(tensor, "the matrix")

    def compute(self, call: Call) -> np.ndarray:
        own = self._own(call)
        return self._by_matrices(call.x, call.values.given[1:]) if own is None else own

    def _own(self, call: Call) -> np.ndarray | None:
        """ONNX Runtime's result."""
        scales = np.array(self.scales, np.float32)
        operands = [scales] if self.opset < _WITH_ROI else [np.array(self.roi, np.float32), scales]
        operands += [np.array(self.sizes, np.int64)] if self.sizes else []
        return onnxruntime_kernels.run(call, "Resize", self.attributes, [call.x], opset=self.opset, constants=operands)

    def _by_matrices(self, x: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
        outside = np.zeros(self.shape, np.bool_)
        for axis, matrix in zip(self.along, matrices, strict=True):
            beyond = np.isnan(matrix).any(axis=0)
            outside |= beyond.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
            x = np.moveaxis(np.moveaxis(x, axis, -1) @ np.where(beyond, np.float32(0), matrix), -1, axis)
        return np.where(outside, np.float32(self.outside), x)


_WITH_ROI = 11  # the opset since which Resize has a region of interest and takes sizes
