"""The scheduler: time limits, aborts, and the reset of a client."""

import pytest
from lepton.arch import ErrorCode
from lepton.arch.controller import (
    COMPLETION_RING,
    EventKind,
    JobStatus,
    LaunchStatus,
)
from lepton.arch.registers import State

from tests.host.firmware.job_records import record
from tests.host.firmware.scheduler_values import TOP, arguments, errors, reset
from tests.host.firmware.unit_controller import TIMER


@pytest.mark.parametrize(("wanted", "highest", "limit"), [
    (0, 0, 0), (7, 0, 7), (0, 9, 9), (8, 9, 8), (9, 9, 9), (10, 9, 9), (TOP, 0, TOP), (TOP, 1 << 31, 1 << 31),
    (1 << 31, TOP, 1 << 31), (0x1_0000, 0xFFFF, 0xFFFF), (0xFFFF, 0x1_0000, 0xFFFF)])
def test_limits_of_32_bits(chip, wanted, highest, limit):
    """The lower one holds, 0 is none; TIMEOUT goes on as it is."""
    chip.values["CLIENT4_LIMIT"] = highest
    chip.submit(4, record(0, time_limit=wanted, timeout=0x8765_4321))
    chip.settle()
    assert chip.started[0]["LAUNCH_LIMIT"] == limit and chip.started[0]["LAUNCH_TIMEOUT"] == 0x8765_4321
    assert arguments(chip.events(EventKind.START)[0]) == (0, 0, limit, 0)
    chip.expire()
    chip.settle()
    assert arguments(chip.events(EventKind.TIME_LIMIT)[0]) == (0, limit, 0, 0) and chip.aborts == 1


def test_reset_of_a_client(chip):
    """What it has submitted is forgotten without a completion, and its next record is number 0."""
    chip.submit(0, record(0))
    chip.settle()
    chip.end()
    for sequence in range(1, 4):
        chip.submit(0, record(sequence))
    chip.settle()
    chip.submit(1, record(0))
    chip.settle()
    assert chip.values["DOORBELLS"] == 0
    before = bytes(chip.memory[0][COMPLETION_RING:])
    reset(chip, 0, 3)
    chip.settle()
    assert chip.aborts == 1 and chip.values["CLIENT_RESET"] == 1, "not before its job has ended; the other's at once"
    assert [(e["client"], arguments(e)) for e in chip.events(EventKind.ABORT)] == [(0, (1, 0, 0, 0))]
    assert ("TIMER", 100_000) in chip.writes
    chip.end(State.ERROR, **errors(ErrorCode.ABORTED))
    chip.settle()
    assert chip.values["CLIENT_RESET"] == chip.values["CLIENT0_HEAD"] == chip.values["CLIENT0_DONE"] == 0
    assert [e["client"] for e in chip.events(EventKind.CLIENT_RESET)] == [3, 0]
    assert bytes(chip.memory[0][COMPLETION_RING:]) == before and chip.interrupts == [1]
    assert chip.running["LAUNCH_WINDOW"] == 1
    chip.end()
    chip.submit(0, record(0, tag=55))
    chip.settle()
    assert chip.running["LAUNCH_WINDOW"] == 0
    chip.end()
    chip.settle()
    assert (chip.completion(0, 0)["status"], chip.completion(0, 0)["tag"]) == (JobStatus.DONE, 55)
    assert chip.values["CLIENT0_DONE"] == chip.values["CLIENT0_HEAD"] == 1


def test_reset_of_a_client_whose_job_is_staged(chip):
    """The job never starts; the one that runs is another client's and goes on."""
    chip.submit(1, record(0))
    chip.settle()
    chip.submit(0, record(0))
    chip.submit(0, record(1))
    chip.submit(2, record(0))
    chip.settle()
    assert chip.launch & LaunchStatus.STAGED
    reset(chip, 0)
    chip.settle()
    assert chip.values["CLIENT_RESET"] == chip.aborts == 0
    chip.end()
    chip.settle()
    chip.end()
    chip.settle()
    assert [job["LAUNCH_WINDOW"] for job in chip.started] == [1, 2] and chip.interrupts == [1 << 1, 1 << 2]


def test_an_abort_has_its_grace_and_then_comes_the_reset(chip):
    chip.submit(0, record(0, time_limit=50))
    chip.submit(1, record(0))
    chip.settle()
    chip.expire()
    chip.settle()
    assert (chip.aborts, chip.resets) == (1, 0) and ("TIMER", 100_000) in chip.writes
    chip.settle()
    chip.settle()
    assert (chip.aborts, chip.resets) == (1, 0), "one abort, and no reset before the time"
    chip.settle(TIMER)
    assert chip.resets == 1
    chip.settle()
    found = chip.completion(0, 0)
    assert found["status"] == JobStatus.TIME_LIMIT
    assert [arguments(e) for e in chip.events(EventKind.ENGINE_RESET)] == [(0, 0, 0, 0)]
    assert chip.writes.count(("TIMER", 0)) >= 1 and chip.running["LAUNCH_WINDOW"] == 1
    chip.settle(TIMER)
    assert chip.resets == 1, "the timer of a job that has ended resets no other job"


@pytest.mark.parametrize(("code", "status"), [
    (ErrorCode.ABORTED, JobStatus.TIME_LIMIT), (ErrorCode.AXI_TIMEOUT, JobStatus.ERROR),
    (ErrorCode.MEMORY_BOUNDS, JobStatus.ERROR)])
def test_what_a_job_ends_with_after_its_abort(chip, code, status):
    chip.submit(0, record(0, time_limit=50))
    chip.settle()
    chip.expire()
    chip.settle()
    chip.end(State.ERROR, **errors(code))
    chip.settle()
    assert chip.completion(0, 0)["status"] == status and chip.completion(0, 0)["error_code"] == code


def test_a_job_that_is_done_in_the_cycle_of_its_abort(chip):
    chip.submit(0, record(0, time_limit=50))
    chip.settle()
    chip.expire()
    chip.settle()
    chip.end()
    chip.settle()
    assert chip.completion(0, 0)["status"] == JobStatus.DONE


def test_a_limit_that_passes_as_the_job_ends(chip):
    """Ended by itself: the limit does not matter any more."""
    chip.submit(0, record(0, time_limit=50))
    chip.settle()
    chip.expire()
    chip.end()
    chip.settle()
    assert chip.completion(0, 0)["status"] == JobStatus.DONE and not chip.aborts
    assert not chip.events(EventKind.TIME_LIMIT)
