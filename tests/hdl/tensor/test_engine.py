"""The TENSOR engine with its memories: random command streams, byte for byte as the golden model."""

import itertools
import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import FallingEdge, RisingEdge
from lepton.arch import ErrorCode, Tensor, TensorOpcode
from lepton.arch.commands import PARAM_WORDS
from lepton_hdl.datapath import Datapath
from lepton_hdl.tensor.table import BEATS

from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.tensor.commands import SMALL, blank_chip, random_command, random_window, write_params
from tests.hdl.tensor.engine_bench import BASIC, WINDOW, Bench


def _config():
    return SMALL[parameters()["lanes"]]


async def _run(dut, seed, stalls, hammer):
    config, rng = _config(), np.random.default_rng([seed, random.getrandbits(32)])
    chip = blank_chip(config, rng)
    for slot in range(1, 4):
        write_params(chip, config.weight_words - 16 * slot, rng)
    bench = Bench(dut, config)
    await bench.start()
    await bench.fill(0, chip.scratchpad)
    await bench.fill(1, chip.weights)

    quarter = config.scratchpad_bytes // 4
    commands = []
    while len(commands) < 40:
        source, target = rng.permutation([0, quarter, 2 * quarter])[:2]
        kind = rng.random()
        if kind < 0.4:
            commands.append(random_window(chip, rng, int(source), int(target)))
        elif kind < 0.6:  # a reduction split in two
            commands.append(random_command(chip, rng, int(source), int(target), last=False))
            commands.append(random_command(chip, rng, int(source), int(target), first=False, like=commands[-1]))
        else:
            commands.append(random_command(chip, rng, int(source), int(target)))
    task = cocotb.start_soon(bench.hammer()) if hammer else None
    cocotb.start_soon(bench.issue([Tensor.pack(**c) for c in commands], stalls))
    await bench.wait_done(len(commands))
    if task:
        task.cancel()
        await FallingEdge(dut.clk)
        dut.store_read__request__valid.value = 0
    assert [d[1:] for d in bench.done] == [(c["post"], c["layer"], c["snapshot"]) for c in commands]
    await FallingEdge(dut.clk)
    assert not dut.control__busy.value
    np.testing.assert_array_equal(await bench.dump(), chip.scratchpad)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(seed=[1, 2, 3, 4], stalls=[0.0, 0.9])
async def random_streams(dut, seed, stalls):
    await _run(dut, seed, stalls, hammer=bool(seed % 2))






@cocotb.test(timeout_time=2, timeout_unit="ms")
async def errors_stop_the_engine(dut):
    """Every check, with the value it reports; nothing is written and the engine is quiet afterwards."""
    config = _config()
    size, lanes = config.scratchpad_bytes, config.lanes
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
        bench.error.clear()
        bench.done.clear()
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        records = [Tensor.pack(**BASIC), Tensor.pack(**{**BASIC, **change, "layer": 7})]
        task = cocotb.start_soon(bench.issue(records))
        error = await bench.wait_error()
        assert (error.code, error.index, error.layer, error.address) == (code, 1, 7, address), change
        await FallingEdge(dut.clk)
        dut.control__halt.value = 1
        for _ in range(40):
            await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        assert not dut.control__busy.value, change
        assert len(bench.done) == 1, change
        dut.control__halt.value = 0
        task.cancel()
        dut.control__command__valid.value = 0


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def full_rate(dut):
    """One input word a cycle, without a gap between passes or between commands.

    In one pass of each command the feeder fetches a tile and the 10 words of a parameter record,
    so a pass of that length hides both.
    """
    config = _config()
    bench = Bench(dut, config)
    await bench.start()
    pixels, passes = config.lanes + PARAM_WORDS, 12
    record = Tensor.pack(**{**BASIC, "nx": pixels, "kernel_x": 3, "kernel_y": 4, "in_w": 1, "out_x": config.lanes})
    cocotb.start_soon(bench.issue([record] * 3))
    await bench.wait_done(3)
    first, second, third = (cycle for cycle, *_ in bench.done)
    assert second - first == third - second == pixels * passes


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def full_rate_with_tables(dut):
    """As above, with a table of its own for each command: 64 cycles more to hide, in passes that may be shorter than
    that, as tiles are a pass ahead."""
    config = _config()
    bench = Bench(dut, config)
    await bench.start()
    pixels, passes = min(config.lanes + PARAM_WORDS + BEATS, config.accumulator_rows), 8
    record = Tensor.pack(**{**BASIC, "nx": pixels, "kernel_x": 2, "kernel_y": 4, "in_w": 1, "out_x": 0, "table": 1,
                            "load_table": 1})
    cocotb.start_soon(bench.issue([record] * 4))
    await bench.wait_done(4)
    cycles = [cycle for cycle, *_ in bench.done]
    assert {b - a for a, b in itertools.pairwise(cycles)} == {pixels * passes}


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def windows_at_one_pixel_a_cycle(dut):
    """A 3x3 depthwise pass costs its pixels, one more row, and no more than a few cycles."""
    config = _config()
    rows = min(3, (config.lanes - 3) // 5 + 1)
    w, h = 9, 6
    bench = Bench(dut, config)
    await bench.start()
    record = Tensor.pack(**{
        **BASIC, "opcode": TensorOpcode.WINDOW, "tap_rows": rows, "kernel_x": 3, "dilation_y": rows, "nx": w, "ny": h,
        "in_w": w, "in_h": h, "ix0": -1, "iy0": -1, "stride_x": 1, "stride_y": 1, "in_x": config.lanes,
        "in_y": w * config.lanes, "in_addr": -w * config.lanes, "out_x": config.lanes, "out_y": w * config.lanes,
        "out_addr": config.scratchpad_bytes // 2})
    cocotb.start_soon(bench.issue([record] * 3))
    await bench.wait_done(3)
    first, second, third = (cycle for cycle, *_ in bench.done)
    # Rows of padding alone are skipped in a cycle each, and the last window ends in the row after its own.
    walked = range(-1 if rows == 1 else 0, h - 2 + rows)
    assert second - first == third - second == w * len(walked) + 1 + (rows > 1)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def one_pixel_passes_take_a_tile_load(dut):
    """With one pixel a pass, as in a matrix-vector product, a pass takes the K cycles of its weight tile."""
    config = _config()
    bench = Bench(dut, config)
    await bench.start()
    cocotb.start_soon(bench.issue([Tensor.pack(**{**BASIC, "blocks": n}) for n in (20, 40)]))
    await bench.wait_done(2)
    gap = bench.done[1][0] - bench.done[0][0]
    assert 40 * config.lanes <= gap <= 40 * config.lanes + 16


@pytest.mark.parametrize("lanes", sorted(SMALL))
def test_engine(lanes):
    run_cocotb(Datapath(SMALL[lanes]), f"datapath{lanes}", __name__, parameters={"lanes": lanes})
