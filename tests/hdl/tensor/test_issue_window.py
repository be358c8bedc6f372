"""The issue stage's WINDOW walk: which words count, what only those take, and a word a cycle."""

import random

import cocotb
import pytest
from lepton.arch import TensorOpcode
from lepton_hdl.control.counters import Activity
from lepton_hdl.tensor.issue import Issue

from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL
from tests.hdl.tensor.issue_bench import Bench
from tests.hdl.tensor.issue_model import GATES, OPEN, complete, random_command, random_window, walk


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(share=[1.0, 0.5])
async def random_windows(dut, share):
    """Each after a reset, then in a row with other commands between. `share`: how often each gate is open."""
    bench = Bench(dut)
    await bench.start()
    rng = random.Random(random.getrandbits(32))

    def gates():
        return {name: rng.random() < share for name in GATES}

    for _ in range(20):
        await bench.again()
        await bench.run([random_window(bench.config, rng)], gates)
    commands = [rng.choice((random_window, random_window, random_command))(bench.config, rng) for _ in range(30)]
    words = [word for command in commands for word in walk(bench.config, command)[0]]
    assert not all(word.counts for word in words)
    assert any(word.skip for word in words) or bench.config.lanes == 4  # whose windows have only one row
    await bench.run(commands, lambda: gates() | {"halt": rng.random() > share ** 0.2})


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def words_that_do_not_count_wait_for_nothing_but_weights(dut):
    """Without parameters and residuals the walk goes on up to the first word that completes a window."""
    bench = Bench(dut)
    await bench.start()
    lanes = bench.config.lanes
    command = complete(opcode=TensorOpcode.WINDOW, tap_rows=1, kernel_x=3, in_w=6, in_h=3, nx=4, ny=3, stride_x=1,
                       stride_y=1, in_x=lanes, in_y=6 * lanes, out_x=lanes, out_y=4 * lanes, add=1)
    for closed, issued in (("params_ready", 2), ("residual_available", 2), ("tile_ready", 0)):
        await bench.again()
        assert await bench.cycle(command, **OPEN)
        for _ in range(30):
            await bench.cycle(**OPEN | {closed: 0})
        assert bench.issued == issued, closed
        assert bench.activities[-1] == (Activity.SYNC if closed == "residual_available" else Activity.WEIGHTS)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_word_a_cycle(dut):
    """Also where most words do not count and all of them are before the same accumulator row."""
    bench = Bench(dut)
    await bench.start()
    lanes = bench.config.lanes
    command = complete(opcode=TensorOpcode.WINDOW, tap_rows=1, kernel_x=3, kernel_y=2, dilation_y=1, in_w=9, in_h=4,
                       nx=2, ny=2, stride_x=3, stride_y=1, in_x=lanes, in_y=9 * lanes, out_x=lanes, out_y=2 * lanes)
    assert await bench.cycle(command, **OPEN)
    await bench.run([], lambda: OPEN)
    assert bench.activities[1:] == [Activity.COMPUTE] * bench.issued


@pytest.mark.parametrize("lanes", [4, 16])
def test_issue_window(lanes):
    run_cocotb(Issue(SMALL[lanes]), f"issue{lanes}", __name__, parameters={"lanes": lanes})
