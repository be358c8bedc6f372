"""Logarithm of a softmax: TFLite's integer one, and in float32.

Sources: tensorflow/lite/kernels/internal/reference/log_softmax.h and integer_ops/log_softmax.h.
"""

from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from ..numerics.fixedpoint import multiply_by_quantized_multiplier, quantize_multiplier, rounding_divide
from ..numerics.fixedpoint import saturating_doubling_high_multiply as high_multiply
from ..numerics.functions import logarithm
from ..operands import OfOne
from .conditions import axis_of, dims, int8, of_type, require, same_type
from .softmax import ACCUMULATION_BITS, INTEGER_BITS, fixed_tables, input_factor

__all__ = ["LogSoftmax"]

_LOG_BITS = 4  # integer bits of the logarithm, whose output has the scale 1/16


@dataclass(frozen=True)
class LogSoftmax(Op):
    """input: x int8 (TFLite LOG_SOFTMAX) or float32; the logarithm of the softmax over the last axis.

    An int8 output has scale 1/16 and zero point 127.
    """

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        axis_of(-1, len(inputs[0].shape))
        return dims(inputs[0].shape), np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        x = signature.inputs[0]
        output = signature.output
        of_type(x, np.int8, np.float32)
        if same_type(x, output) != np.int8:
            return
        int8(x, output)
        require(signature.fixed, "LogSoftmax of int8 is not supported outside of TFLite networks")
        require(float(output.scale) == 1 / 16 and output.zero_point == 127, "the output must have scale 1/16 and zero "
                f"point 127, not {output.scale!s} and {output.zero_point}")
        require(float(x.scale) * 2**26 > 1, f"the input's scale must be above 2**-26, not {x.scale}")

    def compute(self, call: Call) -> np.ndarray:
        x = call.x
        if not call.quantized:
            kernel = self._real_loops(call)
            if kernel is not None:
                return call.through(kernel)
            # reference/log_softmax.h: exponentials are added one after the other.
            shifted = x - x.max(axis=-1, keepdims=True)
            return shifted - np.log(np.add.accumulate(np.exp(shifted), axis=-1)[..., -1:])
        multiplier, left, radius = call.once("factor", lambda: input_factor(float(call.inputs[0].scale), 1.0))
        scaled, parts = call.once("tables", lambda: (high_multiply(-np.arange(256) * (1 << left), multiplier),
                                                     fixed_tables(multiplier, left, radius)[1]))
        reverse = call.once("reverse", lambda: quantize_multiplier((1 << (31 - left)) / multiplier))
        rows = x.reshape(-1, x.shape[-1])
        loop = compiled.loop("log_softmax", rows.size, call.often)
        if loop is not None:
            result = np.empty(rows.shape, np.int8)
            loop(rows, scaled, parts, INTEGER_BITS, radius, *reverse, result)
            return result.reshape(x.shape)
        below = rows.max(axis=1, keepdims=True).view(np.uint8) - rows.view(np.uint8)  # 0 to 255
        total = parts.take(below).sum(axis=1, dtype=np.int64)
        known, places = np.unique(total, return_inverse=True)  # few of many rows
        logs = logarithm(known, ACCUMULATION_BITS, INTEGER_BITS)
        log = logs.take(places)
        least = np.maximum(-radius - 1, multiply_by_quantized_multiplier(logs - 2**31, *reverse)).take(places)
        output = rounding_divide(scaled.take(below) - log[:, None], 31 - INTEGER_BITS - _LOG_BITS) + 127
        counts = -below.astype(np.int64) > least[:, None]
        return np.where(counts, np.clip(output, -128, 127), -128).astype(np.int8).reshape(x.shape)

    def _real_loops(self, call: Call) -> OfOne | None:
        """Of float32, but for numpy's exponentials and logarithms; None where numpy is to compute all of it."""
        less = compiled.loop("less_largest", call.x.size, call.often)
        add = compiled.loop("sums_of_rows", call.x.size, call.often)
        subtract = compiled.loop("less_of_rows", call.x.size, call.often)
        if less is None or add is None or subtract is None or call.x.dtype != np.float32 or not call.x.size:
            return None
        shape = call.x.shape
        columns = shape[-1]
        rows = call.x.size // columns

        def kernel(x: np.ndarray) -> np.ndarray:
            shifted = np.empty((rows, columns), np.float32)
            less(x.reshape(rows, columns), 1.0, shifted)
            logs = np.empty(rows, np.float32)
            add(np.exp(shifted), logs)
            np.log(logs, out=logs)
            subtract(shifted, logs)
            return shifted.reshape(shape)
        return kernel
