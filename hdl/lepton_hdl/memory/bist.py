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
        first = 0
        last = self._depth - 1
        checkers = int("01" * (self._width // 2), 2)
        background = Mux(address[0], checkers << 1, checkers)
        complement = Signal()  # whether the element of the march writes the background's complement
        written = Signal(self._width)
        expected = Signal(self._width)
        m.d.comb += [
            written.eq(Mux(complement, ~background, background)),
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

        def read(then: str):
            """Ask for the word at `address`."""
            m.d.comb += self.read.request.valid.eq(1)
            with m.If(self.read.request.ready):
                m.d.sync += asked.eq(1)
                m.next = then

        def write(end: int, step: int, same: str, restart: int, then: str):
            """Write at `address`; then `same` at the next address or, after `end`, `then` from `restart` on."""
            m.d.comb += self.write.valid.eq(1)
            with m.If(self.write.ready):
                m.d.sync += address.eq(Mux(address == end, restart, address + step))
                m.next = same
                with m.If(address == end):
                    m.next = then

        # In the first cycle of a state that writes what was read, `read.data` is there.
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [self.busy.eq(1), self.failed.eq(0), address.eq(first)]
                m.next = "UP-WRITE-0"
            with m.State("UP-WRITE-0"):
                write(end=last, step=1, same="UP-WRITE-0", restart=first, then="UP-READ-0")
            with m.State("UP-READ-0"):
                read(then="UP-WRITE-1")
            with m.State("UP-WRITE-1"):
                m.d.comb += complement.eq(1)
                write(end=last, step=1, same="UP-READ-0", restart=last, then="DOWN-READ-1")
            with m.State("DOWN-READ-1"):
                read(then="DOWN-WRITE-0")
            with m.State("DOWN-WRITE-0"):
                write(end=first, step=-1, same="DOWN-READ-1", restart=first, then="COMPARE-LAST")
            with m.State("COMPARE-LAST"), m.If(~asked & ~compare):
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"
        return m
