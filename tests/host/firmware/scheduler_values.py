"""Values for tests of the scheduler: results, errors, the reset of a client."""

import random

from lepton.arch import ErrorCode
from lepton.arch.controller import (
    RESULT_COUNTERS,
    RESULT_ERRORS,
)
from lepton.arch.registers import SNAPSHOT_COUNTERS

from tests.host.firmware.unit_controller import Controller

TOP = (1 << 32) - 1

SLOT = 4 * len(SNAPSHOT_COUNTERS)


def results(seed: int) -> dict[str, int]:
    """A value of its own in every result register, none of which fits into 16 bits."""
    rng = random.Random(seed)
    values = {name: rng.randrange(1 << 31, 1 << 32) for name in RESULT_COUNTERS}
    return values | {"START": rng.getrandbits(32), "START_HI": rng.getrandbits(32)}


def errors(code: ErrorCode) -> dict[str, int]:
    return {name: 0x8000_0000 + i for i, name in enumerate(RESULT_ERRORS)} | {"ERROR_CODE": code, "ERROR_ENGINE": 2}


def arguments(event: dict[str, int]) -> tuple[int, ...]:
    return tuple(event[f"arg{i}"] for i in range(4))


def reset(chip: Controller, *clients: int) -> None:
    """Ask to forget the jobs of clients, as their host does."""
    chip.values["CLIENT_RESET"] = sum(1 << client for client in clients)
    for client in clients:
        chip.values[f"CLIENT{client}_TAIL"] = chip.tails[client] = 0
