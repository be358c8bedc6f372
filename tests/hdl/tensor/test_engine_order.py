"""The TENSOR engine where two commands meet: tables, fences, `busy`, and one error report."""

import random

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from lepton.arch import ErrorCode, Space, Tensor, TensorOpcode
from lepton.arch.commands import TABLE_BYTES
from lepton_hdl.datapath import Datapath
from lepton_sim.golden.commands import walk
from lepton_sim.golden.state import ChipState

from tests.bench.clock import cycles
from tests.bench.disturbed import DamagedPins
from tests.bench.pins import Pins
from tests.bench.stalls import MOST, NONE
from tests.cocotb_harness import run_cocotb
from tests.hdl.command_bench import check_scratchpad
from tests.hdl.tensor.commands import SMALL, blank_chip, random_command, random_window, write_params
from tests.hdl.tensor.engine_bench import BASIC, LIMIT, Bench, BusyMonitor

CONFIG = SMALL[4]
LANES = CONFIG.lanes
SIZE = CONFIG.scratchpad_bytes
WORDS = CONFIG.weight_words
TARGET = SIZE // 2
COPY = dict(opcode=TensorOpcode.MAX, first=1, last=1, kernel_x=1, kernel_y=1, blocks=1, nx=1, ny=1, nz=1, in_w=1 << 15,
            in_h=1, in_x=LANES, out_x=LANES, stride_x=1, stride_y=1, out_min=-128, out_max=127, add_min=-128,
            add_max=127, uniform=1, add_mult_a=1 << 30, add_shift_a=1)


async def open_bench(dut, pause: str = NONE) -> Bench:
    bench = Bench(dut, CONFIG, pause)
    await bench.start()
    return bench


async def run(bench: Bench, chip: ChipState, commands: list[dict[str, int]]) -> None:
    """Execute commands on the engine and on the golden `chip`; every byte of the scratchpad must be the same."""
    await bench.fill(Space.SCRATCHPAD, chip.scratchpad)
    await bench.fill(Space.WEIGHTS, chip.weights)
    for fields in commands:
        walk(Tensor.unpack(Tensor.pack(**fields)), chip)
    bench.send(*commands)
    await bench.finish()
    check_scratchpad(await bench.dump(), chip.scratchpad, LANES)


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
    await run(await open_bench(dut), chip, commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(rows=[1, 2, 24])
async def a_fence_waits_for_the_last_result(dut, rows):
    """The results before it come with pauses, as each row waits for its residual from the bank that its input is in;
    what is read first behind the fence is what was written last."""
    rng = np.random.default_rng(random.getrandbits(32))
    bench = await open_bench(dut)
    for gap in (1, 2, 4):
        chip = blank_chip(CONFIG, rng)
        chip.weights[:4 * LANES] = 0
        step = LANES * CONFIG.scratchpad_banks
        first = dict(COPY, uniform=0, params=16, nx=rows, in_x=step // gap, out_addr=TARGET, add=1, res_addr=0,
                     res_x=step // gap, add_mult_a=1 << 30, add_mult_b=1 << 29, add_mult_o=1 << 30, add_shift_o=18)
        write_params(chip, 16, rng)
        back = dict(COPY, fence=1, nx=rows, in_addr=TARGET + (rows - 1) * LANES, in_x=-LANES,
                    out_addr=TARGET + SIZE // 4)
        await run(bench, chip, [first, back])
        await bench.again()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def without_a_fence_commands_overlap(dut):
    """Two commands on different words: the second starts before the first one's last result is written."""
    chip = blank_chip(CONFIG, np.random.default_rng(1))
    chip.weights[:4 * LANES] = 0
    one = COPY | dict(nx=32, out_addr=TARGET)
    two = COPY | dict(nx=32, out_addr=TARGET + SIZE // 4)
    bench = await open_bench(dut)
    await run(bench, chip, [one, two])
    first, second = bench.done.times
    assert second - first == 32
    await bench.again()
    await run(bench, chip, [one, two | dict(fence=1)])
    first, second = bench.done.times
    assert second - first > 32


def random_commands() -> list[dict[str, int]]:
    """Windows among others; what they compute does not matter."""
    rng = np.random.default_rng(random.getrandbits(32))
    chip = blank_chip(CONFIG, rng)
    for slot in range(1, 4):
        write_params(chip, WORDS - 16 * slot, rng)
    commands: list[dict[str, int]] = []
    for i in range(14):
        source, target = (0, SIZE // 4) if i % 2 else (SIZE // 2, 0)
        commands.append((random_window if i % 3 == 2 else random_command)(chip, rng, source, target))
    return commands


async def watch_busy(bench: Bench, monitor: BusyMonitor) -> None:
    """Until the commands are done."""
    for _ in range(LIMIT):
        await RisingEdge(bench.dut.clk)
        monitor.sample()
        if bench.completions.complete:
            return
    raise AssertionError(f"{bench.completions.received} commands are done after {LIMIT} cycles")


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(pause=[NONE, MOST])
async def busy_while_a_command_is_not_finished(dut, pause):
    """Also while it waits for weights."""
    bench = await open_bench(dut, pause)
    commands = random_commands()
    monitor = BusyMonitor(Pins(dut))
    bench.send(*commands)
    await watch_busy(bench, monitor)
    await bench.finish()
    assert monitor.taken == len(commands) and monitor.checked > 100


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def a_cycle_without_busy_is_reported(dut):
    """The monitor notices a planted error."""
    pins = DamagedPins(dut, "control__busy")
    bench = await open_bench(dut)
    bench.send(*random_commands())
    with pins.reported(r"\d+ commands are not done, but it is not busy"):
        await watch_busy(bench, BusyMonitor(pins))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def an_error_is_reported_once(dut):
    """Whatever else is wrong with the command, with the ones behind it, and for how long it takes to be stopped."""
    bench = await open_bench(dut)
    faults = [dict(nx=0), dict(in_addr=SIZE), dict(weights=WORDS - 1), dict(weights=WORDS - 1, in_addr=SIZE),
              dict(add=1, res_addr=SIZE), dict(add=1, res_addr=SIZE, out_addr=SIZE), dict(acc=CONFIG.accumulator_rows),
              dict(params=WORDS - 1), dict(params=WORDS - 1, res_addr=SIZE, add=1)]
    for fault in faults:
        await bench.again()
        bad = {**BASIC, **fault}
        bench.send(BASIC, bad, bad, bad)
        error = await bench.error()
        assert error.index == 1 and ErrorCode(error.code) != ErrorCode.NONE
        await cycles(dut, 30)
        dut.control__halt.value = 1
        await cycles(dut, 50)
        assert len(bench.errors.items) == 1, fault


def test_engine_order():
    run_cocotb(Datapath(CONFIG), "datapath4", __name__)
