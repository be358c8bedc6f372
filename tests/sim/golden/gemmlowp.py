"""gemmlowp's fixed-point arithmetic, written out in Python integers."""

from lepton_sim.golden.numerics import (
    INT32_MAX,
    INT32_MIN,
)


def _truncating_divide(a, b):
    return abs(a) // b * (1 if a >= 0 else -1)


def srdhm(a, b):
    """gemmlowp fixedpoint.h, SaturatingRoundingDoublingHighMul, literally."""
    if a == b == INT32_MIN:
        return INT32_MAX
    product = a * b
    nudge = (1 << 30) if product >= 0 else 1 - (1 << 30)
    return _truncating_divide(product + nudge, 1 << 31)


def rdbpot(x, exponent):
    """gemmlowp fixedpoint.h, RoundingDivideByPOT, literally."""
    mask = (1 << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if remainder > threshold else 0)
