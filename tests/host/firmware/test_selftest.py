"""selftest.c: each of its steps, with hardware that fails in this one."""

import ctypes
import zlib

import pytest
from lepton.arch.controller import (
    CONTROLLER_WINDOW,
    IMAGE_OFFSET,
    BistStatus,
    BootError,
    CopyStatus,
    ImageHeader,
    JobRecord,
    LaunchStatus,
)
from lepton.arch.registers import State

from tests.host.firmware.job_records import record
from tests.host.firmware.unit_controller import WINDOW, Controller

# The test that the image carries: addresses of its job and output, size of the output in bytes.
JOB = 0x3000
OUTPUT = 0x4004
SIZE = 36


class SelfTest(Controller):
    """The controller with an image in its window. `bist`: what BIST_STATUS says, look by look; `state`: with which the
    test's job ends, after some looks at the launcher."""

    def __init__(self, library: ctypes.CDLL):
        super().__init__(library)
        self.output = bytes(range(100, 100 + SIZE))
        self.header: dict[str, int] = dict(test_job=JOB, test_output=OUTPUT, test_bytes=SIZE,
                                           test_crc=zlib.crc32(self.output))
        self.job = record(0)
        self.state = State.DONE
        self.looks = 0
        self.bist: list[int] = [BistStatus.BUSY, BistStatus.BUSY, 0]
        self.values["CONTROLLER_SIZE"] = WINDOW
        self.answers["BIST_STATUS"] = lambda: self.bist.pop(0)
        self.answers["LAUNCH_STATUS"] = self._look

    def _look(self) -> int:
        self.looks += 1
        if self.running and self.looks > 5:
            self.memory[CONTROLLER_WINDOW][OUTPUT:OUTPUT + SIZE] = self.output
            self.end(self.state)
        return self.launch

    def run(self) -> BootError:
        memory = self.memory[CONTROLLER_WINDOW]
        memory[IMAGE_OFFSET:IMAGE_OFFSET + ImageHeader.size] = ImageHeader.pack(**self.header)
        memory[JOB:JOB + len(self.job)] = self.job
        self.writes.clear()
        with self.call():
            return BootError(self.library.selftest_run())


@pytest.fixture
def test(library: ctypes.CDLL) -> SelfTest:
    return SelfTest(library)


def test_all_is_well(test):
    assert test.run() == BootError.NONE
    assert test.bist == [] and ("BIST", 1) in test.writes
    job = JobRecord.unpack(test.job)
    assert [(job["LAUNCH_WINDOW"], job["LAUNCH_LOAD_COUNT"], job["LAUNCH_PROGRAM"]) for job in test.started] == [
        (CONTROLLER_WINDOW, job["load_count"], job["program_offset"])]
    assert 0 < test.started[0]["LAUNCH_LIMIT"] <= 1_000_000, "a test that hangs must end"
    assert not test.launch, "the next job must find the launcher free"


@pytest.mark.parametrize(("status", "error"), [
    (BistStatus.SCRATCHPAD, BootError.SCRATCHPAD), (BistStatus.WEIGHTS, BootError.WEIGHTS),
    (BistStatus.SCRATCHPAD | BistStatus.WEIGHTS, BootError.SCRATCHPAD)])
def test_a_memory_with_a_defect(test, status, error):
    """Only the status of the end counts, and nothing is run on such a chip."""
    test.bist = [BistStatus.BUSY, BistStatus.BUSY | status, status]
    assert test.run() == error and test.bist == [] and not test.started


def test_a_status_before_the_end_says_nothing(test):
    test.bist = [BistStatus.BUSY | BistStatus.WEIGHTS, BistStatus.BUSY | BistStatus.SCRATCHPAD, 0]
    assert test.run() == BootError.NONE


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("status", [CopyStatus.FAILED, CopyStatus.BOUNDS, CopyStatus.STUCK | CopyStatus.FAILED])
def test_memory_that_fails(test, number, status):
    """While the header, the job or the result is read."""
    faults = [CopyStatus(0)] * number + [status]
    copy = test._copy
    test._copy = lambda mode: faults.pop(0) or copy(mode) if len(faults) == 1 else (faults.pop(0), copy(mode))[1]
    assert test.run() == BootError.MEMORY and not faults
    assert len(test.started) == (number == 2)


@pytest.mark.parametrize("change", [dict(magic=1), dict(sequence=1), dict(load_count=0), dict(input_size=8)])
def test_a_job_that_is_not_valid(test, change):
    test.job = record(0, **change)
    assert test.run() == BootError.SELF_TEST_JOB and not test.started


def test_a_job_beyond_the_window(test):
    test.values["CONTROLLER_SIZE"] = JobRecord.unpack(test.job)["program_offset"]
    assert test.run() == BootError.SELF_TEST_JOB and not test.started


@pytest.mark.parametrize("status", [LaunchStatus.REFUSED, LaunchStatus.EXPIRED | LaunchStatus.RUNNING,
                                    LaunchStatus.EXPIRED | LaunchStatus.RESULT])
def test_a_job_that_is_refused_or_too_slow(test, status):
    looks = iter([0, LaunchStatus.RUNNING, status])
    test.answers["LAUNCH_STATUS"] = lambda: next(looks)
    assert test.run() == BootError.SELF_TEST_JOB and next(looks, None) is None


def test_a_job_that_starts_late(test):
    """Staged is neither running nor ended: the result is waited for."""
    looks = [0, LaunchStatus.STAGED, LaunchStatus.STAGED, LaunchStatus.RUNNING, LaunchStatus.RESULT]
    test.answers["LAUNCH_STATUS"] = lambda: looks.pop(0) if len(looks) > 1 else looks[0]
    test.values["RESULT_STATUS"] = State.DONE
    test.memory[CONTROLLER_WINDOW][OUTPUT:OUTPUT + SIZE] = test.output
    assert test.run() == BootError.NONE and len(looks) == 1


def test_a_launcher_that_is_not_free(test):
    test.answers["LAUNCH_STATUS"] = lambda: LaunchStatus.STAGED
    assert test.run() == BootError.SELF_TEST_JOB


@pytest.mark.parametrize("state", [State.ERROR, State.IDLE])
def test_a_job_that_fails(test, state):
    test.state = state
    assert test.run() == BootError.SELF_TEST_JOB
    assert not test.launch, "the result must be acknowledged"


@pytest.mark.parametrize("bit", [0, 8 * SIZE - 1])
def test_a_wrong_result(test, bit):
    damaged = bytearray(test.output)
    damaged[bit // 8] ^= 1 << bit % 8
    test.output = bytes(damaged)
    assert test.run() == BootError.SELF_TEST_RESULT


@pytest.mark.parametrize("change", [dict(test_crc=0), dict(test_output=OUTPUT + 4), dict(test_bytes=SIZE - 4)])
def test_a_header_that_expects_another_result(test, change):
    test.header |= change
    assert test.run() == BootError.SELF_TEST_RESULT
