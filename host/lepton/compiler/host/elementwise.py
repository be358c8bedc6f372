"""Element by element: sums, products, extremes, tables and functions of reals."""

import math

import numpy as np

from ...graph import Add, GraphError
from ..quantize import add_parameters
from . import fixed
from .call import Call, scale, zero_point
from .pools import to_scale


def table(call: Call) -> np.ndarray:
    values = np.frombuffer(call.op.values, np.int8)
    return values[call.x.astype(np.int16) + 128]


def _centred(call: Call, index: int, dtype=np.int64) -> np.ndarray:
    return call.values[index].astype(dtype) - zero_point(call.tensors[index])


def add_or_sub(call: Call) -> np.ndarray:
    """TFLite's ADD and SUB: both operands to a common scale with 20 more bits, the sum to the output's.

    FLOAT: MLAS's QLinearAdd; ONNX Runtime has no integer kernel for differences. TORCH: in reals.
    """
    subtract = not isinstance(call.op, Add)
    if not call.quantized:
        a, b = call.values
        return a - b if subtract else a + b
    if call.op.in_float and not call.fixed:
        a, b = _real(call, 0), _real(call, 1)
        return _quantized(a - b if subtract else a + b, call)
    if call.torch or (subtract and not call.fixed):  # dequantize, add or subtract, quantize
        return to_scale(_real(call, 0) - _real(call, 1) if subtract else _real(call, 0) + _real(call, 1), call)
    if not call.fixed:
        return _add_float(call)
    a, b = call.tensors
    p = add_parameters(scale(a), scale(b), scale(call.output))

    def scaled(index: int, name: str) -> np.ndarray:
        high = fixed.high_multiply(_centred(call, index) << 20, p[f"add_mult_{name}"])
        return fixed.rounding_divide(high, p[f"add_shift_{name}"])

    total = scaled(0, "a") + scaled(1, "b") * (-1 if subtract else 1)
    result = fixed.rounding_divide(fixed.high_multiply(total, p["add_mult_o"]), p["add_shift_o"])
    return np.clip(result + zero_point(call.output), *call.limits()).astype(call.output.dtype)


def _add_float(call: Call) -> np.ndarray:
    """MLAS's QLinearAdd: a * (sa/so) + b * (sb/so) + the rest, in float32 with fused multiply-add."""
    (a, b), output, up = call.tensors, call.output, call.offset
    ratio_a, ratio_b = scale(a) / scale(output), scale(b) / scale(output)
    zero_a, zero_b, zero = (np.float32(zero_point(t) + up) for t in (a, b, output))
    rest = zero - (ratio_a * zero_a + ratio_b * zero_b)
    total = _fused(call.values[0], up, ratio_a, _fused(call.values[1], up, ratio_b, rest))
    return np.clip(np.rint(total) - up, *call.limits()).astype(output.dtype)


def _fused(x: np.ndarray, up: int, factor: np.float32, addend) -> np.ndarray:
    """(x + up) * factor + addend rounded once to float32; the product of 8 bits and float32 is exact in float64."""
    return ((x.astype(np.float64) + up) * np.float64(factor) + addend.astype(np.float64)).astype(np.float32)


def _quantized(x: np.ndarray, call: Call) -> np.ndarray:
    """float32 reals to the output's scale as ONNX Runtime's QuantizeLinear: divide, round half to even, add."""
    values = np.rint(x / scale(call.output)) + zero_point(call.output)
    return np.clip(values, *call.limits()).astype(call.output.dtype)


def _real(call: Call, index: int) -> np.ndarray:
    return scale(call.tensors[index]) * _centred(call, index, np.int32).astype(np.float32)


def multiply(call: Call) -> np.ndarray:
    """TFLite's MUL: the integer product times one factor. FLOAT: MLAS's QLinearMul."""
    if not call.quantized:
        return call.values[0] * call.values[1]
    if call.op.in_float and not call.fixed:
        return _quantized(_real(call, 0) * _real(call, 1), call)
    if call.torch:
        return to_scale(_real(call, 0) * _real(call, 1), call)
    (a, b), output = call.tensors, call.output
    product, factor = _centred(call, 0) * _centred(call, 1), scale(a) * scale(b) / scale(output)
    zero = zero_point(output)
    if call.fixed:
        result = fixed.rescale(product, *fixed.multipliers(float(factor))) + zero
    else:
        result = np.rint(product.astype(np.float32) * factor + np.float32(zero + call.offset)) - call.offset
    return np.clip(result, *call.limits()).astype(output.dtype)


def divide(call: Call) -> np.ndarray:
    with np.errstate(all="ignore"):  # infinities and NaN are results here, as in the framework
        return call.values[0] / call.values[1]


def maximum(call: Call) -> np.ndarray:
    return np.maximum(*call.values)


def minimum(call: Call) -> np.ndarray:
    return np.minimum(*call.values)


def prelu(call: Call) -> np.ndarray:
    """TFLite's PRELU: two factors, for positive inputs and for products with alpha. FLOAT: in reals."""
    if not call.quantized:
        x, alpha = call.values
        return np.where(x >= 0, x, x * alpha)
    if not call.fixed:
        x = _real(call, 0)
        return to_scale(np.where(x >= 0, x, x * _real(call, 1)), call)
    (source, alpha), output = call.tensors, call.output
    x = _centred(call, 0)
    positive = fixed.rescale(x, *fixed.multipliers(float(scale(source) / scale(output))))
    factor = float(scale(source) * scale(alpha) / scale(output))
    negative = fixed.rescale(x * _centred(call, 1), *fixed.multipliers(factor))
    result = np.where(x >= 0, positive, negative) + zero_point(output)
    return np.clip(result, *call.limits()).astype(output.dtype)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


_UNARY = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "neg": np.negative, "abs": np.abs, "sigmoid": _sigmoid,
    "relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
    "reciprocal": lambda x: (1 / x).astype(x.dtype), "not": np.logical_not,
    "erf": lambda x: np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype),
}
UNARY_KINDS = (*_UNARY, "cast")


def unary(call: Call) -> np.ndarray:
    if call.op.kind == "cast":
        return call.x.astype(call.output.dtype)
    if call.op.kind not in _UNARY:
        raise GraphError(f"Unary kind must be one of {', '.join(UNARY_KINDS)}, not {call.op.kind!r}")
    with np.errstate(all="ignore"):  # infinities and NaN are results here, as in the framework
        return _UNARY[call.op.kind](call.x)
