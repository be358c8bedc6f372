"""The control block at the end of a job: engines that are busy after their last command, fetches that are late."""

import cocotb
from cocotb.triggers import RisingEdge
from lepton.arch import PRESETS, ErrorCode
from lepton.arch.registers import Control as ControlBit
from lepton.arch.registers import State
from lepton_hdl.control import ControlBlock

from tests.cocotb_harness import run_cocotb
from tests.hdl.control.bench import Bench
from tests.hdl.control.expose import Exposed
from tests.hdl.control.programs import random_streams


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_job_ends_when_every_engine_is_quiet(dut):
    """All commands are done, but one engine is still busy: neither DONE nor an interrupt before it is not."""
    bench = await Bench.open(dut)
    for slow in bench.engines:
        for engine in bench.engines:
            engine.linger = 300 if engine is slow else 0
        await bench.ring(random_streams((5, 5, 5, 5)))
        while len(slow.finished) < 5:
            await RisingEdge(dut.clk)
        for _ in range(250):
            await RisingEdge(dut.clk)
            assert not dut.irq.value, f"the job ended although {slow.name} was busy"
        assert await bench.read("STATUS") == State.RUNNING
        assert await bench.finish() is State.DONE


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_job_that_is_aborted_ends_when_its_fetches_have(dut):
    """Memory still owes commands when every engine is quiet: no ERROR before they have come."""
    bench = await Bench.open(dut)
    await bench.ring(random_streams((9, 9, 9, 9)))
    while not any(engine.started for engine in bench.engines):
        await RisingEdge(dut.clk)
    bench.memory.frozen = True
    await bench.write("CONTROL", ControlBit.ABORT)
    for _ in range(300):
        await RisingEdge(dut.clk)
        assert not dut.irq.value, "the job ended although commands were on their way"
    bench.memory.frozen = False
    assert await bench.finish() is State.ERROR
    assert (await bench.error())[0] == ErrorCode.ABORTED


def test_control_ends():
    config = PRESETS["tiny"].with_(bus_bytes=16, layer_slots=8)
    run_cocotb(Exposed(ControlBlock(config)), "control", __name__, parameters={"bus_bytes": 16, "layer_slots": 8})
