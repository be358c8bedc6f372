"""The launcher between the words that the firmware writes and the chip's registers."""

import random

import cocotb
from lepton.arch import Region
from lepton.arch.registers import State
from lepton_hdl.controller.launcher import Launcher

from tests.cocotb_harness import run_cocotb
from tests.hdl.controller.launcher_bench import SIZE, WINDOW, Bench


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
