"""One lane of the residual add against TFLite's int8 ADD and MUL, a sum and a product rounded once; parameters change
in every row."""

import random
from collections import deque
from collections.abc import Callable

import cocotb
import pytest
from lepton.arch import Rounding
from lepton_hdl.tensor.residual_add import STAGES, AddStages, ResidualAdd, schedule_of
from lepton_hdl.views import View

from tests.bench.checker import InOrder
from tests.bench.pins import Pins
from tests.bench.pipeline import Stages
from tests.bench.stalls import BURSTS, NONE, SOME, Stall, stall
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.tensor.bench import INT_MAX, INT_MIN, pick, residual_added
from tests.hdl.views import InView

_USED = {f"{kind}_{operand}": bits for kind, bits in (("zero", 8), ("mult", 32), ("shift", 5)) for operand in "abo"} | {
    "low": 8, "high": 8}
"""The ports of parameters, and their bits."""

Row = dict[str, int]
"""The operands of one row, its parameters, and `multiply`: whether it is a product instead of a sum."""


def stage_of(on: AddStages, name: str) -> int:
    """The stage that uses a port; in other cycles, and for other rows, it is noise."""
    kind, _, operand = name.partition("_")
    if kind in ("low", "high"):
        return on.clamp
    if operand == "o":
        return {"zero": on.zero_o, "mult": on.scale_sum, "shift": on.shift_sum, "nudge": on.nudge_sum}[kind]
    return {"zero": on.zero, "mult": on.scale, "shift": on.shift, "nudge": on.nudge}[kind]


def recode(mult: int) -> int:
    """(once, twice, negative) of each of Booth's digits of an int32: 2 or -2, 1 or -1, or 0."""
    bits = (mult & 0xFFFFFFFF) << 1
    packed = 0
    for i in range(16):
        digit = (0, 1, 1, 2, -2, -1, -1, 0)[bits >> 2 * i & 7]
        negative = bits >> 2 * i + 2 & 1
        packed |= ((abs(digit) == 1) | (abs(digit) == 2) << 1 | negative << 2) << 3 * i
    return packed


def expected(row: Row) -> int:
    """The model."""
    p = {f"add_{name}": row[name] for name in _USED} | {
        "add_min": row["low"], "add_max": row["high"], "rounding": row["rounding"], "multiply": row["multiply"]}
    return residual_added(row["y"], row["residual"], p)


class Driver:
    """Streams rows; each port gets the value of the row that is at the stage which uses it, or noise."""

    def __init__(self, pins: Pins, rows: list[Row], pause: Stall, schedule: AddStages) -> None:
        self.pins = pins
        self.schedule = schedule
        self.stages = Stages[Row](STAGES)
        self._rows = deque(rows)
        self._pause = pause

    @property
    def busy(self) -> bool:
        return bool(self._rows) or not self.stages.empty

    def drive(self) -> None:
        """The inputs of one cycle."""
        self.stages.advance(self._rows.popleft() if self._rows and not self._pause() else None)
        on = self.schedule
        self.pins.set(
            valid=sum(1 << s for s in range(STAGES) if self.stages.at(s) is not None),
            y=self._of(0, "y", 8), residual=self._of(0, "residual", 8),
            **{name: self._of(stage_of(on, name), name, bits) for name, bits in _USED.items()},
            **{f"nudge_{operand}": self._flag(stage_of(on, f"nudge_{operand}"), lambda row, shift=f"shift_{operand}": (
                row[shift] != 0 and row["rounding"] != Rounding.FLOAT)) for operand in "abo"},
            digits_o=recode(self._of(on.scale_sum, "mult_o", 32)), offset_o=self._of(on.scale_sum + 1, "mult_o", 32),
            as_float=sum(self._flag(s, lambda row: row["rounding"] == Rounding.FLOAT) << s
                         for s in {on.shift, on.sum, on.scale_sum, on.scale_sum + 1, on.round}),
            multiplies=sum(self._flag(s, lambda row: bool(row["multiply"])) << s
                           for s in {on.scale, on.shift, on.sum, on.scale_sum, on.scale_sum + 1}))

    def _of(self, stage: int, name: str, bits: int) -> int:
        row = self.stages.at(stage)
        return row[name] if row is not None else random.getrandbits(bits)

    def _flag(self, stage: int, value: Callable[[Row], bool]) -> int:
        row = self.stages.at(stage)
        return int(value(row)) if row is not None else random.getrandbits(1)


async def run(dut, rows: list[Row], pause: str = NONE) -> None:
    """Every row comes out `AddStages.count` cycles after it went in."""
    schedule = schedule_of(View[parameters()["view"]])
    pins = Pins(dut)
    await pins.start(valid=0)
    driver = Driver(pins, rows, stall(pause), schedule)
    checker = InOrder("out", [expected(row) for row in rows])
    while driver.busy:
        driver.drive()
        if driver.stages.at(schedule.count) is not None:
            checker.receive(pins.signed("out"))
        await pins.tick()
    checker.finish()


def row(**values: int) -> Row:
    return dict(dict(y=0, residual=0, zero_a=0, zero_b=0, zero_o=0, mult_a=1 << 30, mult_b=1 << 30,
                     mult_o=1 << 30, shift_a=0, shift_b=0, shift_o=19, low=-128, high=127,
                     rounding=Rounding.DOUBLE, multiply=0), **values)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def extremes(dut):
    """The ends of every range; with the multipliers at INT_MIN the sum saturates INT_MIN * INT_MIN on its way."""
    rows = []
    for y, zero in ((-128, 127), (127, -128), (-128, -128), (0, 0), (1, 0), (0, 1)):
        for mult in (INT_MIN, -1, 0, 1, INT_MAX):
            for mult_o in (INT_MIN, 1 << 30, INT_MAX):
                for shift, shift_o in ((0, 0), (0, 31), (31, 0), (1, 20)):
                    for rounding in (Rounding.DOUBLE, Rounding.FLOAT):
                        rows.append(row(y=y, residual=y, zero_a=zero, zero_b=zero, mult_a=mult, mult_b=mult,
                                        mult_o=mult_o, shift_a=shift, shift_b=shift, shift_o=shift_o,
                                        rounding=rounding))
    await run(dut, rows)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def ties_at_every_shift(dut):
    """With a multiplier of one half, y - zero = d gives d * 2**19: exact ties for shifts above 19, at both ends."""
    rows = [row(y=y, shift_a=shift, mult_b=0, mult_o=INT_MAX if shift % 2 else 1 << 30, shift_o=0)
            for shift in range(17, 32) for y in range(-9, 10)]
    rows += [row(y=y, mult_b=0, shift_o=shift) for shift in range(17, 32) for y in range(-9, 10)]
    rows += [row(y=y, residual=-y, zero_b=d, shift_o=18) for y in (-127, 77, 127) for d in (-1, 0, 1)]
    await run(dut, rows)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def ties_of_the_sum(dut):
    """FLOAT: halves, and a last bit more or less than a half, at every place of the point; negative multipliers."""
    rows = [row(y=y, residual=r, mult_a=1 << point - 1, mult_b=sign << point - 1, mult_o=off, shift_o=point - 11,
                rounding=Rounding.FLOAT)
            for point in range(11, 32) for sign in (1, -1) for y, r in ((4, 1), (5, 1), (4, 3), (-4, 1), (-7, 2))
            for off in (-1, 0, 1)]
    await run(dut, rows)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def products(dut):
    """The ends of both operands, of the multiplier and of the shift; ties in FLOAT, on even and odd integers."""
    rows = [row(y=y, residual=r, zero_a=zero_a, zero_b=zero_b, mult_o=mult_o, shift_o=shift_o, rounding=rounding,
                multiply=1)
            for y, zero_a in ((-128, 127), (127, -128), (-128, 0), (3, 0))
            for r, zero_b in ((-128, 127), (127, -128), (5, 0))
            for mult_o in (INT_MIN, -1, 0, 1 << 30, INT_MAX) for shift_o in (0, 1, 7, 8, 31)
            for rounding in (Rounding.DOUBLE, Rounding.FLOAT)]
    rows += [row(y=y, residual=r, mult_o=1 << 30, shift_o=shift, rounding=rounding, multiply=1)
             for y in range(-9, 10) for r in (-3, 1, 2, 127) for shift in (0, 1, 4, 6)
             for rounding in (Rounding.DOUBLE, Rounding.FLOAT)]
    await run(dut, rows)


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(pause=[NONE, SOME, BURSTS])
async def random_rows(dut, pause):
    """Half plausible, half anything; a third are products."""
    rows = []
    for _ in range(5000):
        values = dict(rounding=random.choice([*Rounding]), multiply=random.random() < 0.33)
        values |= {name: pick(random, -128, 127) for name in ("low", "high")}
        values |= {name: pick(random, -128, 127) for name in ("y", "residual", "zero_a", "zero_b", "zero_o")}
        if random.random() < 0.5:
            values |= {f"mult_{n}": random.randint(1 << 30, INT_MAX) for n in "abo"}
            values |= dict(shift_a=random.randrange(6), shift_b=random.randrange(6), shift_o=random.randrange(14, 24),
                           low=-128, high=127)
        else:
            values |= {f"mult_{n}": pick(random, INT_MIN, INT_MAX) for n in "abo"}
            values |= {f"shift_{n}": random.randrange(32) for n in "abo"}
        if values["multiply"]:
            values["shift_a"] = 0
            if random.random() < 0.5:
                values["shift_o"] = random.randrange(5, 10)
        rows.append(row(**values))
    assert len({expected(r) for r in rows}) > 240, "the rows do not cover the results"
    await run(dut, rows, pause)


def test_oracle():
    """By hand: equal scales of one, so that the sum is the plain one, rounded and clamped."""
    one = dict(shift_o=18)  # halves a and b, halves the sum, 2**20 / 4 = 2**18
    assert expected(row(y=5, residual=7, **one)) == 12
    assert expected(row(y=100, residual=100, **one)) == 127
    assert expected(row(y=-3, residual=4, zero_b=4, zero_o=10, **one)) == 7
    assert [expected(row(y=y, residual=0, shift_o=19)) for y in (-3, -1, 1, 3)] == [-2, -1, 1, 2]
    assert [expected(row(y=y, residual=3, shift_o=0, multiply=1)) for y in (-3, -1, 1, 3)] == [-4, -1, 2, 5]
    assert [expected(row(y=y, residual=1, shift_o=0, rounding=Rounding.FLOAT, multiply=1)) for y in (-3, -1, 1, 3)
            ] == [-2, 0, 0, 2]
    # halves of both operands, added without a rounding between
    half = dict(mult_a=1 << 30, mult_b=1 << 30, mult_o=0, shift_o=20, rounding=Rounding.FLOAT)
    assert [expected(row(y=y, residual=1, **half)) for y in (-4, -2, -1, 0, 1, 2, 4)] == [-2, 0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize("view", [*View])
def test_residual_add(view):
    run_cocotb(InView(ResidualAdd(), view), f"residual_add_{view.name.lower()}", __name__,
               parameters={"view": view.name})
