"""Through the controller on the RTL: memory that hangs, rings that the host corrupts, storms, and deaths at any moment.

After every one of them another client's job must run and be right.
"""

import random
import zlib

import numpy as np
import pytest
from lepton.arch import Engine, ErrorCode, Region
from lepton.arch.controller import (
    CLIENTS,
    COMPLETION_BYTES,
    COMPLETION_RING,
    JOB_BYTES,
    RING_ENTRIES,
    RINGS_BYTES,
    BootState,
    CompletionRecord,
    EventKind,
    JobRecord,
    JobStatus,
    Refusal,
)
from lepton.driver import ChipError, Driver, JobRefused, JobTimeout
from lepton_sim.memory_profile import Fault, FaultKind

from tests.system.controller_jobs import CONFIG, WINDOW, check, copy_job, endless_job


@pytest.fixture
def victim(board, controller):
    """Another client, whose jobs must not notice anything."""
    with Driver(board, controller.client(WINDOW)) as driver:
        yield driver


def kinds(controller, since=0):
    return [event.kind for event in controller.log() if event.sequence >= since]


def completion(board, client, sequence):
    at = client.base + COMPLETION_RING + sequence % RING_ENTRIES * COMPLETION_BYTES
    return CompletionRecord.unpack(bytes(board.read_memory(at, COMPLETION_BYTES)))


def until_done(board, client, sequence, cycles=400_000):
    for _ in range(cycles // 2000):
        if client._read("DONE") == sequence:
            return
        board.run(2000)
    raise AssertionError(f"client {client.index}: {client._read('DONE')} of {sequence} jobs answered")


def submit(board, client, sequence, **changes):
    """A record with a right CRC, past the driver."""
    values = JobRecord.unpack(client.template) | {"sequence": sequence} | changes
    record = JobRecord.pack(**values)[:-4]
    board.write_memory(client.base + sequence % RING_ENTRIES * JOB_BYTES,
                       record + zlib.crc32(record).to_bytes(4, "little"))


@pytest.mark.parametrize(("region", "engine"), [
    (Region.INPUT, Engine.LOAD), (Region.OUTPUT, Engine.STORE), (Region.PROGRAM, Engine.LOAD)])
def test_memory_hangs_and_the_job_has_a_timeout(board, controller, victim, region, engine):
    """The job ends with AXI_TIMEOUT and its address, engines and memory ports are reset, the next jobs run."""
    with Driver(board, controller.client(WINDOW)) as driver:
        driver.run(copy_job(driver))  # so that hash and windows are known
        bad = copy_job(driver, timeout=2000)
        behind = copy_job(driver)
        good = copy_job(victim)
        driver._port._record(bad, 0)  # verified from now on: only the fetch of commands meets the fault
        where = bad.regions[region]
        board.add_fault(Fault(where.address, where.address + 63, FaultKind.HANG))
        handles = driver.submit(bad), driver.submit(behind)
        waiting = victim.submit(good)
        with pytest.raises(ChipError) as caught:
            driver.wait(handles[0])
        assert (caught.value.code, caught.value.engine) == (ErrorCode.AXI_TIMEOUT, engine)
        assert caught.value.address == where.address
        victim.wait(waiting)
        check(good)
        driver.wait(handles[1])
        check(behind)


@pytest.mark.parametrize("region", [Region.INPUT, Region.OUTPUT])
def test_memory_hangs_and_only_the_time_limit_helps(board, controller, victim, region):
    """An abort waits for a bus that never becomes quiet; after its grace the firmware resets the chip."""
    since = controller.read("LOG_COUNT")
    with Driver(board, controller.client(WINDOW, limit=20_000)) as driver:
        bad = copy_job(driver, timeout=0)
        good = copy_job(victim)
        where = bad.regions[region]
        board.add_fault(Fault(where.address, where.address + 63, FaultKind.HANG))
        handle = driver.submit(bad)
        waiting = victim.submit(good)
        with pytest.raises(JobTimeout, match="cycle_limit=20000"):
            driver.wait(handle)
        victim.wait(waiting)
        check(good)
        board.run(5_000)  # the log is written after the completion
        assert {EventKind.TIME_LIMIT, EventKind.ENGINE_RESET} <= set(kinds(controller, since))
        after = copy_job(driver)
        driver.run(after)
        check(after)


def test_the_record_itself_hangs(board, controller, victim):
    """The copy engine gives up after 2**20 cycles; the record is refused and everyone goes on."""
    with Driver(board, controller.client(WINDOW)) as driver:
        client = driver._port
        board.add_fault(Fault(client.base, client.base + JOB_BYTES - 1, FaultKind.HANG))
        with pytest.raises(JobRefused, match="memory failed when the record or the program was read"):
            driver.run(copy_job(driver))
        good = copy_job(victim)
        victim.run(good)
        check(good)
        assert controller.state == BootState.READY


def test_corrupted_ring_indices(board, controller, victim):
    """TAIL behind HEAD, beyond the ring, at the ends of 32 bits: logged, nothing is taken; a right one works again."""
    with Driver(board, controller.client(WINDOW)) as driver:
        client = driver._port
        driver.run(copy_job(driver))
        for tail in (0, 2 + RING_ENTRIES, 0x7FFF_FFFF, 0x8000_0001, 0xFFFF_FFFF):
            since = controller.read("LOG_COUNT")
            client._write("TAIL", tail)
            job = copy_job(victim)
            victim.run(job)
            check(job)
            assert (client._read("HEAD"), client._read("DONE")) == (1, 1), hex(tail)
            assert EventKind.BAD_DOORBELL in kinds(controller, since), hex(tail)
        client._write("TAIL", 1)
        job = copy_job(driver)
        driver.run(job)
        check(job)


def test_a_storm_of_doorbells(board, controller, victim):
    """Eight hundred doorbells without records while another client's jobs run: they cost little and change nothing."""
    with Driver(board, controller.client(WINDOW)) as driver:
        client = driver._port
        jobs = [copy_job(victim, 2000) for _ in range(4)]
        handles = [victim.submit(job) for job in jobs]
        for _ in range(800):
            client._write("TAIL", 0)
        for handle, job in zip(handles, jobs, strict=True):
            victim.wait(handle)
            check(job)
        assert client._read("HEAD") == 0


def test_eight_clients_flood_with_invalid_records(board, controller):
    """Full rings of records with wrong CRCs from everyone: each is answered once, in order; then all work."""
    drivers = [Driver(board, controller.client(WINDOW)) for _ in range(CLIENTS)]
    rng = random.Random(5)
    for driver in drivers:
        driver._port.template = driver._port._record(copy_job(driver, 64), 0)
        for slot in range(RING_ENTRIES):
            board.write_memory(driver._port.base + slot * JOB_BYTES, rng.randbytes(JOB_BYTES) if slot % 2 else
                               driver._port.template[:-1] + b"\x5a")
    for driver in drivers:
        driver._port._write("TAIL", RING_ENTRIES)
    for driver in drivers:
        client = driver._port
        until_done(board, client, RING_ENTRIES)
        answers = [completion(board, client, n) for n in range(RING_ENTRIES)]
        assert [a["sequence"] for a in answers] == list(range(RING_ENTRIES))
        assert {JobStatus(a["status"]) for a in answers} == {JobStatus.REFUSED}
        assert {Refusal(a["reason"]) for a in answers} <= {Refusal.MAGIC, Refusal.CRC, Refusal.SEQUENCE}
        client._next = RING_ENTRIES
    jobs = [copy_job(driver, 300) for driver in drivers]
    handles = [driver.submit(job) for driver, job in zip(drivers, jobs, strict=True)]
    for driver, job, handle in zip(drivers, jobs, handles, strict=True):
        driver.wait(handle)
        check(job)
        driver.close()


def test_regions_at_the_ends_of_the_window(board, controller, victim):
    """The last byte of a window may be used and the one behind it not, whatever offset and size add up to."""
    with Driver(board, controller.client(WINDOW)) as driver:
        client = driver._port
        job = copy_job(driver, 64)
        client.template = client._record(job, 0)
        input_at = job.regions[Region.INPUT].address - client.base
        source = board.read_memory(client.base + input_at, 64)
        good = dict(output_offset=WINDOW - 64, output_size=64)
        cases = [(good, None)]
        cases += [(good | changes, Refusal.REGION) for changes in (
            dict(output_offset=WINDOW - 63), dict(output_offset=WINDOW, output_size=1),
            dict(output_offset=0xFFFF_FFC0), dict(output_offset=0xFFFF_FFC0, output_size=0x1_0040 + 0),
            dict(output_offset=RINGS_BYTES - 1), dict(output_size=0xFFFF_FFFF),
            dict(output_offset=WINDOW - 64, output_size=65), dict(scratch_offset=1, scratch_size=0),
            dict(input_offset=0), dict(program_offset=WINDOW - 127))]
        outside = np.ones(board.memory_bytes, bool)
        for window in (client, victim._port):
            outside[window.base:window.base + window.size] = False
        outside[controller.base:] = False
        before = board.read_memory(0, board.memory_bytes)[outside]
        for sequence, (changes, reason) in enumerate(cases):
            submit(board, client, sequence, **changes)
            client._write("TAIL", sequence + 1)
            until_done(board, client, sequence + 1)
            answer = completion(board, client, sequence)
            wanted = (JobStatus.DONE, Refusal.NONE) if reason is None else (JobStatus.REFUSED, reason)
            assert (answer["status"], answer["reason"]) == wanted, changes
        assert np.array_equal(board.read_memory(client.base + WINDOW - 64, 64), source)
        assert np.array_equal(board.read_memory(0, board.memory_bytes)[outside], before)
        client._next = len(cases)


def test_clients_that_vanish_at_any_moment(board, controller, victim):
    """A client is taken back while its jobs wait, run, end or are being aborted; a neighbour works on meanwhile."""
    rng = random.Random(11)
    for _ in range(25):
        client = controller.client(WINDOW)
        driver = Driver(board, client)
        for _ in range(rng.choice((1, 2, 3))):
            driver.submit(endless_job(driver) if rng.random() < 0.5 else copy_job(driver, rng.randrange(1, 3000)))
        job = copy_job(victim, rng.randrange(1, 500))
        handle = victim.submit(job)
        board.run(rng.randrange(1, 6000))
        controller.release(client)
        victim.wait(handle, cycle_limit=300_000)
        check(job)
        for buffer in job.regions.values():
            buffer.free()
    assert controller.state == BootState.READY


def test_completions_say_where_the_cycles_went(board, controller, victim):
    """Status, error detail, cycles and their causes come through the completion as they do from the registers."""
    job = copy_job(victim, 1000)
    done = victim.run(job)
    causes = ("COMPUTE", "WAIT_READ", "WAIT_WEIGHTS", "WAIT_WRITE", "WAIT_SYNC", "IDLE")
    assert sum(done.counters[name] for name in causes) == done.counters["CYCLES"] == done.cycles > 100
    beats = -(-1000 // CONFIG.bus_bytes)
    assert done.counters["WRITE_BEATS"] in (beats, beats + 1)
    assert done.accepted <= controller.read("TIME") and done.start <= controller.read("TIME")
