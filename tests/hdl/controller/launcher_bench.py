"""The launcher between stored words and the chip's registers, both slow; the test says when jobs end."""

import random
from dataclasses import dataclass, field

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import FallingEdge, RisingEdge
from lepton.arch import REGISTERS, Region
from lepton.arch.controller import (
    CONTROLLER_REGISTERS,
    LAUNCH_COPIED,
    RESULT_COUNTERS,
    RESULT_ERRORS,
    STORED_BASE,
    STORED_WORDS,
)
from lepton.arch.registers import State

from tests.bench.bus import Access, Answer, BusResponder, Words
from tests.bench.clock import cycles, start_clock, until

NAMES = {register.offset: name for name, register in REGISTERS.items()}
WINDOW = 5  # that every job of these tests uses
BASE = 0x1_FFFF_F000  # of the window: additions carry into the high half
SIZE = 0x10000  # of the window
ANSWER_DELAYS = range(1, 4)  # cycles; every access takes another time

Values = dict[str, int]
"""Registers by name."""


def word(name: str) -> int:
    """Index of a stored register."""
    return (CONTROLLER_REGISTERS[name].offset - STORED_BASE) // 4


@dataclass
class Chip:
    """The chip's registers. A write to DOORBELL starts a job, which runs until the test ends it."""

    dut: HierarchyObject
    registers: Values = field(default_factory=lambda: {name: random.getrandbits(32) for name in REGISTERS})
    written: list[str] = field(default_factory=list)
    rings: int = 0

    def serve(self, access: Access) -> Answer:
        """Read or write a register."""
        name = NAMES[access.address]
        if access.data is not None:
            self.registers[name] = access.data
            self.written.append(name)
            if name == "DOORBELL":
                self.rings += 1
                self.dut.job_running.value = 1
        return Answer(self.registers[name])


class Clockwork:
    """Driver of `time`, one more in every cycle, and of `due`, which the time controller raises at a deadline."""

    def __init__(self, dut: HierarchyObject) -> None:
        self.dut = dut
        self.now = 0
        dut.time.value = 0
        dut.due.value = 0
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut = self.dut
        while True:
            await FallingEdge(dut.clk)
            self.now += 1
            dut.time.value = self.now
            dut.due.value = bool(dut.armed.value) and int(dut.deadline.value) == self.now % (1 << 32)


class EventMonitor:
    """Counts the cycles in which an output is high."""

    def __init__(self, dut: HierarchyObject, port: str) -> None:
        self.count = 0
        self._dut = dut
        self._port = getattr(dut, port)
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            await RisingEdge(self._dut.clk)
            self.count += bool(self._port.value)


def random_job(**changes: int) -> Values:
    """LAUNCH values of a job whose regions are within the window, but for `changes`."""
    values = {name: random.getrandbits(32) for name in LAUNCH_COPIED}
    for region in Region:
        size = random.randrange(SIZE)
        values |= {region.name: random.randrange(SIZE - size + 1), f"{region.name}_SIZE": size}
    return values | changes


def registers_of(job: Values) -> Values:
    """The model: what the chip's registers must hold when a job starts."""
    expected = {name: job[name] for name in LAUNCH_COPIED}
    for region in Region:
        address = BASE + job[region.name]
        expected |= {f"{region.name}_BASE": address & 0xFFFF_FFFF, f"{region.name}_BASE_HI": address >> 32,
                     f"{region.name}_SIZE": job[f"{region.name}_SIZE"]}
    return expected


def results_of(registers: Values) -> Values:
    """The model: what the RESULT registers must hold when a job has ended with these registers of the chip."""
    names = ["STATUS", *RESULT_COUNTERS]
    if registers["STATUS"] != State.DONE:
        names += RESULT_ERRORS
    return {name: registers[name] for name in names}


def check_values(what: str, got: Values, expected: Values) -> None:
    """Fail with the first register that differs."""
    for name, value in expected.items():
        assert got[name] == value, f"{what} {name} is {got[name]:#x}, not {value:#x}"


class LauncherBench:
    """The parts together. `ended` counts the jobs that have ended."""

    def __init__(self, dut: HierarchyObject) -> None:
        self.dut = dut
        self.stored = Words()
        self.stored.words = {index: random.getrandbits(32) for index in range(STORED_WORDS)}
        for part, value in (("BASE", BASE & 0xFFFF_FFFF), ("BASE_HI", BASE >> 32), ("SIZE", SIZE)):
            self.stored.words[word(f"CLIENT{WINDOW}_{part}")] = value
        self.chip = Chip(dut)
        BusResponder(dut, "stored", self.stored.serve, ANSWER_DELAYS)
        BusResponder(dut, "chip", self.chip.serve, ANSWER_DELAYS)
        self.clock = Clockwork(dut)
        self.events = EventMonitor(dut, "event")
        self.limits = EventMonitor(dut, "limit_event")

    @classmethod
    async def open(cls, dut: HierarchyObject) -> "LauncherBench":
        """Out of reset."""
        bench = cls(dut)
        await start_clock(dut, stage=0, cancel=0, acknowledge=0, window=WINDOW, limit=0, job_running=0)
        await cycles(dut, 1)
        return bench

    async def pulse(self, name: str) -> None:
        """This input for one cycle."""
        getattr(self.dut, name).value = 1
        await cycles(self.dut, 1)
        getattr(self.dut, name).value = 0
        await cycles(self.dut, 1)

    async def stage(self, job: Values, limit: int = 0) -> None:
        """Write the LAUNCH words and stage the job."""
        for name, value in job.items():
            self.stored.words[word(f"LAUNCH_{name}")] = value
        self.dut.limit.value = limit
        await self.pulse("stage")

    async def started(self, count: int) -> None:
        """Wait until this number of jobs has started in total."""
        await until(self.dut, lambda: self.chip.rings == count and not self.dut.staged.value, 2000,
                    lambda: f"{self.chip.rings} jobs started")

    async def end(self, status: State) -> None:
        """End the running job, and check its results when they are there."""
        self.chip.registers["STATUS"] = int(status)
        expected = results_of(self.chip.registers)
        self.dut.job_running.value = 0
        await until(self.dut, lambda: self.dut.result.value, 2000, lambda: "no result")
        check_values("RESULT", {name: self.stored.words[word(f"RESULT_{name}")] for name in expected}, expected)
        assert bool(self.dut.held.value) == (status != State.DONE), f"held is wrong after {status.name}"

    def check_started(self, job: Values) -> None:
        """The chip must have got the registers of this job, and the doorbell behind all of them."""
        check_values("register", self.chip.registers, registers_of(job))
        assert self.chip.written[-1] == "DOORBELL", f"{self.chip.written[-1]} was written behind the doorbell"
