"""The launcher between the words that the firmware writes and the chip's registers."""

import random

import cocotb
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
from lepton_hdl.controller.launcher import Launcher

from tests.cocotb_harness import run_cocotb
from tests.hdl.tensor.bench import Ports

NAMES = {r.offset: name for name, r in REGISTERS.items()}
BASE, SIZE = 0x1_FFFF_F000, 0x10000  # of the window: additions carry into the high half
WINDOW = 5


def word(name):
    return (CONTROLLER_REGISTERS[name].offset - STORED_BASE) // 4


class Bench:
    """Stored words and the chip's registers, both slow; the test says when jobs end."""

    def __init__(self, dut):
        self.pins = Ports(dut)
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


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def jobs_back_to_back(dut):
    """Registers, then the doorbell; the next job waits for the first's end, and its results for the acknowledgement."""
    bench = Bench(dut)
    await bench.start()
    pins = bench.pins
    for n in range(12):
        expected = bench.job()
        start = bench.time
        await bench.cycle(stage=1, window=WINDOW, limit=0)
        if n:
            for _ in range(50):
                await bench.cycle()
            assert bench.rings == n and pins.get("staged") and pins.get("running"), "started beside another"
            status = random.choice((State.DONE, State.DONE, State.ERROR))
            results = await bench.end(status)
            await bench.until(lambda: pins.get("result"))
            assert bench.results(results) == results
            assert bool(pins.get("held")) == (status != State.DONE)
            if status != State.DONE:
                for _ in range(60):
                    await bench.cycle()
                assert bench.rings == n, "the next job did not wait until the error was acknowledged"
            await bench.cycle(acknowledge=1)
        await bench.started(n + 1)
        assert {name: bench.chip[name] for name in expected} == expected
        assert bench.writes[-1] == "DOORBELL" and pins.get("started") == n + 1
        assert bench.time > start
    assert bench.events == 11


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def regions_beyond_the_window_are_refused(dut):
    """Before the doorbell, and without harm to the next job."""
    bench = Bench(dut)
    await bench.start()
    cases = [(region.name, offset, size) for region in Region for offset, size in (
        (SIZE, 1), (SIZE - 1, 2), (0xFFFF_FFFF, 1), (1, 0xFFFF_FFFF), (0xFFFF_FFFF, 0xFFFF_FFFF), (SIZE + 1, 0))]
    for name, offset, size in cases:
        bench.job(**{name: offset, f"{name}_SIZE": size})
        await bench.cycle(stage=1, window=WINDOW, limit=0)
        await bench.until(lambda: not bench.pins.get("staged"))
        assert bench.pins.get("refused") and not bench.pins.get("running") and bench.rings == 0, (name, offset, size)
    await bench.cycle()
    assert bench.events == len(cases)
    expected = bench.job(INPUT=SIZE, INPUT_SIZE=0, OUTPUT=0, OUTPUT_SIZE=SIZE)
    await bench.cycle(stage=1, window=WINDOW, limit=0)
    await bench.started(1)
    assert not bench.pins.get("refused") and {name: bench.chip[name] for name in expected} == expected


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def limits(dut):
    """The event comes `limit` cycles after the start, once; not for a job that ended, nor without a limit."""
    bench = Bench(dut)
    await bench.start()
    pins = bench.pins
    cases = ((1, 100, True), (500, 600, True), (500, 300, False), (0, 900, False))
    for n, (limit, length, expires) in enumerate(cases):
        bench.job()
        bench.limits = 0
        await bench.cycle(stage=1, window=WINDOW, limit=limit)
        await bench.started(n + 1)
        assert not pins.get("expired")
        start = bench.time
        while bench.time < start + length:
            await bench.cycle()
            if bench.limits and expires:
                assert limit <= bench.time - start + 4 <= limit + 12
                expires = None
        assert bench.limits == (expires is None) == pins.get("expired")
        await bench.end(State.DONE)
        await bench.until(lambda: pins.get("result"))
        for _ in range(600):
            await bench.cycle()
        assert bench.limits == (expires is None)
        await bench.cycle(acknowledge=1)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def a_cancelled_job_has_started_or_never_will(dut):
    """At every moment of the way to the doorbell: STAGED falls, and RUNNING tells which it was."""
    bench = Bench(dut)
    await bench.start()
    outcomes = set()
    for delay in range(0, 200, 3):
        bench.job()
        rings = bench.rings
        await bench.cycle(stage=1, window=WINDOW, limit=0)
        for _ in range(delay):
            await bench.cycle()
        await bench.cycle(cancel=1)
        await bench.until(lambda: not bench.pins.get("staged"))
        for _ in range(30):
            await bench.cycle()
        running = bool(bench.pins.get("running"))
        assert running == (bench.rings > rings)
        outcomes.add(running)
        if running:
            await bench.end(State.DONE)
            await bench.until(lambda: bench.pins.get("result"))
            await bench.cycle(acknowledge=1)
    assert outcomes == {True, False}


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_sleeping_launcher_says_what_may_change_it(dut):
    """While `busy` is low nothing moves, and `watching` is high exactly while a job's end is awaited."""
    bench = Bench(dut)
    await bench.start()
    pins = bench.pins
    assert not pins.get("busy") and not pins.get("watching")
    bench.job()
    await bench.cycle(stage=1, window=WINDOW, limit=0)
    assert pins.get("busy")
    await bench.started(1)
    for _ in range(5):
        await bench.cycle()
    for _ in range(50):
        await bench.cycle()
        assert not pins.get("busy") and pins.get("watching")
    await bench.end(State.ERROR)
    await bench.until(lambda: pins.get("result") and not pins.get("busy"))
    bench.job()
    await bench.cycle(stage=1, window=WINDOW, limit=0)
    for _ in range(5):
        await bench.cycle()
    assert not pins.get("busy"), "held, it waits for the acknowledgement"


def test_launcher():
    run_cocotb(Launcher(), "launcher", __name__)
