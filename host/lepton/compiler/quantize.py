"""TFLite's integer arithmetic: multipliers, and the parameter records of the chip's tail.

Formulas are those of TFLite's `kernels/internal/quantization_util.cc`, `kernels/kernel_util.cc` and the
reference kernels, computed in the same floating-point types, because the last bit of a multiplier shows.
"""

import math

import numpy as np

from ..arch.commands import PARAM_WORDS
from ..graph import GraphError

_INT32_MAX = 2**31 - 1


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift) with real = multiplier * 2**(shift - 31), as TFLite's QuantizeMultiplier."""
    if real == 0:
        return 0, 0
    mantissa, shift = math.frexp(real)
    multiplier = math.floor(mantissa * 2**31 + 0.5)  # std::round, for a mantissa that is not negative
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def conv_scales(source: np.ndarray, weights: np.ndarray, output: np.ndarray, per_channel: bool) -> np.ndarray:
    """Effective float64 scales of a convolution or fully connected layer, one per weight scale.

    Per channel, TFLite multiplies in double; per tensor its fully connected kernel multiplies the two
    float32 scales in float32 (GetQuantizedConvolutionMultipler).
    """
    source, weights, output = (np.asarray(s, np.float32) for s in (source, weights, output))
    if per_channel:
        return source.astype(np.float64) * weights.astype(np.float64) / output.astype(np.float64)
    return (source * weights).astype(np.float64) / output.astype(np.float64)


def add_parameters(scale_a: float, scale_b: float, scale_o: float) -> dict[str, int]:
    """The multipliers and right shifts of a TFLite int8 ADD as fields of the TENSOR command."""
    a, b, o = (float(np.float32(s)) for s in (scale_a, scale_b, scale_o))
    twice = 2 * max(a, b)
    fields = {}
    for name, real in (("a", a / twice), ("b", b / twice), ("o", twice / ((1 << 20) * o))):
        multiplier, shift = quantize_multiplier(real)
        if shift > 0:
            raise GraphError(f"an addition whose output scale {o} is less than 2**-20 of its inputs' ({a}, {b}) "
                             "cannot be computed, in TFLite either")
        fields[f"add_mult_{name}"], fields[f"add_shift_{name}"] = multiplier, -shift
    return fields


def requantize(values: np.ndarray, multiplier: int, left: int, right: int) -> np.ndarray:
    """MultiplyByQuantizedMultiplier with double rounding on int64 `values`; the shifted value must fit int32."""
    product = (values << left) * multiplier
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = (product + nudge) // 2**31
    truncates_up = (product + nudge < 0) & ((product + nudge) % 2**31 != 0)  # C division rounds toward zero
    high = high + truncates_up
    mask = (1 << right) - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> right) + ((high & mask) > threshold)


def rounded_once(multiplier: int, shift: int, sums: tuple[int, int], results: tuple[int, int]) -> tuple[int, int, int]:
    """(multiplier, left, right) with which the tail's two roundings give what one rounding gives.

    LiteRT's fully connected kernels, the reference ones too, compute (sum * multiplier + half) >> (31 - shift),
    half up, where its convolutions round twice. A sum that is shifted far left first leaves the first
    rounding so little to do that it hardly ever moves a result across a half. Neither function of the sum ever
    decreases, so they are the same if they are at the two sums around every step. `sums`, `results`: lowest and
    highest that can occur, or matter. Where thousands of inputs leave no room for the shift, one or two
    sums of all may remain that come out one step off: the parameters with the fewest are returned.
    """
    low, high = sums
    total = 31 - shift

    def first_with(result: int) -> int:
        """The lowest sum that gives `result` or more."""
        if multiplier == 0:
            return high + 1 if result > 0 else low
        return -(((1 << total - 1) - (result << total)) // multiplier)

    steps = range(results[0] + 1, results[1] + 1)
    first = np.array([min(max(first_with(k), low), high + 1) for k in steps], np.int64)
    wanted, best, fewest = np.array(steps, np.int64), (multiplier, *split_shift(shift)), len(steps) + 1
    for candidate in _near(multiplier, shift, max(abs(low), abs(high), 1)):
        late = (first <= high) & (requantize(np.minimum(first, high), *candidate) < wanted)
        early = (first > low) & (requantize(np.maximum(first - 1, low), *candidate) >= wanted)
        if (wrong := int((late | early).sum())) < fewest:
            best, fewest = candidate, wrong
        if not fewest:
            break
    return best


def _near(multiplier: int, shift: int, largest: int):
    """Parameters that stand for about the same factor: exact ones first, then the finest."""
    room = 31 - largest.bit_length()  # left shifts that keep every sum in int32
    if 0 <= shift <= room:
        yield multiplier, shift, 0  # the first rounding is the only one, and rounds half up
    if shift < 0 and multiplier % (1 << -shift) == 0:
        yield multiplier >> -shift, 0, 0
    for left in range(min(room, 31 + shift, 31), max(shift, 0) - 1, -1):
        for change in (0, 1, -1, 2, -2, 3, -3, 4, -4):
            if 0 <= multiplier + change <= _INT32_MAX:
                yield multiplier + change, left, left - shift


def average_multiplier(count: int) -> tuple[int, int, int]:
    """(multiplier, left, right) that divide the sum of `count` int8 values as TFLite's AveragePool does.

    That is, rounding half away from zero. Right shift 22 keeps enough of the quotient that neither rounding
    of the requantizer can move it across a half; the result is checked for every possible sum.
    Raises `GraphError` where `count` has no exact multiplier.
    """
    sums = np.arange(-128 * count, 127 * count + 1, dtype=np.int64)
    wanted = np.where(sums > 0, (sums + count // 2) // count, -((-sums + count // 2) // count))
    for right in (22, 23, 21, 20, 19, 18):
        multiplier, shift = quantize_multiplier(2.0**right / count)
        if not 0 <= shift <= 31 or 128 * count << shift > _INT32_MAX:
            continue
        if np.array_equal(requantize(sums, multiplier, shift, right), wanted):
            return multiplier, shift, right
    raise GraphError(f"an average over {count} values has no exact multiplier; use a smaller pooling window")


def mean_multiplier(scale_in: float, scale_out: float, count: int) -> tuple[int, int]:
    """(multiplier, shift) of TFLite's integer MEAN over `count` values (QuantizedMeanOrSum)."""
    multiplier, shift = quantize_multiplier(float(np.float32(scale_in)) / float(np.float32(scale_out)))
    by = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << by) // count, shift - by


def split_shift(shift: int) -> tuple[int, int]:
    """(left, right) of a TFLite shift."""
    return max(shift, 0), max(-shift, 0)


def pack_parameters(bias, multiplier, shift, lanes: int) -> bytes:
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
