"""Counts, limits and sums that need more than 16 bits, in the blocks that hold them."""


import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge
from lepton.arch import COUNTERS, PRESETS
from lepton.arch.registers import SNAPSHOT_COUNTERS
from lepton_hdl.control.counters import Activity, Counters
from lepton_hdl.dma.watchdog import Watchdog

from tests.cocotb_harness import parameters, run_cocotb

BLOCK = parameters().get("block")
NAMES = [name for name, _ in COUNTERS]
CAUSES = {Activity.COMPUTE: "COMPUTE", Activity.WEIGHTS: "WAIT_WEIGHTS", Activity.SYNC: "WAIT_SYNC"}
CYCLES = (1 << 16) + 3


async def begin(dut, *inputs: str) -> None:
    for name in inputs:
        getattr(dut, name).value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await ClockCycles(dut.clk, 3)
    await FallingEdge(dut.clk)
    dut.rst.value = 0


@cocotb.test(timeout_time=10, timeout_unit="ms", skip=BLOCK != "counters")
async def counters_go_on_after_16_bits(dut):
    """Each cause for more than 65536 cycles in a row, with beats in every cycle; and the snapshot of it."""
    await begin(dut, "start", "running", "activity", "blocked", "read_beat", "write_beat", "snapshot", "snapshot_slot",
                "read", "read_slot", "read_counter")
    dut.running.value = dut.read_beat.value = dut.write_beat.value = 1
    expected = dict.fromkeys(NAMES, 0)
    phases = [(activity, 0, name) for activity, name in CAUSES.items()]
    phases += [(Activity.IDLE, 1 << semaphore, name) for semaphore, name in (
        (0, "WAIT_READ"), (10, "WAIT_WRITE"))] + [(Activity.IDLE, 0, "IDLE")]
    for activity, blocked, name in phases:
        dut.activity.value = activity.value
        dut.blocked.value = blocked
        await ClockCycles(dut.clk, CYCLES, FallingEdge)
        for counter in ("CYCLES", "READ_BEATS", "WRITE_BEATS", name):
            expected[counter] += CYCLES
    dut.snapshot.value = 1
    dut.snapshot_slot.value = 5
    dut.running.value = 0
    await FallingEdge(dut.clk)
    dut.snapshot.value = 0
    values = int(dut.values.value)
    assert {name: values >> 32 * i & 0xFFFF_FFFF for i, name in enumerate(NAMES)} == expected
    for i, (name, _) in enumerate(SNAPSHOT_COUNTERS):
        dut.read.value = 1
        dut.read_slot.value = 5
        dut.read_counter.value = i
        await FallingEdge(dut.clk)
        assert int(dut.read_data.value) == expected[name], name


@cocotb.test(timeout_time=10, timeout_unit="ms", skip=BLOCK != "watchdog")
async def limits_above_16_bits_expire_in_their_cycle(dut):
    """Not when their lower 16 bits are reached; and never when only their upper half is."""
    await begin(dut, "limit", "waiting", "progress", "violation", "restart", "address")
    for limit in (CYCLES, 1 << 16, (1 << 16) - 1, 0xFFFF_FFFF):
        dut.restart.value = 1
        dut.waiting.value = 0
        await FallingEdge(dut.clk)
        dut.restart.value = 0
        dut.waiting.value = 1
        dut.limit.value = limit
        dut.address.value = 0xFEDC_BA98_7654_3210
        await ClockCycles(dut.clk, min(limit - 1, CYCLES), FallingEdge)
        assert not dut.expired.value, limit
        await FallingEdge(dut.clk)
        assert bool(dut.expired.value) == (limit <= CYCLES)
        if limit <= CYCLES:
            assert int(dut.failed_address.value) == 0xFEDC_BA98_7654_3210


@pytest.mark.parametrize("block", ["counters", "watchdog"])
def test_wide_values(block):
    top = Counters(PRESETS["tiny"]) if block == "counters" else Watchdog()
    run_cocotb(top, "counters" if block == "counters" else "dma_watchdog", __name__, parameters={"block": block})
