"""What the tests of the DMA build: an engine with its port, in configurations with every relation of their widths."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import PRESETS, ChipConfig, Dma
from lepton_hdl.dma import LoadEngine, ReadPort, StoreEngine, WritePort
from lepton_hdl.dma.read_port import ReadSignature
from lepton_hdl.dma.write_port import WriteSignature
from lepton_hdl.interfaces import REGION_TABLE, EngineSignature, WordReadSignature, word_write_layout

# Word and bus width in bytes; between them every relation of the two occurs.
CONFIGS = {
    "tiny": PRESETS["tiny"],  # 4, 16
    "base": PRESETS["base"].with_(scratchpad_kib=64, weight_kib=32),  # 16, 16
    "large": PRESETS["large"].with_(scratchpad_kib=64, weight_kib=32),  # 32, 16
    "narrow_bus": PRESETS["base"].with_(bus_bytes=8, scratchpad_kib=64, weight_kib=32),
    "wide_bus": PRESETS["base"].with_(bus_bytes=32, scratchpad_kib=64, weight_kib=32),
    "narrowest": PRESETS["large"].with_(bus_bytes=4, scratchpad_kib=64, weight_kib=32),
    "widest": PRESETS["tiny"].with_(bus_bytes=64),
}

READ_CLIENTS = 3  # of the read port by itself

_PORT = {"timeout": In(32), "restart": In(1), "timed_out": Out(1), "broken": Out(1), "failed_address": Out(64),
         "port_busy": Out(1), "beat_transferred": Out(1)}


class LoadBench(wiring.Component):
    """LOAD engine and read port."""

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "control": In(EngineSignature(Dma)), "regions": In(REGION_TABLE),
            "write": Out(stream.Signature(word_write_layout(config))),
            "bus": Out(ReadSignature(config.bus_bytes)), **_PORT,
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = LoadEngine(self.config)
        m.submodules.port = port = ReadPort(self.config, clients=1)
        wiring.connect(m, engine=engine.read, port=port.clients[0])
        wiring.connect(m, engine=engine.write, bench=wiring.flipped(self.write))
        return _join(m, self, engine, port)


class StoreBench(wiring.Component):
    """STORE engine and write port."""

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "control": In(EngineSignature(Dma)), "regions": In(REGION_TABLE),
            "read": Out(WordReadSignature(config)), "bus": Out(WriteSignature(config.bus_bytes)), **_PORT,
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = StoreEngine(self.config)
        m.submodules.port = port = WritePort(self.config)
        wiring.connect(m, engine=engine.write, port=port.client)
        wiring.connect(m, engine=engine.read, bench=wiring.flipped(self.read))
        return _join(m, self, engine, port)


def _join(m, bench, engine, port):
    wiring.connect(m, bench=wiring.flipped(bench.control), engine=engine.control)
    wiring.connect(m, port=port.bus, bench=wiring.flipped(bench.bus))
    m.d.comb += [
        engine.regions.eq(bench.regions), port.timeout.eq(bench.timeout), bench.timed_out.eq(port.timed_out),
        bench.failed_address.eq(port.failed_address), bench.port_busy.eq(port.busy), bench.broken.eq(port.broken),
        port.restart.eq(bench.restart), bench.beat_transferred.eq(port.beat_transferred),
    ]
    return m
