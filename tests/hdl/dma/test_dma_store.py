"""STORE through the write port, against the pseudo-code of `Dma`."""

import random

import cocotb
import numpy as np
import pytest
from cocotbext.axi import AxiRamWrite, AxiWriteBus
from lepton.arch import DmaOpcode

from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.bench import CONFIGS, StoreBench, command, random_walk, rows
from tests.hdl.dma.peers import AxiMemory, Control, WordSource, start

STORE = DmaOpcode.STORE
SIZE = 0x10000
BASE = 0x1_0000_0000
REGIONS = [(BASE, SIZE), (BASE + 0x1_0000, SIZE), (BASE + 0x2_0FF0, SIZE), (BASE + 0x4_0003, SIZE)]


def random_bytes(count: int) -> np.ndarray:
    return np.random.default_rng(random.getrandbits(32)).integers(0, 256, count, dtype=np.uint8)


async def bench(dut, *, gap=0, stall=0.0, source_stall=0.0, latency=64, write_first="any"):
    config = CONFIGS[parameters()["config"]]
    memory, scratchpad = random_bytes(0x60000), random_bytes(config.scratchpad_bytes)
    axi = AxiMemory(dut, config.bus_bytes, "write", bytearray(memory.tobytes()), base=BASE, latency=latency,
                    stall=stall, write_first=write_first)
    control, source = Control(dut, gap), WordSource(dut, config, scratchpad.tobytes(), source_stall)
    await start(dut, REGIONS)
    return config, memory, scratchpad, axi, control, source


def expect(memory, scratchpad, commands):
    for fields in commands:
        for offset, local in rows(fields):
            at, n = REGIONS[fields["region"]][0] - BASE + offset, fields["row_bytes"]
            memory[at:at + n] = scratchpad[local:local + n]


async def check(control, axi, memory, scratchpad, commands):
    done = len(control.done)
    control.send(*commands)
    await control.finished(done + len(commands))
    assert axi.in_flight == 0, "done before the last response"
    expect(memory, scratchpad, commands)
    wrong = np.flatnonzero(np.frombuffer(axi.contents, np.uint8) != memory)
    assert not wrong.size, f"{wrong.size} bytes differ, the first at {wrong[0]:#x}"
    assert [(d["post"], d["layer"], d["snapshot"]) for _, d in control.done[done:]] == [
        (c["post"], c["layer"], 0) for c in commands]
    assert axi.gaps == 0, "a burst waited for its data"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def walks_of_any_shape(dut):
    config, memory, scratchpad, axi, control, _ = await bench(dut)
    rng = random.Random(random.getrandbits(32))
    for _ in range(3):
        await check(control, axi, memory, scratchpad, [random_walk(config, STORE, SIZE, rng) for _ in range(8)])


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(write_first=["any", "aw", "w"])
async def walks_with_stalls_everywhere(dut, write_first):
    """AW before, after and with W."""
    config, memory, scratchpad, axi, control, _ = await bench(
        dut, gap=30, stall=0.4, source_stall=0.4, latency=20, write_first=write_first)
    rng = random.Random(random.getrandbits(32))
    commands = [random_walk(config, STORE, SIZE, rng, budget=800) for _ in range(10)]
    await check(control, axi, memory, scratchpad, commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_head_and_tail(dut):
    """Rows that begin and end at every byte lane: only their own bytes change."""
    config, memory, scratchpad, axi, control, _ = await bench(dut, latency=8)
    step = max(config.bus_bytes, config.lanes)
    commands, at = [], 0
    for head in range(config.bus_bytes):
        for length in {1, 2, config.bus_bytes - head, step, step + 1, 2 * step - 1, step + random.randint(2, step)}:
            if length:
                commands.append(command(STORE, offset=at + head, row_bytes=length, post=head,
                                        local=random.randrange(config.scratchpad_words // 2) * config.lanes))
                at += 4 * step
    at = 0
    for fields in random.sample(commands, len(commands)):
        fields["offset"] = at % (SIZE - 4 * step) + fields["offset"] % config.bus_bytes
        at += 4 * step
    await check(control, axi, memory, scratchpad, commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def rows_across_4_kib_and_largest(dut):
    config, memory, scratchpad, axi, control, _ = await bench(dut)
    await check(control, axi, memory, scratchpad, [
        command(STORE, offset=4096 - 1, row_bytes=2),
        command(STORE, offset=8192 - 3 * config.bus_bytes, row_bytes=6 * config.bus_bytes),
        command(STORE, offset=0xFFF, row_bytes=0x1002, region=3),
        command(STORE, offset=SIZE - config.scratchpad_bytes, row_bytes=config.scratchpad_bytes, region=2),
        command(STORE, offset=SIZE - 1, row_bytes=1, local=config.scratchpad_bytes - config.lanes),
    ])
    assert max(beats for _, beats in axi.bursts) == 64


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def one_beat_a_cycle(dut):
    """Aligned rows, over row and command borders: no cycle is lost on the side that limits."""
    config, memory, scratchpad, axi, control, _ = await bench(dut)
    row, n = 8 * max(config.bus_bytes, config.lanes), 8
    commands = [command(STORE, row_bytes=row, count1=n, count2=2, mem_step1=row, local_step1=row, mem_step2=row * n,
                        offset=i * 0x4000, post=i) for i in range(3)]
    await check(control, axi, memory, scratchpad, commands)
    total = row * n * 2 * 3
    limit = max(total // config.bus_bytes, total // config.lanes)
    if config.bus_bytes <= config.lanes:
        assert axi.beat_times[-1] - axi.beat_times[0] == limit - 1
    assert control.done[-1][0] - control.accepted[0] <= limit + 64 + 16 + row // min(config.bus_bytes, config.lanes)
    assert axi.most_in_flight <= config.outstanding


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def long_row_keeps_the_bus_busy(dut):
    config, memory, scratchpad, axi, control, _ = await bench(dut)
    size = 0x4000
    await check(control, axi, memory, scratchpad, [command(STORE, row_bytes=size)])
    limit = max(size // config.bus_bytes, size // config.lanes)
    gathered = 64 * max(1, config.bus_bytes // config.lanes)  # the first burst leaves when it is complete
    assert control.done[-1][0] - control.accepted[0] <= limit + gathered + 64 + 12


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def commands_hide_latency(dut):
    """`done` waits for the response, the next commands do not."""
    config, memory, scratchpad, axi, control, _ = await bench(dut)
    size = 8 * max(config.bus_bytes, config.lanes)
    commands = [command(STORE, row_bytes=size, offset=i * size, local=i * size, post=i) for i in range(32)]
    await check(control, axi, memory, scratchpad, commands)
    limit = max(32 * size // config.bus_bytes, 32 * size // config.lanes)
    assert control.done[0][0] - control.accepted[0] > 64
    assert control.done[-1][0] - control.accepted[0] <= limit + 64 + 16 + size // min(config.bus_bytes, config.lanes)
    assert axi.most_in_flight >= min(config.outstanding, 64 // (limit // 32))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def against_cocotbext_axi(dut):
    """Another author's memory, with its stalls."""
    config = CONFIGS[parameters()["config"]]
    memory, scratchpad = random_bytes(0x60000), random_bytes(config.scratchpad_bytes)
    ram = AxiRamWrite(AxiWriteBus.from_prefix(dut, "bus_"), dut.clk, dut.rst, size=2**20)
    ram.log.setLevel("WARNING")
    ram.write(0, memory.tobytes())
    generator = random.Random(random.getrandbits(32))
    for channel in (ram.aw_channel, ram.w_channel, ram.b_channel):
        channel.set_pause_generator(iter(lambda: generator.random() < 0.3, None))
    control = Control(dut)
    WordSource(dut, config, scratchpad.tobytes(), 0.2)
    await start(dut, REGIONS)
    commands = [random_walk(config, STORE, SIZE, generator, budget=800) for _ in range(8)]
    control.send(*commands)
    await control.finished(len(commands))
    expect(memory, scratchpad, commands)
    assert ram.read(0, len(memory)) == memory.tobytes()


@pytest.mark.parametrize("config", CONFIGS)
def test_store(config):
    run_cocotb(StoreBench(CONFIGS[config]), f"store_{config}", "tests.hdl.dma.test_dma_store",
               parameters={"config": config})
