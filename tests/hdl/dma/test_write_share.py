"""Two clients of one write port, one of which is reset at any moment."""

import random

import cocotb
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from lepton.arch import PRESETS, ChipConfig
from lepton_hdl.dma import WritePort, WriteShare
from lepton_hdl.dma.write_port import WriteSignature
from lepton_hdl.interfaces import WriteClientSignature

from tests.bench.axi_memory import AxiWriteMemory
from tests.bench.clock import start_clock, until
from tests.bench.disturbed import PlantedError, check_messages
from tests.bench.stalls import NONE, STALLS, stall
from tests.cocotb_harness import failing_cocotb, parameters, run_cocotb
from tests.hdl.dma.port_bench import WriteClient

CONFIGS = [{"bus_bytes": 16}, {"bus_bytes": 4}, {"bus_bytes": 16, "outstanding": 1}]
CLIENTS = 2
HALF = 0x8000  # bytes of memory of each client
PLANTED = parameters().get("planted", False)


def configuration() -> ChipConfig:
    """Of the port under test."""
    return PRESETS["base"].with_(**{name: value for name, value in parameters().items() if name != "planted"})


class SharedPort(wiring.Component):
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
        wiring.connect(m, port=port.bus, top=wiring.flipped(self.bus))
        for inner, outer in zip(share.clients, self.clients, strict=True):
            wiring.connect(m, share=inner, top=wiring.flipped(outer))
        m.d.comb += [
            share.discard.eq(self.discard), self.stale.eq(share.stale), self.open.eq(share.open),
            port.timeout.eq(self.timeout), port.restart.eq(self.restart),
            self.broken.eq(port.broken), self.busy.eq(port.busy),
        ]
        return m


def random_segment(width: int) -> tuple[int, bytes]:
    """Offset in a client's half, and contents."""
    length = random.choice([1, random.randint(1, 64), random.randint(1, 100 * width)])
    return random.randrange(HALF - length), random.randbytes(length)


class Bench:
    """The memory and the two clients, of which client 0 is reset; each writes to its own half."""

    def __init__(self, dut, pattern: str) -> None:
        self.dut = dut
        self.width = configuration().bus_bytes
        self.axi = AxiWriteMemory(dut, self.width, bytearray(CLIENTS * HALF), outstanding=configuration().outstanding,
                                  pause=stall(pattern))
        self.clients = [WriteClient(dut, f"clients__{i}", self.width, stall(pattern), stall(pattern),
                                    reset=lambda i=i: int(dut.discard.value) >> i & 1)
                        for i in range(CLIENTS)]

    def send(self, index: int) -> tuple[int, bytes]:
        """A random segment of this client; its offset and contents."""
        offset, content = random_segment(self.width)
        self.clients[index].send(index * HALF + offset, content)
        return offset, content

    async def reset_client(self) -> None:
        """Client 0 forgets everything."""
        await FallingEdge(self.dut.clk)
        self.dut.discard.value = 0b01
        self.clients[0].forget()
        await RisingEdge(self.dut.clk)
        self.dut.discard.value = 0

    async def quiet(self) -> None:
        """Wait until nothing is under way, and the client that was not reset has all its answers."""
        await until(self.dut, lambda: not self.dut.open.value and not self.dut.busy.value and self.clients[1].idle)


def allowed_bytes(before: bytes, segments: list[tuple[int, bytes]]) -> list[set[int]]:
    """The model of what a client leaves behind when it is reset: each byte is the old one, or of a segment it sent."""
    allowed = [{byte} for byte in before]
    for offset, content in segments:
        for at, byte in enumerate(content, offset):
            allowed[at].add(byte)
    return allowed


async def reset_again_and_again(dut, pattern: str, delays: list[int]) -> None:
    """Reset client 0 in the middle of its segments; memory answers nothing for `delays` cycles behind each reset."""
    bench = Bench(dut, pattern)
    await start_clock(dut, timeout=0, restart=0, discard=0)
    for late in delays:
        before = bytes(bench.axi.contents.data[:HALF])
        asked = [bench.send(0) for _ in range(5)]
        for _ in range(5):
            bench.send(1)
        await ClockCycles(dut.clk, random.randrange(200))
        bench.axi.hold = late > 0
        await ClockCycles(dut.clk, random.randrange(1, 20))
        await bench.reset_client()
        bench.clients[0].written.clear()
        if random.random() < 0.5:  # while its old segments are not answered, or when they are
            asked.append(bench.send(0))
        await ClockCycles(dut.clk, late)
        bench.axi.hold = False
        await bench.quiet()
        await ClockCycles(dut.clk, 2)
        assert not dut.stale.value, "a client is stale"
        assert not dut.broken.value
        for at, allowed in enumerate(allowed_bytes(before, asked)):
            byte = bench.axi.contents.data[at]
            assert byte in allowed, f"byte {at:#x} is {byte:#x}, neither the old one nor of a segment: {allowed}"
        bench.send(0)
        await until(dut, lambda: bench.clients[0].idle and not dut.busy.value)
        for client in bench.clients:
            client.check(bench.axi.contents)
    bench.clients[1].checker.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=PLANTED)
@cocotb.parametrize(pattern=STALLS)
async def a_client_is_reset_in_the_middle_of_its_segments(dut, pattern):
    """Bursts on the bus get all their beats, those without data mark no byte; the other client's bytes and answers are
    as if nothing had been, and the reset client's next segments wait for the last answer and are right."""
    await reset_again_and_again(dut, pattern, [0, 1, 2, 2000, *(random.randrange(500) for _ in range(4))])


ERRORS = [
    PlantedError("bus__wdata", "neither the old one nor of a segment|byte 0x[0-9a-f]+ is 0x[0-9a-f]+, not 0x", 1 << 9),
    PlantedError("bus__wstrb", "neither the old one nor of a segment|byte 0x[0-9a-f]+ is 0x[0-9a-f]+, not 0x"),
    PlantedError("clients__1__response__valid", r"clients__1: item \d+ was not expected"),
    PlantedError("clients__1__response__payload", r"clients__1: item 0 is Response\(resp=2", 1 << 1),
    PlantedError("stale", "a client is stale"),
]


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=not PLANTED)
@cocotb.parametrize(number=range(len(ERRORS)))
async def resets_with_a_wrong_output(dut, number):
    """Must fail."""
    await reset_again_and_again(ERRORS[number].planted(dut), NONE, [1, 1])


def test_planted_errors_are_reported():
    problems = failing_cocotb(SharedPort(PRESETS["base"].with_(bus_bytes=16)), "write_share", __name__,
                              parameters={"planted": True})
    check_messages(problems, ERRORS)


@pytest.mark.parametrize("changes", CONFIGS, ids=lambda c: "-".join(map(str, c.values())))
def test_write_share(changes):
    run_cocotb(SharedPort(PRESETS["base"].with_(**changes)), "write_share", __name__,
               parameters=changes)
