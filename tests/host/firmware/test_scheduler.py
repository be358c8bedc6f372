"""The firmware's scheduler on this machine: random streams against a model, under the sanitizers, and single cases."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.host.firmware import firmware_host
from tests.seeds import seeds

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the host build of the firmware needs gcc")

CASES = """
from pathlib import Path
import sys
from lepton.arch.registers import DRAIN_LIMIT, MemoryStatus
from tests.host.firmware.firmware_host import *
hardware = Hardware(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return firmware_host.build(tmp_path_factory.mktemp("firmware"))


def run(*arguments):
    """Python with the address sanitizer's library in front, as the firmware's library needs it."""
    asan = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    environment = os.environ | {"LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0",
                                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("seed", seeds(0))
def test_random_streams_of_eight_clients_agree_with_the_model(library, seed):
    count = 12 if seed == 0 else 4
    done = run("-m", "tests.host.firmware.firmware_host", str(library), str(seed), str(seed + count))
    assert done.returncode == 0 and "streams agree" in done.stdout, done.stderr[-3000:]


@pytest.mark.parametrize("case", [
    # A doorbell beyond the ring, and one behind HEAD, are ignored; a right one is served.
    """
hardware.values["CLIENT0_TAIL"] = 17; hardware.values["DOORBELLS"] = 1; hardware.settle()
assert not hardware.started and hardware.values["CLIENT0_HEAD"] == 0
hardware.values["CLIENT0_TAIL"] = 0; hardware.submit(0, record(0)); hardware.settle()
assert hardware.started == [0]
hardware.values["CLIENT0_TAIL"] = 0; hardware.values["DOORBELLS"] = 1; hardware.settle()
assert hardware.values["CLIENT0_HEAD"] == 1 and hardware.starts == 1
""",
    # A disabled client is not looked at.
    """
hardware.values["CLIENT3_CONTROL"] = 0; hardware.submit(3, record(0)); hardware.settle()
assert not hardware.started and hardware.values["CLIENT3_HEAD"] == 0
hardware.values["CLIENT3_CONTROL"] = 1; hardware.values["DOORBELLS"] = 8; hardware.settle()
assert hardware.started == [3]
""",
    # The lower of the job's and the client's limits holds.
    """
hardware.values["CLIENT1_LIMIT"] = 500
for n, (wanted, limit) in enumerate(((0, 500), (100, 100), (900, 500))):
    hardware.submit(1, record(n, time_limit=wanted)); hardware.settle()
    assert hardware.running == (1, limit); hardware.end(); hardware.settle()
""",
    # A client cannot claim more priority than it has.
    """
hardware.values["CLIENT2_CONTROL"] = 1
hardware.submit(0, record(0)); hardware.submit(0, record(1)); hardware.settle()
hardware.submit(2, record(0, priority=3)); hardware.submit(1, record(0, priority=1)); hardware.settle()
for _ in range(3): hardware.end(); hardware.settle()
assert hardware.started == [0, 0, 1, 2], hardware.started
""",
    # A reset forgets what is staged and aborts what runs; the other client goes on.
    """
hardware.submit(0, record(0)); hardware.submit(0, record(1)); hardware.submit(5, record(0)); hardware.settle()
hardware.values["CLIENT0_TAIL"] = 0; hardware.values["CLIENT_RESET"] = 1; hardware.settle()
hardware.settle()  # woken by the end of the aborted job
assert hardware.aborts == 1 and hardware.values["CLIENT_RESET"] == 0
assert hardware.values["CLIENT0_DONE"] == hardware.values["CLIENT0_HEAD"] == 0
assert hardware.running == (5, 0); hardware.end(); hardware.settle()
assert hardware.completion(5, 0)["status"] == JobStatus.DONE
hardware.submit(0, record(0)); hardware.settle(); assert hardware.running == (0, 0)
""",
    # Memory that no longer answers is reset before the next job starts, whatever ended the one that asked.
    """
for n, code in enumerate((ErrorCode.AXI_TIMEOUT, ErrorCode.ILLEGAL_OPCODE, ErrorCode.ABORTED, ErrorCode.AXI_SLVERR)):
    for open_ in (MemoryStatus.READS_OPEN, MemoryStatus.WRITES_OPEN | MemoryStatus.READ_TIMED_OUT):
        sequence = 2 * n + (open_ != MemoryStatus.READS_OPEN)
        hardware.submit(0, record(sequence)); hardware.submit(1, record(sequence)); hardware.settle()
        hardware.chip = dict(MEMORY_STATUS=open_)
        begun = hardware.time
        hardware.end(State.ERROR, code); assert hardware.running is None
        hardware.settle()
        assert hardware.memory_resets == sequence + 1 and hardware.running == (1, 0)
        assert DRAIN_LIMIT <= hardware.time - begun < DRAIN_LIMIT + 50_000
        assert hardware.completion(0, sequence)["error_code"] == code
        hardware.end(); hardware.settle(); assert hardware.completion(1, sequence)["status"] == JobStatus.DONE
""",
    # Late answers are waited for; then nothing is reset.
    """
hardware.submit(0, record(0)); hardware.submit(1, record(0)); hardware.settle()
hardware.chip = dict(MEMORY_STATUS=MemoryStatus.READS_OPEN); hardware.drained_at = hardware.time + DRAIN_LIMIT // 2
hardware.end(State.ERROR, ErrorCode.AXI_TIMEOUT)
hardware.settle(); assert hardware.resets == 0 and hardware.running == (1, 0) and hardware.time >= hardware.drained_at
""",
    # Memory that is out of step is reset at once; a timeout whose transfers have ended needs no reset.
    """
hardware.submit(0, record(0)); hardware.submit(1, record(0)); hardware.submit(2, record(0)); hardware.settle()
hardware.chip = dict(MEMORY_STATUS=MemoryStatus.WRITE_BROKEN); begun = hardware.time
hardware.end(State.ERROR, ErrorCode.AXI_PROTOCOL); hardware.settle()
assert hardware.memory_resets == 1 and hardware.time - begun < DRAIN_LIMIT and hardware.running == (1, 0)
hardware.chip = dict(MEMORY_STATUS=MemoryStatus.READ_TIMED_OUT)
hardware.end(State.ERROR, ErrorCode.AXI_TIMEOUT); hardware.settle()
assert hardware.memory_resets == 1 and hardware.running == (2, 0)
""",
    # A job times out while another client's record is being read behind its hanging transfer: only the job suffers.
    """
def time_out():
    hardware.chip = dict(MEMORY_STATUS=MemoryStatus.READS_OPEN | MemoryStatus.READ_TIMED_OUT)
    hardware.end(State.ERROR, ErrorCode.AXI_TIMEOUT)
hardware.submit(0, record(0)); hardware.settle()
hardware.blocked = time_out; hardware.submit(1, record(0)); hardware.settle()
assert hardware.resets and hardware.running == (1, 0), (hardware.resets, hardware.running)
found = hardware.completion(0, 0)
assert (found["status"], found["error_code"]) == (JobStatus.ERROR, ErrorCode.AXI_TIMEOUT)
hardware.end(); hardware.settle(); assert hardware.completion(1, 0)["status"] == JobStatus.DONE
""",
    # The same with a job that has only a time limit: its abort gets its grace, then comes the reset.
    """
def expire(): hardware.launch |= LaunchStatus.EXPIRED
hardware.submit(0, record(0, time_limit=9)); hardware.settle()
hardware.blocked = expire; hardware.submit(1, record(0)); hardware.settle()
assert hardware.aborts == 1 and hardware.resets and hardware.running == (1, 0)
assert hardware.completion(0, 0)["status"] == JobStatus.TIME_LIMIT
hardware.end(); hardware.settle(); assert hardware.completion(1, 0)["status"] == JobStatus.DONE
""",
])
def test_cases(library, case):
    done = run("-c", CASES + case, str(library))
    assert done.returncode == 0, done.stderr[-3000:]
