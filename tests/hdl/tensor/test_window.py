"""The window unit alone: every tap of every window of random images, with pauses between pixels."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from lepton.arch.commands import WINDOW_COLUMNS, WINDOW_ROWS
from lepton_hdl.tensor.window import WindowUnit, tap_lanes

from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.tensor.commands import SMALL

INPUTS = ("look", "push", "take", "rows_used", "rows_inside", "columns_used", "columns_inside", "word", "column", "pad",
          "look_column")


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(width=[2, 3, 9], pause=[0.0, 0.4])
async def windows_of_an_image(dut, width, pause):
    """Tap (a, k) is the pixel a rows up and k columns to the left; 0 where unused, `pad` where outside.

    Rows follow one another without a gap, so the column to the left of column 0 is the last of the row before.
    """
    config = SMALL[parameters()["lanes"]]
    lanes = config.lanes
    for name in INPUTS:
        getattr(dut, name).value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    image = [[random.randbytes(lanes) for _ in range(width)] for _ in range(7)]
    stream = [(row, column) for row in range(7) for column in range(width)]
    windows = 0
    for i, (row, column) in enumerate(stream):
        while random.random() < pause:
            await FallingEdge(dut.clk)
        dut.look.value, dut.look_column.value = 1, column
        await FallingEdge(dut.clk)
        dut.look.value = 0
        take = row >= WINDOW_ROWS - 1 and i >= WINDOW_COLUMNS - 1 + 2 * width and random.random() < 0.8
        masks = {name: random.getrandbits(WINDOW_ROWS if name.startswith("rows") else WINDOW_COLUMNS)
                 for name in ("rows_used", "rows_inside", "columns_used", "columns_inside")}
        pad = random.randrange(256)
        for name, value in masks.items() | {("pad", pad), ("column", column), ("push", 1), ("take", take)}:
            getattr(dut, name).value = value
        dut.word.value = int.from_bytes(image[row][column], "little")
        await FallingEdge(dut.clk)
        dut.push.value = dut.take.value = 0
        if not take:
            continue
        windows += 1
        for lane, (a, k) in enumerate(tap_lanes(config)):
            used = masks["rows_used"] >> a & masks["columns_used"] >> k & 1
            inside = masks["rows_inside"] >> a & masks["columns_inside"] >> k & 1
            r, c = stream[i - k]
            expected = (image[r - a][c] if inside else bytes([pad]) * lanes) if used else bytes(lanes)
            got = int(getattr(dut, f"taps__{lane}").value).to_bytes(lanes, "little")
            assert got == expected, (row, column, a, k)
    assert windows


@pytest.mark.parametrize("lanes", [4, 16])
def test_window(lanes):
    run_cocotb(WindowUnit(SMALL[lanes]), f"window{lanes}", __name__, parameters={"lanes": lanes})
