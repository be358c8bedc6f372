"""LOAD and FILL through the read port, against the pseudo-code of `Dma`."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus
from lepton.arch import DmaOpcode

from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.bench import CONFIGS, LoadBench, command, expected_words, random_walk
from tests.hdl.dma.peers import AxiMemory, Control, WordSink, start

LOAD, FILL = DmaOpcode.LOAD, DmaOpcode.FILL
SIZE = 0x10000
# At odd places, also above 4 GiB; the last region begins in the middle of a word.
REGIONS = [(0x1_0000_0000, SIZE), (0x1_0001_0000, SIZE), (0x1_0002_0FF0, SIZE), (0x1_0004_0003, SIZE)]
BASE = 0x1_0000_0000


async def bench(dut, *, gap=0, stall=0.0, sink_stall=0.0, latency=64):
    config = CONFIGS[parameters()["config"]]
    memory = np.random.default_rng(random.getrandbits(32)).integers(0, 256, 0x60000, dtype=np.uint8)
    axi = AxiMemory(dut, config.bus_bytes, "read", bytearray(memory.tobytes()), base=BASE, latency=latency, stall=stall)
    control, sink = Control(dut, gap), WordSink(dut, config, sink_stall)
    await start(dut, REGIONS)
    return config, memory, axi, control, sink


def region(memory, index):
    base = REGIONS[index][0] - BASE
    return memory[base:base + REGIONS[index][1]]


async def check(control, sink, config, memory, commands, total=None):
    """Run `commands` and compare every word, in order."""
    done, words = len(control.done), len(sink.words)
    control.send(*commands)
    await control.finished(done + len(commands))
    expected = [w for c in commands for w in expected_words(config, c, region(memory, c["region"]))]
    for i, (got, wanted) in enumerate(zip(sink.words[words:], expected, strict=False)):
        assert got == wanted, f"word {i}: {got} instead of {wanted}"
    assert len(sink.words) - words == len(expected)
    assert [(d["post"], d["layer"], d["snapshot"]) for _, d in control.done[done:]] == [
        (c["post"], c["layer"], 0) for c in commands]


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def walks_of_any_shape(dut):
    config, memory, _, control, sink = await bench(dut)
    rng = random.Random(random.getrandbits(32))
    kinds = [LOAD, LOAD, LOAD, FILL]
    await check(control, sink, config, memory, [random_walk(config, rng.choice(kinds), SIZE, rng) for _ in range(24)])


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def walks_with_stalls_everywhere(dut):
    config, memory, _, control, sink = await bench(dut, gap=30, stall=0.4, sink_stall=0.4, latency=20)
    rng = random.Random(random.getrandbits(32))
    await check(control, sink, config, memory,
                [random_walk(config, rng.choice([LOAD, FILL]), SIZE, rng, budget=800) for _ in range(16)])


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_head_and_tail(dut):
    """Rows that begin and end at every byte lane, among them rows inside one beat; fill in the last word."""
    config, memory, _, control, sink = await bench(dut, latency=8)
    step = max(config.bus_bytes, config.lanes)
    commands = []
    for head in range(config.bus_bytes):
        for length in {1, 2, config.bus_bytes - head, step, step + 1, 2 * step - 1, step + random.randint(2, step)}:
            if length:
                commands.append(command(
                    LOAD, offset=head + 0x100, row_bytes=length, local=config.lanes, fill=-7, post=head))
    random.shuffle(commands)
    await check(control, sink, config, memory, commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def rows_across_4_kib_and_largest(dut):
    """Bursts end at 4 KiB (checked by the memory); one row fills the whole weight memory."""
    config, memory, axi, control, sink = await bench(dut)
    await check(control, sink, config, memory, [
        command(LOAD, offset=4096 - 1, row_bytes=2),
        command(LOAD, offset=8192 - 3 * config.bus_bytes, row_bytes=6 * config.bus_bytes),
        command(LOAD, offset=0xFFF, row_bytes=0x1002, region=3),
        command(LOAD, offset=SIZE - config.weight_bytes, row_bytes=config.weight_bytes, space=1, region=2),
        command(LOAD, offset=0, row_bytes=1, local=config.scratchpad_bytes - config.lanes),
        command(LOAD, offset=SIZE - 1, row_bytes=1, local=0),
    ])
    assert max(beats for _, beats in axi.bursts) == min(256, 4096 // config.bus_bytes)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def one_beat_a_cycle(dut):
    """Aligned rows, over row and command borders: no cycle is lost on the side that limits."""
    config, memory, axi, control, sink = await bench(dut)
    row, n = 256, 16
    commands = [command(LOAD, row_bytes=row, count1=n, count2=2, mem_step1=row, local_step1=row, mem_step2=row * n,
                        post=i) for i in range(3)]
    await check(control, sink, config, memory, commands)
    total = row * n * 2 * 3
    # Unless the bus is four times as narrow, 16 bursts of a row each hide 64 cycles.
    limit = max(total // config.bus_bytes, total // config.lanes)
    assert sink.times[-1] - sink.times[0] == limit - max(1, config.lanes // config.bus_bytes)
    assert control.done[-1][0] - control.accepted[0] <= limit + 64 + 8
    assert axi.most_in_flight <= config.outstanding


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def commands_hide_latency(dut):
    """Single-burst commands: as many in flight as the memory allows."""
    config, memory, axi, control, sink = await bench(dut)
    size = 8 * max(config.bus_bytes, config.lanes)
    commands = [command(LOAD, row_bytes=size, offset=i * size, local=i * size, post=i) for i in range(32)]
    await check(control, sink, config, memory, commands)
    limit = max(32 * size // config.bus_bytes, 32 * size // config.lanes)
    assert control.done[-1][0] - control.accepted[0] <= limit + 64 + 8
    assert axi.most_in_flight >= min(config.outstanding, 64 // (limit // 32))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def fill_needs_no_memory(dut):
    config, memory, axi, control, sink = await bench(dut)
    commands = [command(FILL, row_bytes=5 * config.lanes - 1, count1=4, local_step1=8 * config.lanes, fill=-128,
                        offset=0xFFFF_FFF0, space=s) for s in (0, 1)]
    await check(control, sink, config, memory, commands)
    assert sink.times[-1] - sink.times[0] == len(sink.words) - 1
    assert not axi.bursts
    # In order with loads: the same place is loaded, filled, and loaded.
    await check(control, sink, config, memory, [
        command(LOAD, row_bytes=100), command(FILL, row_bytes=100, fill=3), command(LOAD, row_bytes=33, offset=1)])


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def against_cocotbext_axi(dut):
    """Another author's memory, with its stalls."""
    config = CONFIGS[parameters()["config"]]
    memory = np.random.default_rng(random.getrandbits(32)).integers(0, 256, 0x60000, dtype=np.uint8)
    ram = AxiRamRead(AxiReadBus.from_prefix(dut, "bus_"), dut.clk, dut.rst, size=2**20)
    ram.log.setLevel("WARNING")
    ram.write(0, memory.tobytes())
    generator = random.Random(random.getrandbits(32))
    for channel in (ram.ar_channel, ram.r_channel):
        channel.set_pause_generator(iter(lambda: generator.random() < 0.3, None))
    control, sink = Control(dut), WordSink(dut, config, 0.2)
    await start(dut, [(base, size) for base, size in REGIONS])
    await RisingEdge(dut.clk)
    await check(control, sink, config, memory,
                [random_walk(config, LOAD, SIZE, generator, budget=800) for _ in range(8)])


@pytest.mark.parametrize("config", CONFIGS)
def test_load(config):
    run_cocotb(LoadBench(CONFIGS[config]), f"load_{config}", "tests.hdl.dma.test_dma_load",
               parameters={"config": config})
