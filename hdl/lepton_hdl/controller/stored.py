"""The controller's registers that are words of a memory: rings, windows, the staged job and the last results."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from lepton.arch.controller import STORED_WORDS

from .bus import BusSignature

WORD_BITS = (STORED_WORDS - 1).bit_length()


class StoredRegisters(wiring.Component):
    """A memory of STORED_WORDS words with one port, shared by `names` in the order of precedence.

    Addresses count words. Every access takes two cycles and succeeds; who may write what is checked before.
    """

    def __init__(self, names: tuple[str, ...]):
        self._names = names
        super().__init__({name: In(BusSignature(WORD_BITS)) for name in names})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=32, depth=STORED_WORDS, init=[])
        read = memory.read_port()
        write = memory.write_port()
        ports = [getattr(self, name) for name in self._names]
        busy = Signal()
        owner = Signal(range(len(ports)))
        m.d.sync += busy.eq(0)
        m.d.comb += [read.addr.eq(write.addr), read.en.eq(~busy)]
        for i, port in enumerate(ports):
            m.d.comb += [port.read_data.eq(read.data), port.done.eq(busy & (owner == i))]
        with m.If(~busy):
            for i in reversed(range(len(ports))):  # the last assignment wins: the first asking port
                with m.If(ports[i].valid):
                    m.d.comb += [write.addr.eq(ports[i].address), write.data.eq(ports[i].write_data),
                                 write.en.eq(ports[i].write)]
                    m.d.sync += [busy.eq(1), owner.eq(i)]
        return m
