"""One lane of the requantizer against gemmlowp's formulas and IEEE floats, row for row, while parameters change."""

import random
from dataclasses import dataclass, field

import cocotb
import numpy as np
from lepton.arch import Rounding
from lepton_hdl.tensor.requantize import BIAS, CLAMP, ROUND, SHIFT, STAGES, Requantizer

from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.float_cases import float_cases
from tests.hdl.tensor.bench import INT_MAX, INT_MIN, pick, random_params, requantized

_RECORD = 10


@dataclass
class Command:
    """Rows that share parameters."""

    params: dict
    rows: list[int]
    rounding: Rounding
    record: bytes = field(init=False)

    def __post_init__(self):
        p = self.params
        self.record = (p["bias"].to_bytes(4, "little", signed=True) + p["multiplier"].to_bytes(4, "little", signed=True)
                       + bytes([p["left"], p["right"]]))

    def expected(self, row):
        return requantized(row, self.rounding, self.params)


def command(rows, rounding=Rounding.DOUBLE, **params):
    return Command(dict(dict(bias=0, multiplier=1 << 30, left=0, right=0, out_zero=0, out_min=-128, out_max=127),
                        **params), rows, rounding)


async def run(dut, commands, rng, gaps=0.0):
    """Stream all rows, each command right behind the one before, as the tail does.

    Parameters of the next command are written while the current one's rows are in the pipeline;
    whatever is not in use in a cycle is noise.
    """
    ports = Pins(dut)
    await ports.start(valid=0, fresh=0, param_write=0)
    line = [None] * (STAGES + 2)  # line[s + 1]: (command, row) at stage s; line[0]: what enters next
    todo = [(c, row, i == 0) for c in commands for i, row in enumerate(c.rows)]
    written, taken = 0, 0  # bytes of the next record; commands whose parameters have reached the last stage
    results = 0
    at = 0
    while at < len(todo) or any(line):
        entering = todo[at] if at < len(todo) and rng.random() >= gaps else None
        if entering and entering[2] and written < _RECORD * (commands.index(entering[0]) + 1):
            entering = None
        at += entering is not None
        line = [entering, *line[:-1]]
        if line[STAGES + 1]:
            owner, row, _ = line[STAGES + 1]
            got = ports.signed("y")
            assert got == owner.expected(row), f"{row} gave {got}, not {owner.expected(row)}: {owner.params}"
            results += 1

        writing = written < _RECORD * min(taken + 1, len(commands))
        index = written % _RECORD
        ports.set(
            param_write=writing, param_index=index if writing else rng.randrange(16),
            param_data=commands[written // _RECORD].record[index] if writing else rng.randrange(256),
            value=line[1][1] if line[1] else rng.getrandbits(32),
            fresh=sum(1 << s for s in range(STAGES) if line[s] and line[s][2]),
            valid=sum(1 << s for s in range(STAGES) if line[s + 1]),
            **_scalars(line, rng))
        written += writing
        taken += bool(line[STAGES - 1] and line[STAGES - 1][2])
        await ports.tick()
    assert results == len(todo)


def _scalars(line, rng):
    def of(stage, value, bits):
        return value(line[stage + 1][0]) if line[stage + 1] else rng.getrandbits(bits)

    return dict(double=of(SHIFT, lambda c: c.rounding == Rounding.DOUBLE, 1),
                as_float=sum(of(stage, lambda c: c.rounding == Rounding.FLOAT, 1) << stage
                             for stage in (BIAS, SHIFT, ROUND)),
                zero=of(ROUND, lambda c: c.params["out_zero"], 8),
                low=of(CLAMP, lambda c: c.params["out_min"], 8), high=of(CLAMP, lambda c: c.params["out_max"], 8))


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
    await run(dut, commands, random.Random(1))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_shift_with_its_ties(dut):
    """A multiplier of one half and `left` 1 leave the row as it is: rows at and beside each tie, of both signs."""
    commands = []
    for rounding in Rounding:
        for right in range(32):
            half = (1 << right) >> 1
            rows = [sign * (odd * half + d) for odd in (1, 3, 5, 255) for d in (-1, 0, 1) for sign in (1, -1)]
            rows = [row for row in rows if abs(row) < 1 << 30]
            commands.append(command(rows, rounding, multiplier=1 << 30, left=1, right=right))
    await run(dut, commands, random.Random(2))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def ties_of_the_high_product(dut):
    """Products that end in exactly half, where the two roundings and the signs differ."""
    commands = []
    for rounding in Rounding:
        for multiplier in (1 << 30, -(1 << 30), INT_MIN, 3 << 28):
            for right in (0, 1, 2):
                commands.append(command([*range(-12, 13)], rounding, multiplier=multiplier, right=right))
    await run(dut, commands, random.Random(3))


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def every_left_shift_wraps(dut):
    commands = [command([1, -1, 3, (1 << 31) - 5, 0x1234567, -0x7654321], multiplier=INT_MAX, left=left, right=right)
                for left in range(32) for right in (0, 24)]
    await run(dut, commands, random.Random(4))


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def floats_at_their_edges(dut):
    """Every case of float32 requantization that a shortcut might get wrong, as int8 and in the middle of its range."""
    by_scale = {}
    for x, multiplier, right in float_cases(5, 300):
        by_scale.setdefault((multiplier, right), []).append(x)
    commands = [command(rows, Rounding.FLOAT, multiplier=multiplier, right=right, out_zero=zero)
                for (multiplier, right), rows in by_scale.items() for zero in (0, 100 if rows[0] < 0 else -100)]
    await run(dut, commands, random.Random(5))


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(gaps=[0.0, 0.4])
async def random_commands(dut, gaps):
    """Random parameters, zero points and clamps (low > high among them), a few rows each."""
    rng = random.Random(20 + int(10 * gaps))
    commands = []
    for _ in range(250):
        commands.append(command([pick(rng, INT_MIN, INT_MAX) for _ in range(rng.choice([1, 2, 7, 25]))],
                                rng.choice([*Rounding]), **random_params(rng), out_zero=pick(rng, -128, 127),
                                out_min=pick(rng, -128, 127), out_max=pick(rng, -128, 127)))
    await run(dut, commands, rng, gaps)


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


def test_requantize():
    run_cocotb(Requantizer(), "requantizer", __name__)
