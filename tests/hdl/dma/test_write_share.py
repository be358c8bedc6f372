"""Two clients of one write port, one of which is reset at any moment."""

import random
from collections import deque

import cocotb
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import ClockCycles, RisingEdge
from lepton.arch import PRESETS, ChipConfig
from lepton_hdl.dma import WritePort, WriteShare
from lepton_hdl.dma.write_port import WriteSignature
from lepton_hdl.interfaces import SEGMENT, WRITE_RESPONSE, WriteClientSignature, write_beat_layout

from tests.bench.clock import until
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.peers import AxiMemory, reset

CONFIGS = [{"bus_bytes": 16}, {"bus_bytes": 4}, {"bus_bytes": 16, "outstanding": 1}]
CLIENTS = 2
HALF = 0x8000  # bytes of memory of each client


def config() -> ChipConfig:
    return PRESETS["base"].with_(**parameters())


class Bench(wiring.Component):
    """The share in front of a port."""

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "clients": In(WriteClientSignature(config.bus_bytes)).array(CLIENTS),
            "discard": In(CLIENTS), "stale": Out(CLIENTS), "open": Out(CLIENTS),
            "bus": Out(WriteSignature(config.bus_bytes)),
            "timeout": In(32), "restart": In(1), "broken": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.share = share = WriteShare(self.config, CLIENTS)
        m.submodules.port = port = WritePort(self.config)
        wiring.connect(m, share=share.port, port=port.client)
        wiring.connect(m, port=port.bus, bench=wiring.flipped(self.bus))
        for inner, outer in zip(share.clients, self.clients, strict=True):
            wiring.connect(m, share=inner, bench=wiring.flipped(outer))
        m.d.comb += [
            share.discard.eq(self.discard), self.stale.eq(share.stale), self.open.eq(share.open),
            port.timeout.eq(self.timeout), port.restart.eq(self.restart),
            self.broken.eq(port.broken), self.busy.eq(port.busy),
        ]
        return m


class Writer:
    """One client: sends segments and, behind each, its beats, at its own pace; `written` is what must get to memory."""

    def __init__(self, dut, index: int, stall: float):
        self.dut, self.index, self.stall, self.width = dut, index, stall, config().bus_bytes
        self.segments: deque[int] = deque()
        self.beats: deque[int] = deque()
        self.open: deque[tuple[int, bytes]] = deque()  # segments without an answer
        self.written: dict[int, int] = {}
        self.forgotten = False
        cocotb.start_soon(self._run())

    def send(self, address: int, content: bytes):
        address += self.index * HALF
        self.segments.append(SEGMENT.const({"address": address, "length": len(content)}).as_value().value)
        self.open.append((address, content))
        for at in range(address // self.width * self.width, address + len(content), self.width):
            lanes = [i for i in range(self.width) if address <= at + i < address + len(content)]
            data = sum(content[at + i - address] << 8 * i for i in lanes)
            beat = {"data": data, "strobe": sum(1 << i for i in lanes)}
            self.beats.append(write_beat_layout(self.width).const(beat).as_value().value)

    def forget(self):
        """Reset at this clock edge."""
        for queue in (self.segments, self.beats, self.open):
            queue.clear()
        self.forgotten = True

    async def _run(self):
        def port(name):
            return getattr(self.dut, f"clients__{self.index}__{name}")

        streams = (("segment", self.segments), ("beat", self.beats))
        offered = {"segment": False, "beat": False}
        for name in offered:
            port(f"{name}__valid").value = 0
        while True:
            await RisingEdge(self.dut.clk)
            if self.forgotten:
                self.forgotten = False
                for name in offered:
                    offered[name] = False
                    port(f"{name}__valid").value = 0
                continue
            if port("response__valid").value:
                view = WRITE_RESPONSE.from_bits(int(port("response__payload").value))
                address, content = self.open.popleft()
                assert view.resp == 0
                self.written |= {address + i: byte for i, byte in enumerate(content)}
            for name, queue in streams:
                if offered[name] and port(f"{name}__ready").value:
                    queue.popleft()
                    offered[name] = False
                if not offered[name] and queue and random.random() >= self.stall:
                    port(f"{name}__payload").value = queue[0]
                    offered[name] = True
                port(f"{name}__valid").value = offered[name]


def random_segment(rng, width: int) -> tuple[int, bytes]:
    length = rng.choice([1, rng.randint(1, 64), rng.randint(1, 100 * width)])
    return rng.randrange(HALF - length), rng.randbytes(length)


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.4])
async def a_client_is_reset_in_the_middle_of_its_segments(dut, stall):
    """Bursts on the bus get all their beats, those without data mark no byte; the other client's bytes and answers are
    as if nothing had been, and the reset client's next segments wait for the last answer and are right."""
    width = config().bus_bytes
    axi = AxiMemory(dut, width, "write", bytearray(CLIENTS * HALF), stall=stall, outstanding=config().outstanding)
    writers = [Writer(dut, i, stall) for i in range(CLIENTS)]
    dut.discard.value = 0
    await reset(dut)
    for late in [0, 1, 2, 2000, *(random.randrange(500) for _ in range(6))]:
        before = bytes(axi.contents[:HALF])
        asked = []
        for writer in writers:
            for _ in range(5):
                address, content = random_segment(random, width)
                writer.send(address, content)
                if writer.index == 0:
                    asked.append((address, content))
        await ClockCycles(dut.clk, random.randrange(200))
        axi.hold = late > 0
        await ClockCycles(dut.clk, random.randrange(1, 20))
        dut.discard.value = 0b01
        writers[0].forget()
        await RisingEdge(dut.clk)
        dut.discard.value = 0
        await ClockCycles(dut.clk, late)
        axi.hold = False
        await until(dut, lambda: not dut.open.value and not dut.busy.value and not writers[1].open)
        await ClockCycles(dut.clk, 2)
        assert not dut.stale.value and not dut.broken.value
        # What the reset client wrote is of its segments, in order, or what was there.
        may = [{byte} for byte in before]
        for address, content in asked:
            for i, byte in enumerate(content):
                may[address + i].add(byte)
        assert all(byte in allowed for byte, allowed in zip(axi.contents[:HALF], may, strict=True))
        writers[0].written.clear()
        writers[0].send(*random_segment(random, width))
        await until(dut, lambda: not writers[0].open and not dut.busy.value)
        for writer in writers:
            assert all(axi.contents[at] == byte for at, byte in writer.written.items()), writer.index


@pytest.mark.parametrize("changes", CONFIGS, ids=lambda c: "-".join(map(str, c.values())))
def test_write_share(changes):
    run_cocotb(Bench(PRESETS["base"].with_(**changes)), "write_share", "tests.hdl.dma.test_write_share",
               parameters=changes)
