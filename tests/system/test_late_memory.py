"""Memory that answers late, never or out of step, crossed with every way in which a job ends: the next job is right.

The board's memory forgets nothing by itself: what a job has asked for comes, however late, unless the chip's pin
`memory_reset` tells memory to forget it.
"""

import random

import lepton.device
import numpy as np
import pytest
from lepton.arch import REGISTERS, Engine, ErrorCode, Region
from lepton.arch.registers import DRAIN_LIMIT, Control, State
from lepton.driver import BoardController, ChipError, Driver, JobTimeout
from lepton_sim.memory_profile import Fault, FaultKind

from tests.system.controller_jobs import WINDOW, check, copy_job
from tests.system.programs import Bench, Program, bits, load, run_good_program, store

CONTROL = REGISTERS["CONTROL"].offset
STATUS = REGISTERS["STATUS"].offset
MEMORY_STATUS = REGISTERS["MEMORY_STATUS"].offset
ROW = 1024  # bytes of a transfer: several bursts of the tiny chip's bus
ENDS = ("timeout", "illegal command", "memory error", "deadlock", "abort")


@pytest.fixture(scope="module")
def device():
    with lepton.device.open("rtl", config="tiny", memory_bytes=1 << 24) as device:
        yield device


@pytest.fixture
def bench(device):
    device.clear_faults()
    with Driver(device) as driver:
        yield Bench(driver)
    assert not device.violations


def slow_program(end, rng):
    """A program whose reads and writes are under way when it stops for the reason `end`."""
    loads = [load(ROW, offset=n * ROW, local=(n % 8) * ROW, post=bits(0)) for n in range(6)]
    stores = [store(ROW, offset=n * ROW, local=(n % 4) * ROW) for n in range(6)]
    timeout = 100_000
    if end == "timeout":
        timeout = rng.randrange(100, 600)
    elif end == "illegal command":
        loads.insert(rng.randrange(1, 6), bytes([0x77]) + load()[1:])
    elif end == "memory error":
        stores.append(store(offset=0, region=int(Region.INPUT)))
    elif end == "deadlock":
        stores.append(store(wait=bits(3)))
    return Program(load=loads, store=stores, timeout=timeout)


def make_late(device, bench, side, delay):
    """All that the program reads, or writes, answers `delay` cycles late; None: never."""
    region = Region.INPUT if side == "reads" else Region.OUTPUT
    first = bench.address(region) + ROW
    kind = FaultKind.HANG if delay is None else FaultKind.LATE
    device.add_fault(Fault(first, first + 4 * ROW, kind, delay=delay or 0))


@pytest.mark.parametrize("delay", [1, 70, 1500, 6000, None])
@pytest.mark.parametrize("end", ENDS)
def test_the_next_job_is_right_whatever_memory_still_owes(device, bench, end, delay):
    rng = random.Random(f"{end} {delay}")
    for sides in (["reads"], ["writes"], ["reads", "writes"]):
        for side in sides:
            make_late(device, bench, side, delay)
        if end == "memory error":
            at = bench.address(Region.INPUT)
            device.add_fault(Fault(at, at, FaultKind.SLVERR, on_read=False))
        limit = rng.randrange(150, 900) if end == "abort" else 2_000_000
        program = slow_program(end, rng)
        program.timeout = program.timeout if end == "timeout" or delay is not None else 3000
        device.record()
        try:
            bench.run(program, cycle_limit=limit)
        except (ChipError, JobTimeout) as error:
            stopped = error
        else:
            assert end == "timeout" and delay is not None, "only a late answer may still be in time"
            stopped = None
        controls = [e for e in device.events if e["address"] == CONTROL and e["kind"] == 2]
        device.record(False)
        assert device.read_register(MEMORY_STATUS) & 3 == 0, "something is still outstanding"
        if delay is not None:  # what answers in time is drained; only an abort is written to CONTROL
            assert len(controls) == (end == "abort" and isinstance(stopped, JobTimeout))
        device.clear_faults()
        for _ in range(2):
            run_good_program(bench)
        bench.check_surroundings()


@pytest.mark.parametrize("side", ["reads", "writes"])
def test_a_reset_at_any_moment_leaves_nothing_to_the_next_job(device, bench, side):
    """CONTROL.RESET with late answers outstanding; the host waits only before it overwrites what is being written."""
    rng = random.Random(side)
    for _ in range(25):
        make_late(device, bench, side, rng.choice([1, 5, 60, rng.randrange(4000)]))
        program = slow_program("", rng)
        if side == "reads":
            program.store = []
        handle = bench.driver.submit(bench.prepare(program))
        device.run(rng.randrange(1, 900))
        device.write_register(CONTROL, Control.RESET)
        assert device.read_register(STATUS) == State.IDLE
        bench.driver._retire(handle)  # the driver itself never leaves a job like this
        device.clear_faults()
        if side == "writes":
            waited = 0
            while device.read_register(MEMORY_STATUS) & 3:
                device.run(10)
                waited += 10
                assert waited < DRAIN_LIMIT
        for _ in range(2):
            run_good_program(bench)


def test_a_reset_of_memory_at_any_moment(device, bench):
    """CONTROL.MEMORY_RESET in the middle of handshakes, memory silent or not: both sides begin anew."""
    rng = random.Random(4)
    for n in range(25):
        for side in ("reads", "writes"):
            make_late(device, bench, side, rng.choice([None, 0, 300]))
        handle = bench.driver.submit(bench.prepare(slow_program("", rng)))
        device.run(rng.randrange(1, 900))
        device.write_register(CONTROL, Control.MEMORY_RESET)
        assert device.read_register(STATUS) == State.IDLE and device.read_register(MEMORY_STATUS) == 0, n
        bench.driver._retire(handle)
        device.clear_faults()
        run_good_program(bench)


@pytest.mark.parametrize("kind", [FaultKind.SHORT, FaultKind.LONG])
@pytest.mark.parametrize("region", [Region.INPUT, Region.PROGRAM])
def test_memory_out_of_step_by_a_beat_ends_the_job(device, bench, kind, region):
    """RLAST a beat early or late is an error with a cause, never a job that hangs; the next one is right."""
    first = bench.address(region) + (2 * ROW if region == Region.INPUT else 64)
    device.add_fault(Fault(first, first + 15, kind))
    error = bench.error(slow_program("", random.Random(1)), cycle_limit=200_000)
    assert (error.code, error.engine) == (ErrorCode.AXI_PROTOCOL, Engine.LOAD)
    assert first - ROW < error.address < first + ROW
    assert "memory broke the AXI protocol: RLAST on the wrong beat" in str(error)
    device.clear_faults()
    for _ in range(2):
        run_good_program(bench)


@pytest.mark.parametrize("delay", [40, 3000, None])
@pytest.mark.parametrize("end", ["timeout", "illegal command", "time limit", "client reset"])
@pytest.mark.parametrize("region", [Region.INPUT, Region.OUTPUT])
def test_another_client_notices_nothing(board, region, end, delay):
    """Through the controller: one client's job ends in any way while memory owes it answers, late or never."""
    board.clear_faults()
    limit = 1500 if end == "time limit" else 0
    with BoardController(board) as controller, Driver(board, controller.client(WINDOW)) as victim, \
            Driver(board, controller.client(WINDOW, limit=limit)) as driver:
        for job in (copy_job(driver), copy_job(victim)):
            (driver if job.regions[region].memory is driver._memory else victim).run(job)  # programs are verified
        bad = copy_job(driver, timeout=1000 if end == "timeout" else 5000)
        if end == "illegal command":
            program = bad.regions[Region.PROGRAM]
            text = bytearray(program.read().tobytes())
            text[bad.streams[Engine.STORE].offset] = 0x77
            program.write(bytes(text))
        good = [copy_job(victim), copy_job(victim)]
        where = bad.regions[region]
        kind = FaultKind.HANG if delay is None else FaultKind.LATE
        board.add_fault(Fault(where.address, where.address + 63, kind, delay=delay or 0))
        handle = driver.submit(bad)
        board.run(random.Random(f"{region} {end} {delay}").randrange(2000, 4000))
        waiting = [victim.submit(job) for job in good]
        if end == "client reset":
            driver.close()
        else:
            try:
                driver.wait(handle)
            except (ChipError, JobTimeout):
                pass
            else:
                check(bad)  # it was late, but in time
        board.clear_faults()
        for handle, job in zip(waiting, good, strict=True):
            victim.wait(handle, cycle_limit=2_000_000)
            check(job)
    assert not board.violations


@pytest.mark.parametrize("delay", [100, 20_000, None])
def test_the_controller_is_restarted_while_its_copies_are_outstanding(board, delay):
    """START 0 resets the copy engine, with what it has asked memory for: nothing of it reaches the next firmware."""
    for moment in (50, 400, 1200):
        board.clear_faults()
        with BoardController(board) as controller, Driver(board, controller.client(WINDOW)) as driver:
            client = driver._port
            kind = FaultKind.HANG if delay is None else FaultKind.LATE
            board.add_fault(Fault(client.base, client.base + 0xFFF, kind, delay=delay or 0))
            driver.submit(copy_job(driver))
            board.run(moment)
            controller.write("START", 0)
            board.clear_faults()
            driver._queue.clear()
            driver._memory.release_all()
            controller._clients.clear()
        with BoardController(board) as controller, Driver(board, controller.client(WINDOW)) as driver:
            job = copy_job(driver)
            driver.run(job, cycle_limit=2_000_000)
            check(job)
    assert not board.violations


def test_results_are_the_same_bytes_whatever_answers_late(device, bench):
    """Late answers change when things happen, never what."""
    outputs = []
    for delay in (0, 7, 900):
        device.clear_faults()
        first = bench.address(Region.INPUT)
        device.add_fault(Fault(first, first + 2 * ROW, FaultKind.LATE, delay=delay))
        run_good_program(bench)
        outputs.append(bench.results()[Region.OUTPUT])
    assert np.array_equal(outputs[0], outputs[1]) and np.array_equal(outputs[0], outputs[2])
