"""The ROWS engine: random commands, byte for byte as the golden model, whatever the scratchpad makes it wait for."""

import random

import cocotb
import numpy as np
import pytest
from lepton.arch.rows import NORM_WORDS, ROW_GROUP, ROW_LENGTH, RowsOpcode
from lepton_hdl.rows.engine import RowsEngine
from lepton_hdl.views import View

from tests.bench.stalls import MOST, NONE, SOME
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.rows.bench import RowsBench
from tests.hdl.rows.commands import CONFIGS, blank_chip, random_command
from tests.hdl.views import InView

CONFIG = CONFIGS[tuple(parameters().get("config", (4, 1)))]
OPCODES = list(RowsOpcode)


async def opened(dut, pause=NONE) -> RowsBench:
    bench = RowsBench(dut, CONFIG, pause)
    await bench.start()
    return bench


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(pause=[NONE, SOME, MOST])
async def random_commands(dut, pause):
    bench = await opened(dut, pause)
    for _ in range(4 if pause == MOST else 12):
        chip = blank_chip(CONFIG)
        await bench.run(chip, random_command(chip, random.choice(OPCODES)))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def several_commands_in_a_row(dut):
    """Softmaxes without a table of their own use the last one, also with norms between."""
    bench = await opened(dut, SOME)
    chip = blank_chip(CONFIG)
    sizes = (3, 2, 2)
    first = random_command(chip, RowsOpcode.SOFTMAX, sizes, CONFIG.lanes)
    norm = random_command(chip, RowsOpcode.NORM, sizes, CONFIG.lanes)
    chip.exponentials[:] = 0
    await bench.run(chip, first)
    more = [dict(random.choice([first, norm]), load_table=0, layer=i, post=i) for i in range(6)]
    await bench.run(chip, *more)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(opcode=OPCODES)
async def every_length_around_a_word(dut, opcode):
    bench = await opened(dut)
    for length in sorted({1, 2, CONFIG.lanes - 1, CONFIG.lanes, CONFIG.lanes + 1, 2 * CONFIG.lanes - 1}):
        chip = blank_chip(CONFIG)
        await bench.run(chip, random_command(chip, opcode, (2, 1, 2), length))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(opcode=OPCODES)
async def group_sizes(dut, opcode):
    """Around a group of rows, and around several."""
    bench = await opened(dut)
    for rows in (1, ROW_GROUP - 1, ROW_GROUP, ROW_GROUP + 1, 2 * ROW_GROUP, 2 * ROW_GROUP + 1):
        chip = blank_chip(CONFIG)
        sizes = [1, 1, 1]
        sizes[random.randrange(3)] = rows
        await bench.run(chip, random_command(chip, opcode, sizes, random.randint(1, 2 * CONFIG.lanes)))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(opcode=OPCODES, value=[0x80, 0x7F, 0x00])
async def rows_of_equal_channels(dut, opcode, value):
    """The variance is 0; with `in_zero` at the other end, sums are as large as they can be."""
    bench = await opened(dut)
    chip = blank_chip(CONFIG)
    for in_zero, epsilon in ((0, 0), (127, 0), (-128, 1), (0, 1 << 47)):
        fields = random_command(chip, opcode, (3, 1, 1))
        source = slice(0, CONFIG.scratchpad_words // 3 * CONFIG.lanes)
        chip.scratchpad[source] = value
        await bench.run(chip, fields | ({"in_zero": in_zero, "epsilon": epsilon} if opcode == RowsOpcode.NORM else {}))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(opcode=OPCODES)
async def the_longest_row(dut, opcode):
    """In place, all channels the same or one of two values; NORM's parameters are noise."""
    blocks = ROW_LENGTH // CONFIG.lanes
    bench = await opened(dut)
    for value in (-128, 127, None):
        chip = blank_chip(CONFIG)
        fields = random_command(chip, opcode, (1, 1, 1), CONFIG.lanes)
        row = slice(0, ROW_LENGTH)
        if value is None:
            chip.scratchpad[row] = np.random.default_rng(random.getrandbits(32)).choice(
                np.array([0x80, 0x7F], np.uint8), ROW_LENGTH)
        else:
            chip.scratchpad[row] = value & 0xFF
        fields |= dict(in_addr=0, out_addr=0, in_block=CONFIG.lanes, out_block=CONFIG.lanes, length=ROW_LENGTH)
        if opcode == RowsOpcode.NORM:
            fields |= dict(count=ROW_LENGTH, in_zero=-128 if value == 127 else 127,
                           params_addr=CONFIG.scratchpad_bytes - blocks * NORM_WORDS * CONFIG.lanes)
        else:
            fields |= dict(table_addr=ROW_LENGTH)
            chip.scratchpad[ROW_LENGTH:ROW_LENGTH + 1024] = np.full(256, 0x7FFF_FFFF, np.uint32).view(np.uint8)
        await bench.run(chip, fields)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(opcode=OPCODES)
async def cycles_of_full_groups(dut, opcode):
    """lanes / row_lanes cycles a word and pass, a latency a pass, and the scalar unit behind them."""
    bench = await opened(dut)
    pieces = CONFIG.lanes // CONFIG.row_lanes
    chip = blank_chip(CONFIG)
    blocks = 8
    fields = random_command(chip, opcode, (ROW_GROUP, 1, 1), blocks * CONFIG.lanes) | {"load_table": 0}
    taken = await bench.run(chip, fields)
    passes = 3 if opcode == RowsOpcode.SOFTMAX else 2
    # A row may not be through its sums before the scalar unit is free: 40 cycles for NORM, 30 for SOFTMAX.
    scalar = 40 if opcode == RowsOpcode.NORM else 30
    streaming = (passes - 1) * ROW_GROUP * blocks * pieces
    bound = streaming + ROW_GROUP * max(blocks * pieces, scalar) + passes * 30 + scalar
    if pieces >= 4:  # the queue of words hides the scratchpad's latency
        assert taken <= bound, f"{taken} cycles, at most {bound}"


@pytest.mark.parametrize("config", CONFIGS)
def test_rows(config):
    run_cocotb(RowsEngine(CONFIGS[config]), CONFIGS[config].name, __name__, parameters={"config": config})


@pytest.mark.parametrize("view", [View.SIMULATION, View.GATES])
def test_rows_in_every_view(view):
    config = 8, 2
    name = f"{CONFIGS[config].name}_{view.name.lower()}"
    run_cocotb(InView(RowsEngine(CONFIGS[config]), view), name, __name__, parameters={"config": config})
