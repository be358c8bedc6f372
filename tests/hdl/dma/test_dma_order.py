"""Both DMA engines: an error comes after all that was before it, also behind memories that stall; 64-bit addresses."""

import random

import cocotb
import pytest
from lepton.arch import DmaOpcode, ErrorCode

from tests.bench.clock import until
from tests.bench.stalls import BURSTS, MOST, NONE, SOME, STALLS
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.bench import CONFIGS, LoadBench, StoreBench
from tests.hdl.dma.commands import Region, command
from tests.hdl.dma.engine_bench import NO_PAUSES, EngineBench, LoadTester, Pauses, StoreTester

STORE = parameters().get("store", False)
CONFIG = CONFIGS["tiny"]
LANES = CONFIG.lanes
SIZE = 0x4000
# No two halves alike; the second begins below a multiple of 4 GiB and goes beyond it.
REGIONS = [Region(0xFEDC_BA98_0123_4000, SIZE), Region(0x89AB_CDEF_FFFF_E000, SIZE),
           Region(0x0000_8000_0000_0000, SIZE), Region(0xFFFF_FFFF_FFFF_C000, SIZE)]


async def opened(dut, region: int, pauses: Pauses = NO_PAUSES) -> EngineBench:
    """A bench out of reset; this region is all that memory holds."""
    kind = StoreTester if STORE else LoadTester
    bench = kind.open(dut, CONFIG, REGIONS, SIZE, REGIONS[region].base, pauses, latency=20)
    await bench.start()
    return bench


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(memory=[NONE, SOME, BURSTS, MOST], local=STALLS)
async def an_error_comes_last(dut, memory, local):
    """A command that is refused, right behind good ones: when the error is raised, their last word has been accepted
    and they are done. So in each of several jobs, whose last words meet stalls of all lengths."""
    bench = await opened(dut, 2, Pauses(memory=memory, local=local))
    control = bench.control
    for job in range(3):
        good = [bench.command(region=2, offset=64 * i, local=4 * LANES * i, row_bytes=random.randint(1, 3 * LANES),
                              post=i + 1) for i in range(random.randint(1, 4))]
        bench.send(*good)
        control.send(bench.command(region=2, local=1, layer=job))
        await until(dut, lambda: control.errors.items, 4000, lambda: control.state)
        assert bench.landed, "the error was first"
        error = await bench.stopped()
        assert (error.code, error.index, error.layer) == (ErrorCode.LOCAL_ALIGNMENT, len(good), job)
        assert max(control.done.times) <= control.errors.times[0]
        bench.check()
        await bench.restart()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(region=range(len(REGIONS)))
async def addresses_of_64_bits(dut, region):
    """Rows at both ends of a region and in between, where its address carries into the upper half."""
    bench = await opened(dut, region)
    step = SIZE // 4
    await bench.run(
        bench.command(region=region, offset=5, row_bytes=100, count1=4, mem_step1=step, local_step1=128),
        bench.command(region=region, offset=0x2000 - 33, row_bytes=77, local=1024),
        bench.command(region=region, offset=SIZE - 1, row_bytes=1, local=2048))
    base = REGIONS[region].base
    assert all(base <= burst.address <= base + SIZE - 1 for burst in bench.axi.bursts)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(region=range(len(REGIONS)))
async def errors_name_all_64_bits(dut, region):
    """Of the beat or burst that failed."""
    bench = await opened(dut, region)
    at = REGIONS[region].base + 0x3000
    bench.axi.contents.faults.append((at, at + 1, 2))
    bench.send(bench.command(region=region, offset=0x1003, row_bytes=9))
    bench.control.send(bench.command(region=region, offset=0x3000, row_bytes=64, local=64))
    error = await bench.stopped(3000)
    assert (error.code, error.index, error.address) == (ErrorCode.AXI_SLVERR, 1, at)
    bench.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_time_out_names_all_64_bits(dut):
    bench = await opened(dut, 1)
    dut.timeout.value = 60
    bench.axi.hold = True
    bench.control.send(bench.command(region=1, offset=0x2345, row_bytes=9))
    await until(dut, lambda: dut.timed_out.value, 500)
    assert int(dut.failed_address.value) == REGIONS[1].base + 0x2345


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=STORE)
async def a_long_fill_is_not_silence_of_memory(dut):
    """The next row's beats wait for longer than TIMEOUT until the FILL before it has ended: the job goes on."""
    bench = await opened(dut, 0)
    dut.timeout.value = 100
    whole = command(DmaOpcode.FILL, row_bytes=CONFIG.scratchpad_bytes // 4, fill=3)
    await bench.run(whole, bench.command(offset=8, row_bytes=200))
    assert not dut.timed_out.value
    assert bench.duration > 10 * 100


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def no_cycle_is_lost_between_rows_and_jobs(dut):
    """After a job that ended in an error, the next one is as fast as the first."""
    durations: list[int] = []
    bench = await opened(dut, 0)
    for _ in range(2):
        await bench.run(*(bench.command(offset=256 * i, local=256 * i, row_bytes=256) for i in range(8)))
        durations.append(bench.duration)
        bench.control.send(bench.command(local=1))
        await bench.stopped()
        await bench.restart()
    assert durations[0] == durations[1]


@pytest.mark.parametrize("store", [False, True], ids=["load", "store"])
def test_order(store):
    block = StoreBench if store else LoadBench
    run_cocotb(block(CONFIG), f"{'store' if store else 'load'}_tiny", __name__,
               parameters={"config": "tiny", "store": store})
