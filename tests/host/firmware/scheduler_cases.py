"""Single cases of the scheduler under the address sanitizer. Run as a program: the library and the case's name."""

import sys
from pathlib import Path

from lepton.arch import ErrorCode
from lepton.arch.controller import JobStatus, LaunchStatus
from lepton.arch.registers import DRAIN_LIMIT, MemoryStatus, State

from tests.host.firmware.firmware_host import Hardware
from tests.host.firmware.job_records import record


def doorbells_beyond_the_ring(hardware: Hardware) -> None:
    """A doorbell beyond the ring, and one behind HEAD, are ignored; a right one is served."""
    hardware.values["CLIENT0_TAIL"] = 17
    hardware.values["DOORBELLS"] = 1
    hardware.settle()
    assert not hardware.started and hardware.values["CLIENT0_HEAD"] == 0
    hardware.values["CLIENT0_TAIL"] = 0
    hardware.submit(0, record(0))
    hardware.settle()
    assert hardware.started == [0]
    hardware.values["CLIENT0_TAIL"] = 0
    hardware.values["DOORBELLS"] = 1
    hardware.settle()
    assert hardware.values["CLIENT0_HEAD"] == 1 and hardware.starts == 1


def a_disabled_client(hardware: Hardware) -> None:
    """A disabled client is not looked at."""
    hardware.values["CLIENT3_CONTROL"] = 0
    hardware.submit(3, record(0))
    hardware.settle()
    assert not hardware.started and hardware.values["CLIENT3_HEAD"] == 0
    hardware.values["CLIENT3_CONTROL"] = 1
    hardware.values["DOORBELLS"] = 8
    hardware.settle()
    assert hardware.started == [3]


def the_lower_limit_holds(hardware: Hardware) -> None:
    """The lower of the job's and the client's limits holds."""
    hardware.values["CLIENT1_LIMIT"] = 500
    for n, (wanted, limit) in enumerate(((0, 500), (100, 100), (900, 500))):
        hardware.submit(1, record(n, time_limit=wanted))
        hardware.settle()
        assert hardware.running == (1, limit)
        hardware.end()
        hardware.settle()


def priority_is_capped(hardware: Hardware) -> None:
    """A client cannot claim more priority than it has."""
    hardware.values["CLIENT2_CONTROL"] = 1
    hardware.submit(0, record(0))
    hardware.submit(0, record(1))
    hardware.settle()
    hardware.submit(2, record(0, priority=3))
    hardware.submit(1, record(0, priority=1))
    hardware.settle()
    for _ in range(3):
        hardware.end()
        hardware.settle()
    assert hardware.started == [0, 0, 1, 2], hardware.started


def a_reset_of_a_client(hardware: Hardware) -> None:
    """A reset forgets what is staged and aborts what runs; the other client goes on."""
    hardware.submit(0, record(0))
    hardware.submit(0, record(1))
    hardware.submit(5, record(0))
    hardware.settle()
    hardware.values["CLIENT0_TAIL"] = 0
    hardware.values["CLIENT_RESET"] = 1
    hardware.settle()
    hardware.settle()
    assert hardware.aborts == 1 and hardware.values["CLIENT_RESET"] == 0
    assert hardware.values["CLIENT0_DONE"] == hardware.values["CLIENT0_HEAD"] == 0
    assert hardware.running == (5, 0)
    hardware.end()
    hardware.settle()
    assert hardware.completion(5, 0)["status"] == JobStatus.DONE
    hardware.submit(0, record(0))
    hardware.settle()
    assert hardware.running == (0, 0)


def memory_that_does_not_answer(hardware: Hardware) -> None:
    """Memory that no longer answers is reset before the next job starts, whatever ended the one that asked."""
    codes = (ErrorCode.AXI_TIMEOUT, ErrorCode.ILLEGAL_OPCODE, ErrorCode.ABORTED, ErrorCode.AXI_SLVERR)
    for n, code in enumerate(codes):
        for open_ in (MemoryStatus.READS_OPEN, MemoryStatus.WRITES_OPEN | MemoryStatus.READ_TIMED_OUT):
            sequence = 2 * n + (open_ != MemoryStatus.READS_OPEN)
            hardware.submit(0, record(sequence))
            hardware.submit(1, record(sequence))
            hardware.settle()
            hardware.chip = dict(MEMORY_STATUS=open_)
            begun = hardware.time
            hardware.end(State.ERROR, code)
            assert hardware.running is None
            hardware.settle()
            assert hardware.memory_resets == sequence + 1 and hardware.running == (1, 0)
            assert DRAIN_LIMIT <= hardware.time - begun < DRAIN_LIMIT + 50_000
            assert hardware.completion(0, sequence)["error_code"] == code
            hardware.end()
            hardware.settle()
            assert hardware.completion(1, sequence)["status"] == JobStatus.DONE


def late_answers(hardware: Hardware) -> None:
    """Late answers are waited for; then nothing is reset."""
    hardware.submit(0, record(0))
    hardware.submit(1, record(0))
    hardware.settle()
    hardware.chip = dict(MEMORY_STATUS=MemoryStatus.READS_OPEN)
    hardware.drained_at = hardware.time + DRAIN_LIMIT // 2
    hardware.end(State.ERROR, ErrorCode.AXI_TIMEOUT)
    hardware.settle()
    assert hardware.resets == 0 and hardware.running == (1, 0) and hardware.time >= hardware.drained_at


def memory_out_of_step(hardware: Hardware) -> None:
    """Memory that is out of step is reset at once; a timeout whose transfers have ended needs no reset."""
    hardware.submit(0, record(0))
    hardware.submit(1, record(0))
    hardware.submit(2, record(0))
    hardware.settle()
    hardware.chip = dict(MEMORY_STATUS=MemoryStatus.WRITE_BROKEN)
    begun = hardware.time
    hardware.end(State.ERROR, ErrorCode.AXI_PROTOCOL)
    hardware.settle()
    assert hardware.memory_resets == 1 and hardware.time - begun < DRAIN_LIMIT and hardware.running == (1, 0)
    hardware.chip = dict(MEMORY_STATUS=MemoryStatus.READ_TIMED_OUT)
    hardware.end(State.ERROR, ErrorCode.AXI_TIMEOUT)
    hardware.settle()
    assert hardware.memory_resets == 1 and hardware.running == (2, 0)


def a_time_out_during_a_copy(hardware: Hardware) -> None:
    """A job times out while another client's record is being read behind its hanging transfer: only the job suffers."""
    def time_out():
        hardware.chip = dict(MEMORY_STATUS=MemoryStatus.READS_OPEN | MemoryStatus.READ_TIMED_OUT)
        hardware.end(State.ERROR, ErrorCode.AXI_TIMEOUT)
    hardware.submit(0, record(0))
    hardware.settle()
    hardware.blocked = time_out
    hardware.submit(1, record(0))
    hardware.settle()
    assert hardware.resets and hardware.running == (1, 0), (hardware.resets, hardware.running)
    found = hardware.completion(0, 0)
    assert (found["status"], found["error_code"]) == (JobStatus.ERROR, ErrorCode.AXI_TIMEOUT)
    hardware.end()
    hardware.settle()
    assert hardware.completion(1, 0)["status"] == JobStatus.DONE


def a_time_limit_during_a_copy(hardware: Hardware) -> None:
    """The same with a job that has only a time limit: its abort gets its grace, then comes the reset."""
    def expire():
        hardware.launch |= LaunchStatus.EXPIRED

    hardware.submit(0, record(0, time_limit=9))
    hardware.settle()
    hardware.blocked = expire
    hardware.submit(1, record(0))
    hardware.settle()
    assert hardware.aborts == 1 and hardware.resets and hardware.running == (1, 0)
    assert hardware.completion(0, 0)["status"] == JobStatus.TIME_LIMIT
    hardware.end()
    hardware.settle()
    assert hardware.completion(1, 0)["status"] == JobStatus.DONE


CASES = {case.__name__: case for case in (
    doorbells_beyond_the_ring,
    a_disabled_client,
    the_lower_limit_holds,
    priority_is_capped,
    a_reset_of_a_client,
    memory_that_does_not_answer,
    late_answers,
    memory_out_of_step,
    a_time_out_during_a_copy,
    a_time_limit_during_a_copy)}

if __name__ == "__main__":
    CASES[sys.argv[2]](Hardware(Path(sys.argv[1])))
