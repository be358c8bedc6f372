"""The write port by itself: responses of segments of many bursts, bursts that wait for their data."""

import random
from collections import deque

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge
from lepton.arch import PRESETS
from lepton_hdl.dma import WritePort
from lepton_hdl.interfaces import SEGMENT, WRITE_RESPONSE, write_beat_layout

from tests.bench.clock import until
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.peers import AxiMemory, reset

CONFIGS = [{"bus_bytes": 16}, {"bus_bytes": 4}, {"bus_bytes": 64}, {"bus_bytes": 16, "outstanding": 1}]
BASE = 0xFFFF_F000  # addresses pass 4 GiB in the middle of the test
SIZE = 0x8000


def config():
    return PRESETS["base"].with_(**parameters())


class Writer:
    """The client of a write port: sends segments and their beats at its own pace."""

    def __init__(self, dut, width: int, stall: float):
        self.dut, self.width, self.stall = dut, width, stall
        self.segments, self.beats, self.responses = deque(), deque(), []
        cocotb.start_soon(self._segments())
        cocotb.start_soon(self._beats())

    def send(self, address: int, content: bytes):
        self.segments.append(SEGMENT.const({"address": address, "length": len(content)}).as_value().value)
        width = self.width
        for at in range(address // width * width, address + len(content), width):
            lanes = [i for i in range(width) if address <= at + i < address + len(content)]
            data = sum(content[at + i - address] << 8 * i for i in lanes)
            strobe = sum(1 << i for i in lanes)
            self.beats.append(write_beat_layout(width).const({"data": data, "strobe": strobe}).as_value().value)

    async def _segments(self):
        await self._stream("client__segment", self.segments)

    async def _beats(self):
        await self._stream("client__beat", self.beats)

    async def _stream(self, prefix, queue):
        valid, ready, payload = (getattr(self.dut, f"{prefix}__{n}") for n in ("valid", "ready", "payload"))
        valid.value, offered = 0, False
        while True:
            await RisingEdge(self.dut.clk)
            if offered and ready.value:
                queue.popleft()
                offered = False
            if prefix.endswith("segment") and self.dut.client__response__valid.value:
                view = WRITE_RESPONSE.from_bits(int(self.dut.client__response__payload.value))
                self.responses.append((view.resp, view.address))
            if not offered and queue and random.random() >= self.stall:
                payload.value = queue[0]
                offered = True
            valid.value = offered


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.3])
async def write_responses_name_the_first_failing_burst(dut, stall):
    width, page = config().bus_bytes, 64 * config().bus_bytes
    axi = AxiMemory(dut, width, "write", bytearray(SIZE), base=BASE, stall=stall)
    writer = Writer(dut, width, stall)
    await reset(dut)
    high = BASE + max(0x1000, 6 * page)  # beyond 4 GiB, at the start of a burst
    axi.faults += [(BASE + page, BASE + page + 1, 2), (BASE + 2 * page, BASE + 3 * page, 3), (high, high + 1, 2)]
    content = random.randbytes(4 * page)
    expected = []
    for address, length, resp, failing in (
        (BASE + 3, 5, 0, None), (BASE + page - 2, 1, 0, None),
        (BASE + 5, 3 * page, 3, BASE + page),  # SLVERR first, then the worse DECERR
        (BASE + 3 * page + 1, page + 7, 0, None),
        (BASE + 2 * page + 7, 3, 3, BASE + 2 * page + 7),  # the segment's own address
        (BASE + 3 * page - 1, 9, 3, BASE + 3 * page - 1), (BASE + 5 * page, 1, 0, None),
        (high - 4, 2 * page, 2, high),  # its second burst
    ):
        writer.send(address, content[:length])
        expected.append((resp, failing))
    await until(dut, lambda: len(writer.responses) == len(expected) and not dut.busy.value)
    assert [(resp, address if resp else None) for resp, address in writer.responses] == expected
    assert axi.contents[3 * page + 1 + 8:4 * page + 8] == content[8:page + 7]  # what came after the failed ones
    assert axi.contents[page:2 * page] == bytes(page)
    assert axi.gaps == 0 and axi.most_in_flight <= config().outstanding


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def write_starts_only_with_all_data(dut):
    """A segment whose last beat is missing does not reach the bus with its last burst."""
    width = config().bus_bytes
    axi = AxiMemory(dut, width, "write", bytearray(SIZE), base=BASE, latency=5)
    writer = Writer(dut, width, 0.0)
    await reset(dut)
    content = random.randbytes(100 * width)
    writer.send(BASE, content)
    await until(dut, lambda: len(writer.beats) <= 3)
    held = [writer.beats.pop() for _ in range(2)]
    await ClockCycles(dut.clk, 300)
    assert axi.bursts == [(BASE, 64)] and len(axi.beat_times) == 64 and dut.busy.value and not writer.responses
    writer.beats.extend(reversed(held))
    await until(dut, lambda: writer.responses)
    assert axi.bursts[1:] == [(BASE + 64 * width, 36)] and writer.responses[0][0] == 0
    assert axi.contents[:len(content)] == content


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(when=["idle", "before the address", "before the data"])
async def a_response_that_comes_out_of_turn_is_dropped(dut, when):
    """It answers no segment; `broken` stays over a restart as long as a burst is outstanding, and later segments are
    answered with an error until then."""
    width = config().bus_bytes
    axi = AxiMemory(dut, width, "write", bytearray(SIZE), base=BASE, latency=5,
                    write_first={"before the address": "w", "before the data": "aw"}.get(when, "any"))
    writer = Writer(dut, width, 0.0)
    await reset(dut)
    if when != "idle":
        axi.stall = 1.0  # nothing is accepted
        writer.send(BASE, random.randbytes(3 * width))
        await until(dut, lambda: dut.bus__awvalid.value and dut.bus__wvalid.value, 50)
    axi.unasked = 1
    await until(dut, lambda: not axi.unasked, 10)
    await ClockCycles(dut.clk, 2)
    assert dut.broken.value and not writer.responses
    dut.restart.value = 1
    await ClockCycles(dut.clk, 1)
    dut.restart.value = 0
    await ClockCycles(dut.clk, 2)
    assert dut.broken.value == (when != "idle")
    axi.stall = 0.0
    if when != "idle":
        await until(dut, lambda: len(writer.responses) == 1 and not dut.busy.value)
        assert writer.responses.pop()[0] == 2
        dut.restart.value = 1
        await ClockCycles(dut.clk, 1)
        dut.restart.value = 0
    content = random.randbytes(5 * width + 1)
    writer.send(BASE + 3, content)
    await until(dut, lambda: writer.responses and not dut.busy.value)
    assert writer.responses[0][0] == 0 and axi.contents[3:3 + len(content)] == content and not dut.broken.value


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def write_opens_as_many_bursts_as_it_may_and_no_more(dut):
    """Short segments and slow answers; the memory would take any number of bursts."""
    width, allowed = config().bus_bytes, config().outstanding
    axi = AxiMemory(dut, width, "write", bytearray(SIZE), base=BASE, latency=150)
    writer = Writer(dut, width, 0.0)
    await reset(dut)
    content = random.randbytes(3 * allowed + 5)
    for i in range(len(content)):
        writer.send(BASE + 2 * width * i, content[i:i + 1])
    await until(dut, lambda: len(writer.responses) == len(content) and not dut.busy.value)
    assert axi.most_in_flight == allowed
    assert bytes(axi.contents[:2 * width * len(content):2 * width]) == content


@pytest.mark.parametrize("changes", CONFIGS, ids=lambda c: "-".join(map(str, c.values())))
def test_write_port(changes):
    run_cocotb(WritePort(PRESETS["base"].with_(**changes)), "write_port", "tests.hdl.dma.test_dma_write_port",
               parameters=changes)
