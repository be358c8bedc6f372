"""The launcher between the words that the firmware writes and the chip's registers."""

import random

import cocotb
from lepton.arch import Region
from lepton.arch.controller import RESULT_COUNTERS
from lepton.arch.registers import State
from lepton_hdl.controller.launcher import Launcher

from tests.bench.clock import cycles, until
from tests.bench.disturbed import PlantedError, check_messages
from tests.cocotb_harness import failing_cocotb, parameters, run_cocotb
from tests.hdl.controller.launcher_bench import SIZE, LauncherBench, check_values, random_job, results_of, word

PLANTED = parameters().get("planted", False)
SLACK = 12  # cycles: between the start of a job and where a test notices it, and of the event


async def run_jobs(bench: LauncherBench, count: int) -> None:
    """Jobs one behind the other, each staged while the one before runs; some end in an error."""
    dut = bench.dut
    for n in range(count):
        job = random_job()
        await bench.stage(job)
        if n:
            await cycles(dut, 50)
            assert bench.chip.rings == n and dut.staged.value and dut.running.value, "started during another job"
            status = random.choice((State.DONE, State.DONE, State.ERROR))
            await bench.end(status)
            if status != State.DONE:
                await cycles(dut, 60)
                assert bench.chip.rings == n, "the next job did not wait until the error was acknowledged"
            await bench.pulse("acknowledge")
        await bench.started(n + 1)
        bench.check_started(job)
        assert int(dut.started.value) == n + 1, f"{int(dut.started.value)} jobs are counted, not {n + 1}"
    assert bench.events.count == count - 1, f"{bench.events.count} events, not {count - 1}"


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=PLANTED)
async def jobs_back_to_back(dut):
    """Registers, then the doorbell; the next job waits for the first's end, and its results for the acknowledgement."""
    await run_jobs(await LauncherBench.open(dut), 12)


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=PLANTED)
async def regions_beyond_the_window_are_refused(dut):
    """Before the doorbell, and without harm to the next job."""
    bench = await LauncherBench.open(dut)
    cases = [(region.name, offset, size) for region in Region for offset, size in (
        (SIZE, 1), (SIZE - 1, 2), (0xFFFF_FFFF, 1), (1, 0xFFFF_FFFF), (0xFFFF_FFFF, 0xFFFF_FFFF), (SIZE + 1, 0))]
    for name, offset, size in cases:
        await bench.stage(random_job(**{name: offset, f"{name}_SIZE": size}))
        await until(dut, lambda: not dut.staged.value, 2000)
        assert dut.refused.value and not dut.running.value and bench.chip.rings == 0, (name, offset, size)
    await cycles(dut, 2)
    assert bench.events.count == len(cases)
    job = random_job(INPUT=SIZE, INPUT_SIZE=0, OUTPUT=0, OUTPUT_SIZE=SIZE)
    await bench.stage(job)
    await bench.started(1)
    assert not dut.refused.value
    bench.check_started(job)


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=PLANTED)
@cocotb.parametrize(
    (("limit", "length", "expires"), [(1, 100, True), (500, 600, True), (500, 300, False), (0, 900, False)]))
async def limits(dut, limit, length, expires):
    """The event comes `limit` cycles after the start, once; not for a job that ended, nor without a limit."""
    bench = await LauncherBench.open(dut)
    await bench.stage(random_job(), limit)
    await bench.started(1)
    assert not dut.expired.value
    start = bench.clock.now
    if expires:
        await until(dut, lambda: bench.limits.count, limit + 2 * SLACK)
        assert limit - SLACK <= bench.clock.now - start <= limit + SLACK
    while bench.clock.now < start + length:
        await cycles(dut, 1)
    assert bench.limits.count == int(dut.expired.value) == expires
    await bench.end(State.DONE)
    await cycles(dut, 600)
    assert bench.limits.count == expires


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=PLANTED)
async def limits_hold_where_the_time_passes_32_bits(dut):
    """And limits above 16 bits: `due` comes after as many cycles, `start_time` has all 64 bits."""
    bench = await LauncherBench.open(dut)
    for n, (time, limit) in enumerate((((1 << 32) - 300, 400), ((1 << 32) - 100, 150), (0x7_FFFF_FF80, 300),
                                       (0xFEDC_BA98_0000_0000, 90))):
        bench.clock.now = time
        await bench.stage(random_job(), limit)
        await bench.started(n + 1)
        start = bench.clock.now
        await until(dut, lambda before=n: bench.limits.count > before, limit + 100)
        assert limit - SLACK <= bench.clock.now - start <= limit + SLACK, (time, limit)
        await bench.end(State.DONE)
        assert start - SLACK <= int(dut.start_time.value) <= start
        await bench.pulse("acknowledge")
    for limit in (0x1_0000, 0x2_0001, 0xFFFF_FF00):  # the deadline is this far, whatever the time
        bench.clock.now = random.getrandbits(63)
        rings = bench.chip.rings
        await bench.stage(random_job(), limit)
        await bench.started(rings + 1)
        left = (int(dut.deadline.value) - bench.clock.now) % (1 << 32)
        assert dut.armed.value and abs(limit - left) <= SLACK, (limit, left)
        await bench.end(State.DONE)
        await bench.pulse("acknowledge")


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=PLANTED)
async def a_cancelled_job_has_started_or_never_will(dut):
    """At every moment of the way to the doorbell: STAGED falls, and RUNNING tells which it was."""
    bench = await LauncherBench.open(dut)
    outcomes = set()
    for delay in range(0, 200, 3):
        rings = bench.chip.rings
        await bench.stage(random_job())
        await cycles(dut, delay)
        await bench.pulse("cancel")
        await until(dut, lambda: not dut.staged.value, 2000)
        await cycles(dut, 30)
        running = bool(dut.running.value)
        assert running == (bench.chip.rings > rings)
        outcomes.add(running)
        if running:
            await bench.end(State.DONE)
            await bench.pulse("acknowledge")
    assert outcomes == {True, False}


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=PLANTED)
async def a_cancel_of_nothing_forgets_nothing(dut):
    """Neither the job that runs nor one staged later, also while results are saved."""
    bench = await LauncherBench.open(dut)
    for n in range(1, 12):
        await bench.stage(random_job())
        await bench.started(n)
        bench.chip.registers["STATUS"] = State.DONE
        dut.job_running.value = 0
        await cycles(dut, 3 * n)
        await bench.pulse("cancel")
        job = random_job()
        if n % 2:
            await bench.stage(job)
            assert dut.staged.value
        await until(dut, lambda: dut.result.value, 2000, lambda: "no result")
        await bench.pulse("acknowledge")
        if n % 2:
            await until(dut, lambda rings=n + 1: bench.chip.rings == rings, 2000, lambda: "the job was forgotten")
            bench.check_started(job)
            await bench.end(State.DONE)
            await bench.pulse("acknowledge")
            bench.chip.rings = n


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=PLANTED)
async def results_stay_until_they_are_acknowledged(dut):
    """The next job runs and ends meanwhile; its results follow."""
    bench = await LauncherBench.open(dut)
    await bench.stage(random_job())
    await bench.started(1)
    await bench.stage(random_job())
    await bench.end(State.DONE)
    await bench.started(2)
    expected = results_of(bench.chip.registers)
    bench.chip.registers |= {name: random.getrandbits(32) for name in RESULT_COUNTERS}
    dut.job_running.value = 0
    await cycles(dut, 500)
    assert dut.result.value and dut.running.value and bench.events.count == 1
    check_values("RESULT", {name: bench.stored.words[word(f"RESULT_{name}")] for name in expected}, expected)
    await bench.pulse("acknowledge")
    await bench.end(State.DONE)
    await cycles(dut, 2)
    assert bench.events.count == 2 and not dut.running.value


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=PLANTED)
async def a_sleeping_launcher_says_what_may_change_it(dut):
    """While `busy` is low nothing moves, and `watching` is high exactly while a job's end is awaited."""
    bench = await LauncherBench.open(dut)
    assert not dut.busy.value and not dut.watching.value
    await bench.stage(random_job())
    assert dut.busy.value
    await bench.started(1)
    await cycles(dut, 5)
    for _ in range(50):
        await cycles(dut, 1)
        assert not dut.busy.value and dut.watching.value
    await bench.end(State.ERROR)
    await until(dut, lambda: not dut.busy.value, 100)
    await bench.stage(random_job())
    await cycles(dut, 5)
    assert not dut.busy.value, "held, it waits for the acknowledgement"


ERRORS = [
    PlantedError("chip__write_data", r"register \w+ is 0x[0-9a-f]+, not 0x[0-9a-f]+", 1 << 30),
    PlantedError("chip__valid", "chip: an access was withdrawn before it was answered", first=30),
    PlantedError("stored__address", r"register \w+ is 0x|waited 2000 cycles; 0 jobs started|RESULT"),
    PlantedError("stored__write_data", r"RESULT \w+ is 0x[0-9a-f]+, not 0x[0-9a-f]+", 1 << 5),
    PlantedError("staged", "jobs are counted, not|register|started during another job"),
    PlantedError("running", "started during another job"),
    PlantedError("result", "waited 2000 cycles; no result", clear=True),
    PlantedError("held", "held is wrong after"),
    PlantedError("started", r"\d+ jobs are counted, not 1"),
    PlantedError("event", r"\d+ events, not 3"),
]


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=not PLANTED)
@cocotb.parametrize(number=range(len(ERRORS)))
async def jobs_with_a_wrong_output(dut, number):
    """Must fail."""
    await run_jobs(await LauncherBench.open(ERRORS[number].planted(dut)), 4)


def test_launcher():
    run_cocotb(Launcher(), "launcher", __name__)


def test_planted_errors_are_reported():
    check_messages(failing_cocotb(Launcher(), "launcher", __name__, parameters={"planted": True}), ERRORS)
