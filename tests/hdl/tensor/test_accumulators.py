"""The accumulators against a plain table of rows."""

import random
from dataclasses import dataclass

import cocotb
from amaranth.hdl import signed as signed_shape
from lepton_hdl.tensor.accumulators import Accumulators

from tests.bench.disturbed import DamagedPins
from tests.bench.pins import Pins, signed
from tests.bench.signed_outputs import SignedOutputs
from tests.bench.stalls import NONE, STALLS, Stall, stall
from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.commands import SMALL

CONFIG = SMALL[4]
VALUE = signed_shape(20)  # that of 16 lanes
LOW = -(1 << (VALUE.width - 1))
HIGH = (1 << (VALUE.width - 1)) - 1
ROWS = (0, 1, 2, 3, 62, 63)


@dataclass(frozen=True)
class Update:
    """What becomes of a row in the cycle after its fetch."""

    row: int
    values: list[int]
    start: bool = False
    maximum: bool = False
    emit: bool = False
    update: bool = True


class Driver:
    """Fetches the row of an update in one cycle, and gives the rest of it in the next; noise elsewhere."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins

    def drive(self, fetched: Update | None, now: Update | None) -> None:
        """`now` was fetched in the last cycle."""
        noise = Update(0, [random.randint(LOW, HIGH) for _ in range(CONFIG.columns)], *(
            random.random() < 0.5 for _ in range(3)), update=False)
        given = now or noise
        self.pins.set(read=fetched is not None, read_row=fetched.row if fetched else random.randrange(64),
                      update=given.update, start=given.start, maximum=given.maximum, emit=given.emit,
                      **{f"value__{n}": value for n, value in enumerate(given.values)})


class Model:
    """`rows` are the accumulators; `result` is what was emitted last."""

    def __init__(self) -> None:
        self.rows: dict[int, list[int]] = {}
        self.result: list[int] | None = None
        self.wrapped: set[tuple[int, int]] = set()  # (row, column) of sums that left int32

    def step(self, now: Update | None) -> dict[str, int]:
        """The outputs behind the edge that ends the cycle of an update."""
        if now is not None and now.update:
            new = self._new(now)
            if now.emit:
                self.result = new
            else:
                self.rows[now.row] = new
        return {} if self.result is None else {f"result__{n}": value for n, value in enumerate(self.result)}

    def _new(self, now: Update) -> list[int]:
        if now.start:
            return list(now.values)
        old = self.rows[now.row]
        if now.maximum:
            return [max(o, v) for o, v in zip(old, now.values, strict=True)]
        sums = [o + v for o, v in zip(old, now.values, strict=True)]
        new = [signed(s, 32) for s in sums]
        self.wrapped |= {(now.row, n) for n, (s, w) in enumerate(zip(sums, new, strict=True)) if s != w}
        return new


class Bench:
    """One cycle after the other. The result register is checked in each."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.driver = Driver(pins)
        self.model = Model()
        self.checker = SignedOutputs(pins)
        self.pending: Update | None = None  # fetched in the last cycle

    async def start(self) -> None:
        await self.pins.start(read=0, update=0, start=0, maximum=0, emit=0)

    async def step(self, fetched: Update | None = None) -> None:
        """One cycle: fetches the row of `fetched`, and updates the one fetched before."""
        now = self.pending
        self.driver.drive(fetched, now)
        self.pending = fetched
        expected = self.model.step(now)
        await self.pins.tick()
        self.checker.check(expected, str(now))


async def random_updates(bench: Bench, pauses: Stall, count: int) -> None:
    """Starts, sums, maxima and emits over few rows; a row comes back from the second cycle after its fetch on."""
    known: set[int] = set()
    emitted = 0
    for _ in range(count):
        if pauses():
            await bench.step()
            continue
        row = random.choice([r for r in ROWS if bench.pending is None or r != bench.pending.row])
        update = Update(row, [random.choice([LOW, HIGH, random.randint(LOW, HIGH)]) for _ in range(CONFIG.columns)],
                        start=row not in known or random.random() < 0.15, maximum=random.random() < 0.3,
                        emit=row in known and random.random() < 0.2, update=row not in known or random.random() < 0.9)
        known.add(row)
        emitted += update.emit and update.update
        await bench.step(update)
    await bench.step()
    assert emitted > 20 and set(bench.model.rows) == set(ROWS) and bench.checker.compared


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(pause=STALLS)
async def random_walks(dut, pause):
    bench = Bench(Pins(dut))
    await bench.start()
    await random_updates(bench, stall(pause), 3000)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def sums_wrap_at_int32(dut):
    """Full-scale values until every column of two rows has gone past INT_MAX, or INT_MIN, and come back."""
    bench = Bench(Pins(dut))
    await bench.start()
    steps = {0: [HIGH, LOW, HIGH - 1, LOW + 1], 1: [LOW, HIGH, LOW + 1, HIGH - 1]}
    for i in range((1 << 32) // HIGH):
        for row, step in steps.items():  # a row every cycle, each again after two
            await bench.step(Update(row, step, start=i == 0))
        if i % 512 == 511:  # on the way, as sums of fewer bits come back to the same values in the end
            for row in steps:
                await bench.step(Update(row, [0] * 4, emit=True))
    await bench.step()
    assert bench.model.wrapped == {(row, n) for row in steps for n in range(4)}
    for row in steps:
        await bench.step(Update(row, [0] * 4, emit=True))
        await bench.step()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def an_emitted_row_is_not_stored(dut):
    """The result goes out once and the row keeps its old contents; without an emit the result is held."""
    bench = Bench(Pins(dut))
    await bench.start()
    await bench.step(Update(5, [1, 2, 3, 4], start=True))
    await bench.step(Update(6, [10, 20, 30, 40], start=True))
    await bench.step(Update(5, [100] * 4, emit=True))
    await bench.step()
    assert bench.model.result == [101, 102, 103, 104]
    for _ in range(4):
        await bench.step(Update(6, [1] * 4))  # stored: the result stays
        await bench.step()
    await bench.step(Update(5, [0] * 4, emit=True))
    await bench.step()
    assert bench.model.result == [1, 2, 3, 4]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(bit=[0, 19, 31])
async def a_wrong_bit_is_reported(dut, bit):
    """The checker notices a planted error of a result in a single cycle."""
    pins = DamagedPins(dut, f"result__{CONFIG.columns - 1}", bit=bit)
    bench = Bench(pins)
    await bench.start()
    with pins.reported(r"result__\d is -?\d+, not"):
        await random_updates(bench, stall(NONE), 500)


def test_accumulators():
    run_cocotb(Accumulators(CONFIG, VALUE), "accumulators", __name__)
