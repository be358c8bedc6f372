"""Vectors scaled to length 1, and values divided by those of channels around them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled, onnxruntime_kernels
from ..numerics.fixedpoint import multiply_by_quantized_multiplier, rounding_divide, saturating_doubling_high_multiply
from ..numerics.functions import inverse_square_roots
from .conditions import axis_of, dims, int8, of_type, require, same_type

__all__ = ["L2Normalize", "LocalResponse"]


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


@dataclass(frozen=True)
class LocalResponse(Op):
    """input: x float32, divided by (bias + alpha * s) ** beta, where s is the sum of the squares of `size` channels.

    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", section 3.3.
    Channels along `axis`; (size - 1) / 2 on both sides, an odd number in all, and those that are outside count as 0.
    `mean`: alpha is divided by `size`, as in ONNX (LRN-13) and PyTorch, not in TFLite.
    """

    size: int
    alpha: float
    beta: float
    bias: float
    axis: int = -1
    mean: bool = False

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        axis_of(self.axis, len(inputs[0].shape))
        require(self.size >= 1 and self.size % 2 == 1, f"size must be odd and at least 1, not {self.size}")
        return dims(inputs[0].shape), np.dtype(np.float32)

    def check(self, signature: Signature) -> None:
        of_type(signature.inputs[0], np.float32)

    def compute(self, call: Call) -> np.ndarray:
        if self.mean and self.axis == 1:
            attributes = (("size", self.size), ("alpha", self.alpha), ("beta", self.beta), ("bias", self.bias))
            own = onnxruntime_kernels.run(call, "LRN", attributes)
            if own is not None:
                return own
        return call.through(self._reals)

    def _reals(self, x: np.ndarray) -> np.ndarray:
        """Squares are added from the first channel to the last, in float32; the power is rounded once (as the C
        library's powf is)."""
        channels = x.shape[self.axis]
        squares = np.moveaxis(x * x, self.axis, -1)
        total = np.zeros(squares.shape, np.float32)
        reach = self.size // 2
        for step in range(-min(reach, channels - 1), min(reach, channels - 1) + 1):
            total[..., max(-step, 0):channels - max(step, 0)] += squares[..., max(step, 0):channels + min(step, 0)]
        alpha = np.float32(self.alpha / self.size if self.mean else self.alpha)
        base = np.float32(self.bias) + alpha * total
        with np.errstate(all="ignore"):  # infinities and NaN are results here, as in the framework
            factor = np.power(base.astype(np.float64), -float(np.float32(self.beta))).astype(np.float32)
        return x * np.moveaxis(factor, -1, self.axis)


def _by_rows(loop: compiled.Loop, length: int, dtype: type[np.generic], *arguments: object
             ) -> Callable[[np.ndarray], np.ndarray]:
    def kernel(x: np.ndarray) -> np.ndarray:
        result = np.empty(x.shape, dtype)
        loop(x.reshape(-1, length), *arguments, result.reshape(-1, length))
        return result
    return kernel
