"""The stream drivers, monitors and checkers on a sound block and on blocks with a planted error each."""

import random
from dataclasses import dataclass

import cocotb
import pytest

from tests.bench.checker import InOrder
from tests.bench.clock import cycles, start_clock, until
from tests.bench.planted import WIDTH, Fault, Stage
from tests.bench.stalls import MOST, NONE, STALLS, stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor
from tests.cocotb_harness import parameters, run_cocotb

COUNT = 40
FAULT = Fault(parameters().get("fault", Fault.NONE))
READERS = STALLS if FAULT == Fault.NONE else (MOST,)  # a stalled item is there for long enough to change
WRITERS = STALLS if FAULT == Fault.NONE else (NONE,)
MESSAGES = {
    Fault.DROPS: r"o: item 7 is \d+, not \d+",
    Fault.REPEATS: r"o: item 8 is \d+, not \d+",
    Fault.FLIPS: r"o: item 7 is \d+, not \d+",
    Fault.CHANGES: "o: an item was changed before it was taken",
    Fault.WITHDRAWS: "o: an item was withdrawn before it was taken",
    Fault.ADDS: r"o: item 40 was not expected: \d+",
    Fault.STOPS: "waited 5000 cycles; 7 items came",
}
"""What the parts of a bench must report."""


@dataclass
class Bench:
    """A driver, a monitor and a checker at each side of the block."""

    driver: StreamDriver[int]
    before: StreamMonitor[int]
    behind: StreamMonitor[int]
    checker: InOrder[int]
    sink: ReadyDriver

    @classmethod
    async def run(cls, dut, reader: str, writer: str) -> "Bench":
        """Send random items through the block."""
        items = [random.getrandbits(WIDTH) for _ in range(COUNT)]
        checker = InOrder("o", items)
        bench = cls(StreamDriver(dut, "i", int, stall(writer)), StreamMonitor(dut, "i", int),
                    StreamMonitor(dut, "o", int, checker.receive), checker, ReadyDriver(dut, "o", stall(reader)))
        await start_clock(dut, fault=FAULT)
        bench.driver.send(*items)
        await until(dut, lambda: checker.complete, 5000, lambda: f"{checker.received} items came")
        assert bench.driver.idle and bench.driver.taken == COUNT
        assert bench.before.items == items
        await cycles(dut, 200)  # nothing more may come
        checker.finish()
        return bench


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(reader=READERS, writer=WRITERS)
async def every_item_comes_once(dut, reader, writer):
    bench = await Bench.run(dut, reader, writer)
    for at, (taken, given) in enumerate(zip(bench.before.times, bench.behind.times, strict=True)):
        assert given > taken, f"item {at} came out before it was in"
    if reader == writer == NONE:
        first = bench.behind.times[0]
        assert bench.behind.times == list(range(first, first + COUNT)), "a pause without a stall"


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=FAULT != Fault.NONE)
async def a_blocked_reader_takes_nothing(dut):
    bench = await Bench.run(dut, NONE, NONE)
    bench.sink.blocked = True
    await cycles(dut, 2)
    bench.checker.expect(1, 2, 3)
    bench.driver.send(1, 2, 3)
    await cycles(dut, 50)
    assert len(bench.behind.items) == COUNT
    bench.sink.blocked = False
    await until(dut, lambda: bench.checker.complete)


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=FAULT != Fault.NONE)
async def a_reset_ends_what_was_offered(dut):
    """The driver withdraws its items, and the monitor does not call it an error."""
    bench = await Bench.run(dut, NONE, NONE)
    bench.sink.blocked = True
    bench.driver.send(1, 2, 3)
    await cycles(dut, 10)
    assert dut.o__valid.value
    dut.rst.value = 1
    bench.driver.clear()
    await cycles(dut, 3)
    dut.rst.value = 0
    bench.sink.blocked = False
    await cycles(dut, 20)
    assert len(bench.behind.items) == COUNT and not dut.o__valid.value


def test_a_sound_block_passes():
    run_cocotb(Stage(COUNT), "stage", __name__)


@pytest.mark.parametrize("fault", MESSAGES, ids=lambda fault: fault.name.lower())
def test_planted_errors_are_reported(fault):
    with pytest.raises(pytest.fail.Exception, match=MESSAGES[fault]):
        run_cocotb(Stage(COUNT), "stage", __name__, parameters={"fault": fault})
