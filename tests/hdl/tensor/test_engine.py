"""The TENSOR engine with its memories: random command streams, byte for byte as the golden model."""

import random
from itertools import pairwise

import cocotb
import numpy as np
import pytest
from lepton.arch import ChipConfig, ErrorCode, Space, TensorOpcode
from lepton.arch.commands import PARAM_WORDS
from lepton_hdl.datapath import Datapath
from lepton_hdl.tensor.table import BEATS
from lepton_sim.golden.state import ChipState

from tests.bench.clock import cycles
from tests.bench.stalls import MOST, NONE
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.command_bench import check_scratchpad
from tests.hdl.tensor.commands import SMALL, blank_chip, random_command, random_window, write_params
from tests.hdl.tensor.engine_bench import BASIC, WINDOW, Bench


def chip_config() -> ChipConfig:
    """The chip of this run, as the pytest function says."""
    return SMALL[parameters()["lanes"]]


def random_chip(rng: np.random.Generator) -> ChipState:
    """A golden chip with parameter records for random commands."""
    config = chip_config()
    chip = blank_chip(config, rng)
    for slot in range(1, 4):
        write_params(chip, config.weight_words - 16 * slot, rng)
    return chip


def random_stream(chip: ChipState, rng: np.random.Generator, count: int) -> list[dict[str, int]]:
    """At least `count` commands, executed on the golden chip."""
    quarter = chip.config.scratchpad_bytes // 4
    commands: list[dict[str, int]] = []
    while len(commands) < count:
        source, target = (int(at) for at in rng.permutation([0, quarter, 2 * quarter])[:2])
        kind = rng.random()
        if kind < 0.4:
            commands.append(random_window(chip, rng, source, target))
        elif kind < 0.6:  # a reduction split in two
            commands.append(random_command(chip, rng, source, target, last=False))
            commands.append(random_command(chip, rng, source, target, first=False, like=commands[-1]))
        else:
            commands.append(random_command(chip, rng, source, target))
    return commands


async def fill(bench: Bench, chip: ChipState) -> None:
    """Both memories as the golden chip's."""
    await bench.fill(Space.SCRATCHPAD, chip.scratchpad)
    await bench.fill(Space.WEIGHTS, chip.weights)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(seed=[1, 2, 3, 4], pause=[NONE, MOST])
async def random_streams(dut, seed, pause):
    """With an odd seed STORE reads all the while."""
    rng = np.random.default_rng([seed, random.getrandbits(32)])
    chip = random_chip(rng)
    bench = Bench(dut, chip.config, pause)
    await bench.start()
    await fill(bench, chip)
    commands = random_stream(chip, rng, 40)
    if seed % 2:
        bench.interfere()
    bench.send(*commands)
    await bench.finish()
    await bench.end_interference()
    check_scratchpad(await bench.dump(), chip.scratchpad, chip.config.lanes)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def planted_errors_are_reported(dut):
    """A wrong bit of the scratchpad, a wrong and a missing completion."""
    rng = np.random.default_rng(random.getrandbits(32))
    chip = random_chip(rng)
    bench = Bench(dut, chip.config)
    await bench.start()
    await fill(bench, chip)
    bench.send(*random_stream(chip, rng, 3))
    await bench.finish()
    seen = await bench.dump()
    check_scratchpad(seen, chip.scratchpad, chip.config.lanes)
    chip.scratchpad[-1] ^= 0x80
    message = f"1 bytes of the scratchpad are wrong, first byte {chip.config.lanes - 1} of word"
    with pytest.raises(AssertionError, match=message):
        check_scratchpad(seen, chip.scratchpad, chip.config.lanes)
    bench.completions.expect(bench.done.items[0])
    with pytest.raises(AssertionError, match="1 items are missing"):
        bench.completions.finish()
    post, layer, snapshot = bench.done.items[0]
    with pytest.raises(AssertionError, match=r"completion: item \d+ is .*, not"):
        bench.completions.receive((post ^ 1, layer, snapshot))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def errors_stop_the_engine(dut):
    """Every check, with the value it reports; nothing is written and the engine is quiet afterwards."""
    config = chip_config()
    size = config.scratchpad_bytes
    lanes = config.lanes
    cases = [
        (dict(nx=0), ErrorCode.ILLEGAL_FIELD, 0),
        (dict(reserved_end=1), ErrorCode.ILLEGAL_FIELD, 1),
        (dict(add_shift_o=32), ErrorCode.ILLEGAL_FIELD, 32),
        (dict(rounding=3), ErrorCode.ILLEGAL_FIELD, 3),
        (dict(**WINDOW, tap_rows=0), ErrorCode.ILLEGAL_FIELD, 0),
        (dict(**WINDOW, tap_rows=4), ErrorCode.ILLEGAL_FIELD, 4),
        (dict(**WINDOW, tap_rows=1, kernel_x=6), ErrorCode.ILLEGAL_FIELD, 6),
        (dict(**WINDOW, tap_rows=1, nz=2), ErrorCode.ILLEGAL_FIELD, 2),
        (dict(**WINDOW, tap_rows=1, blocks=3), ErrorCode.ILLEGAL_FIELD, 3),
        (dict(**WINDOW, tap_rows=1), ErrorCode.ILLEGAL_FIELD, 1),
        (dict(**WINDOW, tap_rows=1, in_w=2, kernel_x=3), ErrorCode.ILLEGAL_FIELD, 2),
        (dict(**WINDOW, tap_rows=1, in_w=2, ix0=2), ErrorCode.ILLEGAL_FIELD, 2),
        (dict(**WINDOW, tap_rows=1, in_w=2, ix0=-1), ErrorCode.ILLEGAL_FIELD, (1 << 32) - 1),
        (dict(**WINDOW, tap_rows=1, in_w=2, nx=2), ErrorCode.ILLEGAL_FIELD, 0),
        (dict(**WINDOW, tap_rows=1, in_w=2, in_addr=size), ErrorCode.LOCAL_BOUNDS, size),
        (dict(out_addr=1), ErrorCode.LOCAL_ALIGNMENT, 1),
        (dict(add=1, res_addr=lanes + 1), ErrorCode.LOCAL_ALIGNMENT, lanes + 1),
        (dict(in_addr=size - lanes + 1), ErrorCode.LOCAL_BOUNDS, size - lanes + 1),
        (dict(in_addr=-1), ErrorCode.LOCAL_BOUNDS, (1 << 32) - 1),
        (dict(out_addr=size), ErrorCode.LOCAL_BOUNDS, size),
        (dict(add=1, res_addr=size), ErrorCode.LOCAL_BOUNDS, size),
        (dict(weights=config.weight_words - lanes + 1), ErrorCode.LOCAL_BOUNDS, config.weight_words - lanes + 1),
        (dict(params=config.weight_words - 9), ErrorCode.LOCAL_BOUNDS, config.weight_words - 9),
        (dict(load_table=1, table_at=config.weight_words - 256 // lanes + 1), ErrorCode.LOCAL_BOUNDS,
         config.weight_words - 256 // lanes + 1),
        (dict(acc=config.accumulator_rows), ErrorCode.ACCUMULATOR_BOUNDS, config.accumulator_rows),
    ]
    bench = Bench(dut, config)
    await bench.start()
    for change, code, address in cases:
        await bench.again()
        bench.send(BASIC, {**BASIC, **change, "layer": 7})
        error = await bench.error()
        assert (error.code, error.index, error.layer, error.address) == (code, 1, 7, address), change
        dut.control__halt.value = 1
        await cycles(dut, 40)
        assert not dut.control__busy.value, change
        assert len(bench.done.items) == len(bench.errors.items) == 1, change


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def full_rate(dut):
    """One input word a cycle, without a gap between passes or between commands.

    In one pass of each command the feeder fetches a tile and the 10 words of a parameter record,
    so a pass of that length hides both.
    """
    config = chip_config()
    bench = Bench(dut, config)
    await bench.start()
    pixels = config.lanes + PARAM_WORDS
    passes = 12
    record = {**BASIC, "nx": pixels, "kernel_x": 3, "kernel_y": 4, "in_w": 1, "out_x": config.lanes}
    bench.send(*[record] * 3)
    await bench.finish()
    first, second, third = bench.done.times
    assert second - first == third - second == pixels * passes


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def full_rate_with_tables(dut):
    """As above, with a table of its own for each command: 64 cycles more to hide, in passes that may be shorter than
    that, as tiles are a pass ahead."""
    config = chip_config()
    bench = Bench(dut, config)
    await bench.start()
    pixels = min(config.lanes + PARAM_WORDS + BEATS, config.accumulator_rows)
    passes = 8
    record = {**BASIC, "nx": pixels, "kernel_x": 2, "kernel_y": 4, "in_w": 1, "out_x": 0, "table": 1,
              "load_table": 1}
    bench.send(*[record] * 4)
    await bench.finish()
    assert {b - a for a, b in pairwise(bench.done.times)} == {pixels * passes}


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def windows_at_one_pixel_a_cycle(dut):
    """A 3x3 depthwise pass costs its pixels, one more row, and no more than a few cycles."""
    config = chip_config()
    rows = min(3, (config.lanes - 3) // 5 + 1)
    w = 9
    h = 6
    bench = Bench(dut, config)
    await bench.start()
    record = {
        **BASIC, "opcode": TensorOpcode.WINDOW, "tap_rows": rows, "kernel_x": 3, "dilation_y": rows, "nx": w, "ny": h,
        "in_w": w, "in_h": h, "ix0": -1, "iy0": -1, "stride_x": 1, "stride_y": 1, "in_x": config.lanes,
        "in_y": w * config.lanes, "in_addr": -w * config.lanes, "out_x": config.lanes, "out_y": w * config.lanes,
        "out_addr": config.scratchpad_bytes // 2}
    bench.send(*[record] * 3)
    await bench.finish()
    first, second, third = bench.done.times
    # Rows of padding alone are skipped in a cycle each, and the last window ends in the row after its own.
    walked = range(-1 if rows == 1 else 0, h - 2 + rows)
    assert second - first == third - second == w * len(walked) + 1 + (rows > 1)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def one_pixel_passes_take_a_tile_load(dut):
    """With one pixel a pass, as in a matrix-vector product, a pass takes the K cycles of its weight tile."""
    config = chip_config()
    bench = Bench(dut, config)
    await bench.start()
    bench.send(*({**BASIC, "blocks": n} for n in (20, 40)))
    await bench.finish()
    first, second = bench.done.times
    assert 40 * config.lanes <= second - first <= 40 * config.lanes + 16


@pytest.mark.parametrize("lanes", sorted(SMALL))
def test_engine(lanes):
    run_cocotb(Datapath(SMALL[lanes]), f"datapath{lanes}", __name__, parameters={"lanes": lanes})
