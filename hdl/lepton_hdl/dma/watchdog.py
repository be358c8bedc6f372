"""Notices memory that has stopped answering, or that answers what nothing asked for."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Watchdog(wiring.Component):
    """Watches one port. `waiting`: a transaction is outstanding; `progress`: a handshake moved one on.

    `expired` rises after `limit` cycles in a row with `waiting` and without `progress`; `limit` 0 means never.
    `broken` rises after `violation`, memory breaking the protocol. `failed_address` keeps the `address` of the first of
    both. Both stay high until `restart`, which begins a new job; `broken` also over a restart while `waiting`, because
    it is unknown which of the outstanding transactions a later answer belongs to.
    """

    limit: In(32)
    waiting: In(1)
    progress: In(1)
    violation: In(1)
    restart: In(1)
    address: In(64)
    expired: Out(1)
    broken: Out(1)
    failed_address: Out(64)

    def elaborate(self, platform):
        m = Module()
        cycles = Signal(32)
        following = Signal(32)
        due = Signal()
        m.d.comb += [
            following.eq(cycles + 1),
            due.eq(self.waiting & ~self.progress & (following >= self.limit) & (self.limit != 0)),
        ]
        with m.If(~self.waiting | self.progress):
            m.d.sync += cycles.eq(0)
        with m.Else():
            m.d.sync += cycles.eq(following)
        with m.If((due | self.violation) & ~self.expired & ~self.broken):
            m.d.sync += self.failed_address.eq(self.address)
        with m.If(due):
            m.d.sync += self.expired.eq(1)
        with m.If(self.violation):
            m.d.sync += self.broken.eq(1)
        with m.If(self.restart):
            m.d.sync += [cycles.eq(0), self.expired.eq(0), self.broken.eq(self.broken & self.waiting)]
        return m
