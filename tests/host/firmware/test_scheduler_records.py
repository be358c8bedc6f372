"""scheduler.c: what it writes into completions, the event log and the launcher, value by value."""

import ctypes
import itertools
import random
import zlib

import pytest
from lepton.arch import ErrorCode
from lepton.arch.controller import (
    CLIENTS,
    COMPLETION_RING,
    CONTROLLER_WINDOW,
    JOB_BYTES,
    LOG_EVENTS,
    PATIENCE,
    PRIORITIES,
    RESULT_COUNTERS,
    RESULT_ERRORS,
    RING_ENTRIES,
    RINGS_BYTES,
    CopyMode,
    CopyStatus,
    EventKind,
    JobFlag,
    JobStatus,
    LaunchStatus,
    Refusal,
)
from lepton.arch.registers import DRAIN_LIMIT, SNAPSHOT_COUNTERS, MemoryStatus, State

from tests.host.firmware.units import TIMER, Controller, record

TOP = (1 << 32) - 1
SLOT = 4 * len(SNAPSHOT_COUNTERS)


@pytest.fixture
def chip(library: ctypes.CDLL) -> Controller:
    return Controller(library)


def results(seed: int) -> dict[str, int]:
    """A value of its own in every result register, none of which fits into 16 bits."""
    rng = random.Random(seed)
    values = {name: rng.randrange(1 << 31, 1 << 32) for name in RESULT_COUNTERS}
    return values | {"START": rng.getrandbits(32), "START_HI": rng.getrandbits(32)}


def errors(code: ErrorCode) -> dict[str, int]:
    return {name: 0x8000_0000 + i for i, name in enumerate(RESULT_ERRORS)} | {"ERROR_CODE": code, "ERROR_ENGINE": 2}


def arguments(event: dict[str, int]) -> tuple[int, ...]:
    return tuple(event[f"arg{i}"] for i in range(4))


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
    chip.tick, looks, began = 500, 0, 0

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


def test_more_jobs_than_a_ring_holds_and_more_events_than_the_log_holds(chip):
    """Each in its slot; none of the others changes, nor anything behind the rings."""
    for sequence in range(5 * RING_ENTRIES):
        before = bytes(chip.memory[7])
        chip.submit(7, record(sequence))
        chip.settle()
        chip.end(**results(sequence))
        chip.settle()
        found = chip.completion(7, sequence)
        assert (found["sequence"], found["tag"], found["cycles"]) == (
            sequence, 0xAAAA_0000_0000 + 7 * sequence, results(sequence)["CYCLES"])
        slot = sequence % RING_ENTRIES * JOB_BYTES
        after = bytearray(chip.memory[7])
        for at in (slot, COMPLETION_RING + slot):
            after[at:at + JOB_BYTES] = before[at:at + JOB_BYTES]
        assert bytes(after) == before
    log = chip.events()
    assert chip.values["LOG_COUNT"] == 10 * RING_ENTRIES > LOG_EVENTS == len(log)
    assert [e["sequence"] for e in log] == list(range(10 * RING_ENTRIES - LOG_EVENTS, 10 * RING_ENTRIES))
    assert {e["kind"] for e in log[::2]} == {EventKind.START} and {e["kind"] for e in log[1::2]} == {EventKind.END}
    assert not any(chip.memory[CONTROLLER_WINDOW][LOG_EVENTS * 32:])


def test_every_counter_of_every_snapshot(chip):
    """By value: 256 slots of 8 words from the chip to the client's window, nothing else."""
    for slots, offset in ((1, RINGS_BYTES), (2, RINGS_BYTES + 4), (256, 0x5000)):
        rng = random.Random(slots)
        values = [rng.getrandbits(32) for _ in range(8 * 256)]
        chip.values |= {f"snapshot.{i}": value for i, value in enumerate(values)}
        sequence = chip.values["CLIENT1_HEAD"]
        chip.submit(1, record(sequence, flags=JobFlag.SNAPSHOTS, snapshot_offset=offset, snapshot_count=slots))
        chip.submit(2, record(chip.values["CLIENT2_HEAD"]))
        chip.settle()
        assert chip.started[-1]["LAUNCH_WINDOW"] == 1
        assert not chip.launch & LaunchStatus.STAGED, "the next job would overwrite the counters"
        before = bytes(chip.memory[1])
        end = results(slots)
        chip.end(**end)
        chip.settle()
        expected = b"".join(value.to_bytes(4, "little") for value in values[:8 * slots])
        assert chip.memory[1][offset:offset + SLOT * slots] == expected
        after = bytearray(chip.memory[1])
        for at, size in ((offset, SLOT * slots), (COMPLETION_RING + sequence * 128, 128)):
            after[at:at + size] = before[at:at + size]
        assert bytes(after) == before
        found = chip.completion(1, sequence)
        assert {name: found[name.lower()] for name in RESULT_COUNTERS} == {n: end[n] for n in RESULT_COUNTERS}
        assert chip.started[-1]["LAUNCH_WINDOW"] == 2
        chip.end()
        chip.settle()


def test_no_snapshots_of_a_job_that_failed_or_did_not_want_any(chip):
    chip.values |= {f"snapshot.{i}": 0xDEAD_BEEF for i in range(8)}
    chip.submit(1, record(0, snapshot_offset=RINGS_BYTES, snapshot_count=1))
    chip.submit(1, record(1, flags=JobFlag.SNAPSHOTS, snapshot_offset=RINGS_BYTES, snapshot_count=1))
    chip.settle()
    chip.end()
    chip.settle()
    chip.end(State.ERROR, **errors(ErrorCode.MEMORY_BOUNDS))
    chip.settle()
    assert not any(chip.memory[1][RINGS_BYTES:])


@pytest.mark.parametrize("size", [64, 2047, 2048, 2049, 2052, 4096, 4100, 5003])
def test_programs_are_verified_to_their_last_word(chip, size):
    """In pieces; the bytes after the last whole word belong to no command."""
    program = random.Random(size).randbytes(size)
    at = RINGS_BYTES + 64
    chip.memory[3][at:at + size] = program
    whole = size & ~3
    fields = dict(flags=JobFlag.VERIFY, program_offset=at, program_size=size, load_count=1)
    for sequence, changed in enumerate((None, 0, whole - 1, min(2048, whole - 1))):
        chip.memory[3][at:at + size] = program
        if changed is not None:
            chip.memory[3][at + changed] ^= 0x10
        chip.copies.clear()
        chip.submit(3, record(sequence, program_hash=zlib.crc32(program[:whole]), **fields))
        chip.settle()
        checked = [(offset, length) for mode, _, offset, length in chip.copies if mode == CopyMode.CHECK]
        assert [offset for offset, _ in checked] == [at + 2048 * i for i in range(len(checked))]
        assert sum(length for _, length in checked) == whole and all(length <= 2048 for _, length in checked)
        if changed is None:
            assert len(chip.started) == 1
            chip.end()
            chip.settle()
        else:
            assert chip.completion(3, sequence)["reason"] == Refusal.PROGRAM_HASH and len(chip.started) == 1


def test_one_client_s_long_program_does_not_hold_up_another(chip):
    """A step hashes one piece at most."""
    chip.submit(0, record(0, flags=JobFlag.VERIFY, program_size=0x4000, load_count=1))
    chip.submit(1, record(0))
    chip.step()
    assert sum(mode == CopyMode.CHECK for mode, *_ in chip.copies) == 1
    assert [job["LAUNCH_WINDOW"] for job in chip.started] == [1]


@pytest.mark.parametrize(("tail", "taken"), [(0, 0), (RING_ENTRIES, 1), (RING_ENTRIES + 1, 0), (TOP, 0), (1 << 31, 0)])
def test_doorbells_that_cannot_be(chip, tail, taken):
    for slot in range(RING_ENTRIES):
        chip.memory[2][slot * JOB_BYTES:(slot + 1) * JOB_BYTES] = record(slot)
    chip.ring(2, tail)
    chip.settle()
    assert len(chip.started) == taken
    wrong = [] if taken or not tail else [(tail, 0, 0, 0)]
    assert [arguments(e) for e in chip.events(EventKind.BAD_DOORBELL)] == wrong
    assert [e["client"] for e in chip.events(EventKind.BAD_DOORBELL)] == [2] * len(wrong)


def test_a_full_ring_behind_jobs_that_are_not_done(chip):
    """Records that were taken but not answered still count: the ring has no room for one more."""
    for sequence in range(RING_ENTRIES):
        chip.memory[0][sequence * JOB_BYTES:(sequence + 1) * JOB_BYTES] = record(sequence)
    chip.ring(0, 2)
    chip.settle()
    assert chip.values["CLIENT0_HEAD"] == 2 and chip.values["CLIENT0_DONE"] == 0
    chip.ring(0, RING_ENTRIES + 1)
    chip.settle()
    assert chip.values["CLIENT0_HEAD"] == 2
    assert [arguments(e) for e in chip.events(EventKind.BAD_DOORBELL)] == [(RING_ENTRIES + 1, 2, 0, 0)]
    chip.ring(0, RING_ENTRIES)
    chip.settle()
    assert chip.values["CLIENT0_HEAD"] == 3 and len(chip.events(EventKind.BAD_DOORBELL)) == 1


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
    copy, failing = chip._copy, []

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


def test_the_time_is_one_instant(chip):
    """The low half rolls over between two reads: never 2**32 too early or too late."""
    for before in range(12):
        chip.time = 0x7_FFFF_FFFF - before
        low = chip.time
        times = (ctypes.c_uint32 * 2)()
        with chip.call():
            chip.library.scheduler_time(times)
        assert low < times[0] | times[1] << 32 <= chip.time


def test_priorities_and_turns(chip):
    """Highest first, in turn among equals, the longest passed over from PATIENCE on before all; a client's highest
    priority is its own."""
    for client in range(CLIENTS):
        chip.values[f"CLIENT{client}_CONTROL"] = 1 | client % PRIORITIES << 4
    submitted, order = [0] * CLIENTS, []
    for client in range(CLIENTS):
        for _ in range(2):
            chip.submit(client, record(submitted[client], priority=PRIORITIES - 1))
            submitted[client] += 1
    for _ in range(160):
        chip.settle()
        order.append(chip.running["LAUNCH_WINDOW"])
        chip.submit(order[-1], record(submitted[order[-1]], priority=PRIORITIES - 1))
        submitted[order[-1]] += 1
        chip.end()
    for low in (0, 4):  # of the lowest priority: they wait, but not for ever
        turns = [i for i, client in enumerate(order) if client == low]
        gaps = [b - a for a, b in itertools.pairwise(turns)]
        assert min(gaps[1:]) >= PATIENCE and max(gaps) <= PATIENCE + CLIENTS, gaps
    assert min(order.count(3), order.count(7)) > max(order.count(client) for client in (0, 1, 2, 4, 5, 6))


def reset(chip: Controller, *clients: int) -> None:
    """Ask to forget the jobs of clients, as their host does."""
    chip.values["CLIENT_RESET"] = sum(1 << client for client in clients)
    for client in clients:
        chip.values[f"CLIENT{client}_TAIL"] = chip.tails[client] = 0


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
    assert chip.resets == 1, "the timer of a job that has ended resets nobody else's"


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
