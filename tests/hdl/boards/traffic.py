"""Random traffic for the SDRAM controller, in hardware, so that requests follow each other as fast as it takes them."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from lepton_hdl.boards.sdram import Sdram, SdramPins
from lepton_hdl.boards.sdram_timing import SdramChip

DATA_BYTES = 16
_REGION = 10  # bits of a word's index: four rows of every bank
_POLYNOMIAL = (64, 63, 61, 60)  # taps of a shift register of the longest period (Xilinx XAPP052, table 3)


class SdramTraffic(wiring.Component):
    """First every word of a region is written, then words at random are read and written.

    A word's contents follow from its index. `irq`: something else was read. The ports are those of a board.
    `registered`: with a register in each pin, both ways, as a board has them.
    """

    divisor = 20  # of the serial line, which is not used

    def __init__(self, chip: SdramChip, clock_hz: int, registered: bool = False):
        self._registered = registered
        self.sdram_chip = chip
        self.clock_hz = clock_hz
        self._controller = Sdram(chip, clock_hz, DATA_BYTES, 2 if registered else 0)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "sdram": Out(SdramPins(chip)), "irq": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.sdram = sdram = self._controller
        if self._registered:
            for (name,), member, pin in self.sdram.signature.flatten(self.sdram):
                inner = getattr(sdram.pins, name)
                m.d.sync += pin.eq(inner) if member.flow == Out else inner.eq(pin)
        else:
            connect(m, sdram.pins, flipped(self.sdram))
        memory = sdram.memory
        request = memory.request

        noise = Signal(64, init=1)
        step = noise[_POLYNOMIAL[0] - 1] ^ noise[_POLYNOMIAL[1] - 1] ^ noise[_POLYNOMIAL[2] - 1] ^ noise[
            _POLYNOMIAL[3] - 1]
        filling = Signal(range((1 << _REGION) + 1))
        filled = filling[_REGION]
        index = Signal(_REGION)
        writes = Signal(init=1)
        fresh = Signal()  # the request has not been chosen yet
        m.d.sync += noise.eq(Cat(step, noise))
        m.d.comb += [
            request.valid.eq(~fresh),
            request.payload.write.eq(writes),
            request.payload.address.eq(index),
            request.payload.data.eq(self._word(index)),
            request.payload.strobe.eq(-1),
        ]
        with m.If(fresh | request.ready):
            # Half of the time the next word in a row, a quarter of the time none for a while.
            m.d.sync += [fresh.eq(filled & (noise[:2] == 0)), writes.eq(~filled | noise[5])]
            with m.If(~filled):
                m.d.sync += [index.eq(filling), filling.eq(filling + 1)]
            with m.Elif(noise[2]):
                m.d.sync += index.eq(index + 1)
            with m.Else():
                m.d.sync += index.eq(noise[16:16 + _REGION])

        asked = [Signal(_REGION, name=f"asked{i}") for i in range(8)]  # indexes of reads without an answer
        first = Signal(3)
        last = Signal(3)
        expected = Signal(_REGION)
        with m.If(request.valid & request.ready & ~writes):
            m.d.sync += last.eq(last + 1)
            for i, place in enumerate(asked):
                with m.If(last == i):
                    m.d.sync += place.eq(index)
        for i, place in enumerate(asked):
            with m.If(first == i):
                m.d.comb += expected.eq(place)
        with m.If(memory.read_data.valid):
            m.d.sync += first.eq(first + 1)
            with m.If(memory.read_data.payload != self._word(expected)):
                m.d.sync += self.irq.eq(1)
        return m

    def _word(self, index):
        """Sixteen bytes that differ from those of other words and from each other."""
        return Cat((index * (2 * i + 1) + 17 * i)[:8] for i in range(DATA_BYTES))
