"""The control block at the edges of a job: engines that are busy after their last command, programs that fail in any
beat, counts and addresses that need all of their bits."""


import cocotb
import pytest
from cocotb.triggers import RisingEdge
from lepton.arch import PRESETS, ErrorCode
from lepton.arch import Engine as EngineName
from lepton.arch.registers import Control as ControlBit
from lepton.arch.registers import State
from lepton_hdl.axi import Resp
from lepton_hdl.control import ControlBlock
from lepton_hdl.control.fetch import PROGRAM_TABLE, ProgramFetcher
from lepton_hdl.interfaces import REGION_TABLE

from tests.bench.clock import cycles
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.control.bench import Bench
from tests.hdl.control.expose import Exposed
from tests.hdl.control.fetch_bench import BASE, SIZES
from tests.hdl.control.fetch_bench import Bench as FetchBench
from tests.hdl.control.programs import random_streams

BLOCK = parameters().get("block", "control")


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=BLOCK != "control")
async def a_job_ends_when_every_engine_is_quiet(dut):
    """All commands are done, but one engine is still busy: neither DONE nor an interrupt before it is not."""
    bench = await Bench.open(dut)
    for slow in bench.engines:
        for engine in bench.engines:
            engine.linger = 300 if engine is slow else 0
        await bench.ring(random_streams((5, 5, 5)))
        while len(slow.finished) < 5:
            await RisingEdge(dut.clk)
        for _ in range(250):
            await RisingEdge(dut.clk)
            assert not dut.irq.value, f"the job ended although {slow.name} was busy"
        assert await bench.read("STATUS") == State.RUNNING
        assert await bench.finish() is State.DONE


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=BLOCK != "control")
async def a_job_that_is_aborted_ends_when_its_fetches_have(dut):
    """Memory still owes commands when every engine is quiet: no ERROR before they have come."""
    bench = await Bench.open(dut)
    await bench.ring(random_streams((9, 9, 9)))
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


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=BLOCK != "fetch")
@cocotb.parametrize(engine=list(EngineName))
async def a_command_with_a_failing_beat_is_not_given_out(dut, engine):
    """Whichever of its beats fails, the last among them; nor is anything behind it in this stream."""
    width = parameters()["bus_bytes"]
    offsets = (0, 0x1000, 0x4000)
    for beat in range(SIZES[engine] // width):
        bench = FetchBench(dut, latency=20)
        bad = BASE + offsets[engine] + 2 * SIZES[engine] + beat * width
        bench.memory.bad[bad] = Resp.DECERR if beat % 2 else Resp.SLVERR
        await bench.open(counts=(4, 4, 4))
        await bench.settle()
        fault, = bench.faults
        assert (fault.engine, fault.index, fault.address) == (engine, 2, bad)
        assert fault.code == (ErrorCode.AXI_DECERR if beat % 2 else ErrorCode.AXI_SLVERR)
        assert bench.received[engine] == bench.programs[engine][:2], beat
        dut.active.value = 0
        bench.memory.stop()
        await cycles(dut, 3)


@cocotb.test(timeout_time=200, timeout_unit="us", skip=BLOCK != "fetch")
@cocotb.parametrize(engine=list(EngineName))
async def bounds_of_programs_in_all_of_their_bits(dut, engine):
    """The largest region, at an address whose sum with an offset carries through the upper half."""
    bench = FetchBench(dut)
    size = SIZES[engine]
    cases = [(0xFEDC_BA98_FFFF_F000, 0x8000_0000, 0, 0x8000_0000 // size + 1, 0x8000_0000 // size),
             (0x0000_FFFF_FFFF_FFC0, 0xFFFF_FFFF, 0x40, 0xFFFF_FFFF, (0xFFFF_FFFF - 0x40) // size),
             (0xFEDC_BA98_7654_3200, 0x10_0000 - 1, 0xC0, 0x2_0000, (0x10_0000 - 1 - 0xC0) // size),
             (0x1_0000, 0x1_0000, 0x2_0000, 1, 0)]
    for base, region, offset, count, fits in cases:
        bench.faults.clear()
        await bench.open((0, 0, 0))
        dut.active.value = 0
        programs = [{"offset": offset, "count": count} if e is engine else {"offset": 0, "count": 0}
                    for e in EngineName]
        dut.programs.value = PROGRAM_TABLE.const(programs).as_value().value
        dut.region.value = REGION_TABLE.elem_shape.const({"base": base, "size": region}).as_value().value
        dut.rst.value = 1
        await cycles(dut, 2)
        bench.faults.clear()
        dut.rst.value, dut.active.value = 0, 1
        await cycles(dut, 8)
        fault = bench.faults[0]
        assert (fault.code, fault.engine, fault.index) == (ErrorCode.MEMORY_BOUNDS, engine, fits)
        assert fault.address == (base + offset + fits * size) % (1 << 64)


@pytest.mark.parametrize("block", ["control", "fetch"])
def test_control_ends(block):
    changes = {"bus_bytes": 16} | ({"layer_slots": 8} if block == "control" else {})
    config = PRESETS["tiny"].with_(**changes)
    top = Exposed(ControlBlock(config) if block == "control" else ProgramFetcher(config))
    run_cocotb(top, block, __name__, parameters=changes | {"block": block})
