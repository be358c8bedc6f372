"""What the scheduler does where memory fails, is late or gets stuck."""

import zlib

import pytest
from lepton.arch import ErrorCode
from lepton.arch.controller import (
    COMPLETION_RING,
    CONTROLLER_WINDOW,
    RINGS_BYTES,
    CopyMode,
    CopyStatus,
    EventKind,
    JobFlag,
    JobStatus,
    Refusal,
)
from lepton.arch.registers import DRAIN_LIMIT, MemoryStatus, State

from tests.host.firmware.job_records import record
from tests.host.firmware.scheduler_values import SLOT, arguments, errors, results


@pytest.mark.parametrize(("status", "drains", "reset"), [
    (MemoryStatus.READS_OPEN, True, False), (MemoryStatus.WRITES_OPEN | MemoryStatus.WRITE_TIMED_OUT, True, False),
    (MemoryStatus.READS_OPEN, False, True), (MemoryStatus.WRITES_OPEN, False, True),
    (MemoryStatus.READ_BROKEN, False, True), (MemoryStatus.WRITE_BROKEN, False, True),
    (MemoryStatus.READ_TIMED_OUT | MemoryStatus.WRITE_TIMED_OUT, False, False)])
@pytest.mark.parametrize("code", [ErrorCode.AXI_TIMEOUT, ErrorCode.ILLEGAL_FIELD, ErrorCode.ABORTED])
def test_what_a_job_leaves_open_ends_before_the_next_one_starts(chip, status, drains, reset, code):
    """Whatever the job ended with: it is waited for DRAIN_LIMIT cycles, memory that is out of step not at all."""
    chip.submit(3, record(0))
    chip.submit(5, record(0))
    chip.settle()
    chip.tick = 500
    looks = 0
    began = 0

    def look():
        nonlocal looks, began
        looks += 1
        began = began or chip.time
        assert len(chip.started) == 1 or not chip.values["chip.MEMORY_STATUS"] & ~0xC
        if drains and looks == 50:
            chip.values["chip.MEMORY_STATUS"] = 0
        return chip.values["chip.MEMORY_STATUS"]

    chip.values["chip.MEMORY_STATUS"] = status
    chip.answers["chip.MEMORY_STATUS"] = look
    chip.end(State.ERROR, **errors(code))
    chip.settle()
    assert (chip.memory_resets, len(chip.events(EventKind.ENGINE_RESET))) == (reset, reset)
    assert [job["LAUNCH_WINDOW"] for job in chip.started] == [3, 5]
    if reset and status & (MemoryStatus.READS_OPEN | MemoryStatus.WRITES_OPEN):
        assert DRAIN_LIMIT <= chip.time - began <= DRAIN_LIMIT * 3 // 2
    elif not drains:
        assert looks < 10
    assert chip.completion(3, 0)["status"] == JobStatus.ERROR


@pytest.mark.parametrize("status", [MemoryStatus.READ_BROKEN, MemoryStatus.WRITE_BROKEN])
def test_a_copy_that_fails_because_memory_is_out_of_step_is_tried_again(chip, status):
    chip.copy_faults = [(4, CopyStatus.FAILED)]
    chip.values["chip.MEMORY_STATUS"] = status
    chip.submit(4, record(0))
    chip.settle()
    assert chip.memory_resets == 1 and len(chip.started) == 1


@pytest.mark.parametrize("status", [CopyStatus.FAILED, CopyStatus.BOUNDS])
def test_a_record_that_cannot_be_read(chip, status):
    chip.copy_faults = [(4, status)]
    chip.submit(4, record(0))
    chip.submit(4, record(1))
    chip.settle()
    found = chip.completion(4, 0)
    assert (found["status"], found["reason"], found["tag"]) == (JobStatus.REFUSED, Refusal.MEMORY, 0)
    assert len(chip.started) == 1


def test_what_is_stuck_is_tried_once_more(chip):
    """A record or a piece of its program: one copy that gets stuck loses nothing, two refuse the job."""
    stuck = CopyStatus.STUCK | CopyStatus.FAILED
    fields = dict(flags=JobFlag.VERIFY, program_hash=zlib.crc32(bytes(256)))
    copy = chip._copy
    failing = []

    def may_fail(mode):
        if (mode, chip.values["COPY_WINDOW"]) in failing:
            failing.remove((mode, 4))
            chip.values["COPY_CRC"] ^= 0x5A5A_5A5A  # of the words that came before it got stuck
            return stuck
        return copy(mode)

    chip._copy = may_fail
    for sequence, mode in enumerate((CopyMode.READ, CopyMode.CHECK)):
        failing.append((mode, 4))
        chip.submit(4, record(sequence, **fields))
        chip.settle()
        assert len(chip.started) == chip.memory_resets == sequence + 1
        chip.end()
        chip.settle()
        assert chip.completion(4, sequence)["status"] == JobStatus.DONE
    for sequence, mode in ((2, CopyMode.READ), (3, CopyMode.CHECK)):
        failing += [(mode, 4)] * 2
        chip.submit(4, record(sequence, **fields))
        chip.settle()
        assert chip.completion(4, sequence)["reason"] == Refusal.MEMORY and len(chip.started) == 2


@pytest.mark.parametrize("faults", [1, 2])
def test_a_completion_that_cannot_be_written(chip, faults):
    """Stuck once: written with the second try. Twice, or an error: counted and logged as a fault of the window."""
    stuck = CopyStatus.STUCK | CopyStatus.FAILED
    chip.submit(4, record(0))
    chip.settle()
    chip.copy_faults = [(4, stuck)] * faults
    chip.end(**results(4))
    chip.settle()
    assert chip.values["CLIENT4_DONE"] == 1 and chip.interrupts == [1 << 4]
    logged = [(e["client"], arguments(e)) for e in chip.events(EventKind.MEMORY_FAULT)]
    assert logged == ([] if faults == 1 else [(4, (COMPLETION_RING, 128, 0, 0))])
    assert chip.completion(4, 0)["status"] == (JobStatus.DONE if faults == 1 else 0)


def test_snapshots_that_cannot_be_written(chip):
    chip.submit(1, record(0, flags=JobFlag.SNAPSHOTS, snapshot_offset=RINGS_BYTES, snapshot_count=3))
    chip.settle()
    chip.copy_faults = [(1, CopyStatus.FAILED)]
    chip.end()
    chip.settle()
    assert [arguments(e) for e in chip.events(EventKind.MEMORY_FAULT)] == [(RINGS_BYTES, SLOT, 0, 0)]
    assert chip.completion(1, 0)["status"] == JobStatus.DONE


def test_a_log_that_cannot_be_written_counts_on(chip):
    chip.copy_faults = [(CONTROLLER_WINDOW, CopyStatus.FAILED)]
    chip.submit(1, record(0))
    chip.settle()
    chip.end()
    chip.settle()
    assert chip.values["LOG_COUNT"] == 2 and chip.completion(1, 0)["status"] == JobStatus.DONE
    assert [e["kind"] for e in chip.events()] == [0, EventKind.END]
