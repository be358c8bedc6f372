"""Operators that run on the CPU, with the integer arithmetic of TFLite's reference kernels."""

import numpy as np

from ..graph import GraphError, Reshape, Softmax
from .model import HostStep
from .quantize import quantize_multiplier

_INTEGER_BITS = 5  # of the scaled difference to the maximum (reference/softmax.h)
_ACCUMULATION_BITS = 12  # integer bits of the sum of exponentials


def run(step: HostStep, values: dict[str, np.ndarray]) -> None:
    """Execute a host step: reads its inputs from `values` by name, adds its output. Raises `GraphError`."""
    source, output = values[step.inputs[0].name], step.outputs[0]
    if isinstance(step.op, Reshape):
        result = source.reshape(output.shape)
    elif isinstance(step.op, Softmax):
        result = softmax(source, step.inputs[0].scale, step.op.beta).reshape(output.shape)
    else:
        raise GraphError(f"host step {step.name!r}: {type(step.op).__name__} does not run on the host; "
                         "Reshape and Softmax do")
    values[output.name] = np.ascontiguousarray(result)


def _saturating_doubling_high_multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product = a.astype(np.int64) * b
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged >= 0, nudged >> 31, -((-nudged) >> 31))  # C division rounds toward zero
    return np.minimum(high, 2**31 - 1)


def _rounding_divide(x: np.ndarray, exponent) -> np.ndarray:
    mask = (np.int64(1) << exponent) - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))


def _saturating_shift_left(x: np.ndarray, exponent: int) -> np.ndarray:
    return np.clip(x << exponent, -(2**31), 2**31 - 1)


def _exp_on_interval(a: np.ndarray) -> np.ndarray:
    """exp(a) in Q0.31 for a in [-1/4, 0) in Q0.31 (gemmlowp fixedpoint.h)."""
    mul = _saturating_doubling_high_multiply
    x = a + (1 << 28)  # around -1/8
    x2 = mul(x, x)
    x3, x4 = mul(x2, x), mul(x2, x2)
    polynomial = _rounding_divide(mul(_rounding_divide(x4, 2) + x3, np.int64(715827883)) + x2, 1)
    return 1895147668 + mul(np.int64(1895147668), x + polynomial)


def _exp_on_negative_values(a: np.ndarray) -> np.ndarray:
    """exp(a) in Q0.31 for a <= 0 in Q5.26 (gemmlowp fixedpoint.h)."""
    fractional = 31 - _INTEGER_BITS
    quarter = np.int64(1 << (fractional - 2))
    remainder = (a & (quarter - 1)) - quarter
    result = _exp_on_interval(_saturating_shift_left(remainder, _INTEGER_BITS))
    beyond = remainder - a
    factors = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242))
    for exponent, multiplier in factors:
        present = (beyond & (np.int64(1) << (fractional + exponent))) != 0
        result = np.where(present, _saturating_doubling_high_multiply(result, np.int64(multiplier)), result)
    return np.where(a == 0, 2**31 - 1, result)


def _reciprocal(x: np.ndarray) -> np.ndarray:
    """1/(1+x) in Q0.31 for x in [0, 1) in Q0.31, by Newton-Raphson in Q2.29 (gemmlowp fixedpoint.h)."""
    mul = _saturating_doubling_high_multiply
    total = x + (2**31 - 1)
    half = np.where(total >= 0, (total + 1) >> 1, -((1 - total) >> 1))  # RoundingHalfSum
    estimate = 1515870810 + mul(half, np.int64(-1010580540))  # 48/17 - 32/17 * half
    for _ in range(3):
        error = (1 << 29) - mul(half, estimate)
        estimate = estimate + _saturating_shift_left(mul(estimate, error), 2)
    return _saturating_shift_left(estimate, 1)


def softmax(x: np.ndarray, scale: float, beta: float) -> np.ndarray:
    """TFLite's int8 SOFTMAX over the last axis; `scale` is the input's. The output has scale 1/256, zero point -128."""
    multiplier, left = quantize_multiplier(
        min(float(np.float32(beta)) * float(np.float32(scale)) * (1 << (31 - _INTEGER_BITS)), 2.0**31 - 1))
    radius = int(np.floor(((1 << _INTEGER_BITS) - 1) * 2.0 ** (31 - _INTEGER_BITS) / 2.0**left))
    rows = x.reshape(-1, x.shape[-1]).astype(np.int64)
    difference = rows - rows.max(axis=1, keepdims=True)
    counts = difference >= -radius
    scaled = _saturating_doubling_high_multiply(difference * (1 << left), np.int64(multiplier))
    exponentials = np.where(counts, _exp_on_negative_values(np.where(counts, scaled, 0)), 0)
    total = np.where(counts, _rounding_divide(exponentials, _ACCUMULATION_BITS), 0).sum(axis=1, keepdims=True)
    headroom = 32 - np.array([[int(t).bit_length()] for t in total[:, 0]])
    shifted = ((total << headroom) & 0xFFFFFFFF) - (1 << 31)
    inverse = _reciprocal(shifted)
    unscaled = _saturating_doubling_high_multiply(inverse, exponentials)
    output = _rounding_divide(unscaled, _ACCUMULATION_BITS - headroom + 31 - 8) - 128
    return np.where(counts, np.clip(output, -128, 127), -128).astype(np.int8).reshape(x.shape)
