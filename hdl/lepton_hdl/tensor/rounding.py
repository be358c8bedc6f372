"""The rounding steps of TFLite's fixed-point requantization, as expressions.

gemmlowp `fixedpoint.h`, which TFLite's reference kernels use with double
rounding; the names are theirs. The golden model has the same functions in
numpy, held against LiteRT.
"""

from amaranth.hdl import Const, Mux, Signal, signed


def doubling_high_mul(m, product, name: str, fraction: int = 31):
    """SaturatingRoundingDoublingHighMul of a full product: (product + 2**(fraction-1)) >> fraction.

    The reference adds a nudge that depends on the sign and then truncates towards zero, which
    is the same as rounding half up. Only INT_MIN * INT_MIN leaves int32; it saturates.
    """
    # No product of two's complement numbers reaches the top bit, so the nudge cannot overflow it.
    nudged = Signal(signed(len(product)), name=f"{name}_product")
    rounded = Signal(signed(len(product) - fraction), name=f"{name}_rounded")
    m.d.comb += [nudged.eq(product + (1 << (fraction - 1))), rounded.eq(nudged >> fraction)]
    if len(rounded) <= 32:
        return rounded
    limit = (1 << 31) - 1
    return Mux(rounded > limit, Const(limit, signed(32)), rounded[:32].as_signed())


def rounding_divide_by_pot(m, value, exponent, name: str):
    """RoundingDivideByPOT: value / 2**exponent, half away from zero; `exponent` has 5 bits.

    For a positive exponent that is (value + half - (value < 0)) >> exponent.
    """
    half = Signal(31, name=f"{name}_half")
    nudged = Signal(signed(len(value) + 1), name=f"{name}_nudged")
    m.d.comb += [
        half.eq((Const(1, 32) << exponent) >> 1),
        nudged.eq(value + half - ((value < 0) & (exponent != 0))),
    ]
    return nudged >> exponent


def clamp(m, value, low, high, name: str):
    """`value` limited to low..high, as int8."""
    wide = Signal(signed(len(value)), name=f"{name}_wide")
    m.d.comb += wide.eq(value)
    return Mux(wide < low, low, Mux(wide > high, high, wide[:8].as_signed()))
