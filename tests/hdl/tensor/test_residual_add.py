"""One lane of the residual add against TFLite's int8 ADD and a sum rounded once; parameters change in every row."""

import random

import cocotb
from lepton.arch import Rounding
from lepton_hdl.tensor.residual_add import CLAMP, ROUND, SCALE, SCALE_SUM, SHIFT_SUM, STAGES, SUM, ResidualAdd

from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.bench import INT_MAX, INT_MIN, pick, residual_added

# The stage that uses each port; in other cycles, and for other rows, it is noise.
_USED = {
    **dict.fromkeys(("zero_a", "zero_b", "mult_a", "mult_b"), SCALE), **dict.fromkeys(("shift_a", "shift_b"), SUM),
    "mult_o": SCALE_SUM, "shift_o": SHIFT_SUM, "zero_o": ROUND,
    **dict.fromkeys(("low", "high"), CLAMP),
}
_BITS = {name: {"zero": 8, "mult": 32, "shift": 5, "low": 8, "high": 8}[name.split("_")[0]]
         for name in _USED}


def expected(row):
    if not row["add"]:
        return row["y"]
    p = {f"add_{name}": row[name] for name in _USED} | {
        "add_min": row["low"], "add_max": row["high"], "rounding": row["rounding"]}
    return residual_added(row["y"], row["residual"], p)


async def run(dut, rows, rng, gaps=0.0):
    """Every row comes out STAGES cycles after it went in, whether it adds or not."""
    ports = Pins(dut)
    await ports.start(valid=0)
    line = [None] * (STAGES + 1)  # line[s]: the row at stage s
    todo = list(rows)
    results = 0
    while todo or any(line):
        row = todo.pop(0) if todo and rng.random() >= gaps else None
        line = [row, *line[:-1]]
        done = line[STAGES]
        if done:
            got = ports.signed("out")
            assert got == expected(done), f"{got}, not {expected(done)}: {done}"
            results += 1
        ports.set(valid=sum(1 << s for s in range(STAGES) if line[s]),
                  y=row["y"] if row else rng.getrandbits(8), residual=row["residual"] if row else rng.getrandbits(8),
                  **{name: line[stage][name] if line[stage] else rng.getrandbits(_BITS[name])
                     for name, stage in _USED.items()},
                  as_float=sum((line[s]["rounding"] == Rounding.FLOAT if line[s] else rng.getrandbits(1)) << s
                               for s in (SUM, SCALE_SUM, SHIFT_SUM, ROUND)),
                  adds=sum(int(line[s]["add"] if line[s] else rng.getrandbits(1)) << s for s in range(STAGES)))
        await ports.tick()
    assert results == len(rows)


def row(**values):
    return dict(dict(y=0, residual=0, add=1, zero_a=0, zero_b=0, zero_o=0, mult_a=1 << 30, mult_b=1 << 30,
                     mult_o=1 << 30, shift_a=0, shift_b=0, shift_o=19, low=-128, high=127,
                     rounding=Rounding.DOUBLE), **values)


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
    await run(dut, rows, random.Random(1))


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def ties_at_every_shift(dut):
    """With a multiplier of one half, y - zero = d gives d * 2**19: exact ties for shifts above 19, at both ends."""
    rows = [row(y=y, shift_a=shift, mult_b=0, mult_o=INT_MAX if shift % 2 else 1 << 30, shift_o=0)
            for shift in range(17, 32) for y in range(-9, 10)]
    rows += [row(y=y, mult_b=0, shift_o=shift) for shift in range(17, 32) for y in range(-9, 10)]
    rows += [row(y=y, residual=-y, zero_b=d, shift_o=18) for y in (-127, 77, 127) for d in (-1, 0, 1)]
    await run(dut, rows, random.Random(2))


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def ties_of_the_sum(dut):
    """FLOAT: halves, and a last bit more or less than a half, at every place of the point; negative multipliers."""
    rows = [row(y=y, residual=r, mult_a=1 << point - 1, mult_b=sign << point - 1, mult_o=off, shift_o=point - 11,
                rounding=Rounding.FLOAT)
            for point in range(11, 32) for sign in (1, -1) for y, r in ((4, 1), (5, 1), (4, 3), (-4, 1), (-7, 2))
            for off in (-1, 0, 1)]
    await run(dut, rows, random.Random(3))


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(gaps=[0.0, 0.4])
async def random_rows(dut, gaps):
    """Half plausible, half anything; a quarter does not add and goes through unchanged."""
    rng = random.Random(30 + int(10 * gaps))
    rows = []
    for _ in range(5000):
        values = dict(rounding=rng.choice([*Rounding]), add=rng.random() < 0.75)
        values |= {name: pick(rng, -128, 127) for name in ("low", "high")}
        values |= {name: pick(rng, -128, 127) for name in ("y", "residual", "zero_a", "zero_b", "zero_o")}
        if rng.random() < 0.5:
            values |= {f"mult_{n}": rng.randint(1 << 30, INT_MAX) for n in "abo"}
            values |= dict(shift_a=rng.randrange(6), shift_b=rng.randrange(6), shift_o=rng.randrange(14, 24),
                           low=-128, high=127)
        else:
            values |= {f"mult_{n}": pick(rng, INT_MIN, INT_MAX) for n in "abo"}
            values |= {f"shift_{n}": rng.randrange(32) for n in "abo"}
        rows.append(row(**values))
    assert len({expected(r) for r in rows}) > 240, "the rows do not cover the results"
    await run(dut, rows, rng, gaps)


def test_oracle():
    """By hand: equal scales of one, so that the sum is the plain one, rounded and clamped."""
    one = dict(shift_o=18)  # halves a and b, halves the sum, 2**20 / 4 = 2**18
    assert expected(row(y=5, residual=7, **one)) == 12
    assert expected(row(y=100, residual=100, **one)) == 127
    assert expected(row(y=-3, residual=4, zero_b=4, zero_o=10, **one)) == 7
    assert [expected(row(y=y, residual=0, shift_o=19)) for y in (-3, -1, 1, 3)] == [-2, -1, 1, 2]
    assert expected(row(y=-77, add=0)) == -77
    # halves of both operands, added without a rounding between
    half = dict(mult_a=1 << 30, mult_b=1 << 30, mult_o=0, shift_o=20, rounding=Rounding.FLOAT)
    assert [expected(row(y=y, residual=1, **half)) for y in (-4, -2, -1, 0, 1, 2, 4)] == [-2, 0, 0, 0, 1, 2, 2]


def test_residual_add():
    run_cocotb(ResidualAdd(), "residual_add", __name__)
