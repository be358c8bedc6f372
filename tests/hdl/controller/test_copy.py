"""The copy engine between windows of a memory that pauses and the processor's memories."""

import random
import zlib
from dataclasses import replace
from typing import Any
from unittest import mock

import cocotb
from lepton.arch.controller import (
    CLIENTS,
    CODE_BASE,
    CODE_BYTES,
    CONTROLLER_WINDOW,
    DATA_BASE,
    DATA_BYTES,
    CopyMode,
)
from lepton_hdl.controller import copy
from lepton_hdl.controller.copy import CopyEngine

from tests.bench.disturbed import PlantedError, check_messages
from tests.bench.stalls import BURSTS, MOST, NONE, SOME, STALLS
from tests.cocotb_harness import failing_cocotb, parameters, run_cocotb
from tests.hdl.controller.copy_bench import CONFIG, TIMEOUT_BITS, WINDOWS, Copy, CopyBench, Outcome

PLANTED = parameters().get("planted", False)


def random_copy(longest: int = 100) -> Copy:
    """A legal copy of up to `longest` words."""
    mode = random.choice(list(CopyMode))
    window = random.randrange(CLIENTS + 1)
    length = 4 * random.choice((1, 2, 3, random.randrange(4, longest)))
    offset = 4 * random.randrange((WINDOWS[window].size - length) // 4 + 1)
    to_code = mode == CopyMode.READ and random.random() < 0.4
    base = CODE_BASE if to_code else DATA_BASE
    size = CODE_BYTES if to_code else DATA_BYTES
    local = random.choice((0, size - length, 4 * random.randrange((size - length) // 4)))
    return Copy(mode, window, offset, base + local, length)


@cocotb.test(timeout_time=20, timeout_unit="ms", skip=PLANTED)
@cocotb.parametrize(pattern=STALLS)
async def copies_of_every_kind(dut, pattern):
    """Reads to both memories, writes, checks: the right bytes arrive, no others change, CRCs are those of zlib."""
    bench = await CopyBench.open(dut, pattern)
    for _ in range(15 if pattern == MOST else 40):
        made = random_copy()
        source = bytes(bench.memories.windows[made.window][made.place()])
        await bench.reset_crc()
        await bench.run(made)
        if made.mode != CopyMode.WRITE:
            assert bench.crc == zlib.crc32(source), f"{made}: the CRC is {bench.crc:#x}"


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=PLANTED)
@cocotb.parametrize(pattern=[SOME, BURSTS])
async def nothing_leaves_a_window_or_a_memory(dut, pattern):
    """Every way beyond an end is refused before memory is asked; the last word of everything can be reached."""
    bench = await CopyBench.open(dut, pattern)
    size = WINDOWS[3].size
    good = Copy(CopyMode.READ, window=3, offset=size - 8, local=DATA_BASE + DATA_BYTES - 8, length=8)
    await bench.run(good)
    before = bench.memories.copied(good)
    wrong: list[dict[str, Any]] = [
        dict(offset=size - 4), dict(offset=size), dict(length=12), dict(offset=0xFFFF_FFFC), dict(length=0),
        dict(offset=0xFFFF_FFF8, length=16), dict(length=0xFFFF_FFFC), dict(length=0xFFFF_FFF8, offset=16),
        dict(offset=size - 9), dict(length=6), dict(local=DATA_BASE + 2), dict(window=CONTROLLER_WINDOW + 1),
        dict(window=15), dict(local=DATA_BASE + DATA_BYTES - 4), dict(local=DATA_BASE + DATA_BYTES),
        dict(local=0), dict(local=0x3000_0000), dict(local=CODE_BASE, locked=1), dict(local=CODE_BASE + CODE_BYTES - 4),
        dict(mode=CopyMode.WRITE, local=CODE_BASE), dict(mode=CopyMode.CHECK, offset=size - 4),
        dict(local=0xFFFF_FFF8)]
    for changes in wrong:
        assert await bench.copy(replace(good, **changes)) == Outcome(bounds=True), changes
        assert len(bench.remote.segments) == 1 and bench.memories == before, changes
    await bench.run(good)
    await bench.run(replace(good, local=CODE_BASE + CODE_BYTES - 8))
    await bench.run(replace(good, locked=1))  # only code memory is locked


ERRORS = [
    PlantedError("write_data", "memory is not as the model says", 1 << 9),
    PlantedError("address", "memory is not as the model says", 1 << 2),
    PlantedError("write_memory", "memory is not as the model says"),
    PlantedError("write_code", "memory is not as the model says"),
    PlantedError("read__segment__payload", "memory is not as the model says", 1 << 4),
    PlantedError("read__segment__valid", "read__segment: an item was withdrawn before it was taken",
                 held="read__segment__"),
    PlantedError("write__segment__payload", "write__segment: an item was changed before it was taken",
                 held="write__segment__"),
    PlantedError("write__beat__payload", "memory is not as the model says", 1 << 70),
    PlantedError("write__beat__payload", "the strobe is 0x[0-9a-f]+, not 0x", 1 << 8 * CONFIG.bus_bytes),
    PlantedError("write__beat__valid", "write__beat: an item was withdrawn before it was taken", held="write__beat__"),
    PlantedError("bounds", r"Outcome\(bounds=True, failed=False\)"),
    PlantedError("failed", r"Outcome\(bounds=False, failed=True\)"),
    PlantedError("busy", r"memory is not as the model says|beats were left over"),
    PlantedError("crc", "the CRC is", 1 << 11),
]


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=not PLANTED)
@cocotb.parametrize(number=range(len(ERRORS)))
async def copies_with_a_wrong_output(dut, number):
    """Must fail."""
    bench = await CopyBench.open(ERRORS[number].planted(dut), MOST if ERRORS[number].held else NONE)
    for mode in CopyMode:
        made = Copy(mode, 1, 8, DATA_BASE + 16, 200)
        await bench.reset_crc()
        source = bytes(bench.memories.windows[1][made.place()])
        await bench.run(made)
        assert mode == CopyMode.WRITE or bench.crc == zlib.crc32(source), f"{made}: the CRC is {bench.crc:#x}"


def test_copy():
    with mock.patch.object(copy, "TIMEOUT_BITS", TIMEOUT_BITS):
        run_cocotb(CopyEngine(CONFIG), "copy_engine", __name__)


def test_planted_errors_are_reported():
    with mock.patch.object(copy, "TIMEOUT_BITS", TIMEOUT_BITS):
        problems = failing_cocotb(CopyEngine(CONFIG), "copy_engine", __name__, parameters={"planted": True})
    check_messages(problems, ERRORS)
