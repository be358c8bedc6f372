"""One lane of the residual add: TFLite's int8 ADD on a finished value and a residual."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .rounding import clamp, doubling_high, rounding_divide_by_pot, saturate

# scale both, round, shift and add, scale the sum, round, saturate, shift and zero point, clamp
STAGES = 8
# The stages at which parameters are used.
SCALE, SHIFT, SCALE_SUM, SHIFT_SUM, CLAMP = 0, 2, 3, 6, 7

# ADD scales (x - zero) << 20 by an int32 multiplier (TFLite `add.h`, left_shift = 20); taking
# the 20 out of the 31 fraction bits saves the shift and keeps the product at 41 bits. Such a
# product never saturates.
_INPUT_FRACTION = 31 - 20


class ResidualAdd(wiring.Component):
    """y and the residual, each scaled, added, scaled again and clamped; or y alone, STAGES cycles later.

    Members
    -------
    valid: bit s is set when stage s holds a row; `y` and `residual` enter at stage 0.
    add and the parameters (`lepton.arch.Tensor`, add_*): each stable while the stage that uses it
        holds a row (SCALE: zeros and multipliers, SHIFT: shifts, SCALE_SUM: mult_o, SHIFT_SUM:
        shift_o and zero_o, CLAMP: the rest).
    """

    y: In(signed(8))
    residual: In(signed(8))
    valid: In(STAGES)
    add: In(1)
    zero_a: In(signed(8))
    zero_b: In(signed(8))
    zero_o: In(signed(8))
    low: In(signed(8))
    high: In(signed(8))
    mult_a: In(signed(32))
    mult_b: In(signed(32))
    mult_o: In(signed(32))
    shift_a: In(5)
    shift_b: In(5)
    shift_o: In(5)
    out: Out(signed(8))

    def elaborate(self, platform):
        m = Module()
        product_a, product_b = Signal(signed(41)), Signal(signed(41))
        rounded_a, rounded_b = Signal(signed(32)), Signal(signed(32))
        total, product = Signal(signed(32)), Signal(signed(64))
        rounded, scaled, wide = Signal(signed(33)), Signal(signed(32)), Signal(signed(34))
        own = [self.y, *(Signal(signed(8), name=f"own{s}") for s in range(1, STAGES))]
        for s in range(STAGES - 1):
            with m.If(self.valid[s]):
                m.d.sync += own[s + 1].eq(own[s])

        with m.If(self.valid[SCALE]):
            m.d.sync += [
                product_a.eq((self.y - self.zero_a) * self.mult_a),
                product_b.eq((self.residual - self.zero_b) * self.mult_b),
            ]
        with m.If(self.valid[1]):
            m.d.sync += [
                rounded_a.eq(doubling_high(product_a, _INPUT_FRACTION)),
                rounded_b.eq(doubling_high(product_b, _INPUT_FRACTION)),
            ]
        with m.If(self.valid[SHIFT]):
            m.d.sync += total.eq(rounding_divide_by_pot(rounded_a, self.shift_a)
                                 + rounding_divide_by_pot(rounded_b, self.shift_b))
        with m.If(self.valid[SCALE_SUM]):
            m.d.sync += product.eq(total * self.mult_o)
        with m.If(self.valid[4]):
            m.d.sync += rounded.eq(doubling_high(product))
        with m.If(self.valid[5]):
            m.d.sync += scaled.eq(saturate(rounded))
        with m.If(self.valid[SHIFT_SUM]):
            m.d.sync += wide.eq(rounding_divide_by_pot(scaled, self.shift_o) + self.zero_o)
        with m.If(self.valid[CLAMP]):
            m.d.sync += self.out.eq(Mux(self.add, clamp(wide, self.low, self.high), own[CLAMP]))
        return m
