"""Formulas that vector instructions compute, for operators on two int8 operands.

Each is a candidate: the caller compares it with all 65 536 results of the operator.
"""

from collections.abc import Iterator

import numpy as np

Kind = tuple[str, float | None, int]  # data type, scale, zero point

# Added away from zero and upwards before a number is rounded to the nearest: operators round halves in various ways.
_NUDGES = ((0.0, 0.0), *((way * n, (1 - way) * n) for exponent in (17, 15, 12)
                         for n in (2.0**-exponent, -(2.0**-exponent)) for way in (1, 0)))


def formulas(table: np.ndarray, first: Kind, second: Kind, output: Kind) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Loops of `loops.pairs` and their arguments, the fastest first, for the table of results by both operands."""
    scale_a, scale_b, scale = (np.float32(kind[1]) for kind in (first, second, output))
    zero_a, zero_b, zero = (kind[2] for kind in (first, second, output))
    low = int(table.min())
    high = int(table.max())
    by_a = float(scale_a) / float(scale)
    by_b = float(scale_b) / float(scale)
    for product, *factors in ((True, float(scale_a) * by_b, 0.0), (False, by_a, by_b), (False, by_a, -by_b)):
        for outwards, upwards in _NUDGES:
            yield "linear", (product, zero_a, zero_b, *factors, outwards, zero + upwards, low, high)
    for up in (0, 128):  # the framework's values are int8, or uint8
        ratio_a = scale_a / scale
        ratio_b = scale_b / scale
        rest = np.float32(zero + up) - (ratio_a * np.float32(zero_a + up) + ratio_b * np.float32(zero_b + up))
        yield "fused_sum", (up, float(ratio_a), float(ratio_b), float(rest), low, high)
