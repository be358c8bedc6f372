"""The copy engine when memory fails in the middle, and the launcher when the time passes 32 bits."""

import random
from unittest import mock

import cocotb
import pytest
from lepton.arch.controller import DATA_BASE, CopyMode
from lepton.arch.registers import State
from lepton_hdl.axi import Resp
from lepton_hdl.controller import copy
from lepton_hdl.controller.copy import CopyEngine
from lepton_hdl.controller.launcher import Launcher
from lepton_hdl.interfaces import read_beat_layout

from tests.bench.layouts import encode
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.controller import copy_bench, launcher_bench
from tests.hdl.controller.copy_bench import BUS, CONFIG, TIMEOUT_BITS
from tests.hdl.controller.launcher_bench import WINDOW

BLOCK = parameters().get("block")


class FailingCopy(copy_bench.Bench):
    """Memory whose answers fail from beat `bad_from` of a segment on (they stay so: `resp` is the worst so far)."""

    bad_from: int | None = None

    def read(self, segment) -> None:
        before = len(self.beats)
        super().read(segment)
        if self.bad_from is None:
            return
        shape = read_beat_layout(BUS)
        for i, bits in enumerate(self.beats[before:]):
            beat = shape.from_bits(bits)
            resp = Resp.SLVERR.value if i >= self.bad_from else Resp.OKAY.value
            self.beats[before + i] = encode(shape, data=beat.data, last=beat.last, address=beat.address, resp=resp)


@cocotb.test(timeout_time=10, timeout_unit="ms", skip=BLOCK != "copy")
@cocotb.parametrize(stall=[0.0, 0.5])
async def an_error_in_any_beat_is_told(dut, stall):
    """Of reads and checks, from the first beat to the last, whole and ragged; the next copy is good again."""
    bench = FailingCopy(dut, stall)
    await bench.start()
    for mode in (CopyMode.READ, CopyMode.CHECK):
        for offset, length in ((0, 4), (0, 5 * BUS), (4, 4 * BUS), (BUS - 4, 8)):
            base = copy_bench.WINDOWS[2][0] + offset
            beats = (base + length - 1) // BUS - base // BUS + 1
            for bad in range(beats):
                bench.bad_from = bad
                assert await bench.copy(mode, 2, offset, DATA_BASE, length) == (False, True), (mode, offset, bad)
                bench.bad_from = None
                assert await bench.copy(mode, 2, offset, DATA_BASE, length) == (False, False), (mode, offset, bad)


@cocotb.test(timeout_time=10, timeout_unit="ms", skip=BLOCK != "launcher")
async def limits_hold_where_the_time_passes_32_bits(dut):
    """And limits above 16 bits: `due` comes after as many cycles, `start_time` has all 64 bits."""
    bench = launcher_bench.Bench(dut)
    await bench.start()
    pins = bench.pins
    for n, (time, limit) in enumerate((((1 << 32) - 300, 400), ((1 << 32) - 100, 150), (0x7_FFFF_FF80, 300),
                                       (0xFEDC_BA98_0000_0000, 90))):
        bench.time, bench.limits = time, 0
        bench.job()
        await bench.cycle(stage=1, window=WINDOW, limit=limit)
        await bench.started(n + 1)
        start = bench.time
        while not bench.limits and bench.time < start + limit + 100:
            await bench.cycle()
        assert limit <= bench.time - start + 4 <= limit + 12, (time, limit)
        await bench.end(State.DONE)
        await bench.until(lambda: pins.get("result"))
        assert start - 12 <= pins.get("start_time") <= start
        await bench.cycle(acknowledge=1)
    for limit in (0x1_0000, 0x2_0001, 0xFFFF_FF00):  # the deadline is this far, whatever the time
        bench.time = random.getrandbits(63)
        bench.job()
        rings = bench.rings
        await bench.cycle(stage=1, window=WINDOW, limit=limit)
        await bench.started(rings + 1)
        left = (pins.get("deadline") - bench.time) % (1 << 32)
        assert pins.get("armed") and abs(limit - left) <= 12, (limit, left)
        await bench.end(State.DONE)
        await bench.until(lambda: pins.get("result"))
        await bench.cycle(acknowledge=1)


@pytest.mark.parametrize("block", ["copy", "launcher"])
def test_copy_errors(block):
    with mock.patch.object(copy, "TIMEOUT_BITS", TIMEOUT_BITS):
        top = CopyEngine(CONFIG) if block == "copy" else Launcher()
        run_cocotb(top, "copy_engine" if block == "copy" else "launcher", __name__, parameters={"block": block})
