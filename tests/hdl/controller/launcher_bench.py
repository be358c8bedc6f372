"""The launcher between stored words and the chip's registers."""

import random

from cocotb.triggers import Timer
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

from tests.bench.pins import Pins

NAMES = {r.offset: name for name, r in REGISTERS.items()}
BASE, SIZE = 0x1_FFFF_F000, 0x10000  # of the window: additions carry into the high half
WINDOW = 5


def word(name):
    return (CONTROLLER_REGISTERS[name].offset - STORED_BASE) // 4


class Bench:
    """Stored words and the chip's registers, both slow; the test says when jobs end."""

    def __init__(self, dut):
        self.pins = Pins(dut)
        self.stored = [random.getrandbits(32) for _ in range(STORED_WORDS)]
        self.chip = {name: random.getrandbits(32) for name in REGISTERS}
        self.writes, self.rings, self.time, self.events, self.limits = [], 0, 0, 0, 0
        self._wait = {"stored": 0, "chip": 0}

    async def start(self):
        await self.pins.start(stage=0, cancel=0, acknowledge=0, window=0, limit=0, time=0, due=0, job_running=0,
                              stored__done=0, stored__error=0, stored__read_data=0, chip__done=0, chip__error=0,
                              chip__read_data=0)
        for part, value in (("BASE", BASE & 0xFFFF_FFFF), ("BASE_HI", BASE >> 32), ("SIZE", SIZE)):
            self.stored[word(f"CLIENT{WINDOW}_{part}")] = value

    def job(self, **changes):
        """Fill the LAUNCH words; what the chip's registers must hold when the job starts."""
        values = {name: random.getrandbits(32) for name in LAUNCH_COPIED}
        for region in Region:
            size = random.randrange(SIZE)
            values |= {region.name: random.randrange(SIZE - size + 1), f"{region.name}_SIZE": size}
        values |= changes
        for name, value in values.items():
            self.stored[word(f"LAUNCH_{name}")] = value
        expected = {name: values[name] for name in LAUNCH_COPIED}
        for region in Region:
            address = BASE + values[region.name]
            expected |= {f"{region.name}_BASE": address & 0xFFFF_FFFF, f"{region.name}_BASE_HI": address >> 32,
                         f"{region.name}_SIZE": values[f"{region.name}_SIZE"]}
        return expected

    def _access(self, bus):
        """Whether the access on `bus` is answered in this cycle."""
        if not self.pins.get(f"{bus}__valid"):
            return False
        self._wait[bus] = self._wait[bus] or random.randrange(2, 5)
        self._wait[bus] -= 1
        return self._wait[bus] == 1

    async def cycle(self, **inputs):
        pins = self.pins
        self.time += 1
        due = pins.get("armed") and pins.get("deadline") == self.time % (1 << 32)
        pins.set(**{"stage": 0, "cancel": 0, "acknowledge": 0} | inputs, time=self.time, due=due, chip__done=0,
                 stored__done=0)
        await pins.settle()
        answered = {bus: self._access(bus) for bus in ("stored", "chip")}
        await Timer(1, "ns")
        if answered["stored"]:
            address = pins.get("stored__address")
            if pins.get("stored__write"):
                self.stored[address] = pins.get("stored__write_data")
            pins.set(stored__done=1, stored__read_data=self.stored[address])
            self._wait["stored"] = 0
        if answered["chip"]:
            name = NAMES[pins.get("chip__address")]
            if pins.get("chip__write"):
                self.chip[name] = pins.get("chip__write_data")
                self.writes.append(name)
                if name == "DOORBELL":
                    self.rings += 1
                    pins.set(job_running=1)
            pins.set(chip__done=1, chip__read_data=self.chip[name])
            self._wait["chip"] = 0
        await pins.tick()
        self.events += pins.get("event")
        self.limits += pins.get("limit_event")

    async def until(self, condition, limit=2000):
        for _ in range(limit):
            if condition():
                return
            await self.cycle()
        raise AssertionError(f"waited {limit} cycles")

    async def started(self, count):
        await self.until(lambda: self.rings == count and not self.pins.get("staged"))

    async def end(self, status):
        """End the running job; returns what its results must be."""
        self.chip["STATUS"] = status
        results = {name: self.chip[name] for name in ("STATUS", *RESULT_COUNTERS)}
        if status != State.DONE:
            results |= {name: self.chip[name] for name in RESULT_ERRORS}
        self.pins.set(job_running=0)
        await self.cycle()
        return results

    def results(self, names):
        return {name: self.stored[word(f"RESULT_{name}")] for name in names}
