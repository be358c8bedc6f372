"""LOAD and FILL through the read port: walks of any shape, every alignment, and how fast they are."""

import random

import cocotb
import pytest
from cocotbext.axi import AxiRamRead, AxiReadBus
from lepton.arch import DmaOpcode

from tests.bench.stalls import BURSTS, SOME, STALLS, stall
from tests.cocotb_harness import run_cocotb
from tests.hdl.dma.bench import CONFIGS, LoadBench
from tests.hdl.dma.commands import Fields, command, random_walk
from tests.hdl.dma.engine_bench import NO_PAUSES, LoadTester, Pauses
from tests.hdl.dma.large_memory import BASE, LATENCY, MEMORY, REGIONS, SIZE, configuration

LOAD = DmaOpcode.LOAD
FILL = DmaOpcode.FILL


async def opened(dut, pauses: Pauses = NO_PAUSES, latency: int = LATENCY) -> LoadTester:
    """A bench out of reset."""
    bench = LoadTester.open(dut, configuration(), REGIONS, MEMORY, BASE, pauses, latency)
    await bench.start()
    return bench


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def walks_of_any_shape(dut):
    bench = await opened(dut)
    await bench.run(*(random_walk(bench.config, random.choice([LOAD, LOAD, LOAD, FILL]), SIZE) for _ in range(24)))


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(local=STALLS, memory=[SOME, BURSTS])
async def walks_with_stalls_everywhere(dut, local, memory):
    bench = await opened(dut, Pauses(memory=memory, local=local, commands=memory), latency=20)
    await bench.run(*(random_walk(bench.config, random.choice([LOAD, FILL]), SIZE, budget=500) for _ in range(8)))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_head_and_tail(dut):
    """Rows that begin and end at every byte lane, among them rows inside one beat; fill in the last word."""
    bench = await opened(dut, latency=8)
    config = bench.config
    step = max(config.bus_bytes, config.lanes)
    commands: list[Fields] = []
    for head in range(config.bus_bytes):
        for length in {1, 2, config.bus_bytes - head, step, step + 1, 2 * step - 1, step + random.randint(2, step)}:
            commands.append(command(
                LOAD, offset=head + 0x100, row_bytes=length, local=config.lanes, fill=-7, post=head))
    random.shuffle(commands)
    await bench.run(*commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def rows_across_4_kib_and_largest(dut):
    """Bursts end at 4 KiB (checked by the memory); one row fills the whole weight memory."""
    bench = await opened(dut)
    config = bench.config
    await bench.run(
        command(LOAD, offset=4096 - 1, row_bytes=2),
        command(LOAD, offset=8192 - 3 * config.bus_bytes, row_bytes=6 * config.bus_bytes),
        command(LOAD, offset=0xFFF, row_bytes=0x1002, region=3),
        command(LOAD, offset=SIZE - config.weight_bytes, row_bytes=config.weight_bytes, space=1, region=2),
        command(LOAD, offset=0, row_bytes=1, local=config.scratchpad_bytes - config.lanes),
        command(LOAD, offset=SIZE - 1, row_bytes=1, local=0))
    assert max(burst.beats for burst in bench.axi.bursts) == min(256, 4096 // config.bus_bytes)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def one_beat_a_cycle(dut):
    """Aligned rows, over row and command borders: no cycle is lost on the side that limits."""
    bench = await opened(dut)
    config = bench.config
    row = 256
    n = 16
    await bench.run(*(command(LOAD, row_bytes=row, count1=n, count2=2, mem_step1=row, local_step1=row,
                              mem_step2=row * n, post=i) for i in range(3)))
    total = row * n * 2 * 3
    # Unless the bus is four times as narrow, 16 bursts of a row each hide 64 cycles.
    limit = max(total // config.bus_bytes, total // config.lanes)
    times = bench.sink.monitor.times
    assert times[-1] - times[0] == limit - max(1, config.lanes // config.bus_bytes)
    assert bench.duration <= limit + LATENCY + 8
    assert bench.axi.in_flight.most <= config.outstanding


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def commands_hide_latency(dut):
    """Single-burst commands: as many in flight as the memory allows."""
    bench = await opened(dut)
    config = bench.config
    size = 8 * max(config.bus_bytes, config.lanes)
    await bench.run(*(command(LOAD, row_bytes=size, offset=i * size, local=i * size, post=i) for i in range(32)))
    limit = max(32 * size // config.bus_bytes, 32 * size // config.lanes)
    assert bench.duration <= limit + LATENCY + 8
    assert bench.axi.in_flight.most >= min(config.outstanding, LATENCY // (limit // 32))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def fill_needs_no_memory(dut):
    """A word a cycle, to both memories. Loads and fills of the same bytes happen in order."""
    bench = await opened(dut)
    lanes = bench.config.lanes
    await bench.run(*(command(FILL, row_bytes=5 * lanes - 1, count1=4, local_step1=8 * lanes, fill=-128,
                              offset=0xFFFF_FFF0, space=space) for space in (0, 1)))
    times = bench.sink.monitor.times
    assert times[-1] - times[0] == len(times) - 1
    assert not bench.axi.bursts
    await bench.run(command(LOAD, row_bytes=100), command(FILL, row_bytes=100, fill=3),
                    command(LOAD, row_bytes=33, offset=1))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def against_cocotbext_axi(dut):
    """Another author's memory, with its stalls."""
    bench = LoadTester(dut, configuration(), REGIONS, random.randbytes(MEMORY), BASE, Pauses(local=SOME))
    ram = AxiRamRead(AxiReadBus.from_prefix(dut, "bus_"), dut.clk, dut.rst, size=2**20)
    ram.log.setLevel("WARNING")
    ram.write(0, bench.memory)
    for channel in (ram.ar_channel, ram.r_channel):
        channel.set_pause_generator(iter(stall(SOME), None))
    await bench.start()
    commands = [random_walk(bench.config, LOAD, SIZE, budget=800) for _ in range(8)]
    bench.send(*commands)
    await bench.control.finished(len(commands))
    bench.done.finish()
    bench.check()


@pytest.mark.parametrize("config", CONFIGS)
def test_load(config):
    run_cocotb(LoadBench(CONFIGS[config]), f"load_{config}", __name__, parameters={"config": config})
