"""The scheduler: doorbells, rings, the log, priorities and turns."""

import itertools

import pytest
from lepton.arch.controller import (
    CLIENTS,
    COMPLETION_RING,
    CONTROLLER_WINDOW,
    JOB_BYTES,
    LOG_EVENTS,
    PATIENCE,
    PRIORITIES,
    RING_ENTRIES,
    EventKind,
)

from tests.host.firmware.job_records import record
from tests.host.firmware.scheduler_values import TOP, arguments, results


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


def test_priorities_and_turns(chip):
    """Highest first, in turn among equals, the longest passed over from PATIENCE on before all; a client's highest
    priority is its own."""
    for client in range(CLIENTS):
        chip.values[f"CLIENT{client}_CONTROL"] = 1 | client % PRIORITIES << 4
    submitted = [0] * CLIENTS
    order = []
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
