"""A short FIFO between two streams, with its payload readable without a cycle of delay."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """FIFO of `depth` (at least 2) payloads of `shape`; takes and gives one per cycle.

    A payload put in is at the output in the next cycle. Meant for a few dozen entries:
    the asynchronous read port becomes lookup-table memory on an FPGA.

    `level`: entries held, 0..depth.
    """

    def __init__(self, shape, depth: int):
        if depth < 2:
            raise ValueError(f"depth of a Queue must be at least 2, not {depth!r}: "
                             "one entry cannot be filled and emptied at once")
        self.shape = shape
        self.depth = depth
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(depth + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.shape, depth=self.depth, init=[])
        write = memory.write_port()
        read = memory.read_port(domain="comb")
        put = Signal()
        get = Signal()
        m.d.comb += [
            self.i.ready.eq(self.level != self.depth),
            self.o.valid.eq(self.level != 0),
            put.eq(self.i.valid & self.i.ready),
            get.eq(self.o.valid & self.o.ready),
            write.en.eq(put),
            write.data.eq(self.i.p),
            self.o.p.eq(read.data),
        ]

        def after(pointer):
            return Mux(pointer == self.depth - 1, 0, pointer + 1)

        with m.If(put):
            m.d.sync += write.addr.eq(after(write.addr))
        with m.If(get):
            m.d.sync += read.addr.eq(after(read.addr))
        with m.If(put & ~get):
            m.d.sync += self.level.eq(self.level + 1)
        with m.If(get & ~put):
            m.d.sync += self.level.eq(self.level - 1)
        return m
