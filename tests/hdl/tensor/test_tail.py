"""The tail: rows of several commands in it at once, each with its own parameters, scalars and residuals."""

import random

import cocotb
import pytest
from lepton.arch.commands import PARAM_WORDS, TABLE_BYTES, Rounding
from lepton_hdl.tensor import residual_add
from lepton_hdl.tensor.table import BEATS
from lepton_hdl.tensor.tail import SHORT_STAGES, STAGES, Tail
from lepton_hdl.views import View

from tests.bench.disturbed import DamagedPins
from tests.bench.pins import Pins
from tests.bench.stalls import STALLS
from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.tail_bench import run
from tests.hdl.tensor.tail_commands import LANES, Width, command_stream
from tests.hdl.views import InView


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(pause=STALLS)
async def random_commands(dut, pause):
    await run(Pins(dut), command_stream([random.choice([1, 2, 14, 40]) for _ in range(60)]), pause)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("add", "stages"), [(False, SHORT_STAGES), (True, STAGES)]))
async def commands_follow_without_a_gap(dut, add, stages):
    """A command as long as its way through the tail and a parameter record hides the parameters of the next."""
    commands = command_stream([stages + PARAM_WORDS + 2] * 8, likely=0)
    for command in commands:
        command.scalars |= dict(add=add, uniform=0)
    distance = await run(Pins(dut), commands)
    assert distance[1:] == [1] * 7


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def rows_without_residual_follow_as_close_as_may_be(dut):
    """The first word of a command without residual is there in the cycle behind the last one with a residual."""
    commands = command_stream([STAGES + PARAM_WORDS + 2] * 8, likely=0)
    for number, command in enumerate(commands):
        command.scalars |= dict(add=number % 2 == 0, uniform=0)
    distance = await run(Pins(dut), commands)
    assert distance[1::2] == [residual_add.STAGES + 1] * 4


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def every_command_with_its_own_table(dut):
    """They change without a gap, too, where commands are long enough to hide it; every entry is looked up."""
    commands = command_stream([max(STAGES + PARAM_WORDS + BEATS + 2, TABLE_BYTES)] * 5, likely=1)
    for command in commands:
        command.scalars |= dict(table=1, add=0, uniform=0, rounding=Rounding.DOUBLE, out_zero=0, out_min=-128,
                                out_max=127)
        for lane in command.lanes:
            lane |= dict(bias=0, multiplier=1 << 30, left=1, right=0)
        order = [random.sample(range(-128, 128), TABLE_BYTES) for _ in range(LANES)]
        command.rows = [list(row) for row in zip(*order, strict=True)]
    distance = await run(Pins(dut), commands)
    assert distance[1:] == [1] * 4


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("port", "value", "message"), [
    ("out", None, "out: item 20 is"),
    ("out_valid", 0, "too early or too late"), ("out_valid", 1, "too early or too late"),
    ("parameters__taken", 0, "taken before they were complete|out: item"),
    ("residual_take", 1, "out: item|residuals were not taken")]))
async def a_wrong_bit_is_reported(dut, port, value, message):
    """The drivers and the checker notice a planted error of an output in a single cycle."""
    pins = DamagedPins(dut, port, value=value)
    commands = command_stream([14] * 10)
    for command in commands:
        command.scalars |= dict(add=1, uniform=0)
    with pins.reported(message):
        await run(pins, commands)


@pytest.mark.parametrize("view, lanes", [
    (View.SIMULATION, 4),
    # Lanes are equal, and one in gates takes half a minute to build. `test_requantize` and `test_residual_add` run
    # every view of what takes the gates.
    (View.GATES, 1)])
def test_tail(view, lanes):
    run_cocotb(InView(Tail(Width(lanes)), view), f"tail{lanes}_{view.name.lower()}", __name__,
               parameters={"lanes": lanes})
