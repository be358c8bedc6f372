"""Unrolls commands with `repeat` (`lepton.arch.repeat`) into the single ones that the engine executes."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import Tensor
from lepton.arch.commands import PARAM_WORDS, UNIFORM_PARAM_WORDS
from lepton.arch.record import Record
from lepton.arch.repeat import COUNT, STEPS

from ..layouts import layout


class Repeater(wiring.Component):
    """A register for one command between fetch and dispatch; it steps while the command has rounds left.

    `last`: what `o` shows is the last round of its record.
    """

    def __init__(self, record: Record):
        self._record = record
        super().__init__({
            "i": In(stream.Signature(layout(record))),
            "o": Out(stream.Signature(layout(record))),
            "last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        record = self._record
        current = Signal(layout(record))
        first = Signal()
        left = current[COUNT[record.name]]  # rounds, this one included
        done = Signal()
        m.d.comb += [
            self.last.eq(~current.repeat | (left <= 1)),
            done.eq(self.o.valid & self.o.ready & self.last),
            self.i.ready.eq(~self.o.valid | done),
            self.o.p.eq(current),
        ]
        with m.If(first & (current.first_wait != 0)):
            m.d.comb += self.o.p.wait.eq(current.wait | (1 << current.first_wait))
        with m.If(self.last & (current.last_post != 0)):
            m.d.comb += self.o.p.post.eq(current.post | (1 << current.last_post))
        with m.If(current.repeat & (left != 0)):  # the engine reports a count of zero
            m.d.comb += self.o.p[COUNT[record.name]].eq(1)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [current.eq(self.i.p), first.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += [left.eq(left - 1), first.eq(0)]
            m.d.sync += [current[name].eq(current[name] + current[step]) for name, step in STEPS[record.name]]
            if record is Tensor:
                end, unit = Signal(16), Signal(16)
                m.d.comb += [
                    end.eq(current.params + Mux(current.uniform, UNIFORM_PARAM_WORDS, PARAM_WORDS)),
                    unit.eq(end - current.weights),
                ]
                m.d.sync += [current.weights.eq(end), current.params.eq(current.params + unit), current.fence.eq(0)]
        if record is Tensor:
            with m.If(~self.last):
                m.d.comb += self.o.p.snapshot.eq(0)
        return m
