"""Rounding as expressions, against Python's integers: every value of few bits, and edges and random values of many."""

import random
from itertools import product

import pytest
from amaranth.hdl import Module, Signal, signed
from lepton_hdl.tensor.rounding import (
    FLOAT_FRACTION,
    NEAR_BITS,
    POINT,
    away_from_zero,
    clamp,
    even_round_up,
    float_round_up,
    float_round_up_window,
    near,
    nudge,
    round_half_up,
    round_up,
    shift_right,
    to_float,
    whole,
)

from tests.hdl.expressions import evaluated
from tests.seeds import seeds

SIGNIFICAND = 24  # bits of a float32 (IEEE 754-2019, table 3.5)


def wrapped(value: int, bits: int) -> int:
    """The low bits of a value as two's complement."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def every(bits: int) -> range:
    """Every signed value of that width."""
    return range(-(1 << bits - 1), 1 << bits - 1)


def half_even(numerator: int, fraction: int) -> int:
    """numerator / 2**fraction as an integer, half to even."""
    below, rest = divmod(numerator, 1 << fraction)
    half = (1 << fraction) >> 1
    return below + (fraction > 0 and (rest > half or (rest == half and below % 2)))


def as_float32(numerator: int) -> int:
    """A number rounded to the bits of a float32's significand, half to even."""
    dropped = max(abs(numerator).bit_length() - SIGNIFICAND, 0)
    return half_even(numerator, dropped) << dropped


@pytest.mark.parametrize("bits, shift_bits, low, width", [(8, 2, 2, 3), (7, 2, 0, 3), (6, 3, 1, 2)])
def test_a_window_of_a_shifted_value(bits, shift_bits, low, width):
    value = Signal(signed(bits))
    shift = Signal(shift_bits)
    window, outside, below = shift_right(value, shift, low, width)
    rows = [*product(every(bits), range(1 << shift_bits))]
    for (v, s), found in zip(rows, evaluated(Module(), [value, shift], {
            "window": window, "outside": outside, "below": below}, rows), strict=True):
        whole_part = v >> s + low
        assert found == {"window": whole_part % (1 << width), "outside": whole_part not in every(width),
                         "below": v % (1 << s + low) != 0}, (v, s)


def test_a_number_is_limited_to_the_end_on_its_side():
    value = Signal(NEAR_BITS)
    outside = Signal()
    sign = Signal()
    rows = [*product((0, 1, 5, 1 << NEAR_BITS - 1, (1 << NEAR_BITS) - 1), (0, 1), (0, 1))]
    ends = {0: every(NEAR_BITS)[-1], 1: every(NEAR_BITS)[0]}
    for (v, out, negative), found in zip(rows, evaluated(Module(), [value, outside, sign], {
            "near": near(value, outside, sign)}, rows), strict=True):
        assert found["near"] == (ends[negative] if out else wrapped(v, NEAR_BITS)), (v, out, negative)


@pytest.mark.parametrize("bit", [0, 1, 4])
def test_half_away_from_zero(bit):
    value = Signal(signed(8))
    enable = Signal()
    rows = [(v, on) for v in every(7) for on in (0, 1)]
    for (v, on), found in zip(rows, evaluated(Module(), [value, enable], {
            "away": away_from_zero(value, bit, enable)}, rows), strict=True):
        assert found["away"] == v + on * (-1 if v < 0 else 1) * (1 << bit), (v, on)


@pytest.mark.parametrize("bit", [10, 30])
def test_a_nudge_adds_what_rounds_away_from_zero(bit):
    """In sums of up to 64 bits; the sign is given."""
    enable = Signal()
    negative = Signal()
    place, amount = nudge(bit, enable, negative)
    rows = [*product((0, 1), (0, 1))]
    for (on, below), found in zip(rows, evaluated(Module(), [enable, negative], {"amount": amount}, rows), strict=True):
        assert wrapped(found["amount"] << place, 64) == on * (-1 if below else 1) * (1 << bit), (on, below)


@pytest.mark.parametrize("fraction", [1, 3])
def test_half_up(fraction):
    value = Signal(signed(8))
    rows = [(v,) for v in every(8)]
    for (v,), found in zip(rows, evaluated(Module(), [value], {"up": round_half_up(value, fraction)}, rows),
                           strict=True):
        assert found["up"] == (v + (1 << fraction - 1)) >> fraction, v


def test_integers_of_a_fixed_point_value():
    """Halves, and the last bit more or less, of even and odd numbers of both signs."""
    value = Signal(signed(42))
    rows = [((n << POINT) + (1 << POINT - 1) + d,) for n in (-513, -128, -3, -2, -1, 0, 1, 2, 127, 511)
            for d in (-(1 << POINT - 1), -1, 0, 1)]
    for (v,), found in zip(rows, evaluated(Module(), [value], {
            "whole": whole(value), "up": round_up(value), "even": even_round_up(value)}, rows), strict=True):
        assert found["whole"] + found["up"] == (v + (1 << POINT - 1)) >> POINT, v
        assert found["whole"] + found["even"] == half_even(v, POINT), v


@pytest.mark.parametrize("seed", seeds())
def test_the_conversion_to_float32(seed):
    """Around every power of two, every tie of the bits that fall away, and random values."""
    rng = random.Random(seed)
    values = {sign * (1 << k) + d for k in range(31) for d in (-2, -1, 0, 1, 2) for sign in (1, -1)}
    values |= {sign * ((odd << dropped) + (1 << dropped - 1) + d) for dropped in range(1, 8) for d in (-1, 0, 1)
               for odd in (0x800000, 0x800001, 0xFFFFFE, 0xFFFFFF) for sign in (1, -1)}
    values |= {rng.randrange(-(1 << 31), 1 << 31) >> rng.randrange(12) for _ in range(300)}
    rows = [(v,) for v in values if v in every(32)]
    value = Signal(signed(32))
    for (v,), found in zip(rows, evaluated(Module(), [value], {"float": to_float(value)}, rows), strict=True):
        assert found["float"] == wrapped(as_float32(v), 32), v


def products_near_halves(rng: random.Random, count: int) -> list[tuple[int, int]]:
    """(product, right shift) of values below 256 that lie near n + 1/2: by the float's last unit, and by the last bit
    of the product."""
    found: list[tuple[int, int]] = []
    while len(found) < count:
        right = rng.choice([0, 1, 5, 20])
        n = rng.choice([0, 1, 2, 127, 128, 254, rng.randrange(255)])
        unit = n.bit_length() + POINT + right - SIGNIFICAND
        off = rng.choice([0, 1, -1, 2, -2]) * (1 << max(unit - 1, 0)) + rng.choice([0, 1, -1])
        product_ = ((2 * n + 1) << POINT + right - 1) + off
        found.append((rng.choice([1, -1]) * product_, right))
    return found


@pytest.mark.parametrize("seed", seeds())
def test_a_product_of_floats_becomes_an_integer(seed):
    """Rounded to a float32 first, then half to even: both forms, of the whole value and of a window."""
    rng = random.Random(seed)
    value = Signal(signed(64))
    right = Signal(5)
    # Signals, as the simulator evaluates an expression once for each use of it.
    shifted = Signal(signed(64))
    more = Signal()
    window = Signal(FLOAT_FRACTION + NEAR_BITS)
    below = Signal()
    parts = shift_right(value, right, POINT - FLOAT_FRACTION, len(window))
    m = Module()
    m.d.comb += [shifted.eq(value >> right), more.eq((value & ((1 << right) - 1)) != 0),
                 window.eq(parts[0]), below.eq(parts[2])]
    rows = products_near_halves(rng, 300)
    for (v, r), found in zip(rows, evaluated(m, [value, right], {
            "whole": whole(shifted), "up": float_round_up(shifted, more),
            "window": window[FLOAT_FRACTION:].as_signed(), "window_up": float_round_up_window(window, below)},
            rows), strict=True):
        wanted = half_even(as_float32(v), POINT + r)
        assert found["whole"] + found["up"] == wanted, (v, r)
        assert found["window"] + found["window_up"] == wanted, (v, r)


def test_a_clamp_gives_the_lower_limit_where_both_are_passed():
    value = Signal(signed(10))
    low = Signal(signed(8))
    high = Signal(signed(8))
    rows = [(v, lo, hi) for v in every(10) for lo, hi in ((-128, 127), (0, 6), (5, -5))]
    for (v, lo, hi), found in zip(rows, evaluated(Module(), [value, low, high], {
            "clamped": clamp(value, low, high)}, rows), strict=True):
        assert found["clamped"] == (lo if v < lo else min(v, hi)), (v, lo, hi)
