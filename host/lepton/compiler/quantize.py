"""The chip's multipliers for both arithmetics (`Arithmetic`), and the parameter records of its tail."""

import math

import numpy as np

from ..arch.commands import PARAM_WORDS, UNIFORM_PARAM_WORDS
from ..graph import GraphError
from ..graph.numerics.fixedpoint import quantize_multiplier, scale_twice_rounded

Shift = int | np.ndarray  # one for all channels, or (channels,)
_INT32_MAX = 2**31 - 1
# FLOAT converts (row + bias) << left to float32 as the frameworks do, as long as the result is an int32. Below 2**31
# float32 has steps of 128, so that sums from 2**31 - 64 on are rounded to 2**31.
_FLOAT_LIMIT = 2**31 - 64


def reach(bias: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(O,) how far from 0 the sums of each channel can be: of `bias` (O,) and int8 times `weights` (O, ...)."""
    return np.abs(bias) + 128 * np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)


def float_multiplier(scale: np.float32) -> tuple[int, int]:
    """(multiplier, shift) with scale = multiplier * 2**(shift - 31), exactly, for `Rounding.FLOAT`.

    A scale below 2**-32 becomes 0: it brings no int32 above one half. Raises `GraphError` for a scale that is not
    finite or not positive.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise GraphError(f"the scale of a layer's result must be finite and above 0, not {scale}")
    mantissa, shift = math.frexp(float(np.float32(scale)))
    return (0, 0) if shift < -31 else (int(mantissa * 2**31), shift)


def check_float_range(bias: np.ndarray, weights: np.ndarray, shift: np.ndarray) -> None:
    """Raise `GraphError` where a row could leave the range in which `Rounding.FLOAT` is the frameworks'.

    bias: (O,), the zero point's part included. weights: (O, ...) int8. shift: (O,), positive is left.
    """
    far = reach(bias, weights)
    wide = far << np.maximum(shift, 0) >= _FLOAT_LIMIT
    if wide.any():
        channel = int(wide.argmax())
        raise GraphError(f"output channel {channel} can reach {far[channel]} * 2**{max(int(shift[channel]), 0)} "
                         f"before it is rounded in float32; the chip takes less than {_FLOAT_LIMIT}. Use a larger "
                         "output scale or smaller weights and bias")


def average_multiplier(count: int) -> tuple[int, int, int]:
    """(multiplier, left, right) that divide the sum of `count` int8 values as TFLite's AveragePool does.

    That is, rounding half away from zero. Right shift 22 keeps enough of the quotient that neither rounding
    of the requantizer can move it across a half. The result is checked: as neither function of the sum ever
    decreases, they are the same for every sum if they are at the two sums around every step.
    Raises `GraphError` where `count` has no exact multiplier.
    """
    steps = np.arange(-127, 128, dtype=np.int64)
    first = np.where(steps > 0, steps * count - count // 2, (steps - 1) * count + count // 2 + 1)
    sums = np.concatenate([first, first - 1, [-128 * count, 127 * count]])
    wanted = np.concatenate([steps, steps - 1, [-128, 127]])
    for right in (22, 23, 21, 20, 19, 18):
        multiplier, shift = quantize_multiplier(2.0**right / count)
        if not 0 <= shift <= 31 or 128 * count << shift > _INT32_MAX:
            continue
        if np.array_equal(scale_twice_rounded(sums, multiplier, shift, right), wanted):
            return multiplier, shift, right
    raise GraphError(f"an average over {count} values has no exact multiplier; use a smaller pooling window")


def fits_uniform(bias: np.ndarray) -> bool:
    """True where biases (int64) fit the int24 of a record of a `uniform` command."""
    limit = 1 << (8 * UNIFORM_PARAM_WORDS - 1)
    return bool((bias >= -limit).all() and (bias < limit).all())


def pack_uniform(bias: np.ndarray, lanes: int) -> bytes:
    """The parameter record of up to `lanes` channels for a `uniform` command; see `fits_uniform`."""
    record = np.zeros((UNIFORM_PARAM_WORDS, lanes), np.uint8)
    planes = bias.astype("<i4").view(np.uint8).reshape(-1, 4).T
    record[:, :len(bias)] = planes[:UNIFORM_PARAM_WORDS]
    return record.tobytes()


def pack_parameters(bias: np.ndarray, multiplier: np.ndarray, shift: Shift | tuple[Shift, Shift],
                    lanes: int) -> bytes:
    """The parameter record of up to `lanes` channels: `PARAM_WORDS` words of `lanes` bytes.

    `bias` is taken modulo 2**32, `shift` is TFLite's (positive is left) or a pair (left, right).
    Lanes beyond the given channels have multiplier 0, so that they give the zero point.
    """
    channels = len(bias)
    record = np.zeros((PARAM_WORDS, lanes), np.uint8)
    left, right = shift if isinstance(shift, tuple) else (np.maximum(shift, 0), np.maximum(-np.asarray(shift), 0))
    record[0:4, :channels] = (np.asarray(bias, np.int64) & 0xFFFFFFFF).astype("<u4").view(np.uint8).reshape(-1, 4).T
    record[4:8, :channels] = np.asarray(multiplier).astype("<i4").view(np.uint8).reshape(-1, 4).T
    record[8, :channels] = left
    record[9, :channels] = right
    return record.tobytes()
