"""Softmax: TFLite's integer one, ONNX Runtime's QLinearSoftmax, and in float32.

Sources: tensorflow/lite/kernels/internal/reference/softmax.h;
onnxruntime/contrib_ops/cpu/quantization/qlinear_softmax.cc.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..core import Arithmetic, Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled, onnxruntime_kernels
from ..numerics.fixedpoint import (
    exp_on_negative_values,
    one_over_one_plus_x,
    quantize_multiplier,
    rounding_divide,
)
from ..numerics.fixedpoint import saturating_doubling_high_multiply as high_multiply
from ..numerics.functions import bit_length
from ..operands import OfOne
from .conditions import axis_of, dims, int8, of_type, require, same_type

__all__ = ["Softmax", "fixed_exponentials", "quotient_factor"]

INTEGER_BITS = 5  # kScaledDiffIntegerBits: integer bits of the scaled difference to the maximum
ACCUMULATION_BITS = 12  # kAccumulationIntegerBits: integer bits of the sum of exponentials
_TABLES = 256  # tables of exponentials that are kept, of 4 KiB each; a network has one for each input scale
_BLOCK = 1 << 14  # values at a time: 128 KiB of int64 stay in the second-level cache
_LONGEST = 1 << 13  # a row with fewer elements, each of which adds at most 2**19, has a sum of 32 bits


@dataclass(frozen=True)
class Softmax(Op):
    """input: x; over `axis` (TFLite SOFTMAX and ONNX QLinearSoftmax for int8, float32 otherwise).

    With `Arithmetic.FIXED` an int8 output has scale 1/256 and zero point -128.
    """

    beta: float = 1.0
    axis: int = -1

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        axis_of(self.axis, len(inputs[0].shape))
        return dims(inputs[0].shape), np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        x = signature.inputs[0]
        output = signature.output
        of_type(x, np.int8, np.float32)
        require(bool(np.isfinite(self.beta) and self.beta > 0), f"beta must be positive and finite, not {self.beta}")
        if same_type(x, output) != np.int8:
            return
        int8(x, output)
        if signature.fixed:
            require(abs(float(output.scale) - 1 / 256) <= 0.001 / 256 and output.zero_point == -128,  # as TFLite does
                    f"the output must have scale 1/256 and zero point -128, not {output.scale!s} and "
                    f"{output.zero_point}")
            factor = self.beta * float(x.scale)
            # PreprocessSoftmaxScaling makes a multiplier above 1 of beta * scale * 2**26 (31 - INTEGER_BITS bits).
            require(factor * 2**26 >= 1, f"beta times the input's scale must be at least 2**-26, not {factor}")

    def _loop(self, call: Call) -> Callable[[np.ndarray], np.ndarray] | None:
        """Of int8 along the last axis."""
        shape = call.x.shape
        last = (self.axis + 1) % len(shape) == 0
        source = call.inputs[0]
        output = call.output
        columns = shape[-1]
        if not call.quantized or not last or source is None or (call.fixed and columns >= _LONGEST):
            return None
        loop = compiled.loop("softmax_fixed" if call.fixed else "softmax_float", call.x.size, call.often)
        if loop is None:
            return None
        arguments: tuple[object, ...]
        if call.fixed:
            arguments = fixed_tables(*input_factor(float(source.scale), self.beta))
        else:
            arguments = *_float_table(call, columns), output.zero_point
        buffer = np.int64 if call.fixed else np.float32

        def kernel(x: np.ndarray) -> np.ndarray:
            result = np.empty(shape, np.int8)
            loop(x.reshape(-1, columns), *arguments, np.empty(columns, buffer), result.reshape(-1, columns))
            return result
        return kernel

    def layout_matters(self, signature: Signature) -> bool:
        """PyTorch's sums of floats depend on the order of the axes."""
        return signature.torch and signature.inputs[0].quantization is None

    def permuted(self, order: tuple[int, ...]) -> "Softmax":
        return replace(self, axis=order[self.axis % len(order)])

    def compute(self, call: Call) -> np.ndarray:
        kernel = call.once("loop", lambda: self._loop(call))
        if kernel is not None:
            return call.through(kernel)
        last = (self.axis + 1) % call.x.ndim == 0
        rows = call.x if last else np.moveaxis(call.x, self.axis, -1)
        if not call.quantized:
            own = onnxruntime_kernels.run(call, "Softmax", (("axis", self.axis),)) if self.beta == 1 else None
            if own is not None:
                return own
            kernel = _real_loops(call, self.beta) if last else None
            if kernel is not None:
                return call.through(kernel)
            result = _real(rows, self.beta)
        elif call.fixed:
            result = fixed_softmax(rows, float(call.inputs[0].scale), self.beta)
        else:
            result = _table_softmax(rows, call)
        return result if last else np.ascontiguousarray(np.moveaxis(result, -1, self.axis))


def _real(rows: np.ndarray, beta: float) -> np.ndarray:
    """reference/softmax.h: exponentials are added one after the other."""
    below = rows - np.maximum.reduce(rows, axis=-1, keepdims=True)
    below *= np.float32(beta)
    e = np.exp(below)
    e /= np.add.accumulate(e, axis=-1)[..., -1:]
    return e.astype(rows.dtype, copy=False)


def _real_loops(call: Call, beta: float) -> OfOne | None:
    """`_real` along the last axis, but for numpy's exponentials; None where numpy is to compute all of it."""
    less = compiled.loop("less_largest", call.x.size, call.often)
    divide = compiled.loop("divided_by_sum", call.x.size, call.often)
    if less is None or divide is None or call.x.dtype != np.float32 or not call.x.size:
        return None
    shape = call.x.shape
    columns = shape[-1]

    def kernel(x: np.ndarray) -> np.ndarray:
        e = np.empty((x.size // columns, columns), np.float32)
        less(x.reshape(-1, columns), beta, e)
        np.exp(e, out=e)
        divide(e)
        return e.reshape(shape)
    return kernel


def _table_softmax(rows: np.ndarray, call: Call) -> np.ndarray:
    """QLinearSoftmax: exponentials of the 256 differences to the maximum from a table, summed in float32."""
    table, factor = _float_table(call, rows.shape[-1])
    output = call.output
    loop = compiled.loop("softmax_float", rows.size)
    if loop is not None:
        result = np.empty(rows.shape, np.int8)
        row = np.empty(rows.shape[-1], np.float32)
        loop(rows.reshape(-1, len(row)), table, factor, output.zero_point, row, result.reshape(-1, len(row)))
        return result
    below = rows.max(axis=-1, keepdims=True).view(np.uint8) - np.ascontiguousarray(rows).view(np.uint8)  # 0 to 255
    e = table.take(below)
    total = np.add.accumulate(e, axis=-1)[..., -1:]  # one after the other, as the framework adds
    quotients = e * np.float64(factor) / total  # in double; exponentials of one value times 254 exceed float32
    np.rint(quotients, out=quotients)
    quotients += output.zero_point
    return np.clip(quotients, -128, 127, out=quotients).astype(np.int8)


def _float_table(call: Call, columns: int) -> tuple[np.ndarray, float]:
    """float32 exponentials by the difference to the largest, and the factor of the quotients."""
    source = call.inputs[0]
    assert source is not None
    scale = float(source.scale)
    # The framework's logf; numpy's own logarithm of a float32 is sometimes a unit in the last place off.
    largest = np.float32(np.log(np.float64(np.finfo(np.float32).max / np.float32(columns))))
    room = max(0.0, float(largest) - 5) / scale
    table = np.exp((np.arange(256) - 255.0 + room) * scale).astype(np.float32)
    return table[::-1].copy(), quotient_factor(call.output.scale, call.arithmetic)


def quotient_factor(output_scale: np.float32 | float, arithmetic: Arithmetic) -> float:
    """What a quotient of a float softmax is multiplied by: 1 / scale; ONNX Runtime takes the integer part of it."""
    factor = np.float32(1) / np.float32(output_scale)
    return float(factor if arithmetic is Arithmetic.TORCH else np.floor(factor))


def input_factor(factor: float, beta: float) -> tuple[int, int, int]:
    """(multiplier, left shift) that scale differences to the maximum to 5 integer bits, and the largest difference
    that counts (CalculateInputRadius in quantization_util.cc)."""
    real = float(np.float32(beta)) * float(np.float32(factor)) * (1 << (31 - INTEGER_BITS))
    multiplier, left = quantize_multiplier(min(real, 2.0**31 - 1))
    radius = int(np.floor(((1 << INTEGER_BITS) - 1) * 2.0 ** (31 - INTEGER_BITS) / 2.0**left))
    return multiplier, left, radius


def _exponentials(rows: np.ndarray, multiplier: int, left: int, radius: int
                  ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For int64 rows: scaled differences to the maximum, which of them count, their exponentials, and the sums."""
    difference = rows - rows.max(axis=1, keepdims=True)
    counts = difference >= -radius
    scaled = high_multiply(difference * (1 << left), multiplier)
    exponentials = np.where(counts, exp_on_negative_values(np.where(counts, scaled, 0), INTEGER_BITS), 0)
    total = np.where(counts, rounding_divide(exponentials, ACCUMULATION_BITS), 0).sum(axis=1, keepdims=True)
    return scaled, counts, exponentials, total


def fixed_softmax(x: np.ndarray, factor: float, beta: float) -> np.ndarray:
    """TFLite's int8 SOFTMAX over the last axis; `factor` is the input's scale, the output's are 1/256 and -128."""
    exponentials, parts = fixed_tables(*input_factor(factor, beta))
    rows = x.reshape(-1, x.shape[-1])
    result = np.empty(rows.shape, np.int8)
    loop = compiled.loop("softmax_fixed", rows.size) if rows.shape[1] < _LONGEST else None
    if loop is not None:
        loop(rows, exponentials, parts, np.empty(rows.shape[1], np.int64), result)
        return result.reshape(x.shape)
    each = max(_BLOCK // rows.shape[1], 1)
    for start in range(0, len(rows), each):
        some = rows[start:start + each]
        below = some.max(axis=1, keepdims=True).view(np.uint8) - some.view(np.uint8)  # 0 to 255
        total = parts.take(below).sum(axis=1, keepdims=True, dtype=np.int64)
        headroom = 32 - bit_length(total)
        inverse = one_over_one_plus_x(((total << headroom) & 0xFFFFFFFF) - (1 << 31))
        shift = ACCUMULATION_BITS - headroom + 31 - 8
        made = exponentials.take(below)  # none is below 0, so halves are rounded up
        made *= inverse
        made += 1 << 30
        made >>= 31
        made += (np.int64(1) << shift) >> 1
        made >>= shift
        np.minimum(made, 255, out=made)
        result[start:start + each] = made.astype(np.uint8).view(np.int8) ^ np.int8(-128)
    return result.reshape(x.shape)


def fixed_exponentials(scale: float, beta: float) -> np.ndarray:
    """exp(-beta * scale * d) for the differences d from 0 to 255, int64 in Q0.31, as TFLite's int8 SOFTMAX has them."""
    return fixed_tables(*input_factor(scale, beta))[0]


@lru_cache(maxsize=_TABLES)
def fixed_tables(multiplier: int, left: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the 256 differences from the maximum: int64 exponentials, and what they add to the sum; 0 beyond `radius`."""
    _, counts, exponentials, _ = _exponentials(-np.arange(256)[None], multiplier, left, radius)
    return exponentials[0], np.where(counts, rounding_divide(exponentials, ACCUMULATION_BITS), 0)[0]
