"""Layer normalization of int8 in integers, as the chip's NORM computes it (`lepton.arch.rows`)."""

from dataclasses import dataclass
from math import frexp, isqrt

import numpy as np

MOST_CHANNELS = 4096  # so that sums of squares times the channels stay below 2**50; the chip's limit as well
# First approximations of 1/sqrt(v), Q1.30, by the top four bits of v in Q2.29: exact in the middle of each interval.
SEEDS = (0,) * 4 + tuple(isqrt((8 << 60) // (2 * i + 1)) for i in range(4, 16))

_FACTOR_BITS = 23  # of int24 factors, without the sign
_SHIFTS = (1, 40)  # what the command can express
_EPSILON_BITS = 48


class NormRange(ValueError):
    """The parameters are outside what the arithmetic can express; the text says which."""


@dataclass(frozen=True, eq=False)
class NormParameters:
    """`factor` (24 bits, int32) and `bias` (int32) by channel, the right shift of the results, and `epsilon` in units
    of 1/256 of the sum of squares times the channels."""

    factor: np.ndarray
    bias: np.ndarray
    shift: int
    epsilon: int


def norm_parameters(gamma: np.ndarray, beta: np.ndarray | None, epsilon: float, source_scale: float,
                    output_scale: float) -> NormParameters:
    """Of gamma and beta (channels,) and scales of int8 tensors. Raises `NormRange`."""
    count = len(gamma)
    real = gamma.astype(np.float64) / output_scale
    offset = np.zeros(count) if beta is None else beta.astype(np.float64) / output_scale
    largest = max(float(np.abs(real).max()), 2.0**-20)
    if count > MOST_CHANNELS or not np.isfinite(largest) or not np.isfinite(offset).all():
        raise NormRange(f"{count} channels with factors up to {largest}: at most {MOST_CHANNELS} channels, finite "
                        "factors")
    shift = min(16 + _FACTOR_BITS - frexp(largest)[1], _SHIFTS[1])
    bias = np.rint(offset * 2.0**(shift - 8))
    while shift > _SHIFTS[0] and np.abs(bias).max(initial=0) >= 2**31:  # offsets that are far larger than factors
        shift -= 1
        bias = np.rint(offset * 2.0**(shift - 8))
    factor = np.clip(np.rint(real * 2.0**(shift - 16)), -(2**_FACTOR_BITS), 2**_FACTOR_BITS - 1)
    scaled = epsilon * (count / source_scale) ** 2 * 256
    if shift < _SHIFTS[0] or np.abs(bias).max(initial=0) >= 2**31 or not 0 <= scaled < 2**_EPSILON_BITS - 1:
        raise NormRange(f"factors up to {largest}, offsets up to {np.abs(offset).max(initial=0)} and epsilon {epsilon} "
                        "with these scales")
    return NormParameters(factor.astype(np.int32), bias.astype(np.int32), shift, round(scaled))


def normalize(rows: np.ndarray, parameters: NormParameters, center: bool, zeros: tuple[int, int]) -> np.ndarray:
    """int8 (rows, channels) of such; `zeros`: zero points of source and output."""
    count = rows.shape[1]
    d = rows.astype(np.int64) - zeros[0]
    total = d.sum(axis=1, keepdims=True) if center else np.zeros((len(d), 1), np.int64)
    variance = 256 * (count * (d * d).sum(axis=1, keepdims=True) - total * total) + parameters.epsilon
    # floor(log4): float64 holds these integers below 2**50 exactly
    exponent = np.maximum(np.frexp(variance.astype(np.float64))[1].astype(np.int64) - 1, 0) // 2
    v = (variance << np.maximum(29 - 2 * exponent, 0)) >> np.maximum(2 * exponent - 29, 0)
    root = np.where(variance > 0, _reciprocal_root(np.where(variance > 0, v, 1 << 29)), 0)
    product = (count * d - total) * root
    t = np.clip((product + (np.int64(1) << (exponent + 9))) >> (exponent + 10), -(1 << 23), (1 << 23) - 1)
    scaled = t * parameters.factor.astype(np.int64) + parameters.bias.astype(np.int64) * 256
    result = (scaled + (np.int64(1) << (parameters.shift - 1))) >> parameters.shift
    return np.clip(result + zeros[1], -128, 127).astype(np.int8)


def _reciprocal_root(v: np.ndarray) -> np.ndarray:
    """1/sqrt(v) in Q1.30 for v in [1, 4) in Q2.29: three Newton steps y * (3 - v * y * y) / 2."""
    y = np.asarray(SEEDS, np.int64)[v >> 27]
    for _ in range(3):
        y = (y * ((3 << 29) - ((v * (y * y >> 30)) >> 30))) >> 30
    return y
