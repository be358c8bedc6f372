"""Functions of one int8 value as tables of 256 entries, computed as TFLite's reference kernels would.

Sources, all under tensorflow/lite/kernels: activations.cc, internal/reference/{hard_swish,leaky_relu,
requantize}.h, internal/common.h (LUTPopulate).
"""

from collections.abc import Callable
from math import erfc

import numpy as np

from lepton.graph import GraphError, Tensor
from lepton.graph.numerics import fixedpoint
from lepton.graph.numerics.functions import inverse_square_root
from lepton.graph.numerics.rounding import half_away

from ..geometry import clamp_range

Function = Callable[[np.ndarray], np.ndarray]
Bounds = tuple[float | None, float | None]

_Q = np.arange(-128, 128)
SQRT_HALF = 0.7071067811865476  # sqrt(1 / 2)
SQRT_2_PI = 0.7978845608028654  # sqrt(2 / pi)


def _scale(tensor: Tensor) -> np.float32:
    return tensor.scale


def _zero(tensor: Tensor) -> int:
    return tensor.zero_point


def _bytes(values: np.ndarray, clamp: tuple[int, int] = (-128, 127)) -> bytes:
    return np.clip(values, *clamp).astype(np.int8).tobytes()


def _multiplier(real: float) -> tuple[int, int]:
    multiplier, shift = fixedpoint.quantize_multiplier(real)
    if shift > 30:  # what int32 can be shifted by
        raise GraphError(f"the factor between the scales must be below 2**30, not {real:.6g}: LiteRT has no defined "
                         "result for more, since it shifts an int32 beyond its bits")
    return multiplier, shift


def _multiply(values: np.ndarray, real: float) -> np.ndarray:
    return fixedpoint.multiply_by_quantized_multiplier(values, *_multiplier(real))


def requantized(x: Tensor, y: Tensor) -> bytes:
    """The same reals in another quantization (Requantize); the factor is computed in double."""
    if _scale(x) == _scale(y):
        return _bytes(_Q - _zero(x) + _zero(y))
    return _bytes(_multiply(_Q - _zero(x), float(_scale(x)) / float(_scale(y))) + _zero(y))


def clipped(x: Tensor, y: Tensor, bounds: Bounds) -> bytes:
    """RELU and its relatives (QuantizedReluX); the factor is computed in float32 (ReluPrepare)."""
    clamp = clamp_range(bounds, float(_scale(y)), _zero(y))
    return _bytes(_multiply(_Q - _zero(x), float(_scale(x) / _scale(y))) + _zero(y), clamp)


def absolute(x: Tensor, y: Tensor) -> bytes:
    """AbsEvalQuantized; the factor is computed in float32."""
    return _bytes(_multiply(np.abs(_Q - _zero(x)), float(_scale(x) / _scale(y))) + _zero(y))


def concat_table(x: Tensor, y: Tensor) -> bytes | None:
    """Legacy uint8 CONCATENATION moves operands to the output's scale in float32 (ConcatenationWithScaling).

    None where nothing changes. Raises GraphError where the moved values do not fit int32.
    """
    if _scale(x) == _scale(y) and _zero(x) == _zero(y):
        return None
    scale = _scale(x) * (np.float32(1) / _scale(y))
    # in the uint8 numbers of the file, where zero points differ by 128
    bias = -np.float32(_zero(x) + 128) * scale
    reals = half_away((_Q + 128).astype(np.float32) * scale + bias)
    if np.abs(reals).max() >= 2**31:
        raise GraphError(f"the scale {_scale(x)} of {x.name!r} divided by the output's {_scale(y)} moves "
                         "values beyond int32, and TFLite has no defined result")
    moved = reals.astype(np.int64) + _zero(y) + 128
    return _bytes(np.clip(moved, 0, 255) - 128)


def _looked_up(x: Tensor, y: Tensor, function: Function) -> bytes:
    """LUTPopulate: `function` of float32 on the real numbers, rounded to the output's quantization."""
    inverse = np.float32(1) / _scale(y)
    reals = _scale(x) * (_Q - _zero(x)).astype(np.float32)
    with np.errstate(all="ignore"):
        # In double, then to float32: C libraries' float functions differ from it by no more than from each other.
        results = function(reals.astype(np.float64)).astype(np.float32)
        scaled = half_away(results * inverse)
    # Casts of what does not fit an int are undefined in C; x86 makes INT_MIN of NaN, and float32 values near the limits
    # saturate all the same.
    scaled = np.nan_to_num(scaled, nan=-(2.0**31) + 256, posinf=2.0**31 - 256, neginf=-(2.0**31) + 256)
    return _bytes(scaled.astype(np.float64) + _zero(y))


def root(x: Tensor, y: Tensor) -> bytes:
    """SQRT in float32, the fraction cut off (SqrtEvalQuantized)."""
    reals = _scale(x) * (_Q - _zero(x)).astype(np.float32)
    return _bytes(np.floor(np.sqrt(reals) / _scale(y)).astype(np.float64) + _zero(y))


def inverse_root(x: Tensor, y: Tensor) -> bytes:
    """RSQRT (RsqrtEvalQuantized): 1 / sqrt(q - zero point), 20 bits finer, then to the output's scale."""
    last, last_shift = _multiplier(1 / float(np.sqrt(_scale(x)) * _scale(y)))
    if last_shift - 20 < -31:  # as to the right
        raise GraphError(f"the output's scale {_scale(y)} is too large for the input's {_scale(x)}: LiteRT has no "
                         "defined result, since it shifts an int32 beyond its bits")
    values = [127]
    for value in range(1, 256):
        multiplier, shift = inverse_square_root(value)
        root = fixedpoint.multiply_by_quantized_multiplier(np.int64(1), multiplier, shift + 20)
        values.append(int(fixedpoint.multiply_by_quantized_multiplier(root, last, last_shift - 20)) + _zero(y))
    return _bytes(np.array(values))


def negated(x: Tensor, y: Tensor) -> bytes:
    """NEG, which LiteRT computes on the int8 values whatever their scales are; -128 stays."""
    if _scale(x) != _scale(y) or _zero(x) or _zero(y):
        raise GraphError("input and output must have one scale and zero points of 0: LiteRT negates the int8 "
                         "values as they are")
    return (-_Q).astype(np.int8).tobytes()


def hard_swish(x: Tensor, y: Tensor) -> bytes:
    """x * relu6(x + 3) / 6 in int16 (reference_ops::HardSwish)."""
    # The input with 7 more bits.
    hires = np.float32(1 / 128) * _scale(x)
    output = _scale(y)
    multipliers = []
    # 3 / 32768: the int16 scale in which x + 3 saturates where relu6 does (reluish_scale in hard_swish.h).
    for real in (hires / output, hires / np.float32(3 / 32768)):
        multiplier, exponent = _multiplier(float(real))
        # DownScaleInt32ToInt16Multiplier
        multipliers.append((min((multiplier + (1 << 15)) >> 16, 2**15 - 1), exponent))
    (output_multiplier, output_exponent), (slope_multiplier, slope_exponent) = multipliers
    value = (_Q - _zero(x)) << 7
    preshifted = _doubling_high_multiply_16(value, output_multiplier)
    slope = value
    if slope_exponent > 0:
        slope = _saturate_16(slope << (slope_exponent - 1))
    slope = _doubling_high_multiply_16(slope, slope_multiplier)
    if slope_exponent > 0:
        slope = _saturate_16(slope << 1)
    elif slope_exponent < 0:
        slope = fixedpoint.rounding_divide(slope, -slope_exponent)
    slope = (slope + (1 << 15)) >> 1  # from [-1, 1] to [0, 1]
    product = _truncating_doubling_high_multiply_16(slope, preshifted)
    if output_exponent > 0:
        raise GraphError(f"the output scale {output} is too small for the input scale {_scale(x)}")
    if output_exponent < -15:  # RoundingDivideByPOT of int16, whose mask has all bits then
        return _bytes(np.where(product < 0, -1, 1) + _zero(y))
    return _bytes(fixedpoint.rounding_divide(product, -output_exponent) + _zero(y))


def _saturate_16(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -(2**15), 2**15 - 1)


def _doubling_high_multiply_16(a: np.ndarray, b: int) -> np.ndarray:
    """SaturatingRoundingDoublingHighMul on int16."""
    product = a * b
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return _saturate_16(np.where(nudged >= 0, nudged >> 15, -(-nudged >> 15)))


def _truncating_doubling_high_multiply_16(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """SaturatingDoublingHighMul on int16: toward zero."""
    product = a * b
    return _saturate_16(np.where(product >= 0, product >> 15, -(-product >> 15)))


def leaky_relu(x: Tensor, y: Tensor, alpha: float) -> bytes:
    """QuantizeLeakyRelu. Both factors are computed in float32 (LeakyReluPrepare)."""
    centered = _Q - _zero(x)
    positive = _multiply(centered, float(_scale(x) / _scale(y)))
    slope = float(_scale(x) * np.float32(alpha) / _scale(y))
    # the multiplier of a factor below 0 is that of its amount, with the sign changed
    negative = _multiply(centered * (-1 if slope < 0 else 1), abs(slope))
    return _bytes(np.where(centered >= 0, positive, negative) + _zero(y))


def _gelu(approximate: bool) -> Function:
    if approximate:
        return lambda v: 0.5 * v * (1 + np.tanh(SQRT_2_PI * (v + 0.044715 * v**3)))
    return _gelu_by_erfc


def _gelu_by_erfc(values: np.ndarray) -> np.ndarray:
    """x / 2 * erfc(-x / sqrt(2)), each step rounded to float32 (reference_ops::Gelu)."""
    x = values.astype(np.float32)
    complements = np.array([erfc(v) for v in x * np.float32(-SQRT_HALF)], np.float32)
    return np.float32(0.5) * x * complements


# Quantizations of the output that TFLite demands (LogisticPrepare, TanhPrepare in activations.cc).
_FIXED_OUTPUT = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
_COMPUTED = {"HARD_SWISH": hard_swish, "ABS": absolute, "SQRT": root, "RSQRT": inverse_root, "NEG": negated}
_LOOKED_UP: dict[str, Function] = {
    "EXP": np.exp, "LOG": np.log, "TANH": np.tanh,
    # Only the exponential in double: sum and quotient are rounded to float32 (activations.cc, LogisticPrepare).
    "LOGISTIC": lambda v: np.float32(1) / (np.float32(1) + np.exp(-v).astype(np.float32)),
    "ELU": lambda v: np.where(v < 0, np.expm1(v), v)}


def values(kind: str, x: Tensor, y: Tensor, options: dict, bounds: Bounds | None) -> bytes:
    """The table of a TFLite operator from `x` to `y`, both int8; `bounds` for RELU and its relatives.

    Raises ValueError (GraphError is one) for quantizations that LiteRT does not take.
    """
    if bounds is not None:
        return clipped(x, y, bounds)
    if kind in _FIXED_OUTPUT and (float(_scale(y)), _zero(y)) != _FIXED_OUTPUT[kind]:
        scale, zero = _FIXED_OUTPUT[kind]
        raise GraphError(f"the output must have scale 1/{round(1 / scale)} and zero point {zero}, not {_scale(y)} and "
                         f"{_zero(y)}")
    if kind in ("SQRT", "RSQRT") and _zero(x) != -128:
        raise GraphError(f"the input's zero point must be -128, not {_zero(x)}: LiteRT ends with an error where a "
                         "value below 0 occurs")
    if kind == "LEAKY_RELU":
        return leaky_relu(x, y, options["alpha"])
    if kind == "GELU":
        return _looked_up(x, y, _gelu(bool(options["approximate"])))
    if kind in _COMPUTED:
        return _COMPUTED[kind](x, y)
    if kind not in _LOOKED_UP:
        raise GraphError("int8 is not supported, in LiteRT either")
    return _looked_up(x, y, _LOOKED_UP[kind])
