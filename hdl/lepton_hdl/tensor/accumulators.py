"""The accumulators: per column a memory of int32 rows, one row read and written a cycle."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig

from ..views import View, add_parts, view_of


class Accumulators(wiring.Component):
    """Adds to (or takes the maximum with) a row, and stores it or sends it on.

    Members
    -------
    read, read_row: fetch a row; one cycle later `update` says what becomes of it.
    value: N int that are added (`maximum`: compared) with the fetched row.
    start: the row's old contents do not count. emit: the result goes to `result` only.
    result: N int32, one cycle after `update`; held otherwise.

    A row that is stored may be fetched again from the second cycle after its fetch.
    """

    def __init__(self, config: ChipConfig, value_shape):
        self.config = config
        row = ceil_log2(config.accumulator_rows)
        super().__init__({
            "read": In(1),
            "read_row": In(row),
            "update": In(1),
            "start": In(1),
            "maximum": In(1),
            "emit": In(1),
            "value": In(value_shape).array(config.columns),
            "result": Out(signed(32)).array(config.columns),
        })

    def elaborate(self, platform):
        m = Module()
        view = view_of(platform)
        row = Signal.like(self.read_row)
        with m.If(self.read):
            m.d.sync += row.eq(self.read_row)
        for n in range(self.config.columns):
            m.submodules[f"column{n}"] = memory = Memory(
                shape=signed(32), depth=self.config.accumulator_rows, init=[])
            rp = memory.read_port()
            wp = memory.write_port()
            total = Signal(signed(32), name=f"total{n}")
            added = rp.data + self.value[n]
            if view is View.GATES:  # two short carry chains are quicker than one
                added = add_parts(m, [rp.data, self.value[n]], len(total), view)
            with m.If(self.start):
                m.d.comb += total.eq(self.value[n])
            with m.Elif(self.maximum):
                m.d.comb += total.eq(Mux(rp.data > self.value[n], rp.data, self.value[n]))
            with m.Else():
                m.d.comb += total.eq(added)
            m.d.comb += [
                rp.en.eq(self.read), rp.addr.eq(self.read_row),
                wp.en.eq(self.update & ~self.emit), wp.addr.eq(row), wp.data.eq(total),
            ]
            with m.If(self.update & self.emit):
                m.d.sync += self.result[n].eq(total)
        return m
