"""What stops the engines: every kind of error, halt in mid-burst, memory that goes silent."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles
from lepton.arch import Dma, DmaOpcode, ErrorCode

from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.bench import CONFIGS, LoadBench, StoreBench, command, expected_words, rows
from tests.hdl.dma.peers import AxiMemory, Control, WordSink, WordSource, start

MEMORY = 0x20000
REGIONS = [(0x1000, 0x8000), (0x1003, 0x8001), (0x9000, 0xFFFF), (0x1_9000, 0x100)]


class Bench:
    """Either engine; `moved()` is what has landed so far, to compare with `effect` of the commands that should."""

    @classmethod
    async def open(cls, dut, **axi):
        self = cls()
        self.dut, self.store = dut, parameters()["store"]
        self.config = CONFIGS[parameters()["config"]]
        self.opcode = DmaOpcode.STORE if self.store else DmaOpcode.LOAD
        rng = np.random.default_rng(random.getrandbits(32))
        self.memory = rng.integers(0, 256, MEMORY, dtype=np.uint8)
        self.scratchpad = rng.integers(0, 256, self.config.scratchpad_bytes, dtype=np.uint8)
        self.axi = AxiMemory(dut, self.config.bus_bytes, "write" if self.store else "read",
                             bytearray(self.memory.tobytes()), **axi)
        self.control = Control(dut)
        self.local = (WordSource(dut, self.config, self.scratchpad.tobytes()) if self.store
                      else WordSink(dut, self.config))
        await start(dut, REGIONS)
        return self

    async def restart(self):
        """Reset, as between two jobs."""
        self.control.forget()
        if self.store:
            self.axi.contents[:] = self.memory.tobytes()
        else:
            self.local.words.clear()
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 2)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)

    def command(self, **fields):
        return command(self.opcode, **fields)

    def moved(self):
        return bytes(self.axi.contents) if self.store else self.local.words

    def effect(self, commands):
        """`commands` is a list of (command, number of its rows that happen)."""
        if not self.store:
            words = []
            for fields, count in commands:
                base = REGIONS[fields["region"]][0]
                per_row = -(-fields["row_bytes"] // self.config.lanes)
                words += expected_words(self.config, fields, self.memory[base:])[:count * per_row]
            return words
        memory = self.memory.copy()
        for fields, count in commands:
            for offset, local in list(rows(fields))[:count]:
                at, n = REGIONS[fields["region"]][0] + offset, fields["row_bytes"]
                memory[at:at + n] = self.scratchpad[local:local + n]
        return memory.tobytes()

    async def stopped(self):
        """Wait for the error; then the engine and its port must become idle, and stay so."""
        control = self.control
        await control.until(lambda: control.errors and not control.busy, 5000)
        await self.quiet()
        assert len(control.errors) == 1
        error = control.errors[0][1]
        return ErrorCode(error["code"]), error["address"], error["index"], error["layer"]

    async def quiet(self):
        assert not self.dut.port_busy.value
        bursts, moved = len(self.axi.bursts), len(self.axi.beat_times)
        assert self.axi.in_flight == 0
        await ClockCycles(self.dut.clk, 200)
        assert (len(self.axi.bursts), len(self.axi.beat_times)) == (bursts, moved), "the bus did not stay quiet"
        assert not self.control.busy


def illegal_fields(store: bool):
    yield from (({name: 0}, 0) for name in ("row_bytes", "count1", "count2", "count3"))
    for field in Dma.fields:
        if field.name.startswith("reserved"):
            yield {field.name: 1 << (field.bits - 1)}, (1 << (field.bits - 1)) & 0xFFFF_FFFF
            yield {field.name: 1}, 1
    yield {"region": 4}, 4
    yield {"region": 0x80}, 0x80
    yield {"space": 1 if store else 2}, 1 if store else 2
    yield {"space": 0xFE}, 0xFE
    yield {"reserved_dma": 3, "row_bytes": 0, "region": 9}, 3  # the first in the record


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def checks_come_before_the_row(dut):
    """Each kind of illegal command, after a good one: all good rows happen, the error has its code and address,
    nothing else moves, later commands are not accepted."""
    bench = None
    config = CONFIGS[parameters()["config"]]
    store, lanes = parameters()["store"], config.lanes
    good = {"row_bytes": 5 * lanes + 1, "count1": 2, "mem_step1": 0x100, "local_step1": 8 * lanes}
    cases = [(fields, 0, ErrorCode.ILLEGAL_FIELD, value) for fields, value in illegal_fields(store)]
    size = config.scratchpad_bytes
    cases += [
        ({"local": lanes + 1}, 0, ErrorCode.LOCAL_ALIGNMENT, lanes + 1),
        ({"local_step1": lanes // 2}, 1, ErrorCode.LOCAL_ALIGNMENT, lanes // 2),
        ({"local": size - 5 * lanes}, 0, ErrorCode.LOCAL_BOUNDS, size - 5 * lanes),
        ({"local": size - 6 * lanes, "local_step1": lanes}, 1, ErrorCode.LOCAL_BOUNDS, size - 5 * lanes),
        ({"local": lanes, "local_step1": -2 * lanes}, 1, ErrorCode.LOCAL_BOUNDS, 2**32 - lanes),
        ({"row_bytes": 0xFFFF_FFFF}, 0, ErrorCode.LOCAL_BOUNDS, 0),
        ({"offset": 0x8000 - 5 * lanes}, 0, ErrorCode.MEMORY_BOUNDS, 0x8000 - 5 * lanes),
        ({"offset": 0x8000 - 5 * lanes - 1, "mem_step1": 1}, 1, ErrorCode.MEMORY_BOUNDS, 0x8000 - 5 * lanes),
        ({"offset": 2, "mem_step1": -3}, 1, ErrorCode.MEMORY_BOUNDS, 0xFFFF_FFFF),
        ({"region": 3, "offset": 0x100, "row_bytes": 1}, 0, ErrorCode.MEMORY_BOUNDS, 0x100),
        ({"offset": 0x8000, "local": 3}, 0, ErrorCode.LOCAL_ALIGNMENT, 3),  # before the other two
    ]
    if not store:
        cases += [({"space": 1, "local": config.weight_bytes - 5 * lanes}, 0, ErrorCode.LOCAL_BOUNDS,
                   config.weight_bytes - 5 * lanes)]
    for changes, happen, code, address in cases:
        if bench is None:
            bench = await Bench.open(dut, latency=20)
        else:
            await bench.restart()
        first = bench.command(offset=7, post=1, local=16 * lanes, **good)
        bad = bench.command(layer=77, **{**good, "post": 2, **changes})
        bench.control.send(first, bad)
        error = await bench.stopped()
        assert error == (code, address, 1, 77), (changes, error, code, address)
        assert [d["post"] for _, d in bench.control.done] == [1]
        assert bench.moved() == bench.effect([(first, 2), (bad, happen)] if happen else [(first, 2)]), changes
        bench.control.send(bench.command(**good))
        await ClockCycles(dut.clk, 20)
        assert bench.control.sent == 2, "a command was accepted after an error"


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(resp=[2, 3], where=["first", "middle", "next command"])
async def memory_errors(dut, resp, where):
    """SLVERR and DECERR: the address that failed, the command that it belongs to; all that is on the bus ends."""
    bench = await Bench.open(dut)
    row, step = 0xF05, 0xFFF
    at = {"first": 0x1000 + 0x101, "middle": 0x2000, "next command": 0x1000 + 0x4000 + 0x103}[where]
    bench.axi.faults.append((at, at + 1, resp))
    first = bench.command(offset=0x101, row_bytes=row, count1=3, mem_step1=step, layer=5, post=1, local_step1=0x1000)
    bench.control.send(
        first, bench.command(offset=0x4103, row_bytes=row, count1=3, mem_step1=step, layer=6, post=2))
    code, address, index, layer = await bench.stopped()
    assert code == (ErrorCode.AXI_SLVERR if resp == 2 else ErrorCode.AXI_DECERR)
    assert address == at
    assert (index, layer) == ((1, 6) if where == "next command" else (0, 5))
    assert [d["post"] for _, d in bench.control.done] == ([1] if where == "next command" else [])
    if not bench.store:
        # Nothing of the beat that failed, or of anything after it, was written.
        whole = bench.effect([(first, 3)] if where == "next command" else [])
        assert bench.local.words[:len(whole)] == whole
        written = len(bench.local.words) - len(whole)
        assert written <= (0x1000 - 0x101) // bench.config.lanes if where == "middle" else written == 0


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(after=[1, 9, 30, 66, 70, 100, 150, 300])
async def halt_in_mid_burst(dut, after):
    """Started bursts end, nothing starts, `busy` falls, no error is raised."""
    bench = await Bench.open(dut)
    bench.control.send(*(bench.command(row_bytes=0x405, offset=0x201 * i, count1=4, mem_step1=0x403) for i in range(6)))
    await ClockCycles(dut.clk, after)
    dut.control__halt.value = 1
    await ClockCycles(dut.clk, 2)
    started = bench.control.sent
    await bench.control.until(lambda: not bench.control.busy, 2000)
    await bench.quiet()
    assert bench.control.sent == started < 6 and not bench.control.errors
    assert bench.axi.gaps == 0
    done = len(bench.control.done)
    await ClockCycles(dut.clk, 50)
    assert len(bench.control.done) == done


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def silent_memory_times_out(dut):
    bench = await Bench.open(dut, latency=80)
    dut.timeout.value = 100
    bench.control.send(bench.command(row_bytes=64, count1=3, mem_step1=64))
    await bench.control.finished(1)
    await ClockCycles(dut.clk, 300)
    assert not dut.timed_out.value  # neither slow memory nor an idle bus is silent memory
    bench.axi.hold = True
    bench.control.send(bench.command(row_bytes=64, offset=0x4003), bench.command(row_bytes=64, offset=0x5000))
    await bench.control.until(lambda: len(bench.axi.bursts) == 5, 100)
    asked = bench.control.now
    await bench.control.until(lambda: dut.timed_out.value, 200)
    # From the last progress: the second burst was accepted, or the last of its data some cycles later.
    assert 98 <= bench.control.now - asked <= 102 + 64 // min(bench.config.bus_bytes, bench.config.lanes)
    assert dut.failed_address.value == 0x1000 + 0x4003
    assert dut.port_busy.value and bench.control.busy
    bench.axi.hold = False
    await bench.control.until(lambda: len(bench.control.done) == 3, 400)
    assert dut.timed_out.value, "it must stay until the next job"
    assert dut.failed_address.value == 0x1000 + 0x4003
    dut.restart.value = 1
    await ClockCycles(dut.clk, 1)
    dut.restart.value = 0
    await ClockCycles(dut.clk, 2)
    assert not dut.timed_out.value and not dut.broken.value


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def timeout_zero_means_never(dut):
    bench = await Bench.open(dut, latency=10)
    bench.axi.hold = True
    bench.control.send(bench.command(row_bytes=100))
    await ClockCycles(dut.clk, 3000)
    assert not dut.timed_out.value
    bench.axi.hold = False
    await bench.control.finished(1)


@pytest.mark.parametrize("config", ["tiny", "base", "large", "wide_bus"])
@pytest.mark.parametrize("store", [False, True], ids=["load", "store"])
def test_errors(config, store):
    bench = StoreBench if store else LoadBench
    run_cocotb(bench(CONFIGS[config]), f"{'store' if store else 'load'}_{config}", "tests.hdl.dma.test_dma_errors",
               parameters={"config": config, "store": store})
