"""STORE through the write port: walks of any shape, every alignment, and how fast they are."""

import random

import cocotb
import pytest
from cocotbext.axi import AxiRamWrite, AxiWriteBus
from lepton.arch import DmaOpcode

from tests.bench.stalls import BURSTS, SOME, STALLS, stall
from tests.cocotb_harness import run_cocotb
from tests.hdl.dma.bench import CONFIGS, StoreBench
from tests.hdl.dma.commands import Fields, command, random_walk
from tests.hdl.dma.engine_bench import NO_PAUSES, Pauses, StoreTester, check_bytes
from tests.hdl.dma.large_memory import BASE, LATENCY, MEMORY, REGIONS, SIZE, configuration

STORE = DmaOpcode.STORE


async def opened(dut, pauses: Pauses = NO_PAUSES, latency: int = LATENCY, first: str = "any") -> StoreTester:
    """A bench out of reset."""
    bench = StoreTester.open(dut, configuration(), REGIONS, MEMORY, BASE, pauses, latency, first)
    await bench.start()
    return bench


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def walks_of_any_shape(dut):
    bench = await opened(dut)
    for _ in range(3):
        await bench.run(*(random_walk(bench.config, STORE, SIZE) for _ in range(8)))


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(first=["any", "aw", "w"], local=STALLS)
async def walks_with_stalls_everywhere(dut, first, local):
    """AW before, after and with W."""
    bench = await opened(dut, Pauses(memory=random.choice((SOME, BURSTS)), local=local, commands=SOME), 20, first)
    await bench.run(*(random_walk(bench.config, STORE, SIZE, budget=500) for _ in range(6)))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_head_and_tail(dut):
    """Rows that begin and end at every byte lane: only their own bytes change."""
    bench = await opened(dut, latency=8)
    config = bench.config
    step = max(config.bus_bytes, config.lanes)
    rows = [(head, length) for head in range(config.bus_bytes)
            for length in {1, 2, config.bus_bytes - head, step, step + 1, 2 * step - 1, step + random.randint(2, step)}]
    random.shuffle(rows)
    commands: list[Fields] = []
    for number, (head, length) in enumerate(rows):
        offset = 4 * step * number % (SIZE - 4 * step) + head
        commands.append(command(STORE, offset=offset, row_bytes=length, post=head,
                                local=random.randrange(config.scratchpad_words // 2) * config.lanes))
    await bench.run(*commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def rows_across_4_kib_and_largest(dut):
    """Bursts end at 4 KiB (checked by the memory); one row is the whole scratchpad."""
    bench = await opened(dut)
    config = bench.config
    await bench.run(
        command(STORE, offset=4096 - 1, row_bytes=2),
        command(STORE, offset=8192 - 3 * config.bus_bytes, row_bytes=6 * config.bus_bytes),
        command(STORE, offset=0xFFF, row_bytes=0x1002, region=3),
        command(STORE, offset=SIZE - config.scratchpad_bytes, row_bytes=config.scratchpad_bytes, region=2),
        command(STORE, offset=SIZE - 1, row_bytes=1, local=config.scratchpad_bytes - config.lanes))
    assert max(burst.beats for burst in bench.axi.bursts) == 64


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def one_beat_a_cycle(dut):
    """Aligned rows, over row and command borders: no cycle is lost on the side that limits."""
    bench = await opened(dut)
    config = bench.config
    row = 8 * max(config.bus_bytes, config.lanes)
    n = 8
    await bench.run(*(command(STORE, row_bytes=row, count1=n, count2=2, mem_step1=row, local_step1=row,
                              mem_step2=row * n, offset=i * 0x4000, post=i) for i in range(3)))
    total = row * n * 2 * 3
    limit = max(total // config.bus_bytes, total // config.lanes)
    if config.bus_bytes <= config.lanes:
        assert bench.axi.beat_times[-1] - bench.axi.beat_times[0] == limit - 1
    assert bench.duration <= limit + LATENCY + 16 + row // min(config.bus_bytes, config.lanes)
    assert bench.axi.in_flight.most <= config.outstanding


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def long_row_keeps_the_bus_busy(dut):
    """The first burst leaves when it is complete; from then on the narrower side is never idle."""
    bench = await opened(dut)
    config = bench.config
    size = 0x4000
    await bench.run(command(STORE, row_bytes=size))
    limit = max(size // config.bus_bytes, size // config.lanes)
    gathered = 64 * max(1, config.bus_bytes // config.lanes)
    assert bench.duration <= limit + gathered + LATENCY + 12


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def commands_hide_latency(dut):
    """`done` waits for the response, the next commands do not."""
    bench = await opened(dut)
    config = bench.config
    size = 8 * max(config.bus_bytes, config.lanes)
    await bench.run(*(command(STORE, row_bytes=size, offset=i * size, local=i * size, post=i) for i in range(32)))
    limit = max(32 * size // config.bus_bytes, 32 * size // config.lanes)
    assert bench.control.done.times[0] - bench.control.accepted.times[0] > LATENCY
    assert bench.duration <= limit + LATENCY + 16 + size // min(config.bus_bytes, config.lanes)
    assert bench.axi.in_flight.most >= min(config.outstanding, LATENCY // (limit // 32))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def against_cocotbext_axi(dut):
    """Another author's memory, with its stalls."""
    bench = StoreTester(dut, configuration(), REGIONS, random.randbytes(MEMORY), BASE, Pauses(local=SOME))
    ram = AxiRamWrite(AxiWriteBus.from_prefix(dut, "bus_"), dut.clk, dut.rst, size=2**20)
    ram.log.setLevel("WARNING")
    ram.write(0, bench.memory)
    for channel in (ram.aw_channel, ram.w_channel, ram.b_channel):
        channel.set_pause_generator(iter(stall(SOME), None))
    await bench.start()
    commands = [random_walk(bench.config, STORE, SIZE, budget=800) for _ in range(8)]
    bench.send(*commands)
    await bench.control.finished(len(commands))
    bench.done.finish()
    check_bytes(ram.read(0, MEMORY), bytes(bench.expected))


@pytest.mark.parametrize("config", CONFIGS)
def test_store(config):
    run_cocotb(StoreBench(CONFIGS[config]), f"store_{config}", __name__, parameters={"config": config})
