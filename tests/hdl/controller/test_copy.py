"""The copy engine between windows of a memory that stalls, fails or hangs and the processor's memories."""

import random
import zlib
from unittest import mock

import cocotb
from cocotb.triggers import FallingEdge
from lepton.arch.controller import (
    CLIENTS,
    CODE_BASE,
    CODE_BYTES,
    CONTROLLER_WINDOW,
    DATA_BASE,
    DATA_BYTES,
    CopyMode,
)
from lepton_hdl.axi import Resp
from lepton_hdl.controller import copy
from lepton_hdl.controller.copy import CopyEngine

from tests.cocotb_harness import run_cocotb
from tests.hdl.controller.copy_bench import CONFIG, TIMEOUT_BITS, WINDOWS, Bench, inside


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def copies_of_every_kind(dut, stall):
    """Reads to both memories, writes, checks: the right bytes arrive, no others change, CRCs are those of zlib."""
    bench = Bench(dut, stall)
    await bench.start()
    for _ in range(60):
        mode = random.choice(list(CopyMode))
        window = random.randrange(CLIENTS + 1)
        length = 4 * random.choice((1, 2, 3, random.randrange(4, 100)))
        offset = 4 * random.randrange((WINDOWS[window][1] - length) // 4 + 1)
        to_code = mode == CopyMode.READ and random.random() < 0.4
        base, size = (CODE_BASE, CODE_BYTES) if to_code else (DATA_BASE, DATA_BYTES)
        at = random.choice((0, size - length, 4 * random.randrange((size - length) // 4)))
        place = inside(window, offset, length)
        source = bytes(bench.memory[window][place])
        expected = [bytearray(part) for part in bench.everything()]
        if mode == CopyMode.READ:
            expected[-2 if to_code else -1][at:at + length] = source
        elif mode == CopyMode.WRITE:
            expected[window][place] = bench.data[at:at + length]
        await bench.set_crc()
        assert await bench.copy(mode, window, offset, base + at, length) == (False, False)
        assert bench.everything() == [bytes(part) for part in expected], (mode, window, offset, at, length)
        if mode != CopyMode.WRITE:
            assert bench.crc() == zlib.crc32(source)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def nothing_leaves_a_window_or_a_memory(dut):
    """Every way beyond an end is refused before memory hears of it; the last word of everything can be reached."""
    bench = Bench(dut, 0.2)
    await bench.start()
    size = WINDOWS[3][1]
    good = dict(mode=CopyMode.READ, window=3, offset=size - 8, local=DATA_BASE + DATA_BYTES - 8, length=8)
    before = bench.everything()
    wrong = [
        dict(offset=size - 4), dict(offset=size), dict(length=12), dict(offset=0xFFFF_FFFC), dict(length=0),
        dict(offset=0xFFFF_FFF8, length=16), dict(length=0xFFFF_FFFC), dict(length=0xFFFF_FFF8, offset=16),
        dict(offset=size - 9), dict(length=6), dict(local=DATA_BASE + 2), dict(window=CONTROLLER_WINDOW + 1),
        dict(window=15), dict(local=DATA_BASE + DATA_BYTES - 4), dict(local=DATA_BASE + DATA_BYTES),
        dict(local=0), dict(local=0x3000_0000), dict(local=CODE_BASE, locked=1), dict(local=CODE_BASE + CODE_BYTES - 4),
        dict(mode=CopyMode.WRITE, local=CODE_BASE), dict(mode=CopyMode.CHECK, offset=size - 4),
        dict(local=0xFFFF_FFF8)]
    for changes in wrong:
        assert await bench.copy(**good | changes) == (True, False), changes
        assert bench.touched == 0 and bench.everything() == before, changes
    assert await bench.copy(**good) == (False, False) and bench.touched == 1
    assert await bench.copy(**good | dict(local=CODE_BASE + CODE_BYTES - 8)) == (False, False)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def memory_that_fails_and_memory_that_hangs(dut):
    """Errors are told and forgotten; without an answer the copy gives up, and goes on after a reset."""
    bench = Bench(dut, 0.3)
    await bench.start()
    arguments = dict(window=1, offset=16, local=DATA_BASE, length=40)
    for mode in CopyMode:
        for resp in (Resp.SLVERR, Resp.DECERR):
            bench.resp = resp
            assert await bench.copy(mode, **arguments) == (False, True), (mode, resp)
        bench.resp = Resp.OKAY
        assert await bench.copy(mode, **arguments) == (False, False)
    for mode in CopyMode:
        bench.hang = True
        assert await bench.copy(mode, **arguments, limit=2 << TIMEOUT_BITS) == (False, True)
        assert bench.pins.get("stuck")
        bench.hang, bench.answer, bench.beats = False, None, []
        bench.pins.set(rst=1)  # as the chip does with the memory ports
        await FallingEdge(dut.clk)
        bench.pins.set(rst=0)
        assert await bench.copy(mode, **arguments) == (False, False) and not bench.pins.get("stuck")


def test_copy():
    with mock.patch.object(copy, "TIMEOUT_BITS", TIMEOUT_BITS):
        run_cocotb(CopyEngine(CONFIG), "copy_engine", __name__)
