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
# Bits of a fraction that decide how a product of floats is rounded: the smallest d of `float_round_up` is their unit.
FLOAT_FRACTION = _SIGNIFICAND + 1
# Bits of a whole number that is limited to them before an int8 zero point and a rounding are added: what is limited
# lies at least 512 - 129 from zero then, outside int8.
NEAR_BITS = 10


def away_from_zero(value, bit: int, enable):
    """`value` with 2**`bit` added if it is 0 or above, subtracted if below; as it is where `enable` is 0.

    The width stays; the caller knows that nothing runs over.
    """
    high = value[bit:].as_signed()
    return Cat(value[:bit], (high + Cat(enable, enable & (value < 0)).as_signed())[:len(high)]).as_signed()


def nudge(bit: int, enable, negative):
    """What `away_from_zero` adds, as (place, value) for a sum of more than `bit` + 1 bits, up to 64.

    `negative` may come from the signs of a product's operands instead of the product: they differ where it is 0, and
    there -1 and 0 give the same (above).
    """
    return bit, Cat(enable, (enable & negative).replicate(63 - bit))


def shift_right(value, shift, low: int, width: int):
    """(window, outside, below) of the signed `value` shifted right by `shift`.

    window: `width` bits from `low` on. outside: some bit above the window or its last differs from the sign of
    `value`. below: some bit under the window is not 0, those that the shift drops among them. Each level keeps the
    bits that later ones can bring into the window: a third of a whole shifter for a window of few bits.
    """
    sign = value[-1]
    outside = Const(0, 1)
    below = Const(0, 1)
    for level in reversed(range(len(shift))):
        by = 1 << level
        size = low + width + by - 1  # what later levels can bring down to the window or below it
        value = Cat(value, sign.replicate(max(size + by - len(value), 0)))
        differs = value ^ sign.replicate(len(value))
        outside = outside | Mux(shift[level], _any(differs[size + by:]), _any(differs[size:]))
        below = below | (shift[level] & value[:by].any())
        value = Mux(shift[level], value[by:by + size], value[:size])
    window = value[low:low + width]
    return window, outside | (window[-1] != sign), below | _any(value[:low])


def _any(value):
    return value.any() if len(value) else Const(0, 1)


def near(value, outside, sign):
    """`value` of NEAR_BITS bits, or the end of their range on the side of `sign` where it is `outside` of it."""
    return Mux(outside, Cat((~sign).replicate(NEAR_BITS - 1), sign), value).as_signed()


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


def float_round_up_window(window, below):
    """`float_round_up` for a `window` of the value: FLOAT_FRACTION bits of fraction, and NEAR_BITS of its whole part.

    In units of the window d is 2**k, k being the bits of n. `below`: something above 0 was cut off under the window.
    """
    fraction = window[:FLOAT_FRACTION - 1]  # without the half
    half = window[FLOAT_FRACTION - 1]
    odd = window[FLOAT_FRACTION]
    n = window[FLOAT_FRACTION:FLOAT_FRACTION + _INTEGER_BITS] ^ window[-1].replicate(_INTEGER_BITS)
    at_least = Cat(*(~n[k:].any() for k in range(_INTEGER_BITS)),
                   Const(-1, len(fraction) - _INTEGER_BITS))  # bit j: j >= k
    just_d = fraction == (at_least & ~(at_least << 1))[:len(fraction)]
    return Mux(odd, half | (fraction | ~at_least).all(), half & (fraction & at_least).any() & (below | ~just_d))


def clamp(value, low, high):
    """`value` limited to low..high, as int8."""
    return Mux(value < low, low, Mux(value > high, high, value[:8].as_signed()))
