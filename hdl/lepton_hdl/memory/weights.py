"""The weight memory: weight tiles and parameter records, filled by LOAD, read by the feeder."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig


class WeightMemory(wiring.Component):
    """`config.weight_words` words of `config.lanes` bytes; one read and one write a cycle, never stalled.

    `data` follows a `read` one cycle later and stays until the next.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        address = ceil_log2(config.weight_words)
        super().__init__({
            "read": In(stream.Signature(address, always_ready=True)),
            "data": Out(8 * config.lanes),
            "write": In(stream.Signature(data.StructLayout({"address": address, "data": 8 * config.lanes}),
                                         always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8 * self.config.lanes, depth=self.config.weight_words, init=[])
        rp = memory.read_port()
        wp = memory.write_port()
        m.d.comb += [
            rp.addr.eq(self.read.p), rp.en.eq(self.read.valid), self.data.eq(rp.data),
            wp.addr.eq(self.write.p.address), wp.data.eq(self.write.p.data), wp.en.eq(self.write.valid),
        ]
        return m
