"""Vectors scaled to length 1."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from ..numerics.fixedpoint import multiply_by_quantized_multiplier, rounding_divide, saturating_doubling_high_multiply
from ..numerics.functions import inverse_square_roots
from .conditions import axis_of, dims, int8, of_type, require, same_type

__all__ = ["L2Normalize"]


@dataclass(frozen=True)
class L2Normalize(Op):
    """input: x int8 or float32; x divided by the root of the sum of its squares along the last axis.

    TFLite's L2_NORMALIZATION; an int8 output has scale 1/128 and zero point 0. `unsigned`: the framework has uint8,
    whose kernel rounds in another order.
    """

    unsigned: bool = False

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        axis_of(-1, len(inputs[0].shape))
        return dims(inputs[0].shape), np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        x = signature.inputs[0]
        output = signature.output
        of_type(x, np.int8, np.float32)
        if same_type(x, output) == np.int8:
            int8(x, output)
            require(float(output.scale) == 1 / 128 and output.zero_point == 0, "the output must have scale 1/128 and "
                    f"zero point 0, not {output.scale!s} and {output.zero_point}")

    def compute(self, call: Call) -> np.ndarray:
        if not call.quantized:
            loop = compiled.loop("unit_length_float", call.x.size, call.often) if call.x.size else None
            return self._reals(call.x) if loop is None else call.through(_by_rows(loop, call.x.shape[-1], np.float32))
        loop = compiled.loop("unit_length", call.x.size, call.often) if call.x.size else None
        if loop is not None:
            return call.through(_by_rows(loop, call.x.shape[-1], np.int8, call.inputs[0].zero_point, self.unsigned))
        x = call.x.astype(np.int64) - call.inputs[0].zero_point
        multiplier, shift = (v[..., None] for v in inverse_square_roots((x * x).sum(axis=-1)))
        if self.unsigned:
            result = rounding_divide(saturating_doubling_high_multiply(x << 7, multiplier), -shift)
        else:
            result = multiply_by_quantized_multiplier(x, multiplier, shift + 7)
        return np.clip(result, -128, 127).astype(np.int8)

    @staticmethod
    def _reals(x: np.ndarray) -> np.ndarray:
        """In float32, the squares added one after the other."""
        squares = np.add.accumulate(x * x, axis=-1, dtype=np.float32)[..., -1:]
        # 1e-6 keeps the result finite where all elements are 0 (epsilon in kernels/l2norm.cc).
        return x / np.maximum(np.sqrt(squares), np.float32(1e-6))


def _by_rows(loop: compiled.Loop, length: int, dtype: type[np.generic], *arguments: object
             ) -> Callable[[np.ndarray], np.ndarray]:
    def kernel(x: np.ndarray) -> np.ndarray:
        result = np.empty(x.shape, dtype)
        loop(x.reshape(-1, length), *arguments, result.reshape(-1, length))
        return result
    return kernel
