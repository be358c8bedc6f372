"""Unrolls commands with `repeat` (`lepton.arch.repeat`) into the single ones that the engine executes."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import Tensor
from lepton.arch.commands import PARAM_WORDS, UNIFORM_PARAM_WORDS
from lepton.arch.record import Record
from lepton.arch.repeat import COUNT, STEPS

from ..layouts import layout


class Repeater(wiring.Component):
    """Assembles commands from the words of their stream (`i`, little-endian), and steps those that repeat.

    It holds one command between fetch and dispatch: a record becomes valid with its last word, and the first word
    of the next is taken with the last round of the one before.

    `last`: what `o` shows is the last round of its record. Every field of `o` is a register: what differs from the
    record is computed when a round begins, not in every cycle in which it waits.
    """

    def __init__(self, record: Record, word_bytes: int):
        if record.size % word_bytes:
            raise ValueError(
                f"word_bytes must divide the {record.size} bytes of a {record.name} command, not {word_bytes!r}")
        self._record = record
        self._word_bytes = word_bytes
        self._snapshots = "snapshot" in layout(record).members
        super().__init__({
            "i": In(stream.Signature(8 * word_bytes)),
            "o": Out(stream.Signature(layout(record))),
            "last": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        record = self._record
        shown = self.o.p
        words = record.size // self._word_bytes
        width = 8 * self._word_bytes
        position = Signal(range(max(words, 2)))
        # The record as it is with its last word.
        given = Signal(layout(record))
        assembled = Value.cast(shown)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | (self.o.ready & self.last)),
            given.eq(Cat(assembled[:-width], self.i.p)),
        ]
        # What the record asks for and the rounds before the last, or after the first, do not show.
        wait = Signal.like(given.wait)
        post = Signal.like(given.post)
        left = Signal.like(given[COUNT[record.name]])
        snapshot = Signal()

        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(0)
            with m.If(self.i.valid):
                m.d.sync += position.eq(position + 1)
                with m.Switch(position):
                    for k in range(words):
                        with m.Case(k):
                            m.d.sync += assembled[k * width:(k + 1) * width].eq(self.i.p)
                with m.If(position == words - 1):
                    m.d.sync += [self.o.valid.eq(1), position.eq(0)]
                    self._begin(m, given, wait, post, left, snapshot)
        with m.Elif(self.o.valid & self.o.ready):
            self._step(m, wait, post, left, snapshot)
        return m

    def _begin(self, m, given, wait, post, left, snapshot):
        """The first round of the record `given`."""
        shown = self.o.p
        count = COUNT[self._record.name]
        many = Signal()
        m.d.comb += many.eq(given.repeat & (given[count] > 1))
        m.d.sync += [
            wait.eq(given.wait), post.eq(given.post), left.eq(given[count]), self.last.eq(~many),
            shown.wait.eq(given.wait | _one(given.first_wait)),
        ]
        with m.If(given.repeat & (given[count] != 0)):  # the engine reports a count of zero
            m.d.sync += shown[count].eq(1)
        with m.If(~many):
            m.d.sync += shown.post.eq(given.post | _one(given.last_post))
        if self._snapshots:
            m.d.sync += snapshot.eq(given.snapshot)
            with m.If(many):
                m.d.sync += shown.snapshot.eq(0)

    def _step(self, m, wait, post, left, snapshot):
        """From one round to the next."""
        shown = self.o.p
        m.d.sync += [left.eq(left - 1), shown.wait.eq(wait), self.last.eq(left == 2)]
        with m.If(left == 2):
            m.d.sync += shown.post.eq(post | _one(shown.last_post))
        m.d.sync += [shown[name].eq(shown[name] + shown[step]) for name, step in STEPS[self._record.name]]
        if self._snapshots:
            with m.If(left == 2):
                m.d.sync += shown.snapshot.eq(snapshot)
        if self._record is Tensor:
            end = Signal(16)
            unit = Signal(16)
            m.d.comb += [
                end.eq(shown.params + Mux(shown.uniform, UNIFORM_PARAM_WORDS, PARAM_WORDS)),
                unit.eq(end - shown.weights),
            ]
            m.d.sync += [shown.weights.eq(end), shown.params.eq(shown.params + unit), shown.fence.eq(0)]


def _one(semaphore):
    """The mask of a semaphore that a record names by its number; of none for 0, which stands for none."""
    return Mux(semaphore != 0, 1 << semaphore, 0)
