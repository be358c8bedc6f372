"""Products with weights that have a scale for each block of a column, as ONNX Runtime makes them of a matrix behind a
DequantizeLinear when the other operand is float32.

Source: onnxruntime/contrib_ops/cpu/quantization/matmul_nbits.cc and core/mlas/lib/sqnbitgemm.cpp.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import onnxruntime_kernels
from .conditions import constant, dims, of_type, require

__all__ = ["MatMulNBits"]

_INTEGER = 4  # the accuracy level from which on ONNX Runtime brings blocks of the activations to int8
_LARGEST = 127  # magnitude of such a value


@dataclass(frozen=True)
class MatMulNBits(Op):
    """inputs: x float32 (..., K), codes uint8 (N, blocks, bytes of a block), scales float32 (N * blocks,), zero points
    uint8 or none, none, and a bias float32 (N,) or none, all but x constant; output (..., N).

    A code of 4 bits is the lower or, behind it, the upper half of a byte. Without zero points they are half the range.
    With `accuracy_level` 4, blocks of x are rounded to int8 by their largest magnitude. For a network from ONNX the
    result is ONNX Runtime's own where that is installed.
    """

    operands = (3, 6)

    K: int  # these five have ONNX Runtime's names
    N: int
    bits: int
    block_size: int
    accuracy_level: int = 0

    @property
    def blocks(self) -> int:
        """Blocks of a column, the last of which may be filled up."""
        return -(-self.K // self.block_size)

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        shape = dims(inputs[0].shape)
        power_of_two = self.block_size & (self.block_size - 1) == 0
        require(self.bits in (4, 8) and self.block_size >= 16 and power_of_two and min(self.K, self.N) >= 1,
                "codes must have 4 or 8 bits in blocks of a power of two, 16 or more, not "
                f"{self.bits} bits in blocks of {self.block_size} for {self.K} inputs and {self.N} outputs")
        require(shape[-1:] == (self.K,), f"x must have {self.K} columns, not shape {shape}")
        for position, what, dtype, size in (
                (1, "codes", np.uint8, self.N * self.blocks * self.block_size * self.bits // 8),
                (2, "scales", np.float32, self.N * self.blocks),
                (3, "zero points", np.uint8, self.N * -(-self.blocks * self.bits // 8)),
                (5, "bias", np.float32, self.N)):
            tensor = inputs.get(position)
            require(tensor is not None or position > 2, f"{what} must be given")
            if tensor is not None:
                of_type(tensor, dtype)
                require(prod(dims(tensor.shape)) == size, f"{what} must have {size} elements, not shape "
                                                          f"{dims(tensor.shape)}")
        require(inputs.get(4) is None, "an order of the groups is not supported")
        return (*shape[:-1], self.N), np.dtype(np.float32)

    def check(self, signature: Signature) -> None:
        of_type(signature.inputs[0], np.float32)
        for tensor in signature.inputs.given[1:]:
            constant(tensor, "weights, scales, zero points and bias")

    def compute(self, call: Call) -> np.ndarray:
        own = onnxruntime_kernels.run(call, "MatMulNBits", (
            ("K", self.K), ("N", self.N), ("bits", self.bits), ("block_size", self.block_size),
            ("accuracy_level", self.accuracy_level)), domain="com.microsoft", loaded=range(1, len(call.inputs)))
        if own is not None:
            return own
        x = self._blocks_of(call.x)
        if self.accuracy_level >= _INTEGER:
            scale = np.abs(x).max(axis=-1, keepdims=True) / np.float32(_LARGEST)
            with np.errstate(all="ignore"):  # a block of zeros
                x = np.where(scale > 0, np.rint(x / scale), np.float32(0)) * scale
        made = np.tensordot(x.astype(np.float64), self._weights(call), axes=((-2, -1), (1, 2)))
        bias = call.values.get(5)
        return (made if bias is None else made + bias).astype(np.float32)

    def _blocks_of(self, x: np.ndarray) -> np.ndarray:
        """(..., blocks, block)."""
        missing = self.blocks * self.block_size - self.K
        filled = np.pad(x, [*[(0, 0)] * (x.ndim - 1), (0, missing)])
        return filled.reshape(*x.shape[:-1], self.blocks, self.block_size)

    def _weights(self, call: Call) -> np.ndarray:
        """float64 (N, blocks, block)."""
        codes = self._unpacked(call.values[1].reshape(self.N, self.blocks, -1))
        zero = call.values.get(3)
        zeros: np.ndarray | int = 1 << (self.bits - 1)
        if zero is not None:
            zeros = self._unpacked(zero.reshape(self.N, -1))[:, :self.blocks, None]
        return (codes - zeros) * call.values[2].reshape(self.N, self.blocks, 1).astype(np.float64)

    def _unpacked(self, codes: np.ndarray) -> np.ndarray:
        """The codes along the last axis, as int32."""
        if self.bits == 4:
            codes = np.stack((codes & 15, codes >> 4), axis=-1).reshape(*codes.shape[:-1], -1)
        return codes.astype(np.int32)

    def macs(self, signature: Signature) -> int:
        return prod(signature.output.shape) * self.K
