"""Clock, reset and waiting."""

from collections.abc import Callable

from cocotb.clock import Clock
from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge

PERIOD_NS = 10  # any value: time-outs of tests are in simulated time, 100 cycles a microsecond
RESET_CYCLES = 3


async def start_clock(dut: HierarchyObject, **inputs: int) -> None:
    """Set the inputs, start the clock and reset. Returns at the last rising edge that sees the reset."""
    for name, value in inputs.items():
        getattr(dut, name).value = value
    dut.rst.value = 1
    Clock(dut.clk, PERIOD_NS, unit="ns").start()
    await cycles(dut, RESET_CYCLES)
    dut.rst.value = 0


async def cycles(dut: HierarchyObject, count: int) -> None:
    """Wait for `count` rising edges."""
    for _ in range(count):
        await RisingEdge(dut.clk)


async def until(dut: HierarchyObject, condition: Callable[[], object], limit: int = 20_000,
                state: Callable[[], str] = lambda: "") -> int:
    """Wait until `condition()` holds at a rising edge; the number of edges.

    Fails after `limit` edges, with `state()` in the message.
    """
    for waited in range(1, limit + 1):
        await RisingEdge(dut.clk)
        if condition():
            return waited
    raise AssertionError(f"waited {limit} cycles; {state()}")
