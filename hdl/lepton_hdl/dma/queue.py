"""FIFOs between two streams: a short one without a cycle of delay, and a long one in a memory with clocked ports."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import fifo, stream, wiring
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


class LongQueue(wiring.Component):
    """As `Queue`, but a payload put in is at the output in the second cycle after; it may be wide and long, and holds
    one more: that at the output.

    Its memory is read with the clock: block RAM on an FPGA, a macro in standard cells, where that of a `Queue` becomes
    look-up tables or flip-flops.
    """

    def __init__(self, shape, depth: int):
        self.shape = shape
        self.depth = depth
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(depth + 2)),
        })

    def elaborate(self, platform):
        m = Module()
        width = Shape.cast(self.shape).width
        m.submodules.words = words = fifo.SyncFIFOBuffered(width=width, depth=self.depth + 1)
        m.d.comb += [
            words.w_data.eq(self.i.p), words.w_en.eq(self.i.valid), self.i.ready.eq(words.w_rdy),
            Value.cast(self.o.p).eq(words.r_data), self.o.valid.eq(words.r_rdy), words.r_en.eq(self.o.ready),
            self.level.eq(words.level),
        ]
        return m
