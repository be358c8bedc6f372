"""The pins that say which clocks may stop: each engine's while it works and a little longer, the controller's while
anything of it may change."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, FallingEdge
from lepton.arch import PRESETS, Engine, Region
from lepton.firmware.build import rom
from lepton_hdl.chip import Chip

from tests.cocotb_harness import run_cocotb
from tests.hdl.board import BASE, SIZE, Board, fill_memory, streams

CONFIG = PRESETS["tiny"].with_(controller=True)
LINGER = 15  # cycles for which an engine must have been quiet
CONTROLLER = len(Engine)


class Watch:
    """Per engine: its clock never stops while it has a command, is busy or is restarted. How often it was stopped."""

    def __init__(self, dut):
        self.dut = dut
        core = dut.core
        # The first cycle of a job restarts all engines, which takes a clock edge.
        self.active = [(block.control__busy, block.control__command__valid, core.control.engine_reset)
                       for block in (core.load, core.datapath, core.store, core.datapath.rows)]
        self.stopped = [0] * (CONTROLLER + 1)
        self.ran = [0] * (CONTROLLER + 1)
        self.quiet = [0] * CONTROLLER  # cycles since the engine was last active
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            await FallingEdge(self.dut.clk)
            enabled = int(self.dut.clock_enable.value)
            for engine in range(CONTROLLER + 1):
                on = enabled >> engine & 1
                self.ran[engine] += on
                self.stopped[engine] += not on
                if engine == CONTROLLER:
                    continue
                assert on or self.quiet[engine] >= LINGER, f"the clock of {Engine(engine).name} stops too early"
                assert not on or self.quiet[engine] <= LINGER + 1, f"the clock of {Engine(engine).name} runs on"
                active = any(int(signal.value) for signal in self.active[engine])
                self.quiet[engine] = 0 if active else self.quiet[engine] + 1


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def clocks_stop_when_nothing_is_to_do(dut):
    """Before, during and after a job in direct mode, and between accesses of the host."""
    board = await Board.open(dut)
    expected = fill_memory(board.ram, np.random.default_rng(3))
    await ClockCycles(dut.clk, 40)
    watch = Watch(dut)
    watch.quiet = [LINGER] * CONTROLLER
    await ClockCycles(dut.clk, 60)
    assert watch.ran == [0] * (CONTROLLER + 1), "nothing has happened, but a clock runs"
    await board.write("IRQ_ENABLE", 3)
    assert watch.ran[:CONTROLLER] == [0] * CONTROLLER and watch.ran[CONTROLLER] > 0
    await board.start_job(streams())
    await board.interrupt()
    assert bytes(board.ram.read(BASE[Region.OUTPUT], SIZE[Region.OUTPUT])) == expected
    await ClockCycles(dut.clk, 100)
    assert all(watch.ran) and all(watch.stopped)
    before = list(watch.ran)
    await ClockCycles(dut.clk, 100)
    assert watch.ran == before, "a clock runs although nothing is to do"
    await board.read("STATUS")
    assert watch.ran[:CONTROLLER] == before[:CONTROLLER] and watch.ran[CONTROLLER] > before[CONTROLLER]


def test_clock_enable():
    run_cocotb(Chip(CONFIG, rom()), "chip_tiny_controller", __name__, internals=True)
