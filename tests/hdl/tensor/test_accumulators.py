"""The accumulators against a plain table of rows."""

import random

import cocotb
from amaranth.hdl import signed as signed_shape
from lepton_hdl.tensor.accumulators import Accumulators

from tests.bench.pins import Pins, signed
from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL

CONFIG = SMALL[4]
VALUE = signed_shape(20)  # that of 16 lanes
LOW, HIGH = -(1 << (VALUE.width - 1)), (1 << (VALUE.width - 1)) - 1


class Bench:
    """`rows` is the model; `step` fetches a row, and in the next cycle says what becomes of it."""

    def __init__(self, dut):
        self.ports = Pins(dut)
        self.rows = {}
        self.pending = None  # what the row fetched in the last cycle is to do
        self.result = None
        self.wrapped = set()  # (row, column) of sums that left int32

    async def start(self):
        await self.ports.start(read=0, update=0, start=0, maximum=0, emit=0)

    async def step(self, row=None, values=None, start=0, maximum=0, emit=0, update=1):
        """One cycle: fetches `row` (None: none), updates the one before, checks the result register."""
        inputs = dict(read=row is not None, read_row=row if row is not None else random.randrange(64),
                      update=0, start=random.randrange(2), maximum=random.randrange(2), emit=random.randrange(2))
        operands = [random.randint(LOW, HIGH) for _ in range(CONFIG.columns)]
        if self.pending is not None:
            at, operands, kind = self.pending
            inputs |= kind
            if kind["update"]:
                self._apply(at, operands, kind)
        self.ports.set(**inputs, **{f"value__{n}": v for n, v in enumerate(operands)})
        self.pending = None
        if row is not None:
            self.pending = (row, values, dict(start=start, maximum=maximum, emit=emit, update=update))
        await self.ports.tick()
        if self.result is not None:
            got = [self.ports.signed(f"result__{n}") for n in range(CONFIG.columns)]
            assert got == self.result, f"{got}, not {self.result}"

    def _apply(self, at, values, kind):
        old = self.rows.get(at)
        if kind["start"]:
            new = list(values)
        elif kind["maximum"]:
            new = [max(o, v) for o, v in zip(old, values, strict=True)]
        else:
            sums = [o + v for o, v in zip(old, values, strict=True)]
            new = [signed(s, 32) for s in sums]
            self.wrapped |= {(at, n) for n, (s, w) in enumerate(zip(sums, new, strict=True)) if s != w}
        if kind["emit"]:
            self.result = new
        else:
            self.rows[at] = new


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def random_walks(dut):
    """Starts, sums, maxima and emits over few rows; a row comes back from the second cycle after its fetch on."""
    bench = Bench(dut)
    await bench.start()
    rng = random.Random(1)
    last, emitted = None, 0
    for _ in range(8000):
        if rng.random() < 0.1:
            await bench.step()
            last = None
            continue
        row = rng.choice([r for r in (0, 1, 2, 3, 62, 63) if r != last])
        known = row in bench.rows or (bench.pending is not None and bench.pending[0] == row)
        kind = dict(start=not known or rng.random() < 0.15, maximum=rng.random() < 0.3,
                    emit=known and rng.random() < 0.2, update=rng.random() < 0.9)
        if not known:
            kind["update"] = 1
        await bench.step(row, [rng.choice([LOW, HIGH, rng.randint(LOW, HIGH)]) for _ in range(4)], **kind)
        emitted += kind["emit"] and kind["update"]
        last = row
    assert emitted > 500 and len(bench.rows) == 6


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def sums_wrap_at_int32(dut):
    """Full-scale values until every column of two rows has gone past INT_MAX, or INT_MIN, and come back."""
    bench = Bench(dut)
    await bench.start()
    steps = {0: [HIGH, LOW, HIGH - 1, LOW + 1], 1: [LOW, HIGH, LOW + 1, HIGH - 1]}
    for i in range((1 << 32) // HIGH):
        for row, step in steps.items():  # a row every cycle, each again after two
            await bench.step(row, step, start=i == 0)
    assert bench.wrapped == {(row, n) for row in steps for n in range(4)}
    for row in steps:
        await bench.step()
        await bench.step(row, [0] * 4, emit=1)
        await bench.step()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def an_emitted_row_is_not_stored(dut):
    """The result goes out once and the row keeps its old contents; without an emit the result is held."""
    bench = Bench(dut)
    await bench.start()
    await bench.step(5, [1, 2, 3, 4], start=1)
    await bench.step(6, [10, 20, 30, 40], start=1)
    await bench.step(5, [100] * 4, emit=1)
    await bench.step()
    assert bench.result == [101, 102, 103, 104]
    for _ in range(4):
        await bench.step(6, [1] * 4)  # stored: the result stays
        await bench.step()
    await bench.step(5, [0] * 4, emit=1)
    await bench.step()
    assert bench.result == [1, 2, 3, 4]


def test_accumulators():
    run_cocotb(Accumulators(CONFIG, VALUE), "accumulators", __name__)
