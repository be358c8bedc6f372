"""What stops the engines: every kind of error, halt in mid-burst, memory that goes silent."""

from collections.abc import Iterator

import cocotb
import pytest
from cocotb.triggers import ClockCycles
from lepton.arch import Dma, ErrorCode

from tests.bench.clock import until
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.bench import CONFIGS, LoadBench, StoreBench
from tests.hdl.dma.commands import Fields, Region
from tests.hdl.dma.engine_bench import EngineBench, LoadTester, StoreTester
from tests.hdl.dma.peers import Done, restart_port

STORE = parameters().get("store", False)
MEMORY = 0x20000
REGIONS = [Region(0x1000, 0x8000), Region(0x1003, 0x8001), Region(0x9000, 0xFFFF), Region(0x1_9000, 0x100)]
Case = tuple[dict[str, int], int, ErrorCode, int]
"""Fields that make a command illegal, how many of its rows happen before, and code and address of the error."""


async def opened(dut, latency: int = 64) -> EngineBench:
    """A bench out of reset, of the engine under test."""
    kind = StoreTester if STORE else LoadTester
    bench = kind.open(dut, CONFIGS[parameters()["config"]], REGIONS, MEMORY, 0, latency=latency)
    await bench.start()
    return bench


def illegal_fields() -> Iterator[tuple[dict[str, int], int]]:
    """Fields with a value that the engine must refuse, and the value that the error names."""
    yield from (({name: 0}, 0) for name in ("row_bytes", "count1", "count2", "count3"))
    for field in Dma.fields:
        if field.name.startswith("reserved"):
            yield {field.name: 1 << (field.bits - 1)}, (1 << (field.bits - 1)) & 0xFFFF_FFFF
            yield {field.name: 1}, 1
    yield {"region": 4}, 4
    yield {"region": 0x80}, 0x80
    yield {"space": 1 if STORE else 2}, 1 if STORE else 2
    yield {"space": 0xFE}, 0xFE
    yield {"reserved_dma": 3, "row_bytes": 0, "region": 9}, 3  # the first in the record


def illegal_commands(lanes: int, size: int, weight_bytes: int) -> Iterator[Case]:
    """Every kind of error that a row may have; `size`: bytes of the scratchpad. Rows have 5 * lanes + 1 bytes."""
    for fields, value in illegal_fields():
        yield fields, 0, ErrorCode.ILLEGAL_FIELD, value
    yield {"local": lanes + 1}, 0, ErrorCode.LOCAL_ALIGNMENT, lanes + 1
    yield {"local_step1": lanes // 2}, 1, ErrorCode.LOCAL_ALIGNMENT, lanes // 2
    yield {"local": size - 5 * lanes}, 0, ErrorCode.LOCAL_BOUNDS, size - 5 * lanes
    yield {"local": size - 6 * lanes, "local_step1": lanes}, 1, ErrorCode.LOCAL_BOUNDS, size - 5 * lanes
    yield {"local": lanes, "local_step1": -2 * lanes}, 1, ErrorCode.LOCAL_BOUNDS, 2**32 - lanes
    yield {"row_bytes": 0xFFFF_FFFF}, 0, ErrorCode.LOCAL_BOUNDS, 0
    yield {"offset": 0x8000 - 5 * lanes}, 0, ErrorCode.MEMORY_BOUNDS, 0x8000 - 5 * lanes
    yield {"offset": 0x8000 - 5 * lanes - 1, "mem_step1": 1}, 1, ErrorCode.MEMORY_BOUNDS, 0x8000 - 5 * lanes
    yield {"offset": 2, "mem_step1": -3}, 1, ErrorCode.MEMORY_BOUNDS, 0xFFFF_FFFF
    yield {"region": 3, "offset": 0x100, "row_bytes": 1}, 0, ErrorCode.MEMORY_BOUNDS, 0x100
    yield {"offset": 0x8000, "local": 3}, 0, ErrorCode.LOCAL_ALIGNMENT, 3  # before the other two
    if not STORE:
        yield {"space": 1, "local": weight_bytes - 5 * lanes}, 0, ErrorCode.LOCAL_BOUNDS, weight_bytes - 5 * lanes


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def checks_come_before_the_row(dut):
    """Each kind of illegal command, after a good one: all good rows happen, the error has its code and address,
    nothing else moves, later commands are not accepted."""
    bench = await opened(dut, latency=20)
    lanes = bench.config.lanes
    good: Fields = {"row_bytes": 5 * lanes + 1, "count1": 2, "mem_step1": 0x100, "local_step1": 8 * lanes}
    for changes, happen, code, address in illegal_commands(lanes, bench.config.scratchpad_bytes,
                                                           bench.config.weight_bytes):
        await bench.restart()
        bench.send(bench.command(offset=7, post=1, local=16 * lanes, **good))
        bad = bench.command(layer=77, **{**good, "post": 2, **changes})
        if happen:
            bench.expect(bad, happen)
        bench.control.send(bad)
        error = await bench.stopped()
        assert (error.code, error.address, error.index, error.layer) == (code, address, 1, 77), (changes, error)
        bench.check()
        bench.control.send(bench.command(**good))
        await ClockCycles(dut.clk, 20)
        assert len(bench.control.accepted.items) == 2, "a command was accepted after an error"


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(resp=[2, 3], where=["first", "middle", "next command"])
async def memory_errors(dut, resp, where):
    """SLVERR and DECERR: the address that failed, the command that it belongs to; all that is on the bus ends."""
    bench = await opened(dut)
    row = 0xF05
    step = 0xFFF
    at = {"first": 0x1000 + 0x101, "middle": 0x2000, "next command": 0x1000 + 0x4000 + 0x103}[where]
    bench.axi.contents.faults.append((at, at + 1, resp))
    commands = [bench.command(offset=0x101, row_bytes=row, count1=3, mem_step1=step, layer=5, post=1,
                              local_step1=0x1000),
                bench.command(offset=0x4103, row_bytes=row, count1=3, mem_step1=step, layer=6, post=2)]
    for fields in commands:
        bench.expect(fields)
    if where == "next command":
        bench.done.expect(Done.of(commands[0]))
    bench.control.send(*commands)
    error = await bench.stopped()
    assert error.code == (ErrorCode.AXI_SLVERR if resp == 2 else ErrorCode.AXI_DECERR)
    assert error.address == at
    assert (error.index, error.layer) == ((1, 6) if where == "next command" else (0, 5))
    if isinstance(bench, StoreTester):
        bench.check_part()
    if isinstance(bench, LoadTester):
        # Nothing of the beat that failed, or of anything after it, was written. What was written is right.
        whole = 3 * -(-row // bench.config.lanes) if where == "next command" else 0
        written = bench.words.received - whole
        assert written <= (0x1000 - 0x101) // bench.config.lanes if where == "middle" else written == 0


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(after=[1, 9, 30, 66, 70, 100, 150, 300])
async def halt_in_mid_burst(dut, after):
    """Started bursts end, nothing starts, `busy` falls, no error is raised."""
    bench = await opened(dut)
    bench.send(*(bench.command(row_bytes=0x405, offset=0x1021 * i, count1=4, mem_step1=0x407) for i in range(6)))
    await ClockCycles(dut.clk, after)
    dut.control__halt.value = 1
    await ClockCycles(dut.clk, 2)
    started = len(bench.control.accepted.items)
    await until(dut, lambda: not bench.control.busy, 2000, lambda: bench.control.state)
    await bench.quiet()
    assert len(bench.control.accepted.items) == started < 6 and not bench.control.errors.items
    if isinstance(bench, StoreTester):
        assert bench.axi.gaps == 0
        bench.check_part()
    done = len(bench.control.done.items)
    await ClockCycles(dut.clk, 50)
    assert len(bench.control.done.items) == done


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def silent_memory_times_out(dut):
    """Neither slow memory nor an idle bus is silent memory. The time-out stays until the next job."""
    bench = await opened(dut, latency=80)
    control = bench.control
    dut.timeout.value = 100
    await bench.run(bench.command(row_bytes=64, count1=3, mem_step1=64))
    await ClockCycles(dut.clk, 300)
    assert not dut.timed_out.value
    bench.axi.hold = True
    bench.send(bench.command(row_bytes=64, offset=0x4003), bench.command(row_bytes=64, offset=0x5000))
    await until(dut, lambda: len(bench.axi.bursts) == 5, 100)
    waited = await until(dut, lambda: dut.timed_out.value, 200)
    # From the last progress: the second burst was accepted, or the last of its data some cycles later.
    assert 98 <= waited <= 102 + 64 // min(bench.config.bus_bytes, bench.config.lanes)
    assert dut.failed_address.value == 0x1000 + 0x4003
    assert dut.port_busy.value and control.busy
    bench.axi.hold = False
    await until(dut, lambda: bench.done.complete, 400, lambda: control.state)
    assert dut.timed_out.value, "it must stay until the next job"
    assert dut.failed_address.value == 0x1000 + 0x4003
    await restart_port(dut)
    assert not dut.timed_out.value and not dut.broken.value
    bench.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def timeout_zero_means_never(dut):
    bench = await opened(dut, latency=10)
    bench.axi.hold = True
    bench.send(bench.command(row_bytes=100))
    await ClockCycles(dut.clk, 3000)
    assert not dut.timed_out.value
    bench.axi.hold = False
    await bench.control.finished(1)
    bench.check()


@pytest.mark.parametrize("config", ["tiny", "base", "large", "wide_bus"])
@pytest.mark.parametrize("store", [False, True], ids=["load", "store"])
def test_errors(config, store):
    block = StoreBench if store else LoadBench
    run_cocotb(block(CONFIGS[config]), f"{'store' if store else 'load'}_{config}", __name__,
               parameters={"config": config, "store": store})
