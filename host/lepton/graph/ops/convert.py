"""Between number formats."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, Shape, Signature, Tensor
from ..numerics.requantize import inverse_scale
from ..numerics.rounding import half_away
from .conditions import EIGHT_BITS, dims, of_type, quantized, require

__all__ = ["Dequantize", "Quantize", "Recenter"]


def _along(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Scales or zero points so that they broadcast along the tensor's axis."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * len(tensor.shape)
    shape[tensor.quantization.axis] = -1
    return values.reshape(shape)


@dataclass(frozen=True)
class Quantize(Op):
    """float32 to int8, by the output's scale and zero point: divide, round half (FIXED: away from zero, others: to
    even), add, saturate. TORCH multiplies by 1 / scale. NaN becomes the lowest value."""

    elementwise = True

    def infer(self, inputs: Sequence[Tensor | None]) -> tuple[Shape, np.dtype]:
        return dims(inputs[0].shape), np.dtype(np.int8)

    def check(self, signature: Signature) -> None:
        of_type(signature.inputs[0], np.float32)
        quantized(signature.output)

    def compute(self, call: Call) -> np.ndarray:
        """FIXED is TFLite's AffineQuantize."""
        output, q = call.output, call.output.quantization
        with np.errstate(over="ignore"):
            quotient = call.x * _along(inverse_scale(q.scale), output) if call.torch else (
                call.x / _along(q.scale, output))
        whole = half_away(quotient) if call.fixed else np.rint(quotient)
        whole = np.nan_to_num(whole, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        return np.clip(whole + _along(q.zero_point.astype(np.float32), output), -128, 127).astype(np.int8)


@dataclass(frozen=True)
class Dequantize(Op):
    """int8, uint8 or int32 to float32: scale * (q - zero_point)."""

    elementwise = True

    def infer(self, inputs: Sequence[Tensor | None]) -> tuple[Shape, np.dtype]:
        return dims(inputs[0].shape), np.dtype(np.float32)

    def check(self, signature: Signature) -> None:
        of_type(signature.inputs[0], np.int8, np.uint8, np.int32)
        quantized(signature.inputs[0])

    def compute(self, call: Call) -> np.ndarray:
        """FIXED in double, FLOAT in float32; they differ for large int32 only."""
        source, q = call.inputs[0], call.inputs[0].quantization
        factor = _along(q.scale, source)
        centred = call.x.astype(np.int64) - _along(q.zero_point.astype(np.int64), source)
        if call.fixed:
            return (factor.astype(np.float64) * centred).astype(np.float32)
        return (factor * centred.astype(np.float32)).astype(np.float32)


@dataclass(frozen=True)
class Recenter(Op):
    """uint8 to int8 or back: the same reals, q and zero point moved by 128."""

    elementwise = True

    def infer(self, inputs: Sequence[Tensor | None]) -> tuple[Shape, np.dtype]:
        of_type(inputs[0], *EIGHT_BITS)
        return dims(inputs[0].shape), np.dtype(np.uint8 if np.dtype(inputs[0].dtype) == np.int8 else np.int8)

    def check(self, signature: Signature) -> None:
        x, y = signature.inputs[0], signature.output
        if x.quantization is not None and y.quantization is not None:
            up = 128 if np.dtype(x.dtype) == np.int8 else -128
            require(np.array_equal(x.quantization.scale, y.quantization.scale)
                    and np.array_equal(x.quantization.zero_point + up, y.quantization.zero_point),
                    f"{x.name!r} and {y.name!r} must have the same scale, and zero points 128 apart")

    def compute(self, call: Call) -> np.ndarray:
        """Flips the top bit."""
        return (call.x.view(np.uint8) ^ np.uint8(0x80)).view(call.output.dtype)
