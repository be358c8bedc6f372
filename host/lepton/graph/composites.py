"""Operators of the frameworks that take several of the graph's, in float32, each written once.

Results of float32 depend on the order of operations. Where frameworks differ in it, a parameter chooses; without one,
ONNX Runtime and PyTorch compute in the same order. `x` is a float32 value unless stated otherwise.
"""

import math
from collections.abc import Sequence

import numpy as np

from . import ops
from .builder import Value

# What PyTorch's and ONNX's SELU is made of (aten/src/ATen/native/Activation.cpp).
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805

Number = Value | float | np.ndarray


# Activations

def clamp(x: Value, low: float | None = None, high: float | None = None) -> Value:
    """None, or an infinity, is no bound."""
    if low is not None and low > -math.inf:
        x = x.maximum(low)
    return x if high is None or high == math.inf else x.minimum(high)


def silu(x: Value, alpha: float = 1.0) -> Value:
    """x * sigmoid(alpha * x): SiLU, Swish, and with alpha 1.702 QuickGelu."""
    return x * (x if alpha == 1 else x * alpha).sigmoid()


def gelu(x: Value, tanh: bool = False) -> Value:
    """x / 2 * (1 + erf(x / sqrt 2)), or its approximation by `tanh`."""
    inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi) if tanh else x * math.sqrt(0.5)
    return x * 0.5 * (inner.unary("tanh" if tanh else "erf") + 1.0)


def hard_sigmoid(x: Value, alpha: float, beta: float) -> Value:
    """ONNX: alpha * x + beta, between 0 and 1."""
    return clamp(x * alpha + beta, 0.0, 1.0)


def hard_swish(x: Value) -> Value:
    """ONNX: x times the hard sigmoid of slope 1/6."""
    return x * hard_sigmoid(x, 1 / 6, 0.5)


def relu6_sigmoid(x: Value) -> Value:
    """PyTorch's hard sigmoid: relu6(x + 3) / 6."""
    return clamp(x + 3.0, 0.0, 6.0) * (1 / 6)


def relu6_swish(x: Value) -> Value:
    """PyTorch's hard swish: x * relu6(x + 3) / 6."""
    return x * clamp(x + 3.0, 0.0, 6.0) * (1 / 6)


def two_slopes(x: Value, negative: Value) -> Value:
    """relu(x) + `negative`, which is 0 where x is above 0: one of the two is 0, so that the sum is exact."""
    return x.relu() + negative


def leaky_relu(x: Value, slope: Number) -> Value:
    """x, or `slope` times it below 0; PReLU where the slope is a value or an array that broadcasts to x."""
    if isinstance(slope, Value) and slope.data is None:
        return two_slopes(x, x.minimum(0.0) * slope)
    return x.apply(ops.Prelu(), slope)


def elu(x: Value, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Value:
    """scale * (x, or alpha * (exp(input_scale * x) - 1) below 0): ELU, CELU and SELU."""
    below = x.minimum(0.0)
    below = below if input_scale == 1 else below * input_scale
    result = two_slopes(x, (below.exp() - 1.0) * alpha)
    return result if scale == 1 else result * scale


def selu(x: Value) -> Value:
    return elu(x, SELU_ALPHA, SELU_SCALE)


def celu(x: Value, alpha: float = 1.0) -> Value:
    return elu(x, alpha, 1.0, 1 / alpha)


def softplus(x: Value, beta: float = 1.0) -> Value:
    """log(1 + exp(beta * x)) / beta, so that exp does not overflow."""
    if beta != 1:
        return softplus(x * beta) * (1 / beta)
    return x.relu() + ((-x.unary("abs")).exp() + 1.0).log()


def log_sigmoid(x: Value) -> Value:
    return -softplus(-x)


def mish(x: Value) -> Value:
    return x * softplus(x).tanh()


def glu(x: Value, axis: int) -> Value:
    """The first half along an axis times the sigmoid of the second."""
    half = x.shape[x.axis(axis)] // 2
    return x.slice(axis, 0, half) * x.slice(axis, half, 2 * half).sigmoid()


# Arithmetic

def truncated(x: Value) -> Value:
    """Towards zero: the floor of what is not negative, the ceiling of the rest."""
    return x.relu().unary("floor") + x.minimum(0.0).unary("ceil")


def power(x: Value, exponent: float) -> Value:
    """Multiples of 0.5 from 0.5 to 8, or minus that: whole numbers by multiplication, halves by roots.

    Raises `GraphError` for others: no other function of the host is the frameworks'.
    """
    if not 1 <= abs(exponent) * 2 <= 16 or (exponent * 2) % 1:
        raise x.builder.error(f"exponents must be multiples of 0.5 from 0.5 to 8, or minus that, not {exponent}")
    whole, half = divmod(int(abs(exponent) * 2), 2)
    parts = [x] * whole + ([x.sqrt()] if half else [])
    result = parts[0]
    for part in parts[1:]:
        result = result * part
    return result if exponent > 0 else result.reciprocal()


# Normalizations

def scaled(x: Value, factor: Number | None, shift: Number | None) -> Value:
    """x * factor + shift; None leaves one out."""
    x = x if factor is None else x * factor
    return x if shift is None else x + shift


def normalized(x: Value, axes: Sequence[int], epsilon: float, *, centre: bool = True, divide: bool) -> Value:
    """(x - mean) / sqrt(variance + epsilon) along axes; without `centre` the mean is not taken off (RMSNorm).

    divide: as ONNX Runtime does, or a product with the reciprocal, as PyTorch does.
    """
    centred = x - x.reduce("mean", axes) if centre else x
    deviation = ((centred * centred).reduce("mean", axes) + epsilon).sqrt()
    return centred / deviation if divide else centred * deviation.reciprocal()


def group_norm(x: Value, groups: int, epsilon: float, *, divide: bool) -> Value:
    """`normalized` over groups of channels of (N, C, ...)."""
    grouped = x.reshape((x.shape[0], groups, math.prod(x.shape[1:]) // groups))
    return normalized(grouped, (2,), epsilon, divide=divide).reshape(x.shape)


def log_softmax(x: Value, axes: Sequence[int]) -> Value:
    shifted = x - x.reduce("max", axes)
    return shifted - shifted.exp().reduce("sum", axes).log()


def norm(x: Value, order: int, axes: Sequence[int], keep_dims: bool) -> Value:
    """The norm of order 1 or 2 along axes."""
    if order == 1:
        return x.unary("abs").reduce("sum", axes, keep_dims)
    return (x * x).reduce("sum", axes, keep_dims).sqrt()


# Attention

def attention(query: Value, key: Value, value: Value, mask: Value | None = None, *, scale: float | None = None,
              causal: bool = False) -> Value:
    """softmax(query @ key^T * scale + mask) @ value on (..., rows, features); `scale` is 1 / sqrt(features) if None.

    causal: no row sees a key behind its own place.
    """
    order = (*range(key.rank - 2), key.rank - 1, key.rank - 2)
    scores = (query @ key.transpose(order)) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if causal:
        scores = scores + np.triu(np.full(scores.shape[-2:], -np.inf, np.float32), 1)
    if mask is not None:
        scores = scores + mask
    return scores.softmax() @ value
