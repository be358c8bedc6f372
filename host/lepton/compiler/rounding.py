"""LiteRT's fully connected layers, which multiply in double, on the chip's integer multiplier.

LiteRT rounds acc * scale in float64, half away from zero (`docs/decisions/09-rounding.md`). The tail has a multiplier
of 31 bits and rounds once, half up, or twice, half away from zero. Which of the two gives LiteRT's byte for every
accumulator that a channel can reach is tried: none of these functions ever decreases, so they are equal if they are at
the sums around every step.
"""

import numpy as np

from ..arch import Rounding
from ..graph import GraphError
from ..graph.numerics.fixedpoint import quantize_multiplier, scale_twice_rounded
from ..graph.numerics.rounding import half_away

STEPS = np.arange(-256, 256)  # more than a byte has, whatever the zero point


def rounded(sums: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """What LiteRT makes of int64 `sums`: the double product, rounded half away from zero."""
    return half_away(np.asarray(sums, np.float64) * scale).astype(np.int64)


def exact(scale: float, reach: int) -> dict[Rounding, tuple[int, int, int]]:
    """(multiplier, left, right) for each rounding of the tail with which sums up to +-`reach` come out as LiteRT's."""
    multiplier, shift = quantize_multiplier(scale)
    at = np.floor((STEPS + 0.5) / scale).clip(-reach, reach).astype(np.int64) if scale else np.zeros(1, np.int64)
    sums = np.unique((at[:, None] + np.arange(-1, 3)).clip(-reach, reach))
    wanted = rounded(sums, scale).clip(STEPS[0], STEPS[-1])
    found: dict[Rounding, tuple[int, int, int]] = {}

    def tried(rounding: Rounding, values: np.ndarray, left: int, right: int) -> None:
        if np.array_equal(values.clip(STEPS[0], STEPS[-1]), wanted):
            found[rounding] = multiplier, left, right

    if -31 <= shift <= 31:
        left = max(shift, 0)
        right = max(-shift, 0)
        if reach << left < 2**31:
            tried(Rounding.SINGLE, (sums << left) * multiplier + (1 << (30 + right)) >> (31 + right), left, right)
        # As far left as the sums may go: that makes the first of the two roundings finer.
        left = max(min(31 - reach.bit_length(), 31 + shift), shift, 0)
        if left <= 31 and reach << left < 2**31:
            tried(Rounding.DOUBLE, scale_twice_rounded(sums, multiplier, left, left - shift), left, left - shift)
    return found


def fully_connected(scales: np.ndarray, reach: np.ndarray, where: str
                    ) -> tuple[Rounding, np.ndarray, np.ndarray, np.ndarray]:
    """The rounding of a layer, and its channels' multipliers and shifts (left, right).

    scales: (O,) float64. reach: (O,) how far from 0 the sums of each channel can be, bias included. Raises GraphError
    where no one rounding is exact for all channels.
    """
    unique, places = np.unique(np.stack([scales, reach.astype(np.float64)]), axis=1, return_inverse=True)
    if np.all(unique[0] == unique[0, 0]):  # one scale: what is exact for the largest reach is for all
        unique = unique[:, [unique[1].argmax()]]
        places = np.zeros(len(scales), np.int64)
    choices = [exact(float(scale), int(far)) for scale, far in unique.T]
    for rounding in (Rounding.SINGLE, Rounding.DOUBLE):
        if all(rounding in choice for choice in choices):
            multiplier, left, right = np.array([choice[rounding] for choice in choices], np.int64)[places.ravel()].T
            return rounding, multiplier, left, right
    raise GraphError(f"{where}: TFLite rounds its sums in double; with these scales no multiplier of 31 bits gives the "
                     "same for all of them")
