"""The driver on boards that answer otherwise: another chip, a hang, a lost board, memory that does not answer."""

import lepton.device
import pytest
from lepton.arch import PRESETS, REGISTERS, DmaOpcode, ErrorCode, Region
from lepton.arch.registers import DRAIN_LIMIT, Control, MemoryStatus
from lepton.device import DeviceError
from lepton.driver import ChipError, Driver, DriverError, JobTimeout
from lepton.driver.driver import WAIT_CHUNK

from tests.host.driver.driver_jobs import copy_job, run_copy, transfer

OFFSETS = {register.offset: name for name, register in REGISTERS.items()}


@pytest.fixture(params=["golden", "rtl"])
def device(request):
    device = lepton.device.open(request.param, config="tiny")
    yield device
    device.close()


class Wrapper:
    """A device with something changed."""

    def __init__(self, device, **registers):
        self.inner = device
        self.registers = registers
        self.written = []
        self.config = device.config
        self.memory_bytes = device.memory_bytes

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def read_register(self, offset):
        return self.registers.get(OFFSETS.get(offset), None) or self.inner.read_register(offset)

    def write_register(self, offset, value):
        self.written.append((OFFSETS[offset], value))
        self.inner.write_register(offset, value)


@pytest.mark.parametrize(("register", "text"), [
    ("ID", r"register ID reads 0xbad, but configuration 'tiny' expects 0x4c455054; is there a Lepton chip"),
    ("VERSION", r"register VERSION reads 0xbad, .* expects 0x3; use the driver and the chip of the same release"),
    ("GEOMETRY", r"register GEOMETRY reads 0xbad, .* expects 0x1100404; open the device with the configuration that"),
    ("ACCUMULATORS", r"register ACCUMULATORS reads 0xbad, .* expects 0x100;"),
])
def test_another_chip_is_refused(device, register, text):
    with pytest.raises(DriverError, match=text):
        Driver(Wrapper(device, **{register: 0xBAD}))


def test_every_geometry_register_is_compared(device):
    assert PRESETS["tiny"].scratchpad_bytes == 32 * 1024
    for register in ("SCRATCHPAD", "WEIGHTS"):
        with pytest.raises(DriverError, match=f"register {register} reads 0x1,"):
            Driver(Wrapper(device, **{register: 1}))


class Hanging(Wrapper):
    """A chip that takes for ever, until it is aborted; with `deaf`, until it is reset."""

    hanging = True
    deaf = False

    def wait_interrupt(self, max_cycles):
        if self.hanging and not any(n == "CONTROL" and (not self.deaf or v & Control.RESET) for n, v in self.written):
            return False
        return self.inner.wait_interrupt(max_cycles)


@pytest.mark.parametrize("deaf", [False, True])
def test_cycle_limit_aborts_the_job_and_the_chip_stays_usable(device, deaf):
    hanging = Hanging(device)
    hanging.deaf = deaf
    seen = []
    with Driver(hanging) as driver:
        with pytest.raises(JobTimeout, match=r"job 'copy' did not finish within cycle_limit=250000 cycles and was "
                                             r"aborted; give wait\(\) a larger cycle_limit"):
            driver.run(copy_job(driver, 64), cycle_limit=250_000, progress=seen.append)
        assert seen == [100_000, 200_000, 250_000]
        controls = [value for name, value in hanging.written if name == "CONTROL"]
        assert controls == ([Control.ABORT, Control.RESET] if deaf else [Control.ABORT])
        hanging.hanging = False
        run_copy(driver)


def test_an_interrupted_wait_frees_the_chip(device):
    class CtrlC(Hanging):
        def wait_interrupt(self, max_cycles):
            if self.hanging:
                self.hanging = False
                raise KeyboardInterrupt
            return self.inner.wait_interrupt(max_cycles)

    with Driver(CtrlC(device)) as driver:
        handle = driver.submit(copy_job(driver, 64))
        with pytest.raises(KeyboardInterrupt):
            driver.wait(handle)
        with pytest.raises(DriverError, match="job 'copy' was abandoned because waiting for it was interrupted"):
            driver.wait(handle)
        run_copy(driver)


def test_a_lost_board_is_reported_and_holds_nothing(device):
    class Lost(Wrapper):
        def wait_interrupt(self, max_cycles):
            raise DeviceError("the board does not answer")

    with Driver(Lost(device)) as driver:
        job = copy_job(driver, 64)
        with pytest.raises(DeviceError, match="the board does not answer"):
            driver.run(job)
        for buffer in job.regions.values():
            buffer.free()


@pytest.mark.parametrize(("status", "resets", "waits"), [
    (MemoryStatus.READS_OPEN, True, True), (MemoryStatus.WRITES_OPEN | MemoryStatus.READ_TIMED_OUT, True, True),
    (MemoryStatus.READ_BROKEN, True, False), (MemoryStatus.WRITE_BROKEN | MemoryStatus.WRITES_OPEN, True, False),
    (MemoryStatus.READ_TIMED_OUT, False, False), (MemoryStatus(0), False, False)])
@pytest.mark.parametrize("code", [ErrorCode.AXI_TIMEOUT, ErrorCode.ILLEGAL_OPCODE])
def test_open_transactions_are_waited_for_and_then_memory_is_reset(device, code, status, resets, waits):
    """Whatever stopped the job: MEMORY_STATUS decides, not the error's code."""
    class Counting(Wrapper):
        waited = 0

        def wait_interrupt(self, max_cycles):
            self.waited += max_cycles
            return self.inner.wait_interrupt(max_cycles)

    wrapped = Counting(device)
    with Driver(wrapped) as driver:
        handle = driver.submit(copy_job(driver, 64, store=transfer(DmaOpcode.STORE, Region.OUTPUT, 65, wait=1)))
        wrapped.registers |= {"ERROR_CODE": int(code), "MEMORY_STATUS": int(status)}
        with pytest.raises(ChipError, match=code.name):
            driver.wait(handle)
        assert (("CONTROL", Control.MEMORY_RESET) in wrapped.written) == resets
        assert wrapped.waited == WAIT_CHUNK + (DRAIN_LIMIT if waits else 0)  # one wait for the job's end comes first
        wrapped.registers.clear()
        run_copy(driver)


def test_an_unknown_error_code_is_still_reported(device):
    wrapped = Wrapper(device)
    with Driver(wrapped) as driver:
        handle = driver.submit(copy_job(driver, 64, store=transfer(DmaOpcode.STORE, Region.OUTPUT, 65, wait=1)))
        wrapped.registers["ERROR_CODE"] = 99
        with pytest.raises(ChipError, match="with code 99, which this driver does not know; is the driver older"):
            driver.wait(handle)
