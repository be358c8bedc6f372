"""Notices memory that has stopped answering."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Watchdog(wiring.Component):
    """Raises `expired` (until reset) after `limit` cycles in a row with `waiting` high and no
    `progress`; `limit` 0 means never. `address` is kept from the cycle in which it expired."""

    limit: In(32)
    waiting: In(1)
    progress: In(1)
    address: In(64)
    expired: Out(1)
    expired_address: Out(64)

    def elaborate(self, platform):
        m = Module()
        cycles, following = Signal(32), Signal(32)
        m.d.comb += following.eq(cycles + 1)
        with m.If(~self.waiting | self.progress):
            m.d.sync += cycles.eq(0)
        with m.Else():
            m.d.sync += cycles.eq(following)
            with m.If((following >= self.limit) & (self.limit != 0) & ~self.expired):
                m.d.sync += [self.expired.eq(1), self.expired_address.eq(self.address)]
        return m
