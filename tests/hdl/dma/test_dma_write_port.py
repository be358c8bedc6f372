"""The write port by itself: responses of segments of many bursts, bursts that wait for their data."""

import random
from dataclasses import dataclass

import cocotb
import pytest
from cocotb.handle import HierarchyObject
from cocotb.triggers import ClockCycles
from lepton.arch import PRESETS, ChipConfig
from lepton_hdl.axi import Resp
from lepton_hdl.dma import WritePort

from tests.bench.axi import Burst
from tests.bench.axi_memory import AxiWriteMemory
from tests.bench.clock import start_clock, until
from tests.bench.stalls import NONE, SOME, STALLS, share, stall
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.peers import restart_port
from tests.hdl.dma.port_bench import GOOD, Response, WriteClient

CONFIGS = [{"bus_bytes": 16}, {"bus_bytes": 4}, {"bus_bytes": 64}, {"bus_bytes": 16, "outstanding": 1}]
BASE = 0xFFFF_F000  # addresses pass 4 GiB in the middle of the test
SIZE = 0x8000
BURST_BEATS = 64  # at most
SLVERR = Resp.SLVERR.value
DECERR = Resp.DECERR.value


def configuration() -> ChipConfig:
    """Of the port under test."""
    return PRESETS["base"].with_(**parameters())


@dataclass
class Bench:
    """The memory, all zeros, and the client of a port."""

    dut: HierarchyObject
    axi: AxiWriteMemory
    client: WriteClient

    @classmethod
    async def open(cls, dut, client: str = NONE, memory: str = NONE, latency: int = 64, first: str = "any") -> "Bench":
        """Out of reset, with these stall patterns."""
        width = configuration().bus_bytes
        axi = AxiWriteMemory(dut, width, bytearray(SIZE), base=BASE, latency=latency, pause=stall(memory), first=first)
        writer = WriteClient(dut, "client", width, stall(client), stall(client))
        await start_clock(dut, timeout=0, restart=0)
        return cls(dut, axi, writer)

    async def idle(self) -> None:
        """Wait until every segment is answered; then memory must hold what was written."""
        await until(self.dut, lambda: self.client.idle and not self.dut.busy.value, 100_000,
                    lambda: f"{self.client.checker.missing} responses are missing")
        self.client.checker.finish()
        self.client.check(self.axi.contents)
        assert self.axi.gaps == 0, "a burst waited for its data"
        assert self.axi.in_flight.most <= configuration().outstanding


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(client=STALLS, memory=[NONE, SOME])
async def write_responses_name_the_first_failing_burst(dut, client, memory):
    bench = await Bench.open(dut, client, memory)
    page = BURST_BEATS * configuration().bus_bytes
    high = BASE + max(0x1000, 6 * page)  # beyond 4 GiB, at the start of a burst
    bench.axi.contents.faults += [(BASE + page, BASE + page + 1, SLVERR), (BASE + 2 * page, BASE + 3 * page, DECERR),
                                  (high, high + 1, SLVERR)]
    content = random.randbytes(4 * page)
    for address, length, response in (
        (BASE + 3, 5, GOOD), (BASE + page - 2, 1, GOOD),
        (BASE + 5, 3 * page, Response(DECERR, BASE + page)),  # SLVERR first, then the worse DECERR
        (BASE + 3 * page + 1, page + 7, GOOD),
        (BASE + 2 * page + 7, 3, Response(DECERR, BASE + 2 * page + 7)),  # the segment's own address
        (BASE + 3 * page - 1, 9, Response(DECERR, BASE + 3 * page - 1)), (BASE + 5 * page, 1, GOOD),
        (high - 4, 2 * page, Response(SLVERR, high)),  # its second burst
    ):
        bench.client.send(address, content[:length], response)
    await until(dut, lambda: bench.client.idle and not dut.busy.value, 100_000)
    bench.client.checker.finish()
    data = bench.axi.contents.data
    assert data[3 * page + 1 + 8:4 * page + 8] == content[8:page + 7]  # what came after the failed ones
    assert data[page:2 * page] == bytes(page)
    assert bench.axi.gaps == 0 and bench.axi.in_flight.most <= configuration().outstanding


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(client=STALLS, first=["any", "aw", "w"])
async def random_segments_arrive(dut, client, first):
    """Next to each other, of any length and alignment, with AW before, after and with W."""
    bench = await Bench.open(dut, client, random.choice(STALLS), 20, first)
    at = BASE
    for _ in range(12):
        at += random.choice((0, 1, random.randrange(200)))
        content = random.randbytes(random.choice((1, random.randint(1, 64), random.randint(1, 1500))))
        bench.client.send(at, content)
        at += len(content)
    await bench.idle()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def write_starts_only_with_all_data(dut):
    """A segment whose last beats are missing does not reach the bus with its last burst."""
    bench = await Bench.open(dut, latency=5)
    width = configuration().bus_bytes
    held = bench.client.send(BASE, random.randbytes(100 * width), held=2)
    await ClockCycles(dut.clk, 500)
    assert bench.axi.bursts == [Burst(BASE, BURST_BEATS)] and len(bench.axi.beat_times) == BURST_BEATS
    assert dut.busy.value and not bench.client.responses.items
    bench.client.beat_driver.send(*held)
    await bench.idle()
    assert bench.axi.bursts[1:] == [Burst(BASE + BURST_BEATS * width, 100 - BURST_BEATS)]


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(first=["any", "w", "aw"])
async def a_response_that_comes_out_of_turn_is_dropped(dut, first):
    """With no burst on the bus ("any"), before a burst's address ("w") and before its data ("aw"). It answers no
    segment; `broken` stays over a restart as long as a burst is outstanding, and later segments are answered with an
    error until then."""
    bench = await Bench.open(dut, latency=5, first=first)
    width = configuration().bus_bytes
    idle = first == "any"
    if not idle:
        bench.axi.pause = share(1.0)  # nothing is accepted
        bench.client.send(BASE, random.randbytes(3 * width), Response(SLVERR, BASE))
        await until(dut, lambda: dut.bus__awvalid.value and dut.bus__wvalid.value, 50)
    bench.axi.unasked = 1
    await until(dut, lambda: not bench.axi.unasked, 10)
    await ClockCycles(dut.clk, 2)
    assert dut.broken.value and not bench.client.responses.items
    await restart_port(dut)
    assert dut.broken.value == (not idle)
    bench.axi.pause = stall(NONE)
    if not idle:
        await bench.idle()
        await restart_port(dut)
    bench.client.send(BASE + 3, random.randbytes(5 * width + 1))
    await bench.idle()
    assert not dut.broken.value


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def write_opens_as_many_bursts_as_it_may_and_no_more(dut):
    """Short segments and slow answers; the memory would take any number of bursts."""
    bench = await Bench.open(dut, latency=150)
    allowed = configuration().outstanding
    for i in range(3 * allowed + 5):
        bench.client.send(BASE + 2 * configuration().bus_bytes * i, random.randbytes(1))
    await bench.idle()
    assert bench.axi.in_flight.most == allowed


@pytest.mark.parametrize("changes", CONFIGS, ids=lambda c: "-".join(map(str, c.values())))
def test_write_port(changes):
    run_cocotb(WritePort(PRESETS["base"].with_(**changes)), "write_port", __name__, parameters=changes)
