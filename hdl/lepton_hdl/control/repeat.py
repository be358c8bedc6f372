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

    `last`: what `o` shows is the last round of its record. Every field of `o` is a register: what differs from the
    record is computed when a round begins, not in every cycle in which it waits.
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
        given = self.i.p
        shown = self.o.p
        count = COUNT[record.name]
        # What the record asks for and the rounds before the last, or after the first, do not show.
        wait = Signal.like(given.wait)
        post = Signal.like(given.post)
        left = Signal.like(given[count])
        snapshot = Signal()
        many = Signal()
        m.d.comb += [
            many.eq(given.repeat & (given[count] > 1)),
            self.i.ready.eq(~self.o.valid | (self.o.ready & self.last)),
        ]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [
                    shown.eq(given), wait.eq(given.wait), post.eq(given.post), left.eq(given[count]),
                    self.last.eq(~many), shown.wait.eq(given.wait | _one(given.first_wait)),
                ]
                with m.If(given.repeat & (given[count] != 0)):  # the engine reports a count of zero
                    m.d.sync += shown[count].eq(1)
                with m.If(~many):
                    m.d.sync += shown.post.eq(given.post | _one(given.last_post))
                if record is Tensor:
                    m.d.sync += snapshot.eq(given.snapshot)
                    with m.If(many):
                        m.d.sync += shown.snapshot.eq(0)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [left.eq(left - 1), shown.wait.eq(wait), self.last.eq(left == 2)]
            with m.If(left == 2):
                m.d.sync += shown.post.eq(post | _one(shown.last_post))
                if record is Tensor:
                    m.d.sync += shown.snapshot.eq(snapshot)
            m.d.sync += [shown[name].eq(shown[name] + shown[step]) for name, step in STEPS[record.name]]
            if record is Tensor:
                end = Signal(16)
                unit = Signal(16)
                m.d.comb += [
                    end.eq(shown.params + Mux(shown.uniform, UNIFORM_PARAM_WORDS, PARAM_WORDS)),
                    unit.eq(end - shown.weights),
                ]
                m.d.sync += [shown.weights.eq(end), shown.params.eq(shown.params + unit), shown.fence.eq(0)]
        return m


def _one(semaphore):
    """The mask of a semaphore that a record names by its number; of none for 0, which stands for none."""
    return Mux(semaphore != 0, 1 << semaphore, 0)
