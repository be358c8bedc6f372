"""The rounding steps of TFLite's fixed-point requantization, as expressions.

gemmlowp `fixedpoint.h`, which TFLite's reference kernels use with double
rounding; the names are theirs. The golden model has the same functions in
numpy, held against LiteRT.

Every step is meant to end in a register of its own: a value that is used twice
and not registered is evaluated by the simulator in every cycle, and a multiplier
followed by two roundings would be a long path in hardware.
"""

from amaranth.hdl import Const, Mux, signed

INT32_MAX = (1 << 31) - 1


def doubling_high(product, fraction: int = 31):
    """SaturatingRoundingDoublingHighMul before saturation: (product + 2**(fraction-1)) >> fraction.

    The reference adds a nudge that depends on the sign and then truncates towards zero, which
    is the same as rounding half up. Dropping all bits but one below the point first gives the
    same value with a short adder.
    """
    return round_last_bit(product >> (fraction - 1))


def round_last_bit(value):
    """Half of `value`, rounded half up."""
    return (value + 1) >> 1


def saturate(rounded):
    """SaturatingRoundingDoublingHighMul's saturation: only INT_MIN * INT_MIN leaves int32, and upwards."""
    return Mux(rounded > INT32_MAX, Const(INT32_MAX, signed(32)), rounded[:32].as_signed())


def rounding_divide_by_pot(value, exponent):
    """RoundingDivideByPOT: value / 2**exponent, half away from zero; `exponent` has 5 bits.

    For a positive exponent that is (value + half - (value < 0)) >> exponent.
    """
    half = (Const(1, 32) << exponent)[1:32]
    return (value + half - ((value < 0) & (exponent != 0))) >> exponent


def rounding_divide(value, exponent, single):
    """RoundingDivideByPOT, or with `single` (value / 2) / 2**exponent rounded once, half up."""
    one = (Const(1, 32) << exponent)[:32]
    nudge = Mux(single, one, one[1:] - ((value < 0) & (exponent != 0)))
    return (value + nudge) >> (exponent + single)


def clamp(value, low, high):
    """`value` limited to low..high, as int8."""
    return Mux(value < low, low, Mux(value > high, high, value[:8].as_signed()))
