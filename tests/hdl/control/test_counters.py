"""The counters alone: every cycle has one cause, and a snapshot is one instant."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from lepton.arch import COUNTERS, PRESETS
from lepton.arch.commands import SEMAPHORES_READ, SEMAPHORES_WEIGHTS, SEMAPHORES_WRITE
from lepton.arch.registers import SNAPSHOT_COUNTERS
from lepton_hdl.control.counters import Activity, Counters

from tests.cocotb_harness import run_cocotb

NAMES = [name for name, _ in COUNTERS]


def cause(activity, blocked):
    """The counter that a cycle belongs to: the activity, or the class of the lowest missing semaphore."""
    named = {Activity.COMPUTE: "COMPUTE", Activity.WEIGHTS: "WAIT_WEIGHTS", Activity.SYNC: "WAIT_SYNC"}
    if activity in named:
        return named[activity]
    lowest = (blocked & -blocked).bit_length() - 1
    for name, semaphores in (("WAIT_READ", SEMAPHORES_READ), ("WAIT_WEIGHTS", SEMAPHORES_WEIGHTS),
                             ("WAIT_WRITE", SEMAPHORES_WRITE)):
        if lowest in semaphores:
            return name
    return "IDLE"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def counts_and_snapshots(dut):
    for name in ("start", "running", "activity", "blocked", "read_beat", "write_beat", "snapshot", "snapshot_slot",
                 "read", "read_slot", "read_counter"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    dut.start.value = 1
    await FallingEdge(dut.clk)
    dut.start.value = 0
    expected, slots = dict.fromkeys(NAMES, 0), {}
    for _ in range(3000):
        running, activity = random.random() < 0.9, random.choice(list(Activity))
        blocked = random.choice([0, 1 << random.randrange(16), random.getrandbits(16)])
        beats = random.getrandbits(1), random.getrandbits(1)
        dut.running.value, dut.activity.value, dut.blocked.value = running, activity.value, blocked
        dut.read_beat.value, dut.write_beat.value = beats
        snapshot, slot = random.random() < 0.1, random.randrange(256)
        dut.snapshot.value, dut.snapshot_slot.value = snapshot, slot
        if snapshot:
            slots[slot] = [expected[name] for name, _ in SNAPSHOT_COUNTERS]
        if running:
            expected["CYCLES"] += 1
            expected[cause(activity, blocked)] += 1
            expected["READ_BEATS"] += beats[0]
            expected["WRITE_BEATS"] += beats[1]
        await FallingEdge(dut.clk)
    dut.running.value = dut.snapshot.value = 0
    values = int(dut.values.value)
    assert {name: values >> 32 * i & 0xFFFFFFFF for i, name in enumerate(NAMES)} == expected
    assert sum(expected[name] for name in NAMES[1:7]) == expected["CYCLES"] > 0
    for slot, counters in slots.items():
        for i, value in enumerate(counters):
            dut.read.value, dut.read_slot.value, dut.read_counter.value = 1, slot, i
            await FallingEdge(dut.clk)
            assert int(dut.read_data.value) == value, (slot, i)


def test_counters():
    run_cocotb(Counters(PRESETS["tiny"]), "counters", __name__)
