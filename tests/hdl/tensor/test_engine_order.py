"""The TENSOR engine where two commands meet: tables, fences, `busy`, and one error report."""

import random

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge
from lepton.arch import ErrorCode, Tensor, TensorOpcode
from lepton.arch.commands import TABLE_BYTES
from lepton_hdl.control.job import SETTLE_CYCLES
from lepton_hdl.datapath import Datapath
from lepton_sim.golden.commands import walk

from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL, blank_chip, random_command, random_window, write_params
from tests.hdl.tensor.engine_bench import BASIC, Bench

CONFIG = SMALL[4]
LANES, SIZE, WORDS = CONFIG.lanes, CONFIG.scratchpad_bytes, CONFIG.weight_words
TARGET = SIZE // 2
COPY = dict(opcode=TensorOpcode.MAX, first=1, last=1, kernel_x=1, kernel_y=1, blocks=1, nx=1, ny=1, nz=1, in_w=1 << 15,
            in_h=1, in_x=LANES, out_x=LANES, stride_x=1, stride_y=1, out_min=-128, out_max=127, add_min=-128,
            add_max=127, uniform=1, add_mult_a=1 << 30, add_shift_a=1)


async def run(dut, chip, commands: list[dict[str, int]]) -> Bench:
    """Execute commands on the engine and on the golden `chip`; every byte of the scratchpad must be the same."""
    bench = Bench(dut, CONFIG)
    await bench.start()
    await bench.fill(0, chip.scratchpad)
    await bench.fill(1, chip.weights)
    records = [Tensor.pack(**fields) for fields in commands]
    for record in records:
        walk(Tensor.unpack(record), chip)
    cocotb.start_soon(bench.issue(records))
    await bench.wait_done(len(commands))
    await FallingEdge(dut.clk)
    np.testing.assert_array_equal(await bench.dump(), chip.scratchpad)
    return bench


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_table_is_loaded_while_rows_still_look_at_the_one_before(dut):
    """Commands of many rows, each with a table of its own, and some that use the table before."""
    rng = np.random.default_rng(random.getrandbits(32))
    chip = blank_chip(CONFIG, rng)
    chip.weights[:4 * LANES] = 0
    tables = [WORDS - TABLE_BYTES // LANES * (i + 1) for i in range(3)]
    for i, at in enumerate(tables):  # no entry is the same in two of them
        chip.weights[at * LANES:at * LANES + TABLE_BYTES] = (np.arange(TABLE_BYTES) * (2 * i + 1) + 77 * i) % 256
    commands = []
    for i, which in enumerate((0, 1, None, 2, 1, 0)):
        own = {} if which is None else dict(load_table=1, table_at=tables[which])
        commands.append(COPY | dict(nx=60, out_addr=TARGET + 240 * i, table=1) | own)
    await run(dut, chip, commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(rows=[1, 2, 24])
async def a_fence_waits_for_the_last_result(dut, rows):
    """The results before it come with pauses, as each row waits for its residual from the bank that its input is in;
    what is read first behind the fence is what was written last."""
    rng = np.random.default_rng(random.getrandbits(32))
    for gap in (1, 2, 4):
        chip = blank_chip(CONFIG, rng)
        chip.weights[:4 * LANES] = 0
        step = LANES * CONFIG.scratchpad_banks
        first = dict(COPY, uniform=0, params=16, nx=rows, in_x=step // gap, out_addr=TARGET, add=1, res_addr=0,
                     res_x=step // gap, add_mult_a=1 << 30, add_mult_b=1 << 29, add_mult_o=1 << 30, add_shift_o=18)
        write_params(chip, 16, rng)
        back = dict(COPY, fence=1, nx=rows, in_addr=TARGET + (rows - 1) * LANES, in_x=-LANES,
                    out_addr=TARGET + SIZE // 4)
        await run(dut, chip, [first, back])
        dut.rst.value = 1
        await RisingEdge(dut.clk)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def without_a_fence_commands_overlap(dut):
    """Two commands on different words: the second starts before the first one's last result is written."""
    chip = blank_chip(CONFIG, np.random.default_rng(1))
    chip.weights[:4 * LANES] = 0
    one, two = COPY | dict(nx=32, out_addr=TARGET), COPY | dict(nx=32, out_addr=TARGET + SIZE // 4)
    bench = await run(dut, chip, [one, two])
    assert bench.done[1][0] - bench.done[0][0] == 32
    dut.rst.value = 1
    await RisingEdge(dut.clk)
    bench = await run(dut, chip, [one, two | dict(fence=1)])
    assert bench.done[1][0] - bench.done[0][0] > 32


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stalls=[0.0, 0.95])
async def busy_while_a_command_is_not_finished(dut, stalls):
    """From `SETTLE_CYCLES` after the engine has taken a command until it is done, also while it waits for weights."""
    rng = np.random.default_rng(random.getrandbits(32))
    chip = blank_chip(CONFIG, rng)
    for slot in range(1, 4):
        write_params(chip, WORDS - 16 * slot, rng)
    commands = []
    for i in range(14):
        source, target = (0, SIZE // 4) if i % 2 else (SIZE // 2, 0)
        commands.append((random_window if i % 3 == 2 else random_command)(chip, rng, source, target))
    bench = Bench(dut, CONFIG)
    await bench.start()
    taken: list[int] = []

    async def watch():
        while True:
            await FallingEdge(dut.clk)
            await ReadOnly()  # what the next rising edge will see
            unfinished = len(taken) - len(bench.done)
            if unfinished > 0 and bench.cycles - taken[len(bench.done)] > SETTLE_CYCLES:
                assert dut.control__busy.value, f"{unfinished} commands are not done, but the engine is not busy"
            if dut.control__command__valid.value and dut.control__command__ready.value:
                taken.append(bench.cycles)

    watcher = cocotb.start_soon(watch())
    cocotb.start_soon(bench.issue([Tensor.pack(**c) for c in commands], stalls))
    await bench.wait_done(len(commands))
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    assert not dut.control__busy.value and not watcher.done() and len(taken) == len(commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def an_error_is_reported_once(dut):
    """Whatever else is wrong with the command, with the ones behind it, and for how long it takes to be stopped."""
    bench = Bench(dut, CONFIG)
    await bench.start()
    faults = [dict(nx=0), dict(in_addr=SIZE), dict(weights=WORDS - 1), dict(weights=WORDS - 1, in_addr=SIZE),
              dict(add=1, res_addr=SIZE), dict(add=1, res_addr=SIZE, out_addr=SIZE), dict(acc=CONFIG.accumulator_rows),
              dict(params=WORDS - 1), dict(params=WORDS - 1, res_addr=SIZE, add=1)]
    for fault in faults:
        bench.error.clear()
        bench.done.clear()
        dut.rst.value, dut.control__halt.value = 1, 0
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        bad = Tensor.pack(**{**BASIC, **fault})
        task = cocotb.start_soon(bench.issue([Tensor.pack(**BASIC), bad, bad, bad]))
        error = await bench.wait_error()
        assert error.index == 1 and ErrorCode(error.code) != ErrorCode.NONE
        for cycle in range(80):
            await FallingEdge(dut.clk)
            dut.control__halt.value = cycle > 30
        assert len(bench.error) == 1, fault
        task.cancel()
        dut.control__command__valid.value = 0


def test_engine_order():
    run_cocotb(Datapath(CONFIG), "datapath4", __name__)
