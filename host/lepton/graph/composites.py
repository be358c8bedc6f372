"""Operators of the frameworks that take several of the graph's, in float32, each written once.

Results of float32 depend on the order of operations, which is that of the frameworks named here. Functions that a
framework computes with a kernel of its own are not here: they are the operators `Function` (ONNX Runtime) and `Aten`
(PyTorch). `x` is a float32 value unless stated otherwise.
"""

import math

import numpy as np

from . import ops
from .builder import Value

Number = Value | float | np.ndarray


def clamp(x: Value, low: float | None = None, high: float | None = None) -> Value:
    """x between two bounds, each None or an infinity for no bound."""
    if low is not None and low > -math.inf:
        x = x.maximum(low)
    return x if high is None or high == math.inf else x.minimum(high)


def gelu(x: Value, tanh: bool = False) -> Value:
    """x / 2 * (1 + erf(x / sqrt 2)), or its approximation by `tanh`.

    Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, section 2, has the coefficients.
    """
    inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi) if tanh else x * math.sqrt(0.5)
    return x * 0.5 * (inner.unary("tanh" if tanh else "erf") + 1.0)


def leaky_relu(x: Value, slope: Number) -> Value:
    """x, or `slope` times it below 0; PReLU where the slope is a value or an array that broadcasts to x."""
    if isinstance(slope, Value) and slope.data is None:
        below = x.minimum(0.0) * slope
        return x.relu() + below  # one of the two is 0, so that the sum is exact
    return x.apply(ops.Prelu(), slope)


def scaled(x: Value, factor: Number, shift: Number) -> Value:
    """x * factor + shift: an affine function, such as a batch normalization at inference."""
    return x * factor + shift
