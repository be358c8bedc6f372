"""One lane of the residual add: a finished value plus or times a residual, int8, each with its own scale."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..views import times, view_of
from .rounding import POINT, away_from_zero, clamp, even_round_up, round_half_up, round_up, whole

# scale both or multiply them, shift both, add, scale the sum or product, shift, round and zero point, clamp
STAGES = 7
# The stages at which parameters are used.
SCALE, SHIFT, SUM, SCALE_SUM, SHIFT_SUM, ROUND, CLAMP = range(STAGES)

# ADD scales (x - zero) << 20 by an int32 multiplier (TFLite `add.h`, left_shift = 20); taking
# the 20 out of the 31 fraction bits saves the shift and keeps the product at 41 bits.
_INPUT_SHIFT = 20
_INPUT_FRACTION = POINT - _INPUT_SHIFT


class ResidualAdd(wiring.Component):
    """y and the residual, each scaled, added, scaled again and clamped; or their product, scaled and clamped; or y
    alone, STAGES cycles later.

    The product takes the multiplier of y: the residual comes in the place of `mult_a`.

    Members
    -------
    valid: bit s is set when stage s holds a row; `y` and `residual` enter at stage 0.
    adds: bit s says that the row at stage s is added; the others pass, and no multiplier moves for them.
    The parameters (`lepton.arch.Tensor`, add_*): each stable while the stage that uses it holds a row (SCALE: zeros
        and multipliers, SHIFT: shifts, SCALE_SUM: mult_o, SHIFT_SUM: shift_o, ROUND: zero_o, CLAMP: the rest).
    as_float: bit s says that the row at stage s is added as FLOAT (SHIFT, SUM, SCALE_SUM, SHIFT_SUM, ROUND).
    multiplies: bit s says that the row at stage s, which adds, is a product (SCALE, SUM, SCALE_SUM). `shift_a` is 0
        then.
    """

    y: In(signed(8))
    residual: In(signed(8))
    valid: In(STAGES)
    as_float: In(STAGES)
    adds: In(STAGES)
    multiplies: In(STAGES)
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
        view = view_of(platform)
        product_a = Signal(signed(41))
        product_b = Signal(signed(41))
        a = Signal(signed(41))
        b = Signal(signed(41))
        total = Signal(signed(42))
        product = Signal(signed(64))
        scaled = Signal(signed(64))
        wide = Signal(signed(35))
        active = self.valid & self.adds
        own = [self.y, *(Signal(signed(8), name=f"own{s}") for s in range(1, STAGES))]
        for s in range(STAGES - 1):
            with m.If(self.valid[s]):
                m.d.sync += own[s + 1].eq(own[s])

        def shifted(value, bit, shift, stage):
            return away_from_zero(value, bit, (shift != 0) & ~self.as_float[stage]) >> shift

        with m.If(active[SCALE]):
            difference = self.residual - self.zero_b
            factor = Mux(self.multiplies[SCALE], difference, self.mult_a)
            m.d.sync += [
                product_a.eq(times(self.y - self.zero_a, factor, view)),
                product_b.eq(times(difference, self.mult_b, view)),
            ]
        with m.If(active[SHIFT]):
            m.d.sync += [
                a.eq(shifted(product_a, _INPUT_FRACTION - 1, self.shift_a, SHIFT)),
                b.eq(shifted(product_b, _INPUT_FRACTION - 1, self.shift_b, SHIFT)),
            ]
        with m.If(active[SUM]):
            with m.If(self.multiplies[SUM]):
                m.d.sync += total.eq(a)
            with m.Elif(self.as_float[SUM]):
                m.d.sync += total.eq(a + b)
            with m.Else():
                m.d.sync += total.eq(round_half_up(a, _INPUT_FRACTION) + round_half_up(b, _INPUT_FRACTION))
        with m.If(active[SCALE_SUM]):
            m.d.sync += product.eq(Mux(self.as_float[SCALE_SUM] & ~self.multiplies[SCALE_SUM],
                                       (total + self.mult_o) << _INPUT_SHIFT,
                                       times(total[:32].as_signed(), self.mult_o, view)))
        with m.If(active[SHIFT_SUM]):
            m.d.sync += scaled.eq(shifted(product, POINT - 1, self.shift_o, SHIFT_SUM))
        with m.If(active[ROUND]):
            up = Mux(self.as_float[ROUND], even_round_up(scaled), round_up(scaled))
            m.d.sync += wide.eq(whole(scaled) + self.zero_o + up)
        with m.If(self.valid[CLAMP]):
            m.d.sync += self.out.eq(Mux(self.adds[CLAMP], clamp(wide, self.low, self.high), own[CLAMP]))
        return m
