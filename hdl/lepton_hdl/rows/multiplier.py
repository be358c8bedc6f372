"""A multiplier of 32 x 32 bits in three stages, for what is computed once for a row or a command."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..views import Digits, View, add_parts, recoded, split_sum_of_products, view_of

LATENCY = 3  # cycles from `start` to `done`
NUDGE = 30  # half of the last place of a product of two Q0.31 in Q0.31


class StepMultiplier(wiring.Component):
    """Members
    -------
    load: take `a` and `b` of this cycle. operand: the `a` that was taken last.
    start: with `load`, multiply them; one product can be started in every cycle.
    nudge: add 2**30, so that bits 31 to 62 are SaturatingRoundingDoublingHighMul of gemmlowp (rounded half up; no
        operands are both -2**31 here).
    done, product: the product that was started `LATENCY` cycles ago.
    """

    load: In(1)
    start: In(1)
    nudge: In(1)
    a: In(signed(32))
    b: In(signed(32))
    operand: Out(signed(32))
    done: Out(1)
    product: Out(signed(64))

    def elaborate(self, platform):
        m = Module()
        view = view_of(platform)
        at_operands = Signal()
        at_parts = Signal()
        m.d.sync += [at_operands.eq(self.start), at_parts.eq(at_operands), self.done.eq(at_parts)]
        a = Signal(signed(32))
        half = Signal()
        m.d.comb += self.operand.eq(a)
        with m.If(self.load):
            m.d.sync += [a.eq(self.a), half.eq(self.nudge)]
        if view is View.GATES:
            packed = Signal(len(recoded(self.b)))
            b = Digits(32, packed)
            with m.If(self.load):
                m.d.sync += packed.eq(recoded(self.b))
        else:
            b = Signal(signed(32))
            with m.If(self.load):
                m.d.sync += b.eq(self.b)
        if view is View.SIMULATION:
            terms = [a * b + (half << NUDGE)]
        else:
            terms = split_sum_of_products(m, [(a, b)], 64, view, [(NUDGE, half)])
        parts = [Signal(signed(64), name=f"part{i}") for i in range(len(terms))]
        with m.If(at_operands):
            m.d.sync += [part.eq(term) for part, term in zip(parts, terms, strict=True)]
        with m.If(at_parts):
            m.d.sync += self.product.eq(parts[0] if view is View.SIMULATION else add_parts(m, parts, 64, view))
        return m
