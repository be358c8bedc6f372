"""The counters alone: every cycle has one cause, and a snapshot is one instant."""

import random
from dataclasses import dataclass

import cocotb
from lepton.arch import COUNTERS, PRESETS
from lepton.arch.commands import SEMAPHORES_READ, SEMAPHORES_WEIGHTS, SEMAPHORES_WRITE
from lepton.arch.registers import SNAPSHOT_COUNTERS
from lepton_hdl.control.counters import Activity, Counters

from tests.bench.checker import Outputs
from tests.bench.disturbed import DamagedPins
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb

NAMES = [name for name, _ in COUNTERS]
CAUSES = NAMES[1:7]
INPUTS = ("start", "running", "activity", "blocked", "read_beat", "write_beat", "snapshot", "snapshot_slot", "read",
          "read_slot", "read_counter")
SLOTS = 256
CYCLES = 3000


@dataclass(frozen=True)
class Cycle:
    """What happens in one cycle."""

    running: bool = False
    activity: Activity = Activity.IDLE
    blocked: int = 0  # mask of the semaphores that TENSOR's next command misses
    read_beat: int = 0
    write_beat: int = 0
    snapshot: bool = False
    slot: int = 0
    start: bool = False

    @property
    def cause(self) -> str:
        """The counter that the cycle belongs to: the activity, or the class of the lowest missing semaphore."""
        named = {Activity.COMPUTE: "COMPUTE", Activity.WEIGHTS: "WAIT_WEIGHTS", Activity.SYNC: "WAIT_SYNC"}
        if self.activity in named:
            return named[self.activity]
        lowest = (self.blocked & -self.blocked).bit_length() - 1
        for name, semaphores in (("WAIT_READ", SEMAPHORES_READ), ("WAIT_WEIGHTS", SEMAPHORES_WEIGHTS),
                                 ("WAIT_WRITE", SEMAPHORES_WRITE)):
            if lowest in semaphores:
                return name
        return "IDLE"


def random_cycle() -> Cycle:
    blocked = random.choice([0, 1 << random.randrange(16), random.getrandbits(16)])
    return Cycle(random.random() < 0.9, random.choice(list(Activity)), blocked, random.getrandbits(1),
                 random.getrandbits(1), random.random() < 0.1, random.randrange(SLOTS))


class Driver:
    """Puts a cycle on the ports."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins

    def drive(self, cycle: Cycle) -> None:
        self.pins.set(start=cycle.start, running=cycle.running, activity=cycle.activity.value, blocked=cycle.blocked,
                      read_beat=cycle.read_beat, write_beat=cycle.write_beat, snapshot=cycle.snapshot,
                      snapshot_slot=cycle.slot)

    async def read(self, slot: int, counter: int) -> None:
        """Read a counter of a snapshot; it is at `read_data` behind the edge."""
        self.pins.set(read=1, read_slot=slot, read_counter=counter)
        await self.pins.tick()


class Model:
    """The counters, and the snapshots by slot."""

    def __init__(self) -> None:
        self.counters = dict.fromkeys(NAMES, 0)
        self.slots: dict[int, list[int]] = {}

    def step(self, cycle: Cycle) -> dict[str, int]:
        """The output behind the edge that ends the cycle."""
        if cycle.snapshot:
            self.slots[cycle.slot] = [self.counters[name] for name, _ in SNAPSHOT_COUNTERS]
        if cycle.start:
            self.counters = dict.fromkeys(NAMES, 0)
        elif cycle.running:
            self.counters["CYCLES"] += 1
            self.counters[cycle.cause] += 1
            self.counters["READ_BEATS"] += cycle.read_beat
            self.counters["WRITE_BEATS"] += cycle.write_beat
        return {"values": sum(value << 32 * i for i, value in enumerate(self.counters.values()))}


async def run(pins: Pins, jobs: int) -> None:
    """All counters in every cycle, then all snapshots. Each job begins at 0; snapshots stay."""
    driver = Driver(pins)
    model = Model()
    checker = Outputs(pins)
    await pins.start(**dict.fromkeys(INPUTS, 0))
    for job in range(jobs):
        cycles = [Cycle(start=True), *(random_cycle() for _ in range(CYCLES // jobs)), Cycle()]
        for at, cycle in enumerate(cycles):
            driver.drive(cycle)
            expected = model.step(cycle)
            await pins.tick()
            checker.check(expected, f"job {job}, cycle {at}")
        counted = model.counters
        assert sum(counted[name] for name in CAUSES) == counted["CYCLES"] and min(counted[name] for name in CAUSES) > 0
    for slot, counters in model.slots.items():
        for i, value in enumerate(counters):
            await driver.read(slot, i)
            checker.check({"read_data": value}, f"slot {slot}, counter {i}")


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(jobs=[1, 4])
async def counts_and_snapshots(dut, jobs):
    await run(Pins(dut), jobs)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(port=["values", "read_data"])
async def a_wrong_bit_is_reported(dut, port):
    """The checker notices a planted error of a counter, and of a snapshot, in a single cycle."""
    pins = DamagedPins(dut, port)
    with pins.reported(f"{port} is"):
        await run(pins, 1)


def test_counters():
    run_cocotb(Counters(PRESETS["tiny"]), "counters", __name__)
