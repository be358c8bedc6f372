"""The program fetcher: programs that fail in any beat, counts and addresses that need all of their bits."""

import cocotb
from lepton.arch import PRESETS, Engine, ErrorCode
from lepton_hdl.axi import Resp
from lepton_hdl.control.fetch import PROGRAM_TABLE, ProgramFetcher

from tests.bench.clock import cycles
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.control.expose import Exposed
from tests.hdl.control.fetch_bench import BASE, OFFSETS, SIZES, Bench, Fault, Stream

BUS_BYTES = 16


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(engine=list(Engine))
async def a_command_with_a_failing_beat_is_not_given_out(dut, engine):
    """Whichever of its beats fails, the last among them; nor is anything behind it in this stream."""
    bench = Bench(dut, latency=20)
    for beat in range(SIZES[engine] // parameters()["bus_bytes"]):
        bad = BASE + OFFSETS[engine] + 2 * SIZES[engine] + beat * parameters()["bus_bytes"]
        code = ErrorCode.AXI_DECERR if beat % 2 else ErrorCode.AXI_SLVERR
        bench.memory.bad = {bad: Resp.DECERR if beat % 2 else Resp.SLVERR}
        await bench.open(counts=(4, 4, 4, 4))
        await bench.settle()
        assert bench.faults == [Fault(code, engine, 2, 0, bad)]
        assert bench.received[engine] == bench.programs[engine][:2], beat


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(engine=list(Engine))
async def bounds_of_programs_in_all_of_their_bits(dut, engine):
    """The largest region, at an address whose sum with an offset carries through the upper half."""
    bench = Bench(dut)
    size = SIZES[engine]
    cases = [(0xFEDC_BA98_FFFF_F000, 0x8000_0000, 0, 0x8000_0000 // size + 1, 0x8000_0000 // size),
             (0x0000_FFFF_FFFF_FFC0, 0xFFFF_FFFF, 0x40, 0xFFFF_FFFF, (0xFFFF_FFFF - 0x40) // size),
             (0xFEDC_BA98_7654_3200, 0x10_0000 - 1, 0xC0, 0x2_0000, (0x10_0000 - 1 - 0xC0) // size),
             (0x1_0000, 0x1_0000, 0x2_0000, 1, 0)]
    for base, region, offset, count, fits in cases:
        streams = [Stream(offset, count) if e is engine else Stream() for e in Engine]
        await bench.start(streams, region, base)
        await cycles(dut, 8)
        address = (base + offset + fits * size) % (1 << 64)
        assert bench.faults[:1] == [Fault(ErrorCode.MEMORY_BOUNDS, engine, fits, 0, address)]


@cocotb.test(timeout_time=200, timeout_unit="us")
async def longer_programs_behind_a_job_start_nothing(dut):
    """The host writes the registers of the next job while the fetcher still has the state of the last one."""
    bench = Bench(dut, latency=5)
    await bench.open(counts=(3, 2, 4, 1))
    await bench.settle()
    asked = len(bench.memory.segments)
    assert asked == 10
    dut.active.value = 0
    await cycles(dut, 1)
    table = [{"offset": stream.offset, "count": 2 * stream.count} for stream in bench.streams]
    dut.programs.value = PROGRAM_TABLE.const(table).as_value().value
    await cycles(dut, 50)
    assert len(bench.memory.segments) == asked and not bench.faults


def test_fetch_ends():
    config = PRESETS["tiny"].with_(bus_bytes=BUS_BYTES)
    run_cocotb(Exposed(ProgramFetcher(config)), "fetch", __name__, parameters={"bus_bytes": BUS_BYTES})
