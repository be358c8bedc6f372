"""One lane's 256-entry table: any function of an int8, looked up in the cycle in which the int8 is registered.

Two tables lie in the memory. One is filled while rows still go through the other, so that a command may bring its
own without waiting for the command before it.
"""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from lepton.arch.commands import TABLE_BYTES

BEAT_BYTES = 4  # written at a time, and read at a time: as wide as a block RAM's port
BEATS = TABLE_BYTES // BEAT_BYTES
BANKS = 2  # one in use, one being filled


class TableMemory(wiring.Component):
    """Members
    -------
    write, write_bank, index, beat: entries BEAT_BYTES * `index` and following.
    look, bank, q: look up entry q + 128; `y` follows one cycle later and stays until the next.
    """

    write: In(1)
    write_bank: In(range(BANKS))
    index: In(range(BEATS))
    beat: In(8 * BEAT_BYTES)
    look: In(1)
    bank: In(range(BANKS))
    q: In(signed(8))
    y: Out(signed(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8 * BEAT_BYTES, depth=BANKS * BEATS, init=[])
        rp = memory.read_port()
        wp = memory.write_port()
        entry = self.q.as_unsigned() ^ 0x80
        place = Signal(range(BEAT_BYTES))
        m.d.comb += [
            wp.en.eq(self.write), wp.addr.eq(Cat(self.index, self.write_bank)), wp.data.eq(self.beat),
            rp.en.eq(self.look), rp.addr.eq(Cat(entry[2:], self.bank)),
            self.y.eq(rp.data.word_select(place, 8)),
        ]
        with m.If(self.look):
            m.d.sync += place.eq(entry[:2])
        return m
