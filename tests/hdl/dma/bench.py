"""What the tests of the DMA share: benches of an engine with its port, commands, and their meaning."""

import random
from itertools import pairwise

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import PRESETS, ChipConfig, Dma, DmaOpcode
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


def command(opcode: DmaOpcode, **fields) -> dict[str, int]:
    """All fields of a command; counts are 1 unless given."""
    values = {f.name: 0 for f in Dma.fields} | {"count1": 1, "count2": 1, "count3": 1, "row_bytes": 1}
    assert fields.keys() <= values.keys(), fields
    return values | {"opcode": int(opcode)} | fields


def rows(fields: dict[str, int]):
    """(offset in the region, byte address on chip) of every row: the pseudo-code of `Dma`."""
    for k in range(fields["count3"]):
        for j in range(fields["count2"]):
            for i in range(fields["count1"]):
                offset, local = (
                    fields[first] + sum(n * fields[f"{kind}_step{level}"] for level, n in ((1, i), (2, j), (3, k)))
                    for first, kind in (("offset", "mem"), ("local", "local")))
                yield offset % 2**32, local % 2**32


def expected_words(config: ChipConfig, fields: dict[str, int], region: np.ndarray) -> list[tuple[int, int, bytes]]:
    """(space, word address, word) in the order in which LOAD or FILL writes them."""
    lanes, n = config.lanes, fields["row_bytes"]
    fill = bytes([fields["fill"] & 0xFF])
    words = []
    for offset, local in rows(fields):
        row = b"" if fields["opcode"] == DmaOpcode.FILL else region[offset:offset + n].tobytes()
        row = row.ljust(-(-n // lanes) * lanes, fill)
        words += [(fields["space"], (local + at) // lanes, row[at:at + lanes]) for at in range(0, len(row), lanes)]
    return words


def random_walk(config: ChipConfig, opcode: DmaOpcode, region_bytes: int, rng: random.Random,
                budget: int = 3000) -> dict[str, int]:
    """A legal command of about `budget` bytes at most, of any shape, with steps of both signs."""
    lanes = config.lanes
    space = rng.choice([0, 0, 1]) if opcode != DmaOpcode.STORE else 0
    local_size = config.weight_bytes if space else config.scratchpad_bytes
    row_bytes = rng.choice([1, rng.randint(1, 40), rng.randint(1, 40) * lanes, rng.randint(1, 600)])
    words = -(-row_bytes // lanes)
    counts = []
    for _ in range(3):
        counts.append(rng.randint(1, max(1, min(6, budget // (row_bytes * int(np.prod(counts or [1])))))))

    def walk(size, length, steps):
        low = sum(min(0, (n - 1) * s) for n, s in zip(counts, steps, strict=True))
        high = sum(max(0, (n - 1) * s) for n, s in zip(counts, steps, strict=True))
        return (-low, size - length - high)

    while True:
        mem_steps = [rng.choice([row_bytes, rng.randint(-700, 700), rng.randint(-3000, 3000)]) for _ in range(3)]
        local_steps = [rng.choice([words, rng.randint(-60, 60), rng.randint(-200, 200)]) * lanes for _ in range(3)]
        mem_low, mem_high = walk(region_bytes, row_bytes, mem_steps)
        local_low, local_high = walk(local_size, words * lanes, local_steps)
        if opcode == DmaOpcode.STORE:  # rows in memory must not overlap: beats would merge in any order
            spans = sorted(k * mem_steps[2] + j * mem_steps[1] + i * mem_steps[0]
                           for k in range(counts[2]) for j in range(counts[1]) for i in range(counts[0]))
            if any(b - a < row_bytes for a, b in pairwise(spans)):
                continue
        if mem_low <= mem_high and local_low <= local_high:
            break
    return command(
        opcode, space=space, region=rng.randrange(4), fill=rng.randint(-128, 127), layer=rng.randrange(65536),
        post=rng.randrange(65536), row_bytes=row_bytes, offset=rng.randint(mem_low, mem_high),
        local=rng.randint(local_low // lanes, local_high // lanes) * lanes,
        **{f"count{i + 1}": n for i, n in enumerate(counts)},
        **{f"mem_step{i + 1}": s for i, s in enumerate(mem_steps)},
        **{f"local_step{i + 1}": s for i, s in enumerate(local_steps)})
