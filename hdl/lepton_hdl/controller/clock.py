"""A clock that can be stopped."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class ClockGate(wiring.Component):
    """`clock` has the edges of this domain's clock in cycles at whose end `run` is high.

    `run` is taken while the clock is low, so that no edge is cut short; it must be there within half a cycle.
    """

    def __init__(self):
        super().__init__({"run": In(1), "clock": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.domains.low = ClockDomain(local=True, clk_edge="neg", reset_less=True)
        enable = Signal(init=1)
        m.d.comb += [ClockSignal("low").eq(ClockSignal()), self.clock.eq(ClockSignal() & enable)]
        m.d.low += enable.eq(self.run)
        return m
