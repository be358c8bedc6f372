"""The tail's arithmetic in plain ints, and random operands for it.

The arithmetic is written out once more from gemmlowp's fixedpoint.h and TFLite's reference
kernels (common.h, add.h), apart from the golden model, so that the two cannot err together.
"""

import random
from fractions import Fraction

from lepton.arch import Rounding

from tests.bench.pins import signed

INT_MIN = -(1 << 31)
INT_MAX = (1 << 31) - 1


def saturating_rounding_doubling_high_mul(a: int, b: int) -> int:
    """gemmlowp fixedpoint.h; the division truncates towards zero, as C's does."""
    if a == b == INT_MIN:
        return INT_MAX
    nudged = a * b + ((1 << 30) if a * b >= 0 else 1 - (1 << 30))
    return nudged >> 31 if nudged >= 0 else -(-nudged >> 31)


def rounding_divide_by_pot(x: int, exponent: int) -> int:
    """gemmlowp fixedpoint.h."""
    mask = (1 << exponent) - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))


def float32(value: int) -> int:
    """The float32 nearest to an integer, half to even (IEEE 754); floats of this size are integers."""
    dropped = max(abs(value).bit_length() - 24, 0)
    nearest = round(Fraction(value, 1 << dropped))  # Python rounds fractions half to even
    return nearest << dropped


def clamp(value: int, low: int, high: int) -> int:
    """Compares with `low` first, which shows only where low > high (a command may say so)."""
    return low if value < low else min(value, high)


def requantized(acc: int, rounding: int, p: dict) -> int:
    """The tail's own value before the residual, as `lepton.arch.commands` defines it."""
    x = signed(signed(acc + p["bias"], 32) << p["left"], 32)
    if rounding == Rounding.FLOAT:
        y = round(Fraction(float32(signed(float32(x), 32) * p["multiplier"]), 1 << (31 + p["right"])))
    elif rounding == Rounding.SINGLE:
        y = (x * p["multiplier"] + (1 << (30 + p["right"]))) >> (31 + p["right"])
    else:
        y = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(x, p["multiplier"]), p["right"])
    return clamp(y + p["out_zero"], p["out_min"], p["out_max"])


def residual_added(y: int, r: int, p: dict) -> int:
    """TFLite's int8 ADD (reference_integer_ops/add.h AddFunc, left_shift 20) with right shifts given as positive;
    with `rounding` FLOAT the sum that is rounded once. With `multiply` its int8 MUL (reference_integer_ops/mul.h), or
    the product that is rounded once."""
    a = y - p["add_zero_a"]
    b = r - p["add_zero_b"]
    if p.get("multiply"):
        if p.get("rounding") == Rounding.FLOAT:
            scaled = round(Fraction(a * b * p["add_mult_o"] >> p["add_shift_o"], 1 << 31))
        else:
            scaled = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(a * b, p["add_mult_o"]),
                                            p["add_shift_o"])
        return clamp(scaled + p["add_zero_o"], p["add_min"], p["add_max"])
    if p.get("rounding") == Rounding.FLOAT:
        total = ((a * p["add_mult_a"] >> p["add_shift_a"]) + (b * p["add_mult_b"] >> p["add_shift_b"])
                 + p["add_mult_o"])
        total = round(Fraction(total << 20 >> p["add_shift_o"], 1 << 31))
        return clamp(total + p["add_zero_o"], p["add_min"], p["add_max"])

    def scale(difference, which):
        return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(
            difference << 20, p[f"add_mult_{which}"]), p[f"add_shift_{which}"])

    scaled = rounding_divide_by_pot(
        saturating_rounding_doubling_high_mul(scale(a, "a") + scale(b, "b"), p["add_mult_o"]), p["add_shift_o"])
    return clamp(scaled + p["add_zero_o"], p["add_min"], p["add_max"])


def pick(rng: random.Random, low: int, high: int) -> int:
    """A number in low..high: an end or a neighbour of zero often, otherwise of random magnitude."""
    if rng.random() < 0.3:
        return rng.choice([v for v in (low, low + 1, high, high - 1, -1, 0, 1) if low <= v <= high])
    value = rng.randint(low, high) >> rng.randrange(max(high.bit_length(), 1))
    return min(max(value, low), high)


def random_params(rng: random.Random) -> dict:
    """Parameters of one lane; half of them such that results land in int8."""
    if rng.random() < 0.5:
        return dict(bias=pick(rng, INT_MIN, INT_MAX), multiplier=pick(rng, INT_MIN, INT_MAX),
                    left=rng.randrange(32), right=rng.randrange(32))
    return dict(bias=rng.randint(-9999, 9999), multiplier=rng.randint(1 << 30, INT_MAX),
                left=rng.randrange(4), right=rng.randrange(8, 17))
