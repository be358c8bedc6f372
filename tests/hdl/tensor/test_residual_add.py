"""One lane of the residual add against TFLite's int8 ADD and MUL, a sum and a product rounded once; parameters change
in every row."""

import random
from collections import deque
from collections.abc import Callable

import cocotb
import pytest
from lepton.arch import Rounding
from lepton_hdl.tensor.residual_add import (
    CLAMP,
    ROUND,
    SCALE,
    SCALE_SUM,
    SHIFT,
    SHIFT_SUM,
    STAGES,
    SUM,
    ResidualAdd,
)
from lepton_hdl.views import View

from tests.bench.checker import InOrder
from tests.bench.pins import Pins
from tests.bench.pipeline import Stages
from tests.bench.stalls import BURSTS, NONE, SOME, Stall, stall
from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.bench import INT_MAX, INT_MIN, pick, residual_added
from tests.hdl.views import InView

# The stage that uses each port; in other cycles, and for other rows, it is noise.
_USED = {
    **dict.fromkeys(("zero_a", "zero_b", "mult_a", "mult_b"), SCALE), **dict.fromkeys(("shift_a", "shift_b"), SHIFT),
    "mult_o": SCALE_SUM, "shift_o": SHIFT_SUM, "zero_o": ROUND,
    **dict.fromkeys(("low", "high"), CLAMP),
}
Row = dict[str, int]
"""The operands of one row, its parameters, `add`: whether it adds, and `multiply`: whether it multiplies instead."""

_BITS = {name: {"zero": 8, "mult": 32, "shift": 5, "low": 8, "high": 8}[name.split("_")[0]]
         for name in _USED}


def expected(row: Row) -> int:
    """The model."""
    if not row["add"]:
        return row["y"]
    p = {f"add_{name}": row[name] for name in _USED} | {
        "add_min": row["low"], "add_max": row["high"], "rounding": row["rounding"], "multiply": row["multiply"]}
    return residual_added(row["y"], row["residual"], p)


class Driver:
    """Streams rows; each port gets the value of the row that is at the stage which uses it, or noise."""

    def __init__(self, pins: Pins, rows: list[Row], pause: Stall) -> None:
        self.pins = pins
        self.stages = Stages[Row](STAGES)
        self._rows = deque(rows)
        self._pause = pause

    @property
    def busy(self) -> bool:
        return bool(self._rows) or not self.stages.empty

    def drive(self) -> None:
        """The inputs of one cycle."""
        self.stages.advance(self._rows.popleft() if self._rows and not self._pause() else None)
        self.pins.set(
            valid=sum(1 << s for s in range(STAGES) if self.stages.at(s) is not None),
            y=self._of(0, "y", 8), residual=self._of(0, "residual", 8),
            **{name: self._of(stage, name, _BITS[name]) for name, stage in _USED.items()},
            as_float=sum(self._flag(s, lambda row: row["rounding"] == Rounding.FLOAT) << s
                         for s in (SHIFT, SUM, SCALE_SUM, SHIFT_SUM, ROUND)),
            adds=sum(self._flag(s, lambda row: bool(row["add"])) << s for s in range(STAGES)),
            multiplies=sum(self._flag(s, lambda row: bool(row["multiply"])) << s for s in (SCALE, SUM, SCALE_SUM)))

    def _of(self, stage: int, name: str, bits: int) -> int:
        row = self.stages.at(stage)
        return row[name] if row is not None else random.getrandbits(bits)

    def _flag(self, stage: int, value: Callable[[Row], bool]) -> int:
        row = self.stages.at(stage)
        return int(value(row)) if row is not None else random.getrandbits(1)


async def run(dut, rows: list[Row], pause: str = NONE) -> None:
    """Every row comes out STAGES cycles after it went in, whether it adds or not."""
    pins = Pins(dut)
    await pins.start(valid=0)
    driver = Driver(pins, rows, stall(pause))
    checker = InOrder("out", [expected(row) for row in rows])
    while driver.busy:
        driver.drive()
        if driver.stages.leaving is not None:
            checker.receive(pins.signed("out"))
        await pins.tick()
    checker.finish()


def row(**values: int) -> Row:
    return dict(dict(y=0, residual=0, add=1, zero_a=0, zero_b=0, zero_o=0, mult_a=1 << 30, mult_b=1 << 30,
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
    """Half plausible, half anything; a quarter does not add and goes through unchanged, a third of the others are
    products."""
    rows = []
    for _ in range(5000):
        values = dict(rounding=random.choice([*Rounding]), add=random.random() < 0.75,
                      multiply=random.random() < 0.33)
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
    assert expected(row(y=-77, add=0)) == -77
    assert [expected(row(y=y, residual=3, shift_o=0, multiply=1)) for y in (-3, -1, 1, 3)] == [-4, -1, 2, 5]
    assert [expected(row(y=y, residual=1, shift_o=0, rounding=Rounding.FLOAT, multiply=1)) for y in (-3, -1, 1, 3)
            ] == [-2, 0, 0, 2]
    # halves of both operands, added without a rounding between
    half = dict(mult_a=1 << 30, mult_b=1 << 30, mult_o=0, shift_o=20, rounding=Rounding.FLOAT)
    assert [expected(row(y=y, residual=1, **half)) for y in (-4, -2, -1, 0, 1, 2, 4)] == [-2, 0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize("view", [View.SIMULATION, View.GATES])
def test_residual_add(view):
    run_cocotb(InView(ResidualAdd(), view), f"residual_add_{view.name.lower()}", __name__)
