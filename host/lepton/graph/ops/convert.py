"""Conversions between number formats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from ..numerics.requantize import inverse_scale, real
from .conditions import EIGHT_BITS, dims, of_type, quantized, require

__all__ = ["Dequantize", "Quantize", "Recenter"]

_BLOCK = 1 << 15  # floats at a time: 128 KiB, so that intermediate results stay in the second-level cache
_TOP_BIT = np.uint8(0x80)
_SIGN = np.uint32(1 << 31)  # the sign bit of a float32
# Added away from zero before the fraction is cut off. 0.5 itself would take the float32 below 0.5 up to 1.
_BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0)).view(np.uint32)


def _along(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Scales or zero points so that they broadcast along the tensor's axis."""
    axis = tensor.parameters.axis
    if values.size == 1 or axis is None:
        return values.reshape(())
    shape = [1] * len(tensor.shape)
    shape[axis] = -1
    return values.reshape(shape)


@dataclass(frozen=True)
class Quantize(Op):
    """float32 to int8, by the output's scale and zero point: divide, round half (FIXED: away from zero, others: to
    even), add, saturate. TORCH multiplies by 1 / scale. NaN becomes the lowest value."""

    elementwise = True
    quantizes = True

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        return dims(inputs[0].shape), np.dtype(np.int8)

    def check(self, signature: Signature) -> None:
        of_type(signature.inputs[0], np.float32)
        quantized(signature.output)

    def compute(self, call: Call) -> np.ndarray:
        """FIXED is TFLite's AffineQuantize."""
        loop = call.once("loop", lambda: self._loop(call))
        if loop is not None:
            return call.through(_each(loop, np.int8))
        output = call.output
        q = output.parameters
        function = np.multiply if call.torch else np.divide
        scale = _along(np.asarray(inverse_scale(q.scale)) if call.torch else q.scale, output)
        zero = _along(q.zero_point.astype(np.float32), output)
        low = np.float32(-128) - zero
        high = np.float32(127) - zero
        if scale.ndim or zero.ndim:
            return _quantized(call.x, function, scale, zero, (low, high), call.fixed).astype(np.int8)
        x = np.ascontiguousarray(call.x).reshape(-1)
        result = np.empty(x.size, np.int8)
        limits = np.full(min(x.size, _BLOCK), low), np.full(min(x.size, _BLOCK), high)
        for start in range(0, x.size, _BLOCK):
            some = x[start:start + _BLOCK]
            result[start:start + _BLOCK] = _quantized(some, function, scale, zero, [v[:some.size] for v in limits],
                                                      call.fixed)
        return result.reshape(call.x.shape)

    @staticmethod
    def _loop(call: Call) -> Callable[[np.ndarray, np.ndarray], None] | None:
        """Of one scale and zero point."""
        q = call.output.quantization
        loop = compiled.loop("quantize", call.x.size, call.often)
        if loop is None or q is None or q.scale.size * q.zero_point.size > 1:
            return None
        scale = float(inverse_scale(call.output.scale) if call.torch else call.output.scale)
        zero = call.output.zero_point
        arguments = scale, zero, -128 - zero, 127 - zero
        divide = not call.torch
        fixed = call.fixed
        return lambda x, result: loop(x, *arguments, divide, fixed, result)


def _each(loop: Callable[[np.ndarray, np.ndarray], None], dtype: type[np.generic]
          ) -> Callable[[np.ndarray], np.ndarray]:
    def kernel(x: np.ndarray) -> np.ndarray:
        result = np.empty(x.shape, dtype)
        loop(x.reshape(-1), result.reshape(-1))
        return result
    return kernel


def _quantized(x: np.ndarray, function: np.ufunc, scale: np.ndarray, zero: np.ndarray,
               limits: Sequence[np.ndarray], fixed: bool) -> np.ndarray:
    """Whole numbers in -128..127 as float32.

    They are saturated before they are rounded; the result is the same, since the limits are whole numbers. `limits`
    are arrays of x's shape: numpy is several times faster with them than with single numbers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        y = function(x, scale)
    np.fmax(y, limits[0], out=y)  # fmax, unlike maximum, takes the limit where the value is NaN
    np.minimum(y, limits[1], out=y)
    if fixed:
        half = y.view(np.uint32) & _SIGN
        half |= _BELOW_HALF
        y += half.view(np.float32)
        np.trunc(y, out=y)  # half away from zero, exact for magnitudes below 2**22
    else:
        np.rint(y, out=y)
    y += zero
    return y


@dataclass(frozen=True)
class Dequantize(Op):
    """int8, uint8 or int32 to float32: scale * (q - zero_point)."""

    elementwise = True
    dequantizes = True

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        return dims(inputs[0].shape), np.dtype(np.float32)

    def check(self, signature: Signature) -> None:
        of_type(signature.inputs[0], np.int8, np.uint8, np.int32)
        quantized(signature.inputs[0])

    def compute(self, call: Call) -> np.ndarray:
        """FIXED in double, FLOAT in float32; they differ for large int32 only."""
        loop = call.once("loop", lambda: self._loop(call))
        if loop is not None:
            return call.through(_each(loop, np.float32))
        source = call.inputs[0]
        q = source.parameters
        factor = _along(q.scale, source)
        if call.x.dtype.itemsize == 1 and q.scale.size == q.zero_point.size == 1:
            return real(call.x, source)
        if call.x.dtype.itemsize == 1:  # the difference has 9 bits: its product is rounded once either way
            result = call.x.astype(np.float32)
            result -= _along(q.zero_point.astype(np.float32), source)
            result *= factor
            return result
        centred = call.x.astype(np.int64) - _along(q.zero_point.astype(np.int64), source)
        if call.fixed:
            return (factor.astype(np.float64) * centred).astype(np.float32)
        return (factor * centred.astype(np.float32)).astype(np.float32)

    @staticmethod
    def _loop(call: Call) -> Callable[[np.ndarray, np.ndarray], None] | None:
        """Of int8 and one scale and zero point."""
        source = call.inputs[0]
        q = None if source is None else source.quantization
        loop = compiled.loop("dequantize", call.x.size, call.often) if call.x.dtype == np.int8 else None
        if loop is None or q is None or source is None or q.scale.size * q.zero_point.size > 1:
            return None
        scale = float(source.scale)
        zero = source.zero_point
        return lambda x, result: loop(x, scale, zero, result)


@dataclass(frozen=True)
class Recenter(Op):
    """uint8 to int8 or back: the same reals, q and zero point moved by 128."""

    elementwise = True

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        of_type(inputs[0], *EIGHT_BITS)
        return dims(inputs[0].shape), np.dtype(np.uint8 if np.dtype(inputs[0].dtype) == np.int8 else np.int8)

    def check(self, signature: Signature) -> None:
        x = signature.inputs[0]
        y = signature.output
        if x.quantization is not None and y.quantization is not None:
            up = 128 if np.dtype(x.dtype) == np.int8 else -128
            require(np.array_equal(x.quantization.scale, y.quantization.scale)
                    and np.array_equal(x.quantization.zero_point + up, y.quantization.zero_point),
                    f"{x.name!r} and {y.name!r} must have the same scale, and zero points 128 apart")

    def byte_map(self) -> bytes:
        return bytes(range(128, 256)) + bytes(range(128))

    def compute(self, call: Call) -> np.ndarray:
        """Flips the top bit, which adds or subtracts 128."""
        dtype = np.dtype(call.output.dtype)
        return call.through(lambda x: (x.view(np.uint8) ^ _TOP_BIT).view(dtype))
