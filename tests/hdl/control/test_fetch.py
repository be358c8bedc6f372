"""The program fetcher against a memory with latency, stalls and faults."""

import random

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from lepton.arch import PRESETS, ErrorCode
from lepton.arch import Engine as EngineName
from lepton_hdl.axi import Resp
from lepton_hdl.control.fetch import PROGRAM_TABLE, QUEUE_DEPTH, ProgramFetcher

from tests.bench.clock import cycles
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.control.expose import Exposed
from tests.hdl.control.fetch_bench import BASE, SIZES, Bench


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(stall=[0.0, 0.4], take=[1.0, 0.1])
async def delivers_three_streams_in_order(dut, stall, take):
    bench = Bench(dut, latency=random.choice([1, 7, 64]), stall=stall, take=dict.fromkeys(EngineName, take))
    await bench.open(counts=(17, 9, 13))
    await bench.settle()
    assert bench.received == bench.programs
    assert not bench.faults and dut.quiet.value
    assert bench.memory.refused == 0, "a beat was stalled"
    streams = zip(EngineName, (0, 0x1000, 0x4000), (17, 9, 13), strict=True)
    assert sorted(bench.memory.segments) == sorted(
        (BASE + offset + i * SIZES[engine], SIZES[engine]) for engine, offset, count in streams for i in range(count))


@cocotb.test(timeout_time=50, timeout_unit="us")
async def asks_only_for_what_it_has_room_for(dut):
    bench = Bench(dut, latency=5, take=dict.fromkeys(EngineName, 0.0))
    await bench.open(counts=(20, 20, 20))
    await bench.settle()
    assert len(bench.memory.segments) == 3 * QUEUE_DEPTH
    assert bench.memory.refused == 0
    bench.take[EngineName.STORE] = 1.0  # a stream that stands still does not hold up another
    await bench.settle()
    assert bench.received[EngineName.STORE] == bench.programs[EngineName.STORE]
    assert not bench.received[EngineName.LOAD] and not bench.received[EngineName.TENSOR]


@cocotb.test(timeout_time=100, timeout_unit="us")
async def hides_the_latency_of_memory(dut):
    """Commands 24 cycles apart in all three streams: after the first ones, none is ever late."""
    if parameters()["bus_bytes"] < 16:
        return  # the bus itself needs longer than that for three commands
    bench = Bench(dut, latency=64)
    bench.spacing = dict.fromkeys(EngineName, 24)
    await bench.open(counts=(30, 30, 30))
    await bench.settle()
    for engine, times in bench.times.items():
        assert times[-1] - times[0] == 24 * 29, engine


@cocotb.test(timeout_time=50, timeout_unit="us")
async def starts_within_the_latency(dut):
    bench = Bench(dut, latency=64)
    await bench.open(counts=(1, 1, 1))
    waited = 0
    while not bench.received[EngineName.LOAD]:
        await RisingEdge(dut.clk)
        waited += 1
    assert waited <= 64 + 10 + SIZES[EngineName.LOAD] // parameters()["bus_bytes"]


@cocotb.test(timeout_time=50, timeout_unit="us")
async def serves_the_streams_in_turn(dut):
    """The first command of every engine comes before the second of any."""
    bench = Bench(dut)
    await bench.open(counts=(8, 8, 8))
    await bench.settle()
    streams = [(address - BASE) // 0x1000 for address, _ in bench.memory.segments[:9]]
    assert streams == [0, 1, 4] * 3


async def _refused(dut, code, engine, index, address, *, counts=(2, 2, 2), **where):
    bench = Bench(dut)
    await bench.open(counts, **where)
    await cycles(dut, 10)
    dut.halt.value = 1
    await bench.settle()
    fault = bench.faults[0]
    assert (ErrorCode(fault.code), fault.engine, fault.index, fault.address) == (code, engine, index, address)
    assert not bench.received[EngineName(engine)] and dut.quiet.value
    assert not bench.memory.segments, "memory was read although a stream is refused"


@cocotb.test(timeout_time=20, timeout_unit="us")
async def checks_bounds_before_reading(dut):
    await _refused(dut, ErrorCode.MEMORY_BOUNDS, EngineName.TENSOR, 3, BASE + 0x1000 + 3 * 128, counts=(2, 4, 2),
                   offsets=(0, 0x1000, 0x40), size=0x1000 + 4 * 128 - 1)


@cocotb.test(timeout_time=20, timeout_unit="us")
async def checks_an_offset_beyond_the_region(dut):
    await _refused(dut, ErrorCode.MEMORY_BOUNDS, EngineName.STORE, 0, BASE + 0xFFFF_FFC0,
                   offsets=(0, 0x100, 0xFFFF_FFC0), size=0x1000)


@cocotb.test(timeout_time=20, timeout_unit="us")
async def checks_a_count_that_would_wrap(dut):
    bench = Bench(dut)
    await bench.open((0, 0, 0), size=0xFFFF_FFFF)
    dut.active.value = 0
    dut.programs.value = PROGRAM_TABLE.const([{"offset": 0x40, "count": 0x0400_0000}, {}, {}]).as_value().value
    dut.rst.value = 1
    await cycles(dut, 2)
    dut.rst.value, dut.active.value = 0, 1
    await cycles(dut, 6)
    assert bench.faults and bench.faults[0].code == ErrorCode.MEMORY_BOUNDS
    assert bench.faults[0].index == (0xFFFF_FFFF - 0x40) // 64


@cocotb.test(timeout_time=20, timeout_unit="us")
async def checks_the_alignment_of_an_offset(dut):
    await _refused(dut, ErrorCode.ILLEGAL_FIELD, EngineName.LOAD, 0, BASE + 0x20, offsets=(0x20, 0x1000, 0x2000))


@cocotb.test(timeout_time=20, timeout_unit="us")
async def checks_the_alignment_of_the_region(dut):
    await _refused(dut, ErrorCode.ILLEGAL_FIELD, EngineName.LOAD, 0, BASE + 4, base=BASE + 4)


@cocotb.test(timeout_time=50, timeout_unit="us")
async def takes_a_stream_that_ends_with_the_region(dut):
    bench = Bench(dut)
    await bench.open(counts=(0, 0, 3), offsets=(0xFFFF_FFF1, 0xFFFF_FFF1, 0x1000), size=0x1000 + 3 * 64)
    await bench.settle()
    assert bench.received == bench.programs and not bench.faults


@cocotb.test(timeout_time=100, timeout_unit="us")
@cocotb.parametrize(response=[Resp.SLVERR, Resp.DECERR])
async def names_the_command_that_memory_refused(dut, response):
    bench = Bench(dut, stall=0.2)
    bad = BASE + 0x1000 + 2 * 128 + 64
    bench.memory.bad[bad] = response
    await bench.open(counts=(3, 6, 3))
    while not bench.faults:
        await RisingEdge(dut.clk)
    dut.halt.value = 1
    await bench.settle()
    assert len(bench.faults) == 1
    fault = bench.faults[0]
    assert ErrorCode(fault.code).name == f"AXI_{response.name}"
    assert (fault.engine, fault.index, fault.address) == (EngineName.TENSOR, 2, bad)
    assert bench.received[EngineName.TENSOR] == bench.programs[EngineName.TENSOR][:2]
    assert dut.quiet.value


@cocotb.test(timeout_time=100, timeout_unit="us")
async def comes_to_rest_when_halted(dut):
    bench = Bench(dut, latency=30, stall=0.5)
    await bench.open(counts=(20, 20, 20))
    await cycles(dut, random.randrange(20, 60))
    dut.halt.value = 1
    await cycles(dut, 2)
    asked = len(bench.memory.segments)
    assert not dut.quiet.value
    await bench.settle()
    assert dut.quiet.value
    assert len(bench.memory.segments) <= asked + 1  # the one already shown must be kept


@pytest.mark.parametrize("bus_bytes", [4, 16, 64])
def test_fetch(bus_bytes):
    config = PRESETS["tiny"].with_(bus_bytes=bus_bytes)
    run_cocotb(Exposed(ProgramFetcher(config)), "fetch", __name__, parameters={"bus_bytes": bus_bytes})
