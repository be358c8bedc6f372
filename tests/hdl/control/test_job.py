"""The job controller: which cause counts when several come together."""

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cocotb
from lepton.arch import Engine, ErrorCode
from lepton.arch.registers import Interrupt, State
from lepton_hdl.control.control import SOURCES
from lepton_hdl.control.faults import FAULT
from lepton_hdl.control.job import SETTLE_CYCLES, JobController, Phase

from tests.bench.cycles import CycleBench
from tests.bench.disturbed import DamagedPins
from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.control.expose import Exposed

OUTPUTS = ("running", "active", "halt", "engine_reset", "status", "error", "irq_status")
BUSY_BITS = len(Engine) + 1

Fault = dict[str, int]
"""The fields of `FAULT`."""


def random_fault() -> Fault:
    return {"code": random.randrange(1, 13), "engine": random.randrange(3), "index": random.getrandbits(32),
            "layer": random.getrandbits(16), "address": random.getrandbits(64)}


@dataclass(frozen=True)
class Inputs:
    """What the job controller is given in one cycle."""

    start: bool = False
    abort: bool = False
    reset: bool = False
    finished: bool = False
    busy: int = 0
    dead: bool = False
    irq_clear: int = 0
    faults: Mapping[str, Fault] = field(default_factory=dict)  # by source


NOTHING = Inputs()


class Driver:
    """Puts the inputs of a cycle on the ports; faults that are not valid are noise."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins

    async def start(self) -> None:
        await self.pins.start(start=0, abort=0, reset=0, finished=0, busy=0, dead=0, irq_clear=0,
                              **{f"fault_{source}__valid": 0 for source in SOURCES})

    def drive(self, inputs: Inputs) -> None:
        self.pins.set(start=inputs.start, abort=inputs.abort, reset=inputs.reset, finished=inputs.finished,
                      busy=inputs.busy, dead=inputs.dead, irq_clear=inputs.irq_clear)
        for source in SOURCES:
            fault = inputs.faults.get(source)
            self.pins.set(**{f"fault_{source}__valid": fault is not None,
                             f"fault_{source}__payload": encode(FAULT, **(fault or random_fault()))})


class Model:
    """The job controller after the text of `JobController`."""

    def __init__(self) -> None:
        self.phase = Phase.IDLE
        self.error: Fault = {}
        self.pending = 0  # interrupts
        self._aborting = False
        self._settle = 0  # cycles of a halt in which `busy` says nothing yet

    @property
    def running(self) -> bool:
        return self.phase in (Phase.START, Phase.RUN, Phase.HALT)

    def outputs(self, inputs: Inputs) -> dict[str, int]:
        """All outputs in the cycle with these inputs."""
        state = {Phase.IDLE: State.IDLE, Phase.DONE: State.DONE, Phase.ERROR: State.ERROR}
        return {"running": self.running, "active": self.phase is Phase.RUN,
                "halt": self.phase in (Phase.HALT, Phase.ERROR),
                "engine_reset": self.phase is Phase.START or inputs.reset,
                "status": state.get(self.phase, State.RUNNING), "irq_status": self.pending,
                "error": encode(FAULT, **self.error)}

    def step(self, inputs: Inputs) -> None:
        """Over the edge that ends the cycle with these inputs."""
        self.pending &= ~inputs.irq_clear
        aborting = self._aborting
        self._aborting |= inputs.abort and self.running
        if self.phase is Phase.START:
            self.phase = Phase.RUN
        elif self.phase is Phase.RUN:
            self._run(inputs, aborting)
        elif self.phase is Phase.HALT:
            quiet = self._settle == 0 and not inputs.busy
            self._settle = max(0, self._settle - 1)
            if quiet or inputs.dead:
                self.phase = Phase.ERROR
                self.pending |= Interrupt.ERROR
        if inputs.start:
            self.phase = Phase.START
            self.error = {}
            self._aborting = False
        if inputs.reset:
            self.phase = Phase.IDLE
            self.error = {}
            self.pending = 0

    def _run(self, inputs: Inputs, aborting: bool) -> None:
        first = next((inputs.faults[source] for source in SOURCES if source in inputs.faults), None)
        if first is not None or aborting:
            self.error = first or {"code": ErrorCode.ABORTED}
            self.phase = Phase.HALT
            self._settle = SETTLE_CYCLES
        elif inputs.finished:
            self.phase = Phase.DONE
            self.pending |= Interrupt.DONE


class Bench(CycleBench[Inputs, Model]):
    """Driver, model and checker of one run."""

    def __init__(self, pins: Pins) -> None:
        super().__init__(pins, Driver(pins), Model(), OUTPUTS)

    async def cycle(self, inputs: Inputs = NOTHING) -> None:
        """One cycle, without events if none are given."""
        await super().cycle(inputs)

    async def begin(self) -> None:
        """A doorbell."""
        await self.cycle(Inputs(start=True))
        await self.cycle()
        await self.cycle()
        assert self.seen["active"] and self.seen["status"] == State.RUNNING

    async def ends_in_error(self, expected: Fault, limit: int = 10) -> None:
        """Within `limit` cycles, with this fault."""
        for _ in range(limit):
            await self.cycle()
            if self.seen["status"] == State.ERROR:
                assert self.seen["error"] == encode(FAULT, **expected)
                return
        raise AssertionError(f"the job did not stop within {limit} cycles")


async def open_bench(pins: Pins) -> Bench:
    bench = Bench(pins)
    await bench.driver.start()
    return bench


@cocotb.test(timeout_time=100, timeout_unit="us")
async def of_two_faults_in_one_cycle_the_first_source_counts(dut):
    bench = await open_bench(Pins(dut))
    for first, second in itertools.combinations(SOURCES, 2):
        fault = random_fault()
        await bench.begin()
        await bench.cycle(Inputs(abort=True, faults={first: fault, second: random_fault()}))
        await bench.ends_in_error(fault)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def of_two_faults_one_after_the_other_the_earlier_counts(dut):
    bench = await open_bench(Pins(dut))
    for early, late in itertools.permutations(SOURCES, 2):
        fault = random_fault()
        await bench.begin()
        busy = Inputs(busy=0b1000)
        await bench.cycle(replace(busy, faults={early: fault}))
        await bench.cycle(replace(busy, abort=True, faults={late: random_fault()}))
        await bench.cycles(5, busy)
        assert bench.seen["status"] == State.RUNNING and bench.seen["halt"], "it must wait until nothing is busy"
        await bench.ends_in_error(fault)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def an_abort_during_the_start_is_not_lost(dut):
    bench = await open_bench(Pins(dut))
    await bench.cycle(Inputs(start=True))
    await bench.cycle(Inputs(abort=True))
    await bench.ends_in_error({"code": ErrorCode.ABORTED})


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_late_busy_is_waited_for(dut):
    """An engine may raise `busy` up to two cycles after it has taken a command."""
    bench = await open_bench(Pins(dut))
    await bench.begin()
    fault = random_fault()
    await bench.cycle(Inputs(faults={"fetch": fault}))
    await bench.cycles(SETTLE_CYCLES, Inputs())
    await bench.cycles(20, Inputs(busy=1))
    assert bench.seen["status"] == State.RUNNING
    await bench.ends_in_error(fault)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_dead_memory_is_not_waited_for(dut):
    bench = await open_bench(Pins(dut))
    await bench.begin()
    dead = Inputs(busy=0b1111, dead=True)
    await bench.cycle(replace(dead, faults={"read_port": random_fault()}))
    await bench.cycles(2, dead)
    assert bench.seen["status"] == State.ERROR


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_new_interrupt_survives_a_clear_of_the_same_cycle(dut):
    bench = await open_bench(Pins(dut))
    await bench.begin()
    await bench.cycle(Inputs(finished=True, irq_clear=3))
    await bench.cycle(Inputs(irq_clear=Interrupt.ERROR))
    assert bench.seen["irq_status"] == Interrupt.DONE and bench.seen["status"] == State.DONE
    await bench.cycle(Inputs(irq_clear=Interrupt.DONE))
    assert bench.seen["irq_status"] == Interrupt.DONE
    await bench.cycle()
    assert bench.seen["irq_status"] == 0


@cocotb.test(timeout_time=100, timeout_unit="us")
async def faults_without_a_job_are_ignored(dut):
    bench = await open_bench(Pins(dut))
    await bench.cycle(Inputs(abort=True, faults={"fetch": random_fault()}))
    await bench.cycle()
    assert bench.seen["status"] == State.IDLE
    await bench.begin()
    await bench.cycles(5, Inputs())
    assert bench.seen["status"] == State.RUNNING
    await bench.cycle(Inputs(reset=True))
    await bench.cycle()
    assert bench.seen["status"] == State.IDLE and not bench.seen["halt"]


def random_inputs(model: Model) -> Inputs:
    """A start only where no job runs, as the caller of the block makes sure of it."""
    def chance(share: float) -> bool:
        return random.random() < share

    faults = {source: random_fault() for source in SOURCES if chance(0.01)}
    return Inputs(not model.running and chance(0.3), chance(0.01), chance(0.01), chance(0.05),
                  random.getrandbits(BUSY_BITS) if chance(0.5) else 0, chance(0.02),
                  random.choice([0, 0, random.getrandbits(2)]), faults)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def random_events(dut):
    """Every phase, with events of all kinds in any order."""
    bench = await open_bench(Pins(dut))
    phases: set[Phase] = set()
    for _ in range(8000):
        await bench.cycle(random_inputs(bench.model))
        phases.add(bench.model.phase)
    assert phases == set(Phase)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(port=OUTPUTS)
async def a_wrong_bit_is_reported(dut, port):
    """The checker notices a planted error of an output in a single cycle."""
    pins = DamagedPins(dut, port)
    bench = await open_bench(pins)
    with pins.reported(f"{port} is"):
        for _ in range(100):
            await bench.cycle(random_inputs(bench.model))


def test_job():
    run_cocotb(Exposed(JobController(SOURCES)), "job", __name__)
