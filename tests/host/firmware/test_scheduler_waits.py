"""What the scheduler does and leaves undone while it waits: for a copy, or for the end of a job."""

from lepton.arch import ErrorCode
from lepton.arch.controller import CONTROLLER_WINDOW, CopyStatus, EventKind, JobStatus, LaunchStatus
from lepton.arch.registers import DRAIN_LIMIT, MemoryStatus, State

from tests.host.firmware.job_records import record
from tests.host.firmware.scheduler_values import arguments, errors, reset


def test_nothing_of_a_client_is_taken_while_its_reset_waits_for_its_job(chip):
    for sequence in range(6):
        chip.submit(0, record(sequence))
    chip.settle()
    head = chip.values["CLIENT0_HEAD"]
    copied = len(chip.copies)
    reset(chip, 0)
    chip.settle()
    chip.settle()
    assert chip.values["CLIENT_RESET"] == 1 and chip.values["CLIENT0_HEAD"] == head
    assert all(window == CONTROLLER_WINDOW for _, window, _, _ in chip.copies[copied:]), "only the log is written"
    assert not chip.launch & LaunchStatus.STAGED
    assert not chip.events(EventKind.BAD_DOORBELL), "its ring is not looked at"


def test_a_limit_that_passes_while_a_copy_waits_aborts_once(chip):
    """Memory that a job blocks is waited for no longer than the job may run; its answer comes before the job's end."""
    chip.submit(0, record(0, time_limit=50))
    chip.settle()
    chip.latency = 100
    chip.submit(1, record(0))
    chip.expire()
    # As the doorbell is seen before the limit, the copy of the record is begun first.
    status = chip.launch
    chip.answers["LAUNCH_STATUS"] = lambda: status & ~LaunchStatus.EXPIRED
    chip.answers["DOORBELLS"] = lambda: chip.answers.pop("LAUNCH_STATUS", None) and chip.answers.pop("DOORBELLS") and 2
    chip.settle()
    assert (chip.aborts, chip.writes.count(("TIMER", 100_000))) == (1, 1)
    assert [arguments(e) for e in chip.events(EventKind.TIME_LIMIT)] == [(0, 50, 0, 0)]
    chip.end(State.ERROR, **errors(ErrorCode.ABORTED))
    chip.settle()
    assert chip.completion(0, 0)["status"] == JobStatus.TIME_LIMIT
    assert chip.running["LAUNCH_WINDOW"] == 1


def test_a_reset_of_a_client_whose_job_is_aborted_already(chip):
    """One abort, one grace; the event is that of the limit."""
    chip.submit(0, record(0, time_limit=50))
    chip.settle()
    chip.expire()
    chip.settle()
    reset(chip, 0)
    chip.settle()
    assert (chip.aborts, chip.writes.count(("TIMER", 100_000))) == (1, 1)
    assert not chip.events(EventKind.ABORT) and len(chip.events(EventKind.TIME_LIMIT)) == 1
    chip.end(State.ERROR, **errors(ErrorCode.ABORTED))
    chip.settle()
    assert chip.values["CLIENT_RESET"] == chip.values["CLIENT0_DONE"] == 0 and not chip.interrupts


def test_a_record_announced_before_a_reset_is_taken_behind_it(chip):
    """Its doorbell was answered while HEAD was still that of the old ring."""
    for sequence in range(3):
        chip.submit(0, record(sequence))
        chip.settle()
        chip.end()
        chip.settle()
    chip.tails[0] = 0
    chip.submit(0, record(0, tag=9))
    chip.settle()
    assert len(chip.events(EventKind.BAD_DOORBELL)) == 1 and len(chip.started) == 3
    chip.values["CLIENT_RESET"] = 1
    chip.settle()
    assert len(chip.started) == 4
    chip.end()
    chip.settle()
    assert chip.completion(0, 0)["tag"] == 9


def test_a_copy_waits_no_longer_than_the_drain_limit_for_what_an_ended_job_left_open(chip):
    """The job ends with an error while the next record is being read, and memory never answers what it has asked."""
    chip.submit(0, record(0))
    chip.settle()
    chip.tick = 500
    chip.values["chip.MEMORY_STATUS"] = MemoryStatus.READS_OPEN
    chip.submit(1, record(0))
    looks = 0
    began = 0

    def look():
        nonlocal looks, began
        status = chip.values.get("COPY_STATUS", 0)
        looks += status == CopyStatus.BUSY
        if looks == 5 and not began:
            chip.end(State.ERROR, **errors(ErrorCode.ILLEGAL_FIELD))
            began = chip.time
        if chip.memory_resets:
            del chip.answers["COPY_STATUS"]
            return chip.read("COPY_STATUS")
        return status

    chip.answers["COPY_STATUS"] = look
    chip.settle()
    assert chip.memory_resets == 1 and len(chip.events(EventKind.ENGINE_RESET)) == 1
    assert DRAIN_LIMIT <= chip.time - began <= DRAIN_LIMIT * 3 // 2
    assert [job["LAUNCH_WINDOW"] for job in chip.started] == [0, 1]
    assert chip.completion(0, 0)["status"] == JobStatus.ERROR
