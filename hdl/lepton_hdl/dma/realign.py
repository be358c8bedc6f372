"""Moves the bytes of a row to other byte lanes.

Rows begin at any byte in memory but at lane 0 on chip. Both engines cut the wider of
the two words into *units* of min(bus, word) bytes, so that one realigner serves both
directions: it delays the upper bytes of each unit and puts them in front of the next.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


class Realign(wiring.Component):
    """One unit a cycle; outputs are combinational from inputs, and no cycle is lost between rows.

    Bytes of the first output below `keep` are undefined unless it was primed, and so are
    bytes of a flushed output from `keep` on: the engines mask or fill them.
    `busy`: a row is under way.
    """

    @staticmethod
    def row_layout(unit_bytes: int, count_bits: int) -> data.StructLayout:
        """How one row passes.

        `keep`: each unit's upper `keep` bytes go to the front of the next output, 0..unit_bytes-1.
        `left`: units to put out, less one.
        `prime`: the first unit is taken before the first output (memory to chip).
        `flush`: the last output takes no input, what was kept is enough.
        `blank`: no input at all, outputs hold nothing (rows made of fill bytes).
        """
        return data.StructLayout({"keep": range(unit_bytes), "left": count_bits, "prime": 1, "flush": 1, "blank": 1})

    def __init__(self, unit_bytes: int, count_bits: int):
        self.unit_bytes = unit_bytes
        super().__init__({
            "row": In(stream.Signature(self.row_layout(unit_bytes, count_bits))),
            "i": In(stream.Signature(8 * unit_bytes)),
            "o": Out(stream.Signature(data.StructLayout({"data": 8 * unit_bytes, "first": 1, "last": 1}))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        row = Signal.like(self.row.p)
        kept = Signal(8 * self.unit_bytes)
        first = Signal()
        needs = Signal()
        step = Signal()
        out = self.o.p
        m.d.comb += [
            out.first.eq(first),
            out.last.eq(row.left == 0),
            needs.eq(~(row.blank | (row.flush & out.last))),
            self.i.ready.eq(self.busy & (row.prime | (needs & self.o.ready))),
            self.o.valid.eq(self.busy & ~row.prime & (self.i.valid | ~needs)),
            step.eq(self.o.valid & self.o.ready),
            self.row.ready.eq(~self.busy | (step & out.last)),
        ]
        # A switch, not a shift: a simulator then copies the bytes of one case only.
        with m.Switch(row.keep):
            with m.Case(0):
                m.d.comb += out.data.eq(self.i.p)
            for keep in range(1, self.unit_bytes):
                with m.Case(keep):
                    m.d.comb += out.data.eq(Cat(kept[:8 * keep], self.i.p[:8 * (self.unit_bytes - keep)]))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += row.prime.eq(0)
            with m.Switch(row.keep):
                for keep in range(1, self.unit_bytes):
                    with m.Case(keep):
                        m.d.sync += kept.eq(self.i.p[8 * (self.unit_bytes - keep):])
        with m.If(step):
            m.d.sync += [row.left.eq(row.left - 1), first.eq(0)]
            with m.If(out.last):
                m.d.sync += self.busy.eq(0)
        with m.If(self.row.valid & self.row.ready):
            m.d.sync += [row.eq(self.row.p), first.eq(1), self.busy.eq(1)]
        return m
