"""Self-test of the scratchpad and the weight memory: a march over both at the same time.

The march is {up (w0); up (r0, w1); down (r1, w0)} (MATS+, A. J. van de Goor, "Testing Semiconductor
Memories", 1991): it finds every stuck bit and every fault of the address decoder. The background
alternates with the address and the bit, so that neighbouring cells hold opposite values.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig

from ..interfaces import WordReadSignature


class March(wiring.Component):
    """Tests one memory of `depth` words of `width` bits through streams that may stall.

    `start` begins; `busy` until the end; `failed` then says whether a word read back wrong. Destroys the contents.
    `read`: as `WordReadSignature`. `write`: address and data.
    """

    def __init__(self, config: ChipConfig, depth: int):
        self._depth = depth
        self._width = 8 * config.lanes
        address = ceil_log2(depth)
        super().__init__({
            "start": In(1), "busy": Out(1), "failed": Out(1),
            "read": Out(WordReadSignature(config)),
            "write": Out(stream.Signature(data.StructLayout({"address": address, "data": self._width}))),
        })

    def elaborate(self, platform):
        m = Module()
        address = Signal(range(self._depth))
        phase = Signal(range(3))
        last = Signal()
        down = Signal()
        checkers = int("01" * (self._width // 2), 2)
        background = Mux(address[0], checkers << 1, checkers)
        written = Signal(self._width)
        expected = Signal(self._width)
        m.d.comb += [
            down.eq(phase == 2),
            last.eq(address == Mux(down, 0, self._depth - 1)),
            # Phase 0 writes the background, 1 its complement, 2 the background again.
            written.eq(Mux(phase == 1, ~background, background)),
            expected.eq(~written),
            self.read.request.p.eq(address),
            self.write.p.address.eq(address), self.write.p.data.eq(written),
        ]
        # The word is taken into a register first: comparing it where it comes from would cost a comparison in every
        # cycle of every job.
        asked = Signal()
        compare = Signal()
        found = Signal(self._width)
        wanted = Signal(self._width)
        m.d.sync += [asked.eq(0), compare.eq(asked)]
        with m.If(asked):
            m.d.sync += [found.eq(self.read.data), wanted.eq(expected)]
        with m.If(compare & (found != wanted)):
            m.d.sync += self.failed.eq(1)
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [self.busy.eq(1), self.failed.eq(0), phase.eq(0), address.eq(0)]
                m.next = "WRITE"
            with m.State("READ"):
                m.d.comb += self.read.request.valid.eq(1)
                with m.If(self.read.request.ready):
                    m.d.sync += asked.eq(1)
                    m.next = "WRITE"
            with m.State("WRITE"):  # its first cycle is the one in which `read.data` is there
                m.d.comb += self.write.valid.eq(1)
                with m.If(self.write.ready):
                    with m.If(last):
                        m.d.sync += [phase.eq(phase + 1), address.eq(Mux(phase == 0, 0, self._depth - 1))]
                        m.next = "READ"
                        with m.If(phase == 2):
                            m.next = "LAST"
                    with m.Else():
                        m.d.sync += address.eq(Mux(down, address - 1, address + 1))
                        m.next = "READ"
                        with m.If(phase == 0):
                            m.next = "WRITE"
            with m.State("LAST"), m.If(~asked & ~compare):
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"
        return m
