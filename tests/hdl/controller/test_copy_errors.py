"""The copy engine when memory fails, at any beat, or does not answer at all."""

from unittest import mock

import cocotb
from lepton.arch.controller import DATA_BASE, CopyMode
from lepton_hdl.axi import Resp
from lepton_hdl.controller import copy
from lepton_hdl.controller.copy import CopyEngine

from tests.bench.stalls import BURSTS, NONE, SOME
from tests.cocotb_harness import run_cocotb
from tests.hdl.controller.copy_bench import BUS, CONFIG, GOOD, TIMEOUT_BITS, WINDOWS, Copy, CopyBench, Outcome

FAILED = Outcome(failed=True)


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(pattern=[SOME, BURSTS])
async def memory_that_fails_and_memory_that_hangs(dut, pattern):
    """Errors are told and forgotten; without an answer the copy gives up, and goes on after a reset."""
    bench = await CopyBench.open(dut, pattern)
    for mode in CopyMode:
        made = Copy(mode, 1, 16, DATA_BASE, 40)
        for resp in (Resp.SLVERR, Resp.DECERR):
            bench.remote.resp = resp
            assert await bench.copy(made) == FAILED, (mode, resp)
        bench.remote.resp = Resp.OKAY
        await bench.run(made)
        bench.remote.hang = True
        assert await bench.copy(made, limit=2 << TIMEOUT_BITS) == FAILED
        assert dut.stuck.value
        bench.remote.hang = False
        await bench.reset()
        assert not dut.stuck.value
        await bench.run(made)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(pattern=[NONE, SOME])
async def an_error_in_any_beat_is_told(dut, pattern):
    """Of reads and checks, from the first beat to the last, whole and ragged; the next copy is good again."""
    bench = await CopyBench.open(dut, pattern)
    for mode in (CopyMode.READ, CopyMode.CHECK):
        for offset, length in ((0, 4), (0, 5 * BUS), (4, 4 * BUS), (BUS - 4, 8)):
            made = Copy(mode, 2, offset, DATA_BASE, length)
            base = WINDOWS[2].base + offset
            for bad in range((base + length - 1) // BUS - base // BUS + 1):
                bench.remote.bad_from = bad
                bench.remote.resp = Resp.SLVERR
                assert await bench.copy(made) == FAILED, (made, bad)
                bench.remote.resp = Resp.OKAY
                assert await bench.copy(made) == GOOD, (made, bad)


def test_copy_errors():
    with mock.patch.object(copy, "TIMEOUT_BITS", TIMEOUT_BITS):
        run_cocotb(CopyEngine(CONFIG), "copy_engine", __name__)
