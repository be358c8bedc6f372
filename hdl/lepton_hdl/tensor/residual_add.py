"""One lane of the residual add: a finished value plus or times a residual, int8, each with its own scale."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..views import Digits, View, add_parts, split_sum_of_products, view_of
from .rounding import (
    NEAR_BITS,
    POINT,
    away_from_zero,
    clamp,
    even_round_up,
    near,
    nudge,
    round_half_up,
    round_up,
    shift_right,
    whole,
)


@dataclass(frozen=True)
class AddStages:
    """The stage of each step; `out` is there at stage `count`.

    zero: zeros of the operands. scale: their multipliers. nudge: what rounds them away from zero. shift: their shifts.
    sum. scale_sum, nudge_sum, shift_sum: the same for the sum. round: rounding. zero_o: its zero. clamp: the limits.
    """

    zero: int
    scale: int
    nudge: int
    shift: int
    sum: int
    scale_sum: int
    nudge_sum: int
    shift_sum: int
    round: int
    zero_o: int
    clamp: int
    count: int


_SIMULATION = AddStages(zero=0, scale=0, nudge=1, shift=1, sum=2, scale_sum=3, nudge_sum=4, shift_sum=4, round=5,
                       zero_o=5, clamp=6, count=7)
_HARDWARE = AddStages(zero=0, scale=1, nudge=1, shift=3, sum=4, scale_sum=5, nudge_sum=5, shift_sum=7, round=8,
                     zero_o=9, clamp=9, count=10)
STAGES = _HARDWARE.count

# ADD scales (x - zero) << 20 by an int32 multiplier (TFLite `add.h`, left_shift = 20); taking
# the 20 out of the 31 fraction bits saves the shift and keeps the product at 41 bits.
_INPUT_SHIFT = 20
_INPUT_FRACTION = POINT - _INPUT_SHIFT
_PRODUCT_BITS = 41  # (x - zero) has 9 bits


def schedule_of(view: View) -> AddStages:
    """The stages of a view."""
    return _SIMULATION if view is View.SIMULATION else _HARDWARE


class ResidualAdd(wiring.Component):
    """y and the residual, each scaled, added, scaled again and clamped; or their product, scaled and clamped.

    The product takes the multiplier of y: the residual comes in the place of `mult_a`.

    Members
    -------
    valid: bit s is set when stage s holds a row; `y` and `residual` enter at stage 0.
    The parameters (`lepton.arch.Tensor`, add_*): each stable while the stage that uses it holds a row (`AddStages`).
    nudge_a, nudge_b, nudge_o: rounded away from zero before the shift, which is not 0 and not FLOAT then
        (`nudge`, `nudge_sum`).
    digits_o: `mult_o` recoded (`lepton_hdl.views`), which the view GATES takes instead.
    offset_o: `mult_o`, which FLOAT adds, at stage `scale_sum` + 1; not for the simulator's view.
    as_float: bit s says that the row at stage s is added as FLOAT (shift, sum, scale_sum, scale_sum + 1, round).
    multiplies: bit s says that the row at stage s is a product (scale, shift, sum, scale_sum, scale_sum + 1). `shift_a`
        is 0 then.
    """

    y: In(signed(8))
    residual: In(signed(8))
    valid: In(STAGES)
    as_float: In(STAGES)
    multiplies: In(STAGES)
    zero_a: In(signed(8))
    zero_b: In(signed(8))
    zero_o: In(signed(8))
    low: In(signed(8))
    high: In(signed(8))
    mult_a: In(signed(32))
    mult_b: In(signed(32))
    mult_o: In(signed(32))
    digits_o: In(48)
    offset_o: In(signed(32))
    nudge_a: In(1)
    nudge_b: In(1)
    nudge_o: In(1)
    shift_a: In(5)
    shift_b: In(5)
    shift_o: In(5)
    out: Out(signed(8))

    def elaborate(self, platform):
        m = Module()
        view = view_of(platform)
        at = schedule_of(view)
        wide = self._add_at_once(m, at) if view is View.SIMULATION else self._add(m, at, view)
        with m.If(self.valid[at.clamp]):
            m.d.sync += self.out.eq(clamp(wide, self.low, self.high))
        return m

    def _add_at_once(self, m, at):
        """The sum with its zero point, in six stages."""
        product_a = Signal(signed(_PRODUCT_BITS))
        product_b = Signal(signed(_PRODUCT_BITS))
        a = Signal(signed(_PRODUCT_BITS))
        b = Signal(signed(_PRODUCT_BITS))
        total = Signal(signed(_PRODUCT_BITS + 1))
        product = Signal(signed(64))
        scaled = Signal(signed(64))
        wide = Signal(signed(35))
        with m.If(self.valid[at.scale]):
            difference = self.residual - self.zero_b
            m.d.sync += [product_a.eq((self.y - self.zero_a) * Mux(self.multiplies[at.scale], difference, self.mult_a)),
                         product_b.eq(difference * self.mult_b)]
        with m.If(self.valid[at.shift]):
            m.d.sync += [a.eq(away_from_zero(product_a, _INPUT_FRACTION - 1, self.nudge_a) >> self.shift_a),
                         b.eq(away_from_zero(product_b, _INPUT_FRACTION - 1, self.nudge_b) >> self.shift_b)]
        with m.If(self.valid[at.sum]):
            with m.If(self.multiplies[at.sum]):
                m.d.sync += total.eq(a)
            with m.Elif(self.as_float[at.sum]):
                m.d.sync += total.eq(a + b)
            with m.Else():
                m.d.sync += total.eq(round_half_up(a, _INPUT_FRACTION) + round_half_up(b, _INPUT_FRACTION))
        with m.If(self.valid[at.scale_sum]):
            m.d.sync += product.eq(Mux(self.as_float[at.scale_sum] & ~self.multiplies[at.scale_sum],
                                       (total + self.mult_o) << _INPUT_SHIFT,
                                       total[:32].as_signed() * self.mult_o))
        with m.If(self.valid[at.shift_sum]):
            m.d.sync += scaled.eq(away_from_zero(product, POINT - 1, self.nudge_o) >> self.shift_o)
        with m.If(self.valid[at.round]):
            up = Mux(self.as_float[at.round], even_round_up(scaled), round_up(scaled))
            m.d.sync += wide.eq(whole(scaled) + self.zero_o + up)
        return wide

    def _add(self, m, at, view):
        """The same in nine stages, from near int8's range only as many bits as the clamp needs."""
        y, residual = (self._difference(m, at, *operand) for operand in (
            ("y", self.y, self.zero_a), ("residual", self.residual, self.zero_b)))
        factor = Mux(self.multiplies[at.scale], residual, self.mult_a)
        a, carry_a = self._scaled_operand(m, at, view, "a", y, factor, self.nudge_a, self.shift_a)
        b, carry_b = self._scaled_operand(m, at, view, "b", residual, self.mult_b, self.nudge_b, self.shift_b)
        total = Signal(signed(_PRODUCT_BITS + 1))
        with m.If(self.valid[at.sum]):
            # Half adders make room for the second carry.
            halves = a ^ b
            carries = Cat(carry_b, (a & b)).as_signed()
            m.d.sync += total.eq(add_parts(m, [halves, carries], len(total), view, carry_a))

        parts = self._parts_of_sum(m, at, view, total)
        late_total = Signal.like(total)
        with m.If(self.valid[at.scale_sum]):
            m.d.sync += late_total.eq(total)
        exact = self.as_float[at.scale_sum + 1] & ~self.multiplies[at.scale_sum + 1]
        others = [Cat(Const(0, _INPUT_SHIFT), value).as_signed() for value in (late_total, self.offset_o)]
        others += [0] * (len(parts) - len(others))
        product = Signal(signed(64))
        with m.If(self.valid[at.scale_sum + 1]):
            m.d.sync += product.eq(add_parts(
                m, [Mux(exact, other, part) for part, other in zip(parts, others, strict=True)], 64, view))

        window = Signal(NEAR_BITS + 1)
        outside = Signal()
        below = Signal()
        sign = Signal()
        parts_of_shift = shift_right(product, self.shift_o, POINT - 1, len(window))
        with m.If(self.valid[at.shift_sum]):
            m.d.sync += [Cat(window, outside, below).eq(Cat(parts_of_shift)), sign.eq(product[-1])]
        number = Signal(signed(NEAR_BITS))
        up = Signal()
        with m.If(self.valid[at.round]):
            m.d.sync += [number.eq(near(window[1:], outside, sign)),
                         up.eq(window[0] & (~self.as_float[at.round] | below | window[1]))]
        return number + self.zero_o + up

    def _difference(self, m, at, name, value, zero):
        """value - zero, behind stage `zero`."""
        difference = Signal(signed(9), name=f"{name}_difference")
        with m.If(self.valid[at.zero]):
            m.d.sync += difference.eq(value - zero)
        return difference

    def _scaled_operand(self, m, at, view, name, difference, factor, nudges, shift):
        """(difference * factor, shifted, and what rounds it: a carry), at stage `sum`; 0 for b of a product."""
        terms = split_sum_of_products(m, [(difference, factor)], _PRODUCT_BITS, view,
                                      [nudge(_INPUT_FRACTION - 1, nudges, difference[-1] ^ factor[-1])])
        parts = [Signal(_PRODUCT_BITS, name=f"part_{name}_{i}") for i in range(len(terms))]
        with m.If(self.valid[at.scale]):
            m.d.sync += [part.eq(term) for part, term in zip(parts, terms, strict=True)]
        product = Signal(signed(_PRODUCT_BITS), name=f"product_{name}")
        with m.If(self.valid[at.scale + 1]):
            m.d.sync += product.eq(add_parts(m, parts, _PRODUCT_BITS, view))
        operand = Signal(signed(_PRODUCT_BITS + 1), name=f"operand_{name}")
        carry = Signal(name=f"carry_{name}")
        shifted = Signal.like(product, name=f"shifted_{name}")
        m.d.comb += shifted.eq(product >> shift)
        multiplies = self.multiplies[at.shift]
        exact = self.as_float[at.shift] | multiplies
        with m.If(self.valid[at.shift]):
            m.d.sync += [
                operand.eq(Mux(exact, shifted, shifted[_INPUT_FRACTION:].as_signed())),
                carry.eq(~exact & shifted[_INPUT_FRACTION - 1]),
            ]
            if name == "b":
                with m.If(multiplies):
                    m.d.sync += operand.eq(0)
        return operand, carry

    def _parts_of_sum(self, m, at, view, total):
        """Values whose sum is the total times `mult_o`, rounded away from zero where that is wanted, in registers."""
        factor = Digits(32, self.digits_o) if view is View.GATES else self.mult_o
        negative = factor.negative if view is View.GATES else self.mult_o[-1]
        terms = split_sum_of_products(m, [(total[:32].as_signed(), factor)], 64, view,
                                      [nudge(POINT - 1, self.nudge_o, total[31] ^ negative)])
        parts = [Signal(64, name=f"part_sum_{i}") for i in range(len(terms))]
        with m.If(self.valid[at.scale_sum]):
            m.d.sync += [part.eq(term) for part, term in zip(parts, terms, strict=True)]
        return parts
