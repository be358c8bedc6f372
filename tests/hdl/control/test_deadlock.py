"""The deadlock detector alone, over random states of the three streams."""

import random
from dataclasses import asdict, dataclass

import cocotb
from lepton.arch import Engine, ErrorCode
from lepton_hdl.control.deadlock import STREAM_STATE, DeadlockDetector
from lepton_hdl.control.faults import FAULT

from tests.bench.checker import Outputs
from tests.bench.disturbed import DamagedPins
from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import run_cocotb
from tests.hdl.control.expose import Exposed

STATES = 4000


@dataclass(frozen=True)
class State:
    """One stream, as `STREAM_STATE`."""

    finished: bool
    outstanding: bool
    busy: bool
    blocked: int  # mask of the semaphores that its next command misses
    index: int
    layer: int


def random_state() -> State:
    finished = random.random() < 0.4
    blocked = random.choice([0, 1 << random.randrange(16), random.getrandbits(16)])
    return State(finished, random.random() < 0.1, random.random() < 0.1,
                 0 if finished else blocked,  # a finished stream has no next command
                 random.getrandbits(32), random.getrandbits(16))


class Driver:
    """Puts the states of the streams on the ports."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins

    def drive(self, states: list[State]) -> None:
        self.pins.set(streams=sum(encode(STREAM_STATE, **asdict(state)) << i * STREAM_STATE.size
                                  for i, state in enumerate(states)))


def model(states: list[State]) -> dict[str, int]:
    """The outputs: a deadlock where nothing is under way and every unfinished stream is blocked, one at least."""
    stuck = [engine for engine in Engine if states[engine].blocked]
    under_way = any(state.outstanding or state.busy for state in states)
    if under_way or not stuck or not all(state.finished or state.blocked for state in states):
        return {"fault__valid": 0}
    first = states[stuck[0]]
    fault = encode(FAULT, code=ErrorCode.DEADLOCK, engine=stuck[0], index=first.index, layer=first.layer,
                   address=first.blocked)
    return {"fault__valid": 1, "fault__payload": fault}


async def random_states(pins: Pins, count: int) -> set[int]:
    """Checks every state; the values of `fault__valid` that occurred."""
    driver = Driver(pins)
    checker = Outputs(pins)
    seen: set[int] = set()
    await pins.start(streams=0)
    for _ in range(count):
        states = [random_state() for _ in Engine]
        expected = model(states)
        driver.drive(states)
        await pins.settle()
        checker.check(expected, states)
        seen.add(expected["fault__valid"])
        await pins.tick()
    return seen


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def names_the_first_stuck_engine(dut):
    assert await random_states(Pins(dut), STATES) == {0, 1}


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(port=["fault__valid", "fault__payload"])
async def a_wrong_bit_is_reported(dut, port):
    """The checker notices a planted error of an output in a single state."""
    pins = DamagedPins(dut, port)
    with pins.reported(f"{port} is"):
        await random_states(pins, STATES)


def test_deadlock():
    run_cocotb(Exposed(DeadlockDetector()), "deadlock", __name__)
