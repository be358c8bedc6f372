"""The whole control block: everything that stops a job, and what can be done afterwards."""

import random

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from lepton.arch import PRESETS, ErrorCode
from lepton.arch import Engine as EngineName
from lepton.arch.registers import Control as ControlBit
from lepton.arch.registers import MemoryStatus, State
from lepton_hdl.axi import Resp
from lepton_hdl.control import ControlBlock

from tests.bench.clock import cycles
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.control.bench import NO_ERROR, PROGRAM_BASE, STREAM_BYTES, Bench
from tests.hdl.control.expose import Exposed
from tests.hdl.control.programs import random_streams

LOAD, TENSOR, STORE, ROWS = EngineName


async def still_works(bench: Bench) -> None:
    """After an error stop the next job runs as if nothing had been."""
    for engine in bench.engines:
        engine.stuck_at = None
        engine.fails = {}
        engine.duration = range(1, 10)
    streams = random_streams((8, 8, 8, 8))
    assert await bench.run(streams) is State.DONE
    assert [len(engine.finished) for engine in bench.engines] == [8, 8, 8, 8]
    assert await bench.error() == NO_ERROR


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def an_opcode_of_another_engine_is_refused(dut):
    bench = await Bench.open(dut)
    for engine, opcode in ((LOAD, 0x30), (TENSOR, 0x10), (STORE, 0x11), (LOAD, 0), (TENSOR, 0x24), (STORE, 0xFF),
                           (ROWS, 0x20), (ROWS, 0x42)):
        # The command waits for a semaphore that no command posts: it is refused all the same.
        streams = {engine: [{}, {"layer": 9}, {"opcode": opcode, "layer": 77, "wait": 1}, {}]}
        assert await bench.run(streams) is State.ERROR
        assert await bench.error() == (ErrorCode.ILLEGAL_OPCODE, engine, 2, 77, opcode)
        assert [command.index for command in bench.engines[engine].started] in ([0], [0, 1])
    await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_reserved_header_byte_must_be_zero(dut):
    bench = await Bench.open(dut)
    for engine in EngineName:
        assert await bench.run({engine: [{"layer": 3, "reserved_header": 0x80}]}) is State.ERROR
        assert await bench.error() == (ErrorCode.ILLEGAL_FIELD, engine, 0, 3, 0x80)
        assert not bench.engines[engine].started
    await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_snapshot_needs_a_slot(dut):
    bench = await Bench.open(dut)
    slots = parameters()["layer_slots"]
    ends = [{"layer": slots - 1, "snapshot": 1}, {"layer": slots}, {"layer": slots, "snapshot": 1}]
    assert await bench.run({TENSOR: ends}) is State.ERROR
    assert await bench.error() == (ErrorCode.ILLEGAL_FIELD, TENSOR, 2, slots, slots)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def an_engine_s_error_halts_all_and_waits_for_quiet(dut):
    bench = await Bench.open(dut)
    waited_for = 0
    for engine in EngineName:
        address = random.getrandbits(64)
        bench.engines[engine].fails = {1: (ErrorCode.LOCAL_BOUNDS, address)}
        for peer in bench.engines:
            peer.quiet_after = random.randrange(5, 60)
            peer.duration = range(3, 4)
        streams = {e: [{"layer": 40 + e}] * 30 for e in EngineName}
        await bench.ring(streams)
        while not dut.load__halt.value:
            await RisingEdge(dut.clk)
        halted = bench.now
        assert dut.tensor__halt.value and dut.store__halt.value
        busy = [peer for peer in bench.engines if len(peer.started) > len(peer.finished) + peer.failed]
        assert await bench.finish() is State.ERROR
        # Of the engines that had work left when halted the slowest decides.
        assert bench.ended - halted >= max((peer.quiet_after for peer in busy), default=0), (bench.ended, halted, busy)
        waited_for += len(busy)
        assert await bench.error() == (ErrorCode.LOCAL_BOUNDS, engine, 1, 40 + engine, address)
        assert dut.load__halt.value, "halt must stay until the next job"
        bench.engines[engine].fails = {}
    assert waited_for, "no engine had work left in any of the jobs: nothing was shown"
    await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_semaphore_overflows_at_the_256th_post(dut):
    bench = await Bench.open(dut, latency=1, duration=range(1, 2))
    assert await bench.run({STORE: [{"post": 0x8000, "layer": i} for i in range(300)]}) is State.ERROR
    assert await bench.error() == (ErrorCode.SEMAPHORE_OVERFLOW, STORE, 255, 255, 0x8000)
    await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(response=[Resp.SLVERR, Resp.DECERR])
async def a_program_that_cannot_be_read(dut, response):
    bench = await Bench.open(dut, stall=0.2)
    bad = PROGRAM_BASE + TENSOR * STREAM_BYTES + 3 * 128 + 64
    bench.memory.bad[bad] = response
    assert await bench.run({LOAD: [{}] * 5, TENSOR: [{}] * 9}) is State.ERROR
    assert await bench.error() == (ErrorCode[f"AXI_{response.name}"], TENSOR, 3, 0, bad)
    bench.memory.bad.clear()
    await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_program_outside_its_region(dut):
    bench = await Bench.open(dut)
    await bench.ring({})
    await bench.finish()
    await bench.write("PROGRAM_SIZE", 0x1000)
    await bench.write("STORE_PROGRAM", 0xFC0)
    await bench.write("STORE_COUNT", 2)
    await bench.write("DOORBELL", 1)
    assert await bench.finish() is State.ERROR
    assert await bench.error() == (ErrorCode.MEMORY_BOUNDS, STORE, 1, 0, PROGRAM_BASE + 0x1000)
    await bench.write("STORE_PROGRAM", 0xFA0)
    await bench.write("DOORBELL", 1)
    assert await bench.finish() is State.ERROR
    assert await bench.error() == (ErrorCode.ILLEGAL_FIELD, STORE, 0, 0, PROGRAM_BASE + 0xFA0)
    await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_deadlock_waits_for_what_is_under_way(dut):
    """TENSOR and STORE wait for each other, but LOAD is still at work: not before it has finished."""
    bench = await Bench.open(dut, duration=range(300, 301))
    streams = {LOAD: [{"post": 1}], TENSOR: [{"wait": 0x41, "layer": 8}], STORE: [{"wait": 0x80, "layer": 9}]}
    assert await bench.run(streams) is State.ERROR
    assert bench.ended - bench.resets[0] > 300
    assert await bench.error() == (ErrorCode.DEADLOCK, TENSOR, 0, 8, 0x40)
    assert await bench.read("CYCLES") == bench.ended - bench.resets[0]
    await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_host_aborts(dut):
    bench = await Bench.open(dut)
    await bench.write("CONTROL", ControlBit.ABORT)  # without a job it does nothing
    assert await bench.read("STATUS") == State.IDLE
    bench.engines[STORE].stuck_at = 2
    await bench.ring({LOAD: [{}] * 3, STORE: [{}] * 9})
    await cycles(dut, 300)
    assert await bench.read("STATUS") == State.RUNNING
    await bench.write("CONTROL", ControlBit.ABORT)
    assert await bench.finish() is State.ERROR
    assert await bench.error() == (ErrorCode.ABORTED, LOAD, 0, 0, 0)
    await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(kind=["read", "write"], what=["timed_out", "broken"])
async def memory_that_no_longer_answers(dut, kind, what):
    bench = await Bench.open(dut)
    failed = getattr(dut, f"{kind}_{what}")
    address = getattr(dut, f"{kind}_failed_address")
    bench.engines[LOAD].stuck_at = 1
    bench.engines[LOAD].quiet_after = 10**9  # never
    await bench.ring({LOAD: [{}] * 20})
    await cycles(dut, 100)
    bench.memory.frozen = True
    address.value = 0x1_0000_0040
    failed.value = 1
    assert await bench.finish() is State.ERROR  # although LOAD stays busy
    assert dut.load__busy.value
    code = ErrorCode.AXI_TIMEOUT if what == "timed_out" else ErrorCode.AXI_PROTOCOL
    error = (code, LOAD if kind == "read" else STORE, 0, 0, 0x1_0000_0040)
    assert await bench.error() == error
    # As long as the port says so the next job stops at once, before anything is asked of memory.
    asked = len(bench.memory.segments)
    await bench.write("DOORBELL", 1)
    assert await bench.finish() is State.ERROR
    assert await bench.error() == error
    await bench.write("CONTROL", ControlBit.MEMORY_RESET)
    await cycles(dut, 2)
    assert len(bench.memory_resets) == 1 and bench.memory_resets[0] in bench.resets
    assert await bench.read("STATUS") == State.IDLE and len(bench.memory.segments) == asked
    failed.value = 0
    bench.memory.frozen = False
    bench.engines[LOAD].quiet_after = 5
    await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_status_of_memory_can_be_read(dut):
    bench = await Bench.open(dut)
    names = ("read_open", "write_open", "read_timed_out", "write_timed_out", "read_broken", "write_broken")
    for flag, name in zip(MemoryStatus, names, strict=True):
        getattr(dut, name).value = 1
        assert await bench.read("MEMORY_STATUS") == flag, name
        getattr(dut, name).value = 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(kind=["read", "write"])
async def a_job_begins_when_the_last_one_left_nothing_open(dut, kind):
    """While a port is stale nothing is fetched and no beat is counted; no deadlock is seen in it, and time passes."""
    bench = await Bench.open(dut)
    stale = getattr(dut, f"{kind}_stale")
    beat = getattr(dut, f"{kind}_beat")
    stale.value = 1
    beat.value = kind == "write"  # the read port itself does not count beats that are dropped
    await bench.ring({LOAD: [{"post": 1}], STORE: [{"wait": 1}]})
    await cycles(dut, 500)
    assert not bench.memory.segments and await bench.read("STATUS") == State.RUNNING
    stale.value = beat.value = 0
    assert await bench.finish() is State.DONE
    counters = await bench.counters()
    assert counters["CYCLES"] > 500 and counters["WRITE_BEATS"] == counters["READ_BEATS"] == 0


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(wrong=["opcode", "reserved_header"])
async def an_illegal_command_is_reported_when_the_earlier_ones_have_finished(dut, wrong):
    """Commands of an engine that take long are finished and have posted before the one behind them is reported."""
    bench = await Bench.open(dut)
    for engine in EngineName:
        bench.engines[engine].duration = range(100, 200)
        streams = {engine: [{"layer": n} for n in range(6)] + [{wrong: 0x77, "layer": 6, "wait": 1}]}
        assert await bench.run(streams) is State.ERROR
        code = ErrorCode.ILLEGAL_OPCODE if wrong == "opcode" else ErrorCode.ILLEGAL_FIELD
        assert await bench.error() == (code, engine, 6, 6, 0x77)
        assert len(bench.engines[engine].finished) == 6
        await still_works(bench)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(bit=[ControlBit.RESET, ControlBit.MEMORY_RESET])
async def a_reset_stops_everything_at_once(dut, bit):
    bench = await Bench.open(dut, stall=0.3)
    for _ in range(5):
        bench.engines[TENSOR].stuck_at = random.randrange(5)
        await bench.ring(random_streams((20, 20, 20, 20)))
        await cycles(dut, random.randrange(80))
        bench.resets.clear()
        bench.memory_resets.clear()
        await bench.write("CONTROL", bit)
        assert await bench.read("STATUS") == State.IDLE
        assert len(bench.resets) == 1
        assert bench.memory_resets == (bench.resets if bit == ControlBit.MEMORY_RESET else [])
        assert await bench.read("IRQ_STATUS") == 0 and not dut.irq.value
        cycles_before = await bench.read("CYCLES")
        await cycles(dut, 50)
        assert await bench.read("CYCLES") == cycles_before and not dut.load__halt.value
        await still_works(bench)


@pytest.mark.parametrize("bus_bytes", [16])
def test_control_errors(bus_bytes):
    config = PRESETS["tiny"].with_(bus_bytes=bus_bytes, layer_slots=8)
    run_cocotb(Exposed(ControlBlock(config)), "control", __name__,
               parameters={"bus_bytes": bus_bytes, "layer_slots": 8})
