"""The program fetcher against a memory with latency, stalls and faults."""

import random

import cocotb
import pytest
from lepton.arch import PRESETS, Engine, ErrorCode
from lepton_hdl.axi import Resp
from lepton_hdl.control.fetch import ALIGNMENT, QUEUE_DEPTH, ProgramFetcher

from tests.bench.clock import cycles, until
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.control.expose import Exposed
from tests.hdl.control.fetch_bench import (
    BASE,
    OFFSETS,
    SIZES,
    Bench,
    Fault,
    Stream,
    check_programs,
    expected_fault,
    expected_segments,
)


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(stall=[0.0, 0.4], take=[1.0, 0.1])
async def delivers_three_streams_in_order(dut, stall, take):
    bench = Bench(dut, latency=random.choice([1, 7, 64]), stall=stall, take=take)
    await bench.open(counts=(17, 9, 13, 11))
    await bench.settle()
    check_programs(bench.received, bench.programs)
    assert not bench.faults and dut.quiet.value
    assert bench.memory.refused == 0, "a beat was stalled"
    assert sorted(bench.memory.segments) == expected_segments(bench.streams, BASE)


@cocotb.test(timeout_time=50, timeout_unit="us")
async def planted_errors_are_reported(dut):
    """A wrong bit, a missing command and one too many."""
    bench = Bench(dut, latency=5)
    await bench.open(counts=(3, 3, 3, 3))
    await bench.settle()
    check_programs(bench.received, bench.programs)
    expected = bench.programs[Engine.STORE]
    wrong = bytes([expected[1][0] ^ 1]) + expected[1][1:]
    for commands, message in (([expected[0], wrong, expected[2]], "STORE got 3 of 3 commands; command 1 is"),
                              ([*expected, wrong], "STORE got 3 of 4 commands"),
                              (expected[:2], "STORE got 3 of 2 commands")):
        with pytest.raises(AssertionError, match=message):
            check_programs(bench.received, bench.programs | {Engine.STORE: commands})


@cocotb.test(timeout_time=50, timeout_unit="us")
async def asks_only_for_what_it_has_room_for(dut):
    bench = Bench(dut, latency=5, take=0.0)
    await bench.open(counts=(20, 20, 20, 20))
    await bench.settle()
    assert len(bench.memory.segments) == len(Engine) * QUEUE_DEPTH
    assert bench.memory.refused == 0
    bench.consumers[Engine.STORE].take = 1.0  # a stream that stands still does not hold up another
    await bench.settle()
    expected = {engine: bench.programs[engine] if engine is Engine.STORE else [] for engine in Engine}
    check_programs(bench.received, expected)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def hides_the_latency_of_memory(dut):
    """Commands 24 cycles apart in three streams: after the first ones, none is ever late."""
    if parameters()["bus_bytes"] < 16:
        return  # the bus itself needs longer than that for three commands
    bench = Bench(dut, latency=64)
    for consumer in bench.consumers.values():
        consumer.spacing = 24
    await bench.open(counts=(30, 30, 30, 0))
    await bench.settle()
    for engine in (Engine.LOAD, Engine.TENSOR, Engine.STORE):
        consumer = bench.consumers[engine]
        assert consumer.times[-1] - consumer.times[0] == 24 * 29, engine


@cocotb.test(timeout_time=50, timeout_unit="us")
async def starts_within_the_latency(dut):
    bench = Bench(dut, latency=64)
    await bench.open(counts=(1, 1, 1, 1))
    limit = 64 + 10 + SIZES[Engine.LOAD] // parameters()["bus_bytes"]
    await until(dut, lambda: bench.received[Engine.LOAD], limit)


@cocotb.test(timeout_time=50, timeout_unit="us")
async def serves_the_streams_in_turn(dut):
    """The first command of every engine comes before the second of any."""
    bench = Bench(dut)
    await bench.open(counts=(8, 8, 8, 8))
    await bench.settle()
    streams = [(address - BASE) // 0x1000 * 0x1000 for address, _ in bench.memory.segments[:3 * len(Engine)]]
    assert streams == list(OFFSETS) * 3


async def refuses(bench: Bench, streams: list[Stream], size: int, base: int = BASE) -> Fault | None:
    """The first fault as the model says, with nothing read; otherwise no fault. Gives the fault."""
    await bench.start(streams, size, base)
    await cycles(bench.dut, 10)
    expected = expected_fault(streams, base, size)
    assert bench.faults[:1] == ([] if expected is None else [expected]), streams
    if expected is not None:
        bench.dut.halt.value = 1
        await bench.settle()
        assert not any(bench.received.values()) and bench.dut.quiet.value
        assert not bench.memory.segments, "memory was read although a stream is refused"
    return expected


@cocotb.test(timeout_time=100, timeout_unit="us")
async def checks_bounds_and_alignment_before_reading(dut):
    """Each check by hand: a region that ends within a command, offsets beyond it, counts that would wrap."""
    bench = Bench(dut)
    tensor_end = 0x1000 + 4 * SIZES[Engine.TENSOR]
    cases = [
        ([Stream(0, 2), Stream(0x1000, 4), Stream(0x40, 2), Stream()], tensor_end - 1, BASE,
         Fault(ErrorCode.MEMORY_BOUNDS, Engine.TENSOR, 3, 0, BASE + tensor_end - SIZES[Engine.TENSOR])),
        ([Stream(0, 2), Stream(0x100, 2), Stream(0xFFFF_FFC0, 2), Stream()], 0x1000, BASE,
         Fault(ErrorCode.MEMORY_BOUNDS, Engine.STORE, 0, 0, BASE + 0xFFFF_FFC0)),
        ([Stream(0x40, 0x0400_0000), Stream(), Stream(), Stream()], 0xFFFF_FFFF, BASE,
         Fault(ErrorCode.MEMORY_BOUNDS, Engine.LOAD, (0xFFFF_FFFF - 0x40) // SIZES[Engine.LOAD], 0,
               BASE + 0x40 + (0xFFFF_FFFF - 0x40) // SIZES[Engine.LOAD] * SIZES[Engine.LOAD])),
        ([Stream(0x20, 2), Stream(0x1000, 2), Stream(0x2000, 2), Stream()], 0x10000, BASE,
         Fault(ErrorCode.ILLEGAL_FIELD, Engine.LOAD, 0, 0, BASE + 0x20)),
        ([Stream(0, 2), Stream(0x1000, 2), Stream(0x4000, 2), Stream()], 0x10000, BASE + 4,
         Fault(ErrorCode.ILLEGAL_FIELD, Engine.LOAD, 0, 0, BASE + 4)),
        ([Stream(0, 2), Stream(0x1000, 2), Stream(0x4000, 2), Stream(0x8000 - 0x80, 2)], 0x8000, BASE,
         Fault(ErrorCode.MEMORY_BOUNDS, Engine.ROWS, 1, 0, BASE + 0x8000)),
    ]
    for streams, size, base, fault in cases:
        assert await refuses(bench, streams, size, base) == fault


@cocotb.test(timeout_time=200, timeout_unit="us")
async def random_checks(dut):
    """Streams that just fit, that just do not, and that are far outside."""
    bench = Bench(dut)
    refused = 0
    for _ in range(40):
        size = random.choice([0, 0x1000, 0x1040, 0xFFFF_FFFF, random.getrandbits(32)])
        streams: list[Stream] = []
        for engine in Engine:
            fits = random.randrange(size // SIZES[engine] + 1)
            offset = max(0, size - fits * SIZES[engine]) // ALIGNMENT * ALIGNMENT
            count = max(0, fits + random.choice([0, 0, 0, 1, -1, 1 << 20])) % (1 << 32)
            streams.append(Stream(offset, random.choice([0, count])))
        base = random.getrandbits(64) // ALIGNMENT * ALIGNMENT + random.choice([0, 0, 0, 0, 1])
        refused += await refuses(bench, streams, size, base) is not None
    assert 0 < refused < 40


@cocotb.test(timeout_time=50, timeout_unit="us")
async def takes_a_stream_that_ends_with_the_region(dut):
    """And streams of no commands, wherever they are said to be."""
    bench = Bench(dut)
    await bench.open(counts=(0, 0, 3, 0), offsets=(0xFFFF_FFF1, 0xFFFF_FFF1, 0x1000, 0xFFFF_FFF1), size=0x1000 + 3 * 64)
    await bench.settle()
    check_programs(bench.received, bench.programs)
    assert not bench.faults


@cocotb.test(timeout_time=100, timeout_unit="us")
@cocotb.parametrize(response=[Resp.SLVERR, Resp.DECERR])
async def names_the_command_that_memory_refused(dut, response):
    bench = Bench(dut, stall=0.2)
    bad = BASE + OFFSETS[Engine.TENSOR] + 2 * SIZES[Engine.TENSOR] + 64
    bench.memory.bad[bad] = response
    await bench.open(counts=(3, 6, 3, 0))
    await until(dut, lambda: bench.faults)
    dut.halt.value = 1
    await bench.settle()
    assert bench.faults == [Fault(ErrorCode[f"AXI_{response.name}"], Engine.TENSOR, 2, 0, bad)]
    assert bench.received[Engine.TENSOR] == bench.programs[Engine.TENSOR][:2]
    assert dut.quiet.value


@cocotb.test(timeout_time=100, timeout_unit="us")
async def comes_to_rest_when_halted(dut):
    bench = Bench(dut, latency=30, stall=0.5)
    await bench.open(counts=(20, 20, 20, 20))
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
