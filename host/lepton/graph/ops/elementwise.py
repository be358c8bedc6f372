"""Two operands, element by element; shapes broadcast as in numpy.

Sources: tensorflow/lite/kernels/internal/reference/integer_ops/{add,mul}.h, reference/{sub,prelu}.h for FIXED;
onnxruntime/core/mlas/lib/{qladd,qlmul}.cpp for FLOAT; aten/src/ATen/native/quantized/cpu/{qadd,qmul}.cpp for TORCH.
"""

from dataclasses import dataclass

import numpy as np

from ..core import FULL, Call, Op, OperandList, Pair, Shape, Signature, Tensor
from ..numerics.fixedpoint import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide,
    saturating_doubling_high_multiply,
)
from ..numerics.requantize import add_parameters, from_reals, real
from .conditions import broadcast, clamp_range, constant, dims, int8, require, same_quantization, same_type

__all__ = ["Add", "Binary", "Maximum", "Minimum", "Mul", "Prelu", "Sub"]


@dataclass(frozen=True)
class Binary(Op):
    """Base of the operators on two operands of one type."""

    operands = (2, 2)
    elementwise = True

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        return broadcast(*inputs), same_type(*inputs)

    def looked_up(self, signature: Signature) -> bool:
        return signature.quantized


def _check_arithmetic(op: Binary, signature: Signature) -> None:
    """int8 operands with scales, or both of one other type."""
    dtype = same_type(*signature.inputs, signature.output)
    require(dtype != np.uint8, "uint8 operands are not supported; move them to int8")
    if dtype == np.int8:
        int8(*signature.inputs, signature.output)
    clamp_range(op.clamp)


def _check_sum(op: Binary, signature: Signature) -> None:
    _check_arithmetic(op, signature)
    if np.dtype(signature.output.dtype) == np.int8 and signature.fixed:
        add_parameters(*(float(t.scale) for t in (*signature.inputs, signature.output)))


def centred(call: Call, index: int) -> np.ndarray:
    """An operand less its zero point, as int64."""
    return call.values[index].astype(np.int64) - call.inputs[index].zero_point


def _fixed_sum(op: Binary, call: Call, sign: int) -> np.ndarray:
    """TFLite's ADD and SUB: both operands to a common scale with 20 more bits, the sum to the output's."""
    # 20 is the left_shift of AddParams for int8 (kernels/add.cc): 9 bits + 20 leave room for the sum in int32.
    p = add_parameters(*(float(t.scale) for t in (*call.inputs, call.output)))

    def scaled(x: np.ndarray, name: str) -> np.ndarray:
        return rounding_divide(saturating_doubling_high_multiply(x, p[f"add_mult_{name}"]), p[f"add_shift_{name}"])

    total = scaled(centred(call, 0) << 20, "a") + scaled(centred(call, 1) << 20, "b") * sign
    result = scaled(total, "o") + call.output.zero_point
    return np.clip(result, *op.limits(call.output.dtype)).astype(call.output.dtype)


def _in_reals(op: "Add | Sub | Mul", call: Call, function: np.ufunc) -> np.ndarray:
    """Dequantize, compute in float32, quantize."""
    a, b = (real(x, t) for x, t in zip(call.values, call.inputs, strict=True))
    made = function(a, b)
    output = call.output
    if call.torch or not op.in_float:
        return from_reals(call.arithmetic, made, output, op)
    values = np.rint(made / output.scale) + output.zero_point
    return np.clip(values, *op.limits(output.dtype)).astype(output.dtype)


@dataclass(frozen=True)
class Add(Binary):
    """inputs: a, b int8 (requantized, TFLite ADD) or both of one other type."""

    tabulates = (np.int8, np.float32)

    clamp: Pair = FULL
    unsigned: bool = False
    in_float: bool = False

    def check(self, signature: Signature) -> None:
        _check_sum(self, signature)

    def compute(self, call: Call) -> np.ndarray:
        if not call.quantized:
            return call.through_all(np.add)
        if call.fixed:
            return _fixed_sum(self, call, 1)
        return _in_reals(self, call, np.add) if call.torch or self.in_float else self._float(call)

    def _float(self, call: Call) -> np.ndarray:
        """MLAS's QLinearAdd: a * (sa/so) + b * (sb/so) + the rest, in float32 with fused multiply-add."""
        a, b = call.inputs
        output = call.output
        up = 128 if self.unsigned else 0
        ratio_a = a.scale / output.scale
        ratio_b = b.scale / output.scale
        zero_a, zero_b, zero = (np.float32(t.zero_point + up) for t in (a, b, output))
        rest = zero - (ratio_a * zero_a + ratio_b * zero_b)
        total = _fused(call.values[0], up, ratio_a, _fused(call.values[1], up, ratio_b, rest))
        return np.clip(np.rint(total) - up, *self.limits(output.dtype)).astype(output.dtype)


def _fused(x: np.ndarray, up: int, factor: np.float32, addend: np.ndarray | np.float32) -> np.ndarray:
    """(x + up) * factor + addend rounded once to float32; the product of 8 bits and float32 is exact in float64."""
    return ((x.astype(np.float64) + up) * np.float64(factor) + addend.astype(np.float64)).astype(np.float32)


@dataclass(frozen=True)
class Sub(Binary):
    """Like `Add`: a - b."""

    tabulates = (np.int8, np.float32)

    clamp: Pair = FULL
    in_float: bool = False

    def check(self, signature: Signature) -> None:
        _check_sum(self, signature)

    def compute(self, call: Call) -> np.ndarray:
        """FLOAT: in reals, since ONNX Runtime has no integer kernel."""
        if not call.quantized:
            return call.through_all(np.subtract)
        return _fixed_sum(self, call, -1) if call.fixed else _in_reals(self, call, np.subtract)


@dataclass(frozen=True)
class Mul(Binary):
    """Like `Add`: a * b."""

    tabulates = (np.int8, np.float32)

    clamp: Pair = FULL
    unsigned: bool = False
    in_float: bool = False

    def check(self, signature: Signature) -> None:
        _check_arithmetic(self, signature)

    def compute(self, call: Call) -> np.ndarray:
        """TFLite's MUL: the integer product times one factor. FLOAT: MLAS's QLinearMul."""
        if not call.quantized:
            return call.through_all(np.multiply)
        if call.torch or (self.in_float and not call.fixed):
            return _in_reals(self, call, np.multiply)
        a, b = call.inputs
        output = call.output
        up = 128 if self.unsigned else 0
        product = centred(call, 0) * centred(call, 1)
        factor = a.scale * b.scale / output.scale
        if call.fixed:
            result = multiply_by_quantized_multiplier(product, *quantize_multiplier(float(factor))) + output.zero_point
        else:
            result = np.rint(product.astype(np.float32) * factor + np.float32(output.zero_point + up)) - up
        return np.clip(result, *self.limits(output.dtype)).astype(output.dtype)


@dataclass(frozen=True)
class _Extreme(Binary):
    """inputs: a, b of the same type and quantization, which the output has too."""

    tabulates = (np.int8, np.float32)
    keeps_quantization = True

    def check(self, signature: Signature) -> None:
        a, b = signature.inputs
        same_quantization(a, b)
        same_quantization(a, signature.output)

    def looked_up(self, signature: Signature) -> bool:
        return False


@dataclass(frozen=True)
class Maximum(_Extreme):
    """The larger of a and b, of the same type and quantization."""

    def compute(self, call: Call) -> np.ndarray:
        return call.through_all(np.maximum)


@dataclass(frozen=True)
class Minimum(_Extreme):
    """The smaller of a and b, of the same type and quantization."""

    def compute(self, call: Call) -> np.ndarray:
        return call.through_all(np.minimum)


@dataclass(frozen=True)
class Prelu(Binary):
    """inputs: x int8, alpha int8 constant with its own quantization, or both float32; alpha broadcasts to x."""

    tabulates = (np.int8, np.float32)

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, alpha = inputs
        require(broadcast(x, alpha) == dims(x.shape),
                f"alpha of shape {dims(alpha.shape)} does not fit {dims(x.shape)}")
        return dims(x.shape), same_type(x, alpha)

    def check(self, signature: Signature) -> None:
        x, alpha = signature.inputs
        constant(alpha, "alpha")
        if np.dtype(x.dtype) == np.int8:
            int8(x, alpha, signature.output)

    def compute(self, call: Call) -> np.ndarray:
        """TFLite's PRELU: two factors, for positive inputs and for products with alpha. FLOAT: in reals."""
        if not call.quantized:
            return np.where(call.x >= 0, call.x, call.x * call.values[1])
        source, alpha = call.inputs
        output = call.output
        if not call.fixed:
            x = real(call.x, source)
            return from_reals(call.arithmetic, np.where(x >= 0, x, x * real(call.values[1], alpha)), output, self)
        x = centred(call, 0)
        positive = _scaled(x, source.scale / output.scale)
        negative = _scaled(x * centred(call, 1), source.scale * alpha.scale / output.scale)
        result = np.where(x >= 0, positive, negative) + output.zero_point
        return np.clip(result, *self.limits(output.dtype)).astype(output.dtype)


def _scaled(x: np.ndarray, factor: np.float32) -> np.ndarray:
    return multiply_by_quantized_multiplier(x, *quantize_multiplier(float(factor)))
