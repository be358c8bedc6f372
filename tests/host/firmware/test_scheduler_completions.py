"""What the scheduler writes into completions and launches, value by value."""

import ctypes

import pytest
from lepton.arch import ErrorCode
from lepton.arch.controller import (
    CLIENTS,
    PRIORITIES,
    RESULT_COUNTERS,
    EventKind,
    JobFlag,
    JobStatus,
    Refusal,
)
from lepton.arch.registers import State

from tests.host.firmware.job_records import record
from tests.host.firmware.scheduler_values import arguments, errors, results


def test_the_start(chip):
    """Nothing is taken yet; rings are empty whatever the registers held."""
    for client in range(CLIENTS):
        assert chip.values[f"CLIENT{client}_HEAD"] == chip.values[f"CLIENT{client}_DONE"] == 0
    chip.settle()
    assert not chip.copies
    assert chip.library.scheduler_init(None) == chip.library.scheduler_step(None, 0, None) == 1


def test_a_client_that_was_there_before_the_firmware_is_found_without_a_doorbell(chip):
    chip.submit(5, record(0))
    chip.values["DOORBELLS"] = 0
    chip.settle()
    assert [job["LAUNCH_WINDOW"] for job in chip.started] == [5]


@pytest.mark.parametrize("client", range(CLIENTS))
def test_the_completion_of_a_good_job(chip, client):
    chip.submit(client, record(0, program_hash=0xDEAD_BEEF))
    before = chip.time
    chip.settle()
    staged = chip.time
    end = results(client)
    chip.end(**end)
    chip.settle()
    found = chip.completion(client, 0)
    assert before < found.pop("accepted") < staged
    assert found == {name: 0 for name in found} | {name.lower(): end[name] for name in RESULT_COUNTERS} | {
        "sequence": 0, "status": JobStatus.DONE, "tag": 0xAAAA_0000_0000, "program_hash": 0xDEAD_BEEF,
        "start": end["START"] | end["START_HI"] << 32}
    assert chip.interrupts == [1 << client]
    assert chip.values[f"CLIENT{client}_DONE"] == chip.values[f"CLIENT{client}_HEAD"] == 1
    start, done = chip.events()
    assert (start["kind"], start["client"], arguments(start)) == (EventKind.START, client, (0, 0xDEAD_BEEF, 0, 0))
    assert (done["kind"], done["client"]) == (EventKind.END, client)
    assert arguments(done) == (0, JobStatus.DONE, end["CYCLES"], 0)
    assert before < start["time"] < done["time"] < chip.time and start["time"] >> 32 == 5
    assert [event["sequence"] for event in (start, done)] == [0, 1]


@pytest.mark.parametrize("code", [code for code in ErrorCode if code != ErrorCode.NONE])
def test_the_completion_of_a_job_that_failed(chip, code):
    chip.submit(3, record(0))
    chip.submit(3, record(1))
    chip.settle()
    end = results(9) | errors(code)
    chip.end(State.ERROR, **end)
    chip.settle()
    found = chip.completion(3, 0)
    assert (found["status"], found["reason"], found["error_code"], found["error_engine"]) == (
        JobStatus.ERROR, 0, code, 2)
    assert (found["error_command"], found["error_layer"]) == (end["ERROR_COMMAND"], end["ERROR_LAYER"])
    assert found["error_address"] == end["ERROR_ADDRESS"] | end["ERROR_ADDRESS_HI"] << 32
    assert arguments(chip.events(EventKind.END)[0]) == (0, JobStatus.ERROR, end["CYCLES"], code)
    # Memory owes nothing, so nothing is reset, and the next job runs.
    assert chip.resets == chip.memory_resets == len(chip.events(EventKind.ENGINE_RESET)) == 0
    assert len(chip.started) == 2
    chip.end()
    chip.settle()
    assert chip.completion(3, 1)["status"] == JobStatus.DONE

REFUSALS = [
    (dict(magic=1), Refusal.MAGIC), (dict(magic=1, crc=1), Refusal.MAGIC), (dict(crc=1), Refusal.CRC),
    (dict(crc=1, priority=PRIORITIES), Refusal.CRC), (dict(priority=PRIORITIES), Refusal.PRIORITY),
    (dict(sequence=1), Refusal.SEQUENCE), (dict(input_offset=4), Refusal.REGION),
    (dict(load_count=0), Refusal.STREAM), (dict(flags=JobFlag.SNAPSHOTS), Refusal.SNAPSHOTS),
    (dict(flags=JobFlag.VERIFY), Refusal.PROGRAM_HASH), (dict(reserved0=1), Refusal.RESERVED)]


@pytest.mark.parametrize(("changes", "reason"), REFUSALS)
def test_the_completion_of_a_refused_job(chip, changes, reason):
    fields = dict(sequence=0, program_hash=0x1357_9BDF) | changes
    chip.submit(6, record(0, **fields))
    before = chip.time
    chip.settle()
    found = chip.completion(6, 0)
    assert before < found.pop("accepted") < chip.time
    assert found == {name: 0 for name in found} | {
        "status": JobStatus.REFUSED, "reason": reason, "program_hash": 0x1357_9BDF,
        "tag": 0xAAAA_0000_0000}
    assert not chip.started and chip.interrupts == [1 << 6]
    event, = chip.events()
    assert (event["kind"], event["client"], arguments(event)) == (EventKind.REFUSED, 6, (0, reason, 0, 0))
    chip.submit(6, record(1))
    chip.settle()
    assert len(chip.started) == 1


def test_a_refusal_waits_for_the_client_s_earlier_jobs_and_for_nobody_else_s(chip):
    chip.submit(0, record(0))
    chip.submit(0, record(1))
    chip.submit(0, record(2, priority=PRIORITIES))
    chip.submit(1, record(0, priority=PRIORITIES))
    chip.settle()
    assert chip.values["CLIENT0_DONE"] == 0 and chip.values["CLIENT1_DONE"] == 1
    chip.end()
    chip.settle()
    assert chip.values["CLIENT0_DONE"] == 1
    chip.end()
    chip.settle()
    assert chip.values["CLIENT0_DONE"] == 3 and chip.completion(0, 2)["reason"] == Refusal.PRIORITY


def test_a_region_that_only_the_hardware_refuses(chip):
    """The window has become smaller since the record was looked at: nothing runs, the client is told, others go on."""
    chip.submit(2, record(0))
    chip.submit(2, record(1))
    chip.refuse = True
    before = chip.time
    chip.settle()
    found = chip.completion(2, 0)
    assert (found["status"], found["reason"], found["tag"]) == (
        JobStatus.REFUSED, Refusal.REGION, 0xAAAA_0000_0000)
    assert before < found["accepted"] < chip.time
    assert [arguments(e) for e in chip.events(EventKind.REFUSED)] == [(0, Refusal.REGION, 0, 0)]
    assert chip.interrupts == [1 << 2] and len(chip.started) == 1 and not chip.events(EventKind.END)


def test_the_time_is_one_instant(chip):
    """The low half rolls over between two reads: never 2**32 too early or too late."""
    for before in range(12):
        chip.time = 0x7_FFFF_FFFF - before
        low = chip.time
        times = (ctypes.c_uint32 * 2)()
        with chip.call():
            chip.library.units_time(times)
        assert low < times[0] | times[1] << 32 <= chip.time
