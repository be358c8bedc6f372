"""A small block with errors that a test can switch on, for the tests of monitors and checkers."""

from enum import IntEnum

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

WIDTH = 8
FAULTY = 7  # number of the item at which the error shows


class Fault(IntEnum):
    """What a `Stage` does wrong."""

    NONE = 0
    DROPS = 1
    REPEATS = 2
    FLIPS = 3
    CHANGES = 4
    WITHDRAWS = 5
    ADDS = 6
    STOPS = 7


class Stage(wiring.Component):
    """A stream through one register. `fault` (a `Fault`) is constant; `count` items are to come."""

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__({"i": In(stream.Signature(WIDTH)), "o": Out(stream.Signature(WIDTH)), "fault": In(3)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        full = Signal()
        held = Signal(WIDTH)
        number = Signal(range(self._count + 2))  # of the item in the register
        waited = Signal()  # for more than a cycle
        done = Signal()  # the error has happened
        take = Signal()
        give = Signal()
        here = number == FAULTY
        m.d.comb += [
            self.i.ready.eq(~full | give),
            self.o.valid.eq(full),
            self.o.payload.eq(held),
            take.eq(self.i.valid & self.i.ready),
            give.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += waited.eq(self.o.valid & ~self.o.ready)
        with m.If(give):
            m.d.sync += [full.eq(0), number.eq(number + 1)]
        with m.If(take):
            m.d.sync += [full.eq(1), held.eq(self.i.payload)]
        with m.Switch(self.fault):
            with m.Case(Fault.DROPS), m.If(take & ~done & ((number == FAULTY) & ~full | (number == FAULTY - 1) & give)):
                m.d.sync += [full.eq(0), done.eq(1)]
            with m.Case(Fault.REPEATS), m.If(here & full & ~done):
                m.d.comb += self.i.ready.eq(0)
                with m.If(give):
                    m.d.sync += [full.eq(1), done.eq(1)]
            with m.Case(Fault.FLIPS), m.If(here):
                m.d.comb += self.o.payload.eq(held ^ 1)
            with m.Case(Fault.CHANGES), m.If(here & waited):
                m.d.comb += self.o.payload.eq(held ^ 1)
            with m.Case(Fault.WITHDRAWS), m.If(here & waited):
                m.d.comb += self.o.valid.eq(0)
            with m.Case(Fault.ADDS), m.If(number == self._count):
                m.d.comb += self.o.valid.eq(1)
            with m.Case(Fault.STOPS), m.If(here):
                m.d.comb += self.o.valid.eq(0)
        return m
