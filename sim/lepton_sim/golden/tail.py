"""The tail: what becomes of finished accumulator rows."""

import numpy as np
from lepton.arch import Rounding

from .numerics import (
    multiply_by_quantized_multiplier,
    multiply_in_float32,
    multiply_rounded_once,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    wrap_int32,
)

_RESCALE = {
    Rounding.DOUBLE: multiply_by_quantized_multiplier,
    Rounding.SINGLE: multiply_rounded_once,
    Rounding.FLOAT: multiply_in_float32,
}


def tail(rows: np.ndarray, params: np.ndarray, residual: np.ndarray | None, table: np.ndarray | None,
         fields: dict[str, int]) -> np.ndarray:
    """What becomes of finished accumulator rows: int8 (M, K).

    rows: int32 (M, K). params: the parameter record, uint8 (`record_words`, K). residual: int8 (M, K) or
    None. table: TABLE_BYTES int8 or None.
    Arithmetic as in TFLite's int8 kernels (`reference/integer_ops/conv.h`, `.../add.h`); the
    bias is added modulo 2**32, the zero point is not.
    """
    if fields.get("uniform"):
        bias = _int32(np.concatenate([np.zeros_like(params[:1]), params])) >> 8
        lanes = np.ones_like(bias)
        multiplier = fields["add_mult_a"] * lanes
        left = fields["add_shift_a"] * lanes
        right = fields["add_shift_b"] * lanes
    else:
        bias = _int32(params[0:4])
        multiplier = _int32(params[4:8])
        left = params[8] & 31
        right = params[9] & 31
    rescale = _RESCALE[Rounding(fields["rounding"])]
    scaled = rescale(wrap_int32(rows.astype(np.int64) + bias), multiplier, left, right).astype(np.int64)
    y = _clamp(scaled + fields["out_zero"], fields["out_min"], fields["out_max"])
    if table is not None:
        y = table[y + 128]
    if residual is None:
        return y.astype(np.int8)
    a = y.astype(np.int64) - fields["add_zero_a"]
    b = residual.astype(np.int64) - fields["add_zero_b"]
    combine = _multiply if fields.get("multiply") else _add
    y = combine(a, b, fields, fields["rounding"] == Rounding.FLOAT)
    return _clamp(y + fields["add_zero_o"], fields["add_min"], fields["add_max"]).astype(np.int8)


def _add(a: np.ndarray, b: np.ndarray, fields: dict[str, int], as_float: bool) -> np.ndarray:
    """The scaled sum of two scaled values. FLOAT: with an offset, rounded once."""
    if not as_float:
        return _rescale(_rescale(a << 20, fields, "a") + _rescale(b << 20, fields, "b"), fields, "o")
    total = ((a * fields["add_mult_a"] >> fields["add_shift_a"]) + (b * fields["add_mult_b"] >> fields["add_shift_b"])
             + fields["add_mult_o"])
    return _half_to_even(total << 20 >> fields["add_shift_o"])


def _multiply(a: np.ndarray, b: np.ndarray, fields: dict[str, int], as_float: bool) -> np.ndarray:
    """The scaled product. FLOAT: rounded once."""
    if not as_float:
        return _rescale(a * b, fields, "o")
    return _half_to_even(a * b * fields["add_mult_o"] >> fields["add_shift_o"])


def _half_to_even(scaled: np.ndarray) -> np.ndarray:
    """`scaled` / 2**31 as an integer; see FLOAT in `lepton.arch.commands`."""
    whole = scaled >> 31
    fraction = scaled & (1 << 31) - 1
    return whole + (fraction + (whole & 1) > 1 << 30)


def _int32(planes: np.ndarray) -> np.ndarray:
    """Values whose bytes are in four rows, the lowest first."""
    return np.ascontiguousarray(planes.T).view("<i4")[:, 0]


def _rescale(x: np.ndarray, fields: dict[str, int], name: str) -> np.ndarray:
    high = saturating_rounding_doubling_high_mul(x, fields[f"add_mult_{name}"])
    return rounding_divide_by_pot(high, fields[f"add_shift_{name}"]).astype(np.int64)


def _clamp(x: np.ndarray, low: int, high: int) -> np.ndarray:
    # Not np.clip: hardware compares with `low` first, which shows where low > high.
    return np.where(x < low, low, np.minimum(x, high))
