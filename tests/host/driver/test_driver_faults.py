"""The driver and the RTL when memory misbehaves or a job takes too long: every way back to a usable chip."""

import lepton.device
import numpy as np
import pytest
from lepton.arch import Dma, DmaOpcode, Engine, ErrorCode, Region
from lepton.driver import ChipError, Driver, Job, JobTimeout, Stream
from lepton_sim.memory_profile import Fault, FaultKind

SIZE = 4096


@pytest.fixture
def device():
    with lepton.device.open("rtl", config="tiny") as device:
        yield device


@pytest.fixture
def driver(device):
    with Driver(device) as driver:
        yield driver


def make_job(driver, timeout=100_000):
    """A job that copies region INPUT to OUTPUT."""
    one = {"row_bytes": SIZE, "count1": 1, "count2": 1, "count3": 1}
    program = driver.allocate(128)
    program.write(Dma.pack(opcode=DmaOpcode.LOAD, region=Region.INPUT, post=1, **one)
                  + Dma.pack(opcode=DmaOpcode.STORE, region=Region.OUTPUT, wait=1, layer=5, **one))
    regions = {Region.PROGRAM: program, Region.INPUT: driver.allocate(SIZE), Region.OUTPUT: driver.allocate(SIZE)}
    regions[Region.INPUT].write(np.random.default_rng(4).integers(0, 256, SIZE, np.uint8))
    return Job(regions, {Engine.LOAD: Stream(0, 1), Engine.STORE: Stream(64, 1)}, name="copy", timeout=timeout)


def check(driver, job):
    job.regions[Region.OUTPUT].fill(0)
    driver.run(job)
    assert np.array_equal(job.regions[Region.OUTPUT].read(), job.regions[Region.INPUT].read())


@pytest.mark.parametrize("limit", [1, 20, 100, 300, 600])
def test_a_job_can_be_aborted_at_any_time(driver, limit):
    job = make_job(driver)
    with pytest.raises(JobTimeout, match=f"did not finish within cycle_limit={limit} cycles and was aborted"):
        driver.run(job, cycle_limit=limit)
    check(driver, job)


def test_a_job_without_a_limit_of_its_own_has_the_drivers(driver, monkeypatch):
    monkeypatch.setattr(Driver, "default_cycle_limit", 5000)
    rows = {"row_bytes": 64, "count1": 1000, "count2": 1000, "count3": 4}  # hours of the simulated board
    job = make_job(driver)
    job.regions[Region.PROGRAM].write(Dma.pack(opcode=DmaOpcode.LOAD, region=Region.INPUT, **rows))
    with pytest.raises(JobTimeout, match="did not finish within cycle_limit=5000 cycles and was aborted"):
        driver.run(job)
    check(driver, make_job(driver))


def test_counters_say_where_the_cycles_went(driver):
    counters = driver.run(make_job(driver)).counters
    causes = ("COMPUTE", "WAIT_READ", "WAIT_WEIGHTS", "WAIT_WRITE", "WAIT_SYNC", "IDLE")
    assert sum(counters[cause] for cause in causes) == counters["CYCLES"] > 2 * SIZE // 16
    assert counters["READ_BEATS"] >= SIZE // 16 and counters["WRITE_BEATS"] == SIZE // 16


@pytest.mark.parametrize(("region", "engine", "layer"), [(Region.INPUT, Engine.LOAD, 0),
                                                         (Region.OUTPUT, Engine.STORE, 5)])
@pytest.mark.parametrize(("kind", "code"), [(FaultKind.SLVERR, ErrorCode.AXI_SLVERR),
                                            (FaultKind.DECERR, ErrorCode.AXI_DECERR),
                                            (FaultKind.HANG, ErrorCode.AXI_TIMEOUT)])
def test_memory_faults_end_the_job_and_the_chip_recovers(driver, device, region, engine, layer, kind, code):
    job = make_job(driver, timeout=2000)
    bad = job.regions[region].address + 2048
    device.add_fault(Fault(bad, bad + 15, kind))
    with pytest.raises(ChipError, match=f"the chip stopped job 'copy' with {code.name}") as caught:
        driver.run(job)
    error = caught.value
    assert (error.code, error.engine) == (code, engine)
    if kind == FaultKind.HANG:  # the port does not know whose access it was
        assert f"({engine.name} one of its commands, address" in str(error)
    else:
        assert (error.command, error.layer) == (0, layer)
    assert job.regions[region].address <= error.address <= bad
    device.clear_faults()
    check(driver, job)


def test_a_fault_in_the_program_is_reported_too(driver, device):
    job = make_job(driver)
    address = job.regions[Region.PROGRAM].address
    device.add_fault(Fault(address, address + 127, FaultKind.SLVERR))
    with pytest.raises(ChipError, match="AXI_SLVERR: memory answered SLVERR"):
        driver.run(job)
    device.clear_faults()
    check(driver, job)
