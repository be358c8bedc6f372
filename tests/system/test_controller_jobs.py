"""Jobs of several clients through the controller on the RTL: results, order, limits, faults, and hosts that die."""

import zlib

import lepton.device
import numpy as np
import pytest
from lepton.arch import REGISTERS, DmaOpcode, Engine, ErrorCode, Region
from lepton.arch.controller import (
    CLIENTS,
    COMPLETION_RING,
    JOB_BYTES,
    RING_ENTRIES,
    CompletionRecord,
    EventKind,
    JobRecord,
    JobStatus,
    Refusal,
)
from lepton.bench.controller import submission_cycles
from lepton.driver import BoardController, ChipError, Driver, DriverError, Job, JobRefused, JobTimeout
from lepton_sim.memory_profile import Fault, FaultKind

from tests.system.controller_jobs import WINDOW, check, copy_job, dma, endless_job


def test_more_jobs_than_the_ring_holds(board, controller):
    with Driver(board, controller.client(WINDOW)) as driver:
        jobs = [copy_job(driver, 64 + i) for i in range(RING_ENTRIES + 5)]
        handles = [driver.submit(job) for job in jobs]
        for job, handle in zip(jobs, handles, strict=True):
            completion = driver.wait(handle)
            check(job)
            causes = ("COMPUTE", "WAIT_READ", "WAIT_WEIGHTS", "WAIT_WRITE", "WAIT_SYNC", "IDLE")
            assert completion.cycles == sum(completion.counters[name] for name in causes) > 0
    kinds = [event.kind for event in controller.log()]
    assert kinds.count(EventKind.END) >= len(jobs) and EventKind.REFUSED not in kinds


def test_the_driver_behaves_as_in_direct_mode(board, controller):
    """Layers' counters, errors with their details, a time limit of `wait`; the jobs behind are not harmed."""
    with Driver(board, controller.client(WINDOW)) as driver:
        job = copy_job(driver, layers=(0, 7))
        assert set(driver.run(job).snapshots) == {0, 7}
        bad = driver.submit(copy_job(driver, load=dma(DmaOpcode.LOAD, Region.INPUT, 257, layer=5)))
        slow = driver.submit(endless_job(driver))
        good = copy_job(driver)
        after = driver.submit(good)
        with pytest.raises(ChipError, match="MEMORY_BOUNDS") as caught:
            driver.wait(bad)
        assert (caught.value.engine, caught.value.command, caught.value.layer) == (Engine.LOAD, 0, 5)
        with pytest.raises(JobTimeout, match="cycle_limit=20000"):
            driver.wait(slow, cycle_limit=20_000)
        driver.wait(after)
        check(good)


def test_from_a_doorbell_to_the_first_command(board, controller):
    """Of the first and the last client, at some phases of the memory's refresh, with the controller asleep."""
    drivers = [Driver(board, controller.client(1 << 18)) for _ in range(CLIENTS)]
    for driver in (drivers[0], drivers[-1]):
        job = copy_job(driver)
        driver.run(job)
        for idle in (20_000, 20_011, 20_500):
            board.run(idle)
            assert 1000 < submission_cycles(board, driver, job) <= 2000
    for driver in drivers:
        driver.close()


def test_clients_share_the_chip_in_turn(board, controller):
    with (Driver(board, controller.client(WINDOW)) as first, Driver(board, controller.client(WINDOW)) as second,
          Driver(board, controller.client(WINDOW)) as third):
        start = controller.read("LOG_COUNT")
        drivers = (first, second, third)
        jobs = [[copy_job(driver, 2000) for _ in range(5)] for driver in drivers]
        handles = [[driver.submit(job) for job in mine] for driver, mine in zip(drivers, jobs, strict=True)]
        for driver, mine, theirs in zip(drivers, handles, jobs, strict=True):
            for handle, job in zip(mine, theirs, strict=True):
                driver.wait(handle)
                check(job)
        order = [e.client for e in controller.log() if e.kind == EventKind.START and e.sequence >= start]
        assert sorted(order) == sorted([0, 1, 2] * 5)
        # The first one had a head start, the last ones an empty field; between them they take turns.
        assert all(order[i] != order[i + 1] for i in range(3, 11)), order


def test_a_job_that_never_ends_is_stopped_by_its_own_limit_and_by_its_clients(board, controller):
    with (Driver(board, controller.client(WINDOW, limit=30_000)) as limited,
          Driver(board, controller.client(WINDOW)) as other):
        first = limited.submit(endless_job(limited, time_limit=5_000))
        second = limited.submit(endless_job(limited))
        job = copy_job(other)
        waiting = other.submit(job)
        start = board.cycles
        other.wait(waiting)  # although the first client's jobs would go on for millions of cycles
        check(job)
        for handle, limit in ((first, 5_000), (second, 30_000)):
            with pytest.raises(JobTimeout, match=f"cycle_limit={limit}"):
                limited.wait(handle)
        assert board.cycles - start < 100_000
        assert [e.arguments[1] for e in controller.log() if e.kind == EventKind.TIME_LIMIT][-2:] == [5_000, 30_000]


def test_memory_that_answers_errors(board, controller):
    with Driver(board, controller.client(WINDOW)) as driver:
        bad = copy_job(driver)
        good = copy_job(driver)
        where = bad.regions[Region.INPUT]
        board.add_fault(Fault(where.address, where.address + where.size - 1, FaultKind.DECERR))
        handles = driver.submit(bad), driver.submit(good)
        with pytest.raises(ChipError) as caught:
            driver.wait(handles[0])
        assert caught.value.code == ErrorCode.AXI_DECERR and caught.value.address == where.address
        driver.wait(handles[1])
        check(good)


def test_a_program_that_is_not_what_was_announced(board, controller):
    """Written behind the driver's back between submission and start: refused, and the next job runs."""
    with Driver(board, controller.client(WINDOW)) as driver:
        job = copy_job(driver)
        good = copy_job(driver)
        client = driver._port
        record = client._record(job, 0)
        board.write_memory(job.regions[Region.PROGRAM].address + 20, b"\x55")
        client._record = lambda j, sequence, make=client._record: record if j is job else make(j, sequence)
        handles = driver.submit(job), driver.submit(good)
        with pytest.raises(JobRefused, match="PROGRAM_HASH"):
            driver.wait(handles[0])
        driver.wait(handles[1])
        check(good)


def test_a_host_that_dies_in_the_middle_of_a_submission(board, controller):
    """Half a record with and without its doorbell, a full ring, a running job: the next host starts afresh."""
    driver = Driver(board, controller.client(WINDOW))
    client = driver._port
    record = client._record(copy_job(driver), 0)
    board.write_memory(client.base, record[:60] + bytes(68))
    client._write("TAIL", 1)
    board.run(20_000)
    answer = CompletionRecord.unpack(bytes(board.read_memory(client.base + COMPLETION_RING, 128)))
    assert (answer["status"], answer["reason"]) == (JobStatus.REFUSED, Refusal.RESERVED) or answer["reason"] in (
        Refusal.CRC, Refusal.STREAM, Refusal.REGION)
    client._next = 1
    driver.submit(endless_job(driver))
    board.run(20_000)
    board.write_memory(client.base + 2 * JOB_BYTES, record[:60])
    controller._claim.release()  # and here the host dies

    with BoardController(board) as fresh, Driver(board, fresh.client(WINDOW)) as new:
        assert fresh.read("CLIENT0_DONE") == 0
        job = copy_job(new)
        new.run(job)
        check(job)


def test_what_is_in_use_is_refused(board, controller):
    """A controller and a driver without a client, two controllers, two drivers of one client."""
    with pytest.raises(DriverError, match="device is in use by another BoardController; close it first, or share it"):
        Driver(board)
    with pytest.raises(DriverError, match=r"by another BoardController; .* Driver\(device, controller.client\(\)\)"):
        BoardController(board)
    client = controller.client(WINDOW)
    with Driver(board, client) as driver:
        with pytest.raises(DriverError, match="the client of the controller is in use by another Driver"):
            Driver(board, client)
        controller.release(client)
        for use in (driver.allocate, lambda size: driver.submit(Job({}, {}))):
            with pytest.raises(DriverError, match="the controller has taken this client back; ask it for another"):
                use(64)
    with lepton.device.open("golden", config="tiny") as other, \
            pytest.raises(DriverError, match="the client belongs to the controller of another device"):
        Driver(other, controller.client(WINDOW))


def test_what_the_hardware_refuses(board, controller):
    """A record beyond its window that the firmware would let pass must still not reach memory: the launcher checks."""
    with Driver(board, controller.client(WINDOW)) as driver:
        job = copy_job(driver)
        client = driver._port
        before = board.read_memory(0, board.memory_bytes)
        outside = dict(output_offset=WINDOW - 16, output_size=64)
        values = JobRecord.unpack(client._record(job, 0)) | outside | {"crc": 0}
        record = JobRecord.pack(**values)[:-4]
        client._record = lambda *_: record + zlib.crc32(record).to_bytes(4, "little")
        with pytest.raises(JobRefused, match="REGION"):
            driver.run(job)
        after = board.read_memory(0, board.memory_bytes)
        inside = slice(client.base, client.base + client.memory_base - client.base)
        before[inside] = after[inside]  # the rings
        log = slice(controller.base, controller.base + 4096)
        before[log] = after[log]
        assert np.array_equal(before, after)


def test_all_clients_taken(board, controller):
    clients = [controller.client(WINDOW) for _ in range(CLIENTS)]
    with pytest.raises(RuntimeError, match="all 8 clients of the controller are taken"):
        controller.client(WINDOW)
    controller.release(clients[3])
    assert controller.client(WINDOW).index == 3


def test_idle_engines_and_a_waiting_processor_may_be_clocked_off(board, controller):
    """Nothing to do: the processor stands in WAIT, and no event is logged."""
    board.run(5_000)
    count = controller.read("LOG_COUNT")
    time = controller.read("TIME")
    board.run(50_000)
    assert controller.read("LOG_COUNT") == count and controller.read("TIME") - time > 50_000
    assert board.read_register(REGISTERS["STATUS"].offset) in (0, 2, 3)
