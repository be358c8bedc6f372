"""Quotients, remainders, powers and squared differences, element by element; shapes broadcast as in numpy."""

from dataclasses import dataclass

import numpy as np

from ..core import FULL, Call, GraphError, Op, Pair, Signature
from ..numerics.fixedpoint import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide,
    saturating_doubling_high_multiply,
)
from ..numerics.functions import quotient
from ..numerics.quotients import by_zero, floor_mod, whole
from .conditions import clamp_range, int8, require, same_type
from .elementwise import Binary, centred

__all__ = ["Div", "FloorDiv", "FloorMod", "Power", "SquaredDifference"]

# Bits by which operands of a squared difference are shifted before they are scaled, so that its square, at most
# 255**2 * 2**14, fits in int32 (tensorflow/lite/kernels/squared_difference.cc).
_LEFT_SHIFT = 7


def _quantized_fixed(op: Op, signature: Signature) -> np.dtype:
    """The operands' type. int8 operands have scales and belong to a TFLite network."""
    dtype = same_type(*signature.inputs, signature.output)
    if dtype == np.int8:
        require(signature.fixed, f"{type(op).__name__} of int8 is not supported outside of TFLite networks; "
                                 "dequantize the operands")
        int8(*signature.inputs, signature.output)
        clamp_range(op.clamp)
    return dtype


@dataclass(frozen=True)
class Div(Binary):
    """a / b of float32, of int32 towards zero, or of int8 requantized (TFLite DIV)."""

    tabulates = (np.float32,)  # int8 may be divided by 0

    clamp: Pair = FULL

    def looked_up(self, signature: Signature) -> bool:
        return False  # a table has a row for the divisor 0

    def check(self, signature: Signature) -> None:
        dtype = _quantized_fixed(self, signature)
        require(dtype in (np.float32, np.int32, np.int64, np.int8), f"{dtype} cannot be divided")

    def compute(self, call: Call) -> np.ndarray:
        """Raises `GraphError` where an integer is divided by 0."""
        a, b = call.values
        if a.dtype == np.float32:
            return call.through_all(_quotient)
        if not call.quantized:
            kernel = whole(call, floor=False, rest=False)
            if kernel is not None:
                return call.through_all(kernel)
            _nonzero(call, b)
            return (a - np.fmod(a, b)) // b
        # reference_ops::Div (kernels/internal/reference/div.h): a reciprocal and one multiplier.
        divisor = centred(call, 1)
        output = call.output
        _nonzero(call, divisor)
        factor = call.inputs[0].scale / (call.inputs[1].scale * output.scale)
        a, b = np.broadcast_arrays(centred(call, 0), divisor)
        result = quotient(a, b, *quantize_multiplier(float(factor))) + output.zero_point
        return np.clip(result, *self.limits(output.dtype)).astype(output.dtype)


def _nonzero(call: Call, divisor: np.ndarray) -> None:
    if not np.all(divisor):
        raise by_zero(call.inputs[1].name)


class _Whole(Binary):
    """Base of the operators on whole quotients, of int32, int64 or float32."""

    def check(self, signature: Signature) -> None:
        dtype = same_type(*signature.inputs, signature.output)
        require(dtype in (np.float32, np.int32, np.int64),
                f"{type(self).__name__} takes float32, int32 or int64, not {dtype}")


@dataclass(frozen=True)
class FloorDiv(_Whole):
    """a / b rounded down."""

    def compute(self, call: Call) -> np.ndarray:
        a, b = call.values
        if a.dtype != np.float32:
            kernel = whole(call, floor=True, rest=False)
            if kernel is not None:
                return call.through_all(kernel)
            _nonzero(call, b)
            return a // b
        with np.errstate(all="ignore"):
            return np.floor(a / b)


@dataclass(frozen=True)
class FloorMod(_Whole):
    """a - b * floor(a / b), with the sign of b."""

    def compute(self, call: Call) -> np.ndarray:
        a, b = call.values
        kernel = floor_mod(call) if a.dtype == np.float32 else whole(call, floor=True, rest=True)
        if kernel is not None:
            return call.through_all(kernel)
        if a.dtype != np.float32:
            _nonzero(call, b)
            return a % b
        # floor_mod.cc: the remainder of C, moved by b where the signs differ.
        with np.errstate(all="ignore"):
            rest = np.fmod(a, b)
            return np.where((rest != 0) & ((b < 0) != (rest < 0)), rest + b, rest)


@dataclass(frozen=True)
class Power(_Whole):
    """a to the power of b."""

    def compute(self, call: Call) -> np.ndarray:
        """Raises `GraphError` for whole numbers to a power below 0."""
        a, b = call.values
        if a.dtype != np.float32 and np.any(b < 0):
            raise GraphError(f"{call.inputs[1].name!r} must be at least 0, as powers of integers")
        with np.errstate(all="ignore"):
            return np.power(a, b)


@dataclass(frozen=True)
class SquaredDifference(Binary):
    """(a - b) squared, of int8 requantized (TFLite SQUARED_DIFFERENCE) or of another type."""

    def check(self, signature: Signature) -> None:
        if _quantized_fixed(self, signature) == np.int8:
            self._factors(signature)

    @staticmethod
    def _factors(signature: Signature) -> list[tuple[int, int]]:
        """(multiplier, shift) of a, b and the result."""
        a, b, output = (float(t.scale) for t in (*signature.inputs, signature.output))
        twice = 2 * max(a, b)
        last = quantize_multiplier(twice * twice / (output * (1 << 2 * _LEFT_SHIFT)))
        require(last[1] <= 0, f"a squared difference whose output scale {output} is that much below its inputs' ({a}, "
                              f"{b}) cannot be computed, in TFLite either")
        return [quantize_multiplier(a / twice), quantize_multiplier(b / twice), last]

    def compute(self, call: Call) -> np.ndarray:
        if not call.quantized:
            difference = call.values[0] - call.values[1]
            return difference * difference
        # The steps of SquaredDifference in that file; every product is rounded as there.
        first, second, last = self._factors(call)

        def scaled(index: int, multiplier: int, shift: int) -> np.ndarray:
            high = saturating_doubling_high_multiply(centred(call, index) << _LEFT_SHIFT, multiplier)
            return rounding_divide(high, -shift)

        difference = scaled(0, *first) - scaled(1, *second)
        result = multiply_by_quantized_multiplier(difference * difference, *last) + call.output.zero_point
        return np.clip(result, -128, 127).astype(np.int8)


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # infinities and NaN are results here, as in the framework
        return np.divide(a, b)
