"""The issue stage, cycle by cycle: the walk as `lepton.arch.commands` writes it, and what holds it back."""

import random

import cocotb
import pytest
from lepton.arch import TensorOpcode
from lepton_hdl.control.counters import Activity
from lepton_hdl.tensor.issue import Issue

from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL
from tests.hdl.tensor.issue_bench import Bench
from tests.hdl.tensor.issue_model import GATES, OPEN, complete, random_command, walk


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(share=[1.0, 0.9, 0.4])
async def random_commands(dut, share):
    """`share`: how often each gate is open, independently of the others."""
    rng = random.Random(random.getrandbits(32))
    bench = Bench(dut)
    await bench.start()
    commands = [random_command(bench.config, rng)]
    while len(commands) < 80:
        commands.append(random_command(bench.config, rng))
    assert any(word.payload["padding"] for c in commands for word in walk(bench.config, c)[0])

    def gates():
        return {name: rng.random() < share for name in GATES} | {"halt": rng.random() > share ** 0.2}

    await bench.run(commands, gates, lambda: rng.random() < share)
    expected = {Activity.COMPUTE, Activity.SYNC} | ({Activity.WEIGHTS, Activity.IDLE} if share < 1 else set())
    assert set(bench.activities) >= expected


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def wide_strides_do_not_wrap(dut):
    """Columns far outside a 16-bit image stay padding: 255 columns per x and per kernel column, for 8 x."""
    bench = Bench(dut)
    await bench.start()
    config = bench.config
    long = dict(opcode=TensorOpcode.MAX, last=0, nx=8, kernel_x=255, stride_x=255,
                dilation_x=255, ix0=32767, in_w=65535, in_addr=4)
    words, fault = walk(config, complete(**long))
    assert fault is None and {word.payload["padding"] for word in words} == {0, 1}
    await bench.run([complete(**long)], lambda: OPEN)
    tall = dict(opcode=TensorOpcode.SUM, last=0, ny=8, kernel_y=200, stride_y=255,
                dilation_y=255, iy0=-32768, in_h=65535, in_addr=4)
    await bench.run([complete(**tall)], lambda: OPEN)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def full_rate_and_one_pixel_passes(dut):
    """A pixel a cycle across passes and commands; a pass of one pixel takes two cycles, for its accumulator row."""
    bench = Bench(dut)
    await bench.start()
    await bench.run([complete(nx=4, blocks=3)] * 3, lambda: OPEN)
    assert bench.activities == [Activity.IDLE] + [Activity.COMPUTE] * 36
    bench.activities.clear()
    await bench.run([complete(blocks=5), complete(opcode=TensorOpcode.SUM)], lambda: OPEN)
    assert bench.activities[1:] == [Activity.COMPUTE, Activity.SYNC] * 5 + [Activity.COMPUTE]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def each_gate_holds(dut):
    """With one gate closed the command stops at the first pixel that needs it, under the right activity."""
    bench = Bench(dut)
    await bench.start()
    command = complete(nx=3, blocks=2, add=1, fence=1, out_x=bench.config.lanes)
    for gate, before, activity in (("tile_ready", 0, Activity.WEIGHTS), ("params_ready", 3, Activity.WEIGHTS),
                                   ("residual_available", 3, Activity.SYNC), ("residual__ready", 3, Activity.SYNC),
                                   ("drained", 0, Activity.SYNC)):
        await bench.again()
        assert await bench.cycle(command, **OPEN)
        for _ in range(20):
            await bench.cycle(**(OPEN | {gate: 0}))
        assert bench.issued == before and bench.activities[-5:] == [activity] * 5, gate
        await bench.run([], lambda: OPEN)
        assert bench.issued == 6, gate
    await bench.again()
    for _ in range(5):
        assert not await bench.cycle(command, **(OPEN | {"room": 0}))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_command_may_begin_with_the_row_that_the_last_one_ended_with(dut):
    """The row is fetched again from the second cycle on, as `Accumulators` says, also across commands."""
    bench = Bench(dut)
    await bench.start()
    first = complete(opcode=TensorOpcode.SUM, last=0, nx=3)
    await bench.run([first, complete(opcode=TensorOpcode.SUM, first=0, acc=2)], lambda: OPEN)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def far_columns_and_rows_stay_padding(dut):
    """As many pixels in a row as there are accumulator rows: coordinates above 2**17, whose low bits are inside."""
    bench = Bench(dut)
    await bench.start()
    rows = bench.config.accumulator_rows
    wide = complete(opcode=TensorOpcode.MAX, last=0, nx=rows, stride_x=255, ix0=32767, in_w=65535)
    tall = complete(opcode=TensorOpcode.MAX, last=0, ny=rows, stride_y=255, iy0=32767, in_h=65535)
    await bench.run([wide, tall], lambda: OPEN)


@pytest.mark.parametrize("lanes", [4, 16])
def test_issue(lanes):
    run_cocotb(Issue(SMALL[lanes]), f"issue{lanes}", __name__, parameters={"lanes": lanes})


def test_many_rows():
    config = SMALL[4].with_(accumulator_rows=512)
    run_cocotb(Issue(config), "issue_rows512", __name__, parameters={"lanes": 4, "rows": 512},
               testcase="far_columns_and_rows_stay_padding")
