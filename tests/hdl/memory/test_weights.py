"""The weight memory: a read and a write every cycle, against a flat memory."""

import random
from dataclasses import dataclass

import cocotb
from lepton_hdl.memory.weights import WeightMemory

from tests.bench.checker import Outputs
from tests.bench.disturbed import PlantedError, check_messages
from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.bench.stalls import NONE, SOME, STALLS, stall
from tests.cocotb_harness import failing_cocotb, parameters, run_cocotb
from tests.hdl.memory.configs import WEIGHTS

WORDS = WEIGHTS.weight_words
BITS = 8 * WEIGHTS.lanes
CYCLES = 3000
PLANTED = parameters().get("planted", False)
ERRORS = [PlantedError("data", r"data is \d+, not \d+; cycle \d+", mask, first)
          for mask, first in ((1, 0), (1 << 31, 2000))]


@dataclass(frozen=True)
class Access:
    """What is asked for in one cycle."""

    read: int | None = None  # word address
    write: tuple[int, int] | None = None  # word address, word


class Driver:
    """Puts accesses on the ports; noise where there is none."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self._layout = WeightMemory(WEIGHTS).write.payload.shape()

    def drive(self, access: Access) -> None:
        address, word = access.write or (random.randrange(WORDS), random.getrandbits(BITS))
        self.pins.set(read__valid=access.read is not None, write__valid=access.write is not None,
                      read__payload=random.randrange(WORDS) if access.read is None else access.read,
                      write__payload=encode(self._layout, address=address, data=word))


class Model:
    """Reads see the word of before a write in the same cycle; the output holds while nothing is read."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.shown: int | None = None  # undefined before the first read

    def step(self, access: Access) -> dict[str, int]:
        """The outputs behind the edge that ends the cycle."""
        if access.read is not None:
            self.shown = self.words[access.read]
        if access.write is not None:
            address, word = access.write
            self.words[address] = word
        return {} if self.shown is None else {"data": self.shown}


async def run_traffic(pins: Pins, reader: str, writer: str) -> None:
    """Half of the reads are of the word that is written in the same cycle."""
    driver = Driver(pins)
    model = Model()
    checker = Outputs(pins)
    await pins.start(read__valid=0, write__valid=0)
    no_read = stall(reader)
    no_write = stall(writer)
    accesses = [Access(write=(address, random.getrandbits(BITS))) for address in range(WORDS)]
    for _ in range(CYCLES):
        near = random.randrange(WORDS)
        far = random.choice((near, random.randrange(WORDS)))
        accesses.append(Access(None if no_read() else near, None if no_write() else (far, random.getrandbits(BITS))))
    for cycle, access in enumerate(accesses):
        driver.drive(access)
        expected = model.step(access)
        await pins.tick()
        checker.check(expected, f"cycle {cycle}")
    assert sum(access.read is not None and access.write is not None and access.read == access.write[0]
               for access in accesses) > 50


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=PLANTED)
@cocotb.parametrize(reader=STALLS, writer=[NONE, SOME])
async def random_traffic(dut, reader, writer):
    await run_traffic(Pins(dut), reader, writer)


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=not PLANTED)
@cocotb.parametrize(number=range(len(ERRORS)))
async def traffic_with_a_wrong_output(dut, number):
    """Must fail."""
    await run_traffic(Pins(ERRORS[number].planted(dut)), SOME, SOME)


def test_planted_errors_are_reported():
    check_messages(failing_cocotb(WeightMemory(WEIGHTS), "weights", __name__, parameters={"planted": True}), ERRORS)


def test_weights():
    run_cocotb(WeightMemory(WEIGHTS), "weights", __name__)
