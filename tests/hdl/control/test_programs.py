"""The model and the checker of programs alone: what they accept, and every kind of error that they must report."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from lepton.arch import Engine
from lepton.arch.commands import ENGINE_RECORDS

from tests.hdl.control.peers import Started
from tests.hdl.control.programs import Fields, check_history, encode_command, expected_end, random_streams

LOAD, TENSOR, STORE, ROWS = Engine
STREAMS: dict[Engine, list[Fields]] = {
    LOAD: [{"post": 1}, {"post": 1}], TENSOR: [{"wait": 1, "post": 0x100}, {"wait": 1}], STORE: [{"wait": 0x100}],
    ROWS: []}
CYCLES = {LOAD: [(10, 20), (21, 30)], TENSOR: [(21, 40), (41, 50)], STORE: [(45, 60)], ROWS: []}
"""In which each command starts and finishes."""

History = dict[Engine, list[Started]]


def history() -> History:
    """What the engines started, without an error."""
    return {engine: [Started(start, i, ENGINE_RECORDS[engine].unpack(encode_command(engine, i, STREAMS[engine][i])))
                     for i, (start, _) in enumerate(cycles)] for engine, cycles in CYCLES.items()}


FINISHED = {engine: [(end, i) for i, (_, end) in enumerate(cycles)] for engine, cycles in CYCLES.items()}


def test_a_sound_history_passes():
    check_history(STREAMS, history(), FINISHED)


def swapped(started: History) -> None:
    started[LOAD].reverse()


def left_out(started: History) -> None:
    started[TENSOR].pop()


def twice(started: History) -> None:
    started[STORE] *= 2


def changed(started: History) -> None:
    command = started[TENSOR][1]
    started[TENSOR][1] = replace(command, fields=command.fields | {"in_addr": 0})


def too_early(started: History) -> None:
    started[TENSOR][1] = replace(started[TENSOR][1], cycle=30)  # in which the post comes: one cycle too early


@pytest.mark.parametrize(("plant", "message"), [
    (swapped, r"LOAD started \[1, 0\] of 2 commands"),
    (left_out, r"TENSOR started \[0\] of 2 commands"),
    (twice, r"STORE started \[0, 0\] of 1 commands"),
    (changed, "command 1 of TENSOR is"),
    (too_early, r"semaphore 0 was taken before it was posted \(cycle 30\)"),
])
def test_an_error_in_the_history_is_reported(plant: Callable[[History], None], message: str):
    started = history()
    plant(started)
    with pytest.raises(AssertionError, match=message):
        check_history(STREAMS, started, FINISHED)


def test_the_end_of_programs():
    """By hand: programs that end, and the first engine that cannot go on."""
    complete = {engine: [{"wait": 0, "post": 0, "layer": 5} | fields for fields in stream]
                for engine, stream in STREAMS.items()}
    assert expected_end(complete) is None
    complete[LOAD][1]["post"] = 0
    assert expected_end(complete) == (TENSOR, 1, 5, 1)
    complete[LOAD][0] |= {"wait": 0x8002, "layer": 9}
    assert expected_end(complete) == (LOAD, 0, 9, 0x8002)


def test_random_programs_end_unless_posts_are_lost():
    ends = [[expected_end(random_streams((20, 20, 20, 20), lost=lost)) for _ in range(20)] for lost in (0.0, 0.5)]
    assert not any(ends[0]) and any(ends[1])
