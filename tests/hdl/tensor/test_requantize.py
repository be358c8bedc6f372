"""One lane of the requantizer against gemmlowp's formulas and IEEE floats, row for row, while parameters change."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import cocotb
import numpy as np
import pytest
from lepton.arch import Rounding
from lepton_hdl.tensor.requantize import STAGES, Requantizer, RequantizeStages, schedule_of
from lepton_hdl.views import View

from tests.bench.checker import InOrder
from tests.bench.pins import Pins
from tests.bench.pipeline import Stages
from tests.bench.stalls import NONE, STALLS, Stall, stall
from tests.cocotb_harness import parameters, run_cocotb
from tests.float_cases import float_cases
from tests.hdl.tensor.bench import INT_MAX, INT_MIN, pick, random_params, requantized
from tests.hdl.views import InView

_RECORD = 10  # bytes: bias and multiplier of 4 bytes, two shifts


@dataclass
class Command:
    """Rows that share parameters. `expected` is the model."""

    params: dict[str, int]
    rows: list[int]
    rounding: Rounding

    def record(self) -> bytes:
        """The parameters as they are written, byte by byte."""
        p = self.params
        return (p["bias"].to_bytes(4, "little", signed=True) + p["multiplier"].to_bytes(4, "little", signed=True)
                + bytes([p["left"], p["right"]]))

    def expected(self, row: int) -> int:
        return requantized(row, self.rounding, self.params)


@dataclass(frozen=True)
class Row:
    """One row on its way."""

    value: int
    command: Command
    number: int  # of the command
    first: bool  # of its command, whose parameters come into use with it


def command(rows: list[int], rounding: Rounding = Rounding.DOUBLE, **params: int) -> Command:
    base = dict(bias=0, multiplier=1 << 30, left=0, right=0, out_zero=0, out_min=-128, out_max=127)
    return Command(base | params, rows, rounding)


class Driver:
    """Streams the rows of commands, each command right behind the one before, as the tail does.

    Parameters of the next command are written while the current one's rows are in the pipeline; whatever is not in
    use in a cycle is noise.
    """

    def __init__(self, pins: Pins, commands: list[Command], pause: Stall, schedule: RequantizeStages) -> None:
        self.pins = pins
        self.schedule = schedule
        self.stages = Stages[Row](STAGES + 1)  # stage s of the block is at s + 1: a row is announced a cycle before
        self._records = [c.record() for c in commands]
        self._rows = deque(Row(value, c, n, i == 0) for n, c in enumerate(commands) for i, value in enumerate(c.rows))
        self._pause = pause
        self._written = 0  # bytes of parameters
        self._in_use = 0  # commands whose parameters have reached the last stage

    @property
    def busy(self) -> bool:
        return bool(self._rows) or not self.stages.empty

    def drive(self) -> None:
        """The inputs of one cycle."""
        self.stages.advance(self._next_row())
        at = self.stages.at
        now = at(1)
        writing = self._written < _RECORD * min(self._in_use + 1, len(self._records))
        number, index = divmod(self._written, _RECORD)
        stages = range(STAGES)
        rows = [at(s + 1) for s in stages]
        next_rows = [at(s) for s in stages]
        self.pins.set(
            param_write=writing, param_index=index if writing else random.randrange(16),
            param_data=self._records[number][index] if writing else random.randrange(256),
            value=now.value if now else random.getrandbits(32),
            fresh=sum(1 << s for s in stages if (row := next_rows[s]) is not None and row.first),
            valid=sum(1 << s for s in stages if rows[s] is not None), **self._scalars())
        self._written += writing
        last = at(self.schedule.count - 1)
        self._in_use += last is not None and last.first

    def _next_row(self) -> Row | None:
        """The row that enters, unless there is a pause or its parameters are not complete yet."""
        if not self._rows or self._pause():
            return None
        row = self._rows[0]
        if row.first and self._written < _RECORD * (row.number + 1):
            return None
        return self._rows.popleft()

    def _scalars(self) -> dict[str, int]:
        def of(stage: int, value: Callable[[Command], int], bits: int) -> int:
            row = self.stages.at(stage + 1)
            return int(value(row.command)) if row is not None else random.getrandbits(bits)

        on = self.schedule
        return dict(double=of(on.nudge, lambda c: c.rounding == Rounding.DOUBLE, 1),
                    as_float=sum(of(stage, lambda c: c.rounding == Rounding.FLOAT, 1) << stage
                                 for stage in (on.convert, on.shift, on.round)),
                    zero=of(on.zero, lambda c: c.params["out_zero"], 8),
                    low=of(on.clamp, lambda c: c.params["out_min"], 8),
                    high=of(on.clamp, lambda c: c.params["out_max"], 8))


async def run(dut, commands: list[Command], pause: str = NONE) -> None:
    """Every row of the commands comes out as the model says, `RequantizeStages.count` cycles after it went in."""
    schedule = schedule_of(View[parameters()["view"]])
    pins = Pins(dut)
    await pins.start(valid=0, fresh=0, param_write=0)
    driver = Driver(pins, commands, stall(pause), schedule)
    checker = InOrder("y", [c.expected(row) for c in commands for row in c.rows])
    while driver.busy:
        driver.drive()
        if driver.stages.at(schedule.count + 1) is not None:
            checker.receive(pins.signed("y"))
        await pins.tick()
    checker.finish()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def extremes(dut):
    """The ends of every range with each other, in every rounding."""
    commands = []
    for rounding in Rounding:
        for multiplier in (INT_MIN, INT_MIN + 1, -1, 0, 1, 1 << 30, INT_MAX):
            for left, right in ((0, 0), (0, 31), (31, 0), (31, 31), (1, 23)):
                for bias in (0, INT_MIN):
                    commands.append(command([INT_MIN, INT_MIN + 1, -1, 0, 1, INT_MAX - 1, INT_MAX], rounding, bias=bias,
                                            multiplier=multiplier, left=left, right=right))
    await run(dut, commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_shift_with_its_ties(dut):
    """A multiplier of one half and `left` 1 leave the row as it is: rows at and next to each tie, of both signs."""
    commands = []
    for rounding in Rounding:
        for right in range(32):
            half = (1 << right) >> 1
            rows = [sign * (odd * half + d) for odd in (1, 3, 5, 255) for d in (-1, 0, 1) for sign in (1, -1)]
            rows = [row for row in rows if abs(row) < 1 << 30]
            commands.append(command(rows, rounding, multiplier=1 << 30, left=1, right=right))
    await run(dut, commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def ties_of_the_high_product(dut):
    """Products that end in exactly half, where the two roundings and the signs differ."""
    commands = []
    for rounding in Rounding:
        for multiplier in (1 << 30, -(1 << 30), INT_MIN, 3 << 28):
            for right in (0, 1, 2):
                commands.append(command([*range(-12, 13)], rounding, multiplier=multiplier, right=right))
    await run(dut, commands)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_left_shift_wraps(dut):
    commands = [command([1, -1, 3, (1 << 31) - 5, 0x1234567, -0x7654321], multiplier=INT_MAX, left=left, right=right)
                for left in range(32) for right in (0, 24)]
    await run(dut, commands)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def floats_at_their_edges(dut):
    """Every case of float32 requantization that a shortcut might get wrong, as int8 and in the middle of its range."""
    by_scale = {}
    for x, multiplier, right in float_cases(5, 300):
        by_scale.setdefault((multiplier, right), []).append(x)
    commands = [command(rows, Rounding.FLOAT, multiplier=multiplier, right=right, out_zero=zero)
                for (multiplier, right), rows in by_scale.items() for zero in (0, 100 if rows[0] < 0 else -100)]
    await run(dut, commands)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(pause=STALLS)
async def random_commands(dut, pause):
    """Random parameters, zero points and clamps (low > high among them), a few rows each."""
    commands = []
    for _ in range(250):
        commands.append(command([pick(random, INT_MIN, INT_MAX) for _ in range(random.choice([1, 2, 7, 25]))],
                                random.choice([*Rounding]), **random_params(random), out_zero=pick(random, -128, 127),
                                out_min=pick(random, -128, 127), out_max=pick(random, -128, 127)))
    await run(dut, commands, pause)


def test_oracle():
    """The formulas by hand, so that the oracle itself is held by something."""
    p = dict(bias=0, multiplier=1 << 30, left=0, right=0, out_zero=0, out_min=-128, out_max=127)
    assert [requantized(v, 0, p) for v in (-3, -1, 1, 3)] == [-1, 0, 1, 2]  # the high product rounds half up
    twice = {**p, "left": 1, "right": 1}
    assert [requantized(v, 0, twice) for v in (-3, -1, 1, 3)] == [-2, -1, 1, 2]  # the shift away from zero
    assert [requantized(v, 1, twice) for v in (-3, -1, 1, 3)] == [-1, 0, 1, 2]  # once: half up
    # a quarter: rounding twice carries it up to one, rounding once does not
    assert (requantized(1, 0, {**p, "right": 1}), requantized(1, 1, {**p, "right": 1})) == (1, 0)
    assert requantized(INT_MIN, 0, {**p, "multiplier": INT_MIN, "right": 31}) == 1  # saturated, then half rounds up


def test_float_oracle():
    """Against numpy's float32, which is the processor's."""
    x, multiplier, right = np.array(float_cases(6, 1000), np.int64).T
    scale = np.ldexp(multiplier.astype(np.float32), -(31 + right)).astype(np.float32)
    y = np.rint(x.astype(np.int32).astype(np.float32) * scale)
    wide = dict(bias=0, left=0, out_zero=0, out_min=-(1 << 40), out_max=1 << 40)
    got = [requantized(int(v), Rounding.FLOAT, {**wide, "multiplier": int(m), "right": int(r)})
           for v, m, r in zip(x, multiplier, right, strict=True)]
    assert got == y.astype(np.int64).tolist()


@pytest.mark.parametrize("view", [*View])
def test_requantize(view):
    run_cocotb(InView(Requantizer(), view), f"requantizer_{view.name.lower()}", __name__,
               parameters={"view": view.name})
