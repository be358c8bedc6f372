"""The driver as a user has it, on the golden model and on the RTL."""

import lepton.device
import numpy as np
import pytest
from lepton.arch import DmaOpcode, Engine, ErrorCode, Region
from lepton.arch.registers import State
from lepton.driver import AllocationError, BufferUseError, ChipError, Driver, DriverError, Job, Stream

from tests.host.driver.driver_jobs import copy_job, run_copy, transfer


@pytest.fixture(params=["golden", "rtl"])
def device(request):
    device = lepton.device.open(request.param, config="tiny")
    yield device
    device.close()


@pytest.fixture
def driver(device):
    with Driver(device) as driver:
        yield driver


def test_a_job_runs_and_reports(driver):
    run_copy(driver)
    completion = driver.run(copy_job(driver, 64, layers=(0, 7)))
    assert set(completion.counters) >= {"CYCLES", "COMPUTE", "IDLE", "READ_BEATS"}
    assert completion.cycles == completion.counters["CYCLES"]
    assert set(completion.snapshots) == {0, 7}


def test_buffers_take_bytes_and_arrays_and_keep_to_their_bounds(driver):
    buffer = driver.allocate(10, "small")
    buffer.write(np.arange(5, dtype=np.int16))
    assert buffer.read().tobytes() == np.arange(5, dtype=np.int16).tobytes()
    buffer.write(b"ab", 8)
    assert buffer.read(8).tobytes() == b"ab"
    assert buffer.read(2, 4).tobytes() == np.arange(1, 3, dtype=np.int16).tobytes()
    with pytest.raises(BufferUseError, match="cannot write 3 bytes at offset 8 of buffer 'small': it has 10 bytes"):
        buffer.write(b"abc", 8)
    with pytest.raises(BufferUseError, match="cannot read 4 bytes at offset -1"):
        buffer.read(-1, 4)


def test_use_after_free_is_refused(driver):
    free = driver.free_bytes
    with driver.allocate(1000, "gone") as buffer:
        assert driver.free_bytes == free - 1024
    assert driver.free_bytes == free
    for use in (buffer.read, lambda: buffer.write(b"x"), buffer.free):
        with pytest.raises(BufferUseError, match=r"buffer 'gone' cannot be (used|freed): it has been freed"):
            use()
    job = copy_job(driver, 64)
    job.regions[Region.INPUT].free()
    with pytest.raises(BufferUseError, match="the INPUT buffer of job 'copy' has been freed"):
        driver.submit(job)


def test_too_large_an_allocation(driver, device):
    with pytest.raises(AllocationError, match=f"cannot allocate {device.memory_bytes + 1} bytes of device memory: "
                                              f"{device.memory_bytes} bytes are free"):
        driver.allocate(device.memory_bytes + 1)


def test_buffers_of_a_submitted_job_are_held(driver):
    job = copy_job(driver, 64)
    handle = driver.submit(job)
    for use in (lambda: job.regions[Region.INPUT].write(b"x"), job.regions[Region.OUTPUT].free):
        with pytest.raises(BufferUseError, match=r"cannot be (written|freed) while a job uses it; wait for the job"):
            use()
    driver.wait(handle)
    job.regions[Region.OUTPUT].free()


def test_jobs_run_in_order_and_can_be_waited_for_in_any(driver):
    jobs = [copy_job(driver, 32, name=f"job {i}") for i in range(3)]
    for i, job in enumerate(jobs):
        job.regions[Region.INPUT].fill(i + 1)
    handles = [driver.submit(job) for job in jobs]
    assert driver.wait(handles[2]).job == "job 2"
    assert handles[0].done and handles[1].done
    assert [job.regions[Region.OUTPUT].read()[0] for job in jobs] == [1, 2, 3]
    assert driver.wait(handles[0]).job == "job 0"
    assert driver.wait(handles[0]) is driver.wait(handles[0])


@pytest.mark.parametrize(("change", "code", "engine", "text"), [
    ({"load": transfer(0x7F, Region.INPUT, 64, post=1, layer=3)}, ErrorCode.ILLEGAL_OPCODE, Engine.LOAD,
     r"the chip stopped job 'copy' with ILLEGAL_OPCODE: the engine does not know the opcode.*"
     r"\(LOAD command 0, layer 3, address 0x7f; registers: STATUS=0x3, ERROR_CODE=0x1"),
    ({"store": transfer(DmaOpcode.STORE, Region.OUTPUT, 65, wait=1, layer=7)}, ErrorCode.MEMORY_BOUNDS, Engine.STORE,
     r"MEMORY_BOUNDS: a transfer leaves its memory region.*STORE command 0, layer 7"),
    ({"store": transfer(DmaOpcode.STORE, Region.SCRATCH, 1, wait=1)}, ErrorCode.MEMORY_BOUNDS, Engine.STORE,
     "a transfer leaves its memory region"),  # a region without a buffer has no bytes at all
    ({"store": transfer(DmaOpcode.STORE, Region.OUTPUT, 64, wait=2)}, ErrorCode.DEADLOCK, Engine.STORE,
     "DEADLOCK: every engine waits for a semaphore that none will post"),
])
def test_chip_errors_say_everything_and_the_next_job_runs(driver, change, code, engine, text):
    handle = driver.submit(copy_job(driver, 64, **change))
    behind = driver.submit(copy_job(driver, 64, name="behind"))
    with pytest.raises(ChipError, match=text) as caught:
        driver.wait(handle)
    error = caught.value
    assert (error.code, error.engine, error.command) == (code, engine, 0)
    assert error.registers["STATUS"] == State.ERROR and error.registers["ERROR_CODE"] == code
    assert driver.wait(behind).job == "behind"
    with pytest.raises(ChipError):  # its own error stays with the handle
        driver.wait(handle)
    run_copy(driver)


@pytest.mark.parametrize(("streams", "text"), [
    ({Engine.LOAD: Stream(32, 1)}, "LOAD stream of job 'bad' must start at a multiple of 64 .* not offset 32"),
    ({Engine.LOAD: Stream(64, -1)}, "and have 0 or more commands, not offset 64 and count -1"),
    ({Engine.LOAD: Stream(64, 2)}, "LOAD stream of job 'bad' ends at byte 192, but its program buffer has 128 bytes"),
    ({Engine.TENSOR: Stream(64, 1)}, "TENSOR stream of job 'bad' ends at byte 192"),
    ({}, "job 'bad' has no commands"),
])
def test_bad_streams_never_reach_the_chip(driver, streams, text):
    program = driver.allocate(128)
    with pytest.raises(DriverError, match=text):
        driver.submit(Job({Region.PROGRAM: program}, streams, name="bad"))
    program.free()  # the job holds nothing
    run_copy(driver)


def test_bad_jobs_never_reach_the_chip(driver, device):
    job = copy_job(driver, 64)
    with pytest.raises(DriverError, match="has no buffer for region PROGRAM"):
        driver.submit(Job({}, job.streams))
    with pytest.raises(DriverError, match=r"asks for counters of layer 256; the chip keeps those of layers 0\.\.255"):
        driver.submit(Job(job.regions, job.streams, layers=(256,)))
    with pytest.raises(DriverError, match=r"timeout must be in 0\.\.4294967295 cycles, not -1"):
        driver.submit(Job(job.regions, job.streams, timeout=-1))
    with pytest.raises(DriverError, match=r"cycle_limit must be in 1\.\.4294967295 cycles, not 0"):
        driver.run(job, cycle_limit=0)
    with lepton.device.open("golden", config="tiny") as second, Driver(second) as other, \
            pytest.raises(DriverError, match="PROGRAM buffer of job 'copy' belongs to another"):
        other.submit(job)


def test_a_closed_driver_refuses_work_and_has_freed_everything(device):
    with Driver(device) as driver:
        buffer = driver.allocate(64)
    assert buffer.freed
    with pytest.raises(DriverError, match="the driver has been closed; make a new Driver for the device"):
        driver.allocate(64)
    with Driver(device) as again:
        run_copy(again)
