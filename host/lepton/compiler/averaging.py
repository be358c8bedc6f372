"""Averages over windows: parameters with which the chip, which adds integers, gives the framework's every result.

ONNX Runtime and PyTorch add float32 numbers one by one, so rounding errors depend on the order of the pixels. They
change a result only where an average is close to a half; a window has few different sums, and all of them are checked.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..graph import Arithmetic, AveragePool2D, GraphError, Quantization, Tensor
from ..graph.core import FULL
from ..graph.numerics.fixedpoint import split_shift
from ..graph.numerics.requantize import float_average_scale, from_reals, from_sums
from . import quantize

Record = tuple[int, int, int, int]  # bias, multiplier, left shift, right shift
# Pixels of the largest window whose sums are checked: 8192 pixels have 2 million sums, which takes 0.05 s for each
# number of pixels. Larger windows are the host's.
_MOST = 1 << 13
_STEP = 2.0**-24  # what rounding to float32 can change, relative to the number


def float_averages(source: tuple[float, int], output: tuple[float, int], counts: Sequence[int],
                   op: AveragePool2D, arithmetic: Arithmetic) -> tuple[int, list[Record]]:
    """(output zero point, records) for windows of `counts` pixels, in `Rounding.FLOAT`.

    source, output: scale and zero point. The output's zero point may be another than the network's, with the bias
    making up for it: ONNX Runtime adds it before it rounds, the chip after, and where it is odd ties go the other way.
    Raises `GraphError` where no parameters give every result.
    """
    zero = output[1]
    for other in (zero, zero - 1 if zero > -128 else zero + 1):
        records = [_float_record(source, output, count, op, arithmetic, other) for count in counts]
        found = [record for record in records if record is not None]
        if len(found) == len(records):
            return other, found
    raise GraphError(f"averages over {' and '.join(map(str, sorted(set(counts))))} values depend on how float32 rounds "
                     "sums; the chip takes averages that are not close to a half, such as those of an odd number of "
                     "values with one scale")


def _float_record(source: tuple[float, int], output: tuple[float, int], count: int, op: AveragePool2D,
                  arithmetic: Arithmetic, zero: int) -> Record | None:
    """The record that gives every average with the output's zero point `zero`; None if there is none."""
    if count > _MOST:
        return None
    sums = np.arange((-128 - source[1]) * count, (127 - source[1]) * count + 1, dtype=np.int64)
    wanted = _float_results(sums, source, output, count, op, arithmetic)
    more = (output[1] - zero) * output[0] * count / source[0]
    if wanted is None or more != int(more):
        return None
    scale = float_average_scale(arithmetic, source[0], output[0], count)
    multiplier, shift = quantize.float_multiplier(scale)
    if shift > 0 and int(np.abs(sums).max() + abs(more)) << shift >= 1 << 30:
        return None
    given = from_sums(arithmetic, sums + int(more), np.atleast_1d(scale), zero, FULL)
    if not np.array_equal(given, wanted):
        return None
    return int(more) - source[1] * count, multiplier, *split_shift(shift)


def _float_results(sums: np.ndarray, source: tuple[float, int], output: tuple[float, int], count: int,
                   op: AveragePool2D, arithmetic: Arithmetic) -> np.ndarray | None:
    """The framework's result for each sum of `count` values less their zero point; None where it depends on more."""
    significand = int(math.frexp(source[0])[0] * 2**24)
    bits = significand.bit_length() - (significand & -significand).bit_length() + 1
    if bits + 9 + count.bit_length() <= 24:  # products and sums are exact: the rest is done in one way
        mean = (sums * source[0]).astype(np.float32) / np.float32(count)
        tensor = Tensor("average", mean.shape, np.dtype(np.int8), Quantization(
            np.array([output[0]], np.float32), np.array([output[1]], np.int32)))
        return from_reals(arithmetic, mean, tensor, replace(op, clamp=FULL))
    reals = sums * (source[0] / (output[0] * count))
    most = float(np.abs(sums).max()) / count * source[0] / output[0]
    error = _STEP * ((count + 5) * most + most + 256)
    to_half = np.abs(reals - np.floor(reals) - 0.5)
    shown = (reals + output[1] > -129) & (reals + output[1] < 128)
    if (to_half[shown] <= error).any():
        return None
    return np.clip(np.rint(reals) + output[1], -128, 127).astype(np.int8)


def unsigned_average(count: int) -> Record:
    """TFLite's averages of uint8, ties up, in `Rounding.SINGLE` with the output's zero point -128.

    With 128 more for every value sums are those of uint8, from 0 on, and with a multiplier a little above 1/count ties
    go up; it is tried on all sums. Raises `GraphError` where a window is so large that no multiplier does.
    """
    sums = np.arange(255 * min(count, _MOST) + 1, dtype=np.int64)
    wanted = (sums + count // 2) // count
    right = max((count - 1).bit_length() - 1, 0)
    left = int(count == 1)
    multiplier = -(-(1 << 31 + right - left) // count)
    given = ((sums << left) * multiplier + (1 << 30 + right)) >> 31 + right
    if count > _MOST or multiplier >= 1 << 31 or not np.array_equal(given, wanted):
        raise GraphError(f"an average over {count} values has no exact multiplier; use a smaller pooling window")
    return 128 * count, multiplier, left, right
