"""Fixed-point arithmetic of TFLite's reference kernels, over arrays.

Every function takes and returns integers that are exact in int32; arrays may be
int32 or int64 and broadcast. Sources: gemmlowp `fixedpoint/fixedpoint.h` for the
first two functions, `tensorflow/lite/kernels/internal/common.h` (double
rounding, the variant of the released wheels) for the third.
"""

import math

import numpy as np

INT32_MIN = -(1 << 31)
INT32_MAX = (1 << 31) - 1


def wrap_int32(x) -> np.ndarray:
    """`x` modulo 2**32 as int32: what two's complement registers keep of a sum or a left shift."""
    return np.asarray(x, dtype=np.int64).astype(np.int32)


def saturating_rounding_doubling_high_mul(a, b) -> np.ndarray:
    """The high half of 2*a*b, rounded; int32.

    gemmlowp adds a nudge that depends on the product's sign and divides with
    truncation. Both branches are floor((a*b + 2**30) / 2**31), so halves go
    towards plus infinity whatever the sign. The only product that does not fit,
    INT32_MIN * INT32_MIN, saturates to INT32_MAX.
    """
    a = np.asarray(a, dtype=np.int64)
    b = np.asarray(b, dtype=np.int64)
    return np.minimum((a * b + (1 << 30)) >> 31, INT32_MAX).astype(np.int32)


def rounding_divide_by_pot(x, exponent) -> np.ndarray:
    """x / 2**exponent to the nearest integer, halves away from zero; int32. `exponent` is in 0..31."""
    x = np.asarray(x, dtype=np.int64)
    exponent = np.asarray(exponent, dtype=np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return ((x >> exponent) + ((x & mask) > threshold)).astype(np.int32)


def multiply_by_quantized_multiplier(x, multiplier, left, right) -> np.ndarray:
    """x * 2**left * multiplier / 2**31 / 2**right, rounded twice; int32.

    `left` and `right` are in 0..31 and at most one of them is non-zero in what
    TFLite makes of a scale; both may be here. `x << left` wraps to int32.
    """
    shifted = wrap_int32(np.asarray(x, dtype=np.int64) << np.asarray(left, dtype=np.int64))
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(shifted, multiplier), right)


def multiply_rounded_once(x, multiplier, left, right) -> np.ndarray:
    """x * 2**left * multiplier / 2**31 / 2**right, rounded once, half up; int64.

    LiteRT's fully connected kernels round half away from zero: the same but for ties below zero. `x << left` wraps to
    int32, as above.
    """
    shifted = wrap_int32(np.asarray(x, dtype=np.int64) << np.asarray(left, dtype=np.int64))
    right = np.asarray(right, dtype=np.int64)
    product = shifted.astype(np.int64) * np.asarray(multiplier, dtype=np.int64)
    return (product + (np.int64(1) << (30 + right))) >> (31 + right)


def _float32(x: np.ndarray) -> np.ndarray:
    """int64 `x` as the nearest float32, half to even, which int64 holds exactly again."""
    return x.astype(np.float32).astype(np.int64)


def multiply_in_float32(x, multiplier, left, right) -> np.ndarray:
    """rint(float32(x * 2**left) * float32 scale) with the scale multiplier / 2**31 / 2**right; int64.

    What ONNX Runtime's requantization computes (`onnxruntime/core/mlas/lib/quantize.cpp`, MlasRequantizeOutput): the
    int32 is converted to float32, multiplied in float32 and rounded to an integer, half to even. The product is
    worked out exactly before its one rounding, so that the result is defined for a multiplier of more than 24 bits,
    too. float32(x * 2**left) wraps to int32, which a compiler must rule out: the frameworks do not.
    """
    shifted = wrap_int32(np.asarray(x, dtype=np.int64) << np.asarray(left, dtype=np.int64)).astype(np.int64)
    product = _float32(wrap_int32(_float32(shifted)).astype(np.int64) * np.asarray(multiplier, dtype=np.int64))
    return np.rint(np.ldexp(product.astype(np.float64), -(31 + np.asarray(right, dtype=np.int64)))).astype(np.int64)


def quantize_multiplier(scale: float) -> tuple[int, int, int]:
    """(multiplier, left, right) for a non-negative real factor, as TFLite's `QuantizeMultiplier`.

    `tensorflow/lite/kernels/internal/quantization_util.cc`. Raises `ValueError`
    for a factor that is negative or not finite.
    """
    if not (scale >= 0 and math.isfinite(scale)):
        raise ValueError(f"scale must be finite and not negative, not {scale!r}")
    if scale == 0:
        return 0, 0, 0
    fraction, shift = math.frexp(scale)
    # C's round(): halves away from zero; the fraction is positive.
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier = 1 << 30
        shift = shift + 1
    if shift < -31:
        return 0, 0, 0
    if shift > 30:
        return INT32_MAX, 30, 0
    return multiplier, max(shift, 0), max(-shift, 0)
