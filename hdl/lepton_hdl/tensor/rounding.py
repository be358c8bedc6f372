"""Rounding as expressions: TFLite's fixed point, and the float32 of ONNX Runtime and PyTorch, both on integers.

**Fixed point** (gemmlowp `fixedpoint.h`). A product P is rounded at bit 31 (SaturatingRoundingDoublingHighMul:
half up, v = floor((P + 2**30) / 2**31)), then at bit 31 + r (RoundingDivideByPOT: half away from zero, for r > 0
floor((v + 2**(r-1) - (v < 0)) / 2**r)). As floors nest, both are

    floor((floor((P ± 2**30) / 2**r) + 2**30) / 2**31)    - where v < 0, + elsewhere; neither where r = 0

and P < 0 may stand for v < 0, because where they differ v is 0, and 0 and -1 both give 0. So one addition, one shift
and a carry do it (`away_from_zero`, `>>`, `round_up`). The saturation of INT_MIN * INT_MIN to INT_MAX changes no
int8: with r = 0 either is clamped, with r > 0 they round to the same.

**float32.** A number is rounded to 24 significant bits, half to even, when an int32 becomes float32 (`to_float`) and
when two floats are multiplied; then to an integer, half to even. The last two happen together in `float_round_up`.

Every step is meant to end in a register of its own: a value that is used twice and not registered is evaluated by
the simulator in every cycle, and a multiplier followed by two roundings would be a long path in hardware.
"""

from amaranth.hdl import Cat, Const, Mux

POINT = 31  # fraction bits of a shifted product
_SIGNIFICAND = 24  # bits of a float32
_INTEGER_BITS = 8  # of a result that an int8 zero point can bring back into int8


def away_from_zero(value, bit: int, enable):
    """`value` with 2**`bit` added if it is 0 or above, subtracted if below; as it is where `enable` is 0.

    The width stays; the caller knows that nothing runs over.
    """
    high = value[bit:].as_signed()
    return Cat(value[:bit], (high + Cat(enable, enable & (value < 0)).as_signed())[:len(high)]).as_signed()


def round_half_up(value, fraction: int):
    """value / 2**fraction, rounded half up."""
    return (value[fraction - 1:].as_signed() + 1) >> 1


def to_float(value):
    """An int32 rounded to 24 significant bits, half to even, as the conversion to float32 does it; modulo 2**32."""
    magnitude = value ^ value[31].replicate(32)  # off by one below zero, which shows only where nothing is rounded
    nudge = Const(0, 7)
    keep = Const(-1, 32)
    for dropped in range(1, 32 - _SIGNIFICAND):
        reaches = magnitude[_SIGNIFICAND - 1 + dropped]
        nudge = Mux(reaches, (1 << dropped - 1) - 1 + value[dropped], nudge)
        keep = Mux(reaches, Const(-1 << dropped, 32), keep)
    return ((value + nudge) & keep)[:32].as_signed()


def whole(value):
    """The integer at or below `value`, which has POINT fraction bits; a slice, since `>>` keeps the width."""
    return value[POINT:].as_signed()


def round_up(value):
    """1 where `value`, with POINT fraction bits, rounds half up to the integer above its floor."""
    return value[POINT - 1]


def even_round_up(value):
    """1 where `value`, with POINT fraction bits, rounds half to even to the integer above its floor."""
    return value[POINT - 1] & (value[:POINT - 1].any() | value[POINT])


def float_round_up(value, more):
    """As `even_round_up`, for a product of floats: it is rounded to 24 significant bits before.

    `more` says that something above 0 was cut off `value`. A float near n + 1/2 that lies no further from it than
    half a unit in its last place, d, became n + 1/2 itself. So with an even n what is above n + 1/2 + d goes up, with
    an odd one what is not below n + 1/2 - d. In units of 2**-31, d is 2**(6 + bits of n). Where n has more than
    eight bits the result is clamped, whatever is added here.
    """
    n = value[POINT:POINT + _INTEGER_BITS] ^ value[-1].replicate(_INTEGER_BITS)
    unit = POINT - _SIGNIFICAND - 1
    d = Const(1 << unit, unit + _INTEGER_BITS + 1)
    for bit in range(_INTEGER_BITS):
        d = Mux(n[bit], Const(1 << unit + 1 + bit, unit + _INTEGER_BITS + 1), d)
    half = 1 << POINT - 1
    return value[:POINT] >= Mux(value[POINT], (half - d)[:POINT], (half + d + ~more)[:POINT])


def clamp(value, low, high):
    """`value` limited to low..high, as int8."""
    return Mux(value < low, low, Mux(value > high, high, value[:8].as_signed()))
