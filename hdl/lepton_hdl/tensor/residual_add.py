"""One lane of the residual add: TFLite's int8 ADD on a finished value and a residual, five cycles."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .rounding import clamp, doubling_high_mul, rounding_divide_by_pot

# ADD scales (x - zero) << 20 by an int32 multiplier (TFLite `add.h`, left_shift = 20); taking
# the 20 out of the 31 fraction bits saves the shift and keeps the product at 41 bits.
_INPUT_FRACTION = 31 - 20


class ResidualAdd(wiring.Component):
    """y and the residual, each scaled, added, scaled again and clamped; or y alone, five cycles later.

    Members
    -------
    valid: bit s is set when stage s holds a row; `y` and `residual` enter at stage 0.
    add and the parameters (`lepton.arch.Tensor`, add_*): each stable while the stage that uses it
        holds a row (stage 0: zeros and multipliers, 1: shifts, 2: mult_o, 4: the rest).
    """

    y: In(signed(8))
    residual: In(signed(8))
    valid: In(5)
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

        def rescaled(product, shift, name, fraction=31):
            scaled = Signal(signed(32), name=f"{name}_scaled")
            m.d.comb += scaled.eq(doubling_high_mul(m, product, name, fraction))
            return rounding_divide_by_pot(m, scaled, shift, name)

        product_a, product_b = Signal(signed(41)), Signal(signed(41))
        total = Signal(signed(32))
        product_o = Signal(signed(64))
        scaled_o = Signal(signed(32))
        own = [Signal(signed(8), name=f"own{s}") for s in range(4)]
        with m.If(self.valid[0]):
            m.d.sync += [
                product_a.eq((self.y - self.zero_a) * self.mult_a),
                product_b.eq((self.residual - self.zero_b) * self.mult_b),
                own[0].eq(self.y),
            ]
        with m.If(self.valid[1]):
            m.d.sync += [
                total.eq(rescaled(product_a, self.shift_a, "a", _INPUT_FRACTION)
                         + rescaled(product_b, self.shift_b, "b", _INPUT_FRACTION)),
                own[1].eq(own[0]),
            ]
        with m.If(self.valid[2]):
            m.d.sync += [product_o.eq(total * self.mult_o), own[2].eq(own[1])]
        with m.If(self.valid[3]):
            m.d.sync += [scaled_o.eq(doubling_high_mul(m, product_o, "o")), own[3].eq(own[2])]
        with m.If(self.valid[4]):
            total_o = rounding_divide_by_pot(m, scaled_o, self.shift_o, "o") + self.zero_o
            m.d.sync += self.out.eq(Mux(self.add, clamp(m, total_o, self.low, self.high, "o"), own[3]))
        return m
