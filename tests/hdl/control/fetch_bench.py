"""The program fetcher between a memory and three consumers."""

import random

import cocotb
from cocotb.triggers import RisingEdge
from lepton.arch import Engine as EngineName
from lepton.arch.commands import ENGINE_RECORDS
from lepton_hdl.control.faults import FAULT
from lepton_hdl.control.fetch import PROGRAM_TABLE
from lepton_hdl.interfaces import REGION_TABLE

from tests.bench.clock import start_clock
from tests.cocotb_harness import parameters
from tests.hdl.control.peers import Memory

BASE = 0x1_2345_6000
SIZES = {engine: record.size for engine, record in ENGINE_RECORDS.items()}


class Bench:
    """Memory below, three consumers above; `received[engine]` are the commands in order."""

    def __init__(self, dut, *, latency=64, stall=0.0, take=None):
        self.dut = dut
        self.memory = Memory(dut, "read", parameters()["bus_bytes"], latency=latency, stall=stall)
        self.received = {engine: [] for engine in EngineName}
        self.times = {engine: [] for engine in EngineName}
        self.faults = []
        self.words = 0  # taken, of all engines
        self.take = take or {engine: 1.0 for engine in EngineName}  # probability of taking a command in a cycle
        self.spacing = dict.fromkeys(EngineName, 0)
        dut.active.value = dut.halt.value = 0

    async def open(self, counts, offsets=(0, 0x1000, 0x4000), size=0x10000, base=BASE):
        await start_clock(self.dut)
        self.programs = {}
        for engine, count, offset in zip(EngineName, counts, offsets, strict=True):
            program = [random.randbytes(SIZES[engine]) for _ in range(count)]
            self.memory.write(base + offset, b"".join(program))
            self.programs[engine] = program
        self.dut.programs.value = PROGRAM_TABLE.const(
            [{"offset": o, "count": c} for c, o in zip(counts, offsets, strict=True)]).as_value().value
        self.dut.region.value = REGION_TABLE.elem_shape.const({"base": base, "size": size}).as_value().value
        for engine in EngineName:
            cocotb.start_soon(self._consume(engine))
        cocotb.start_soon(self._watch())
        await RisingEdge(self.dut.clk)
        self.dut.active.value = 1

    async def _consume(self, engine):
        """Takes the words of a command, at most one a cycle, and pauses between commands where `spacing` says so."""
        name = engine.name.lower()
        valid, ready, payload = (getattr(self.dut, f"{name}__{part}") for part in ("valid", "ready", "payload"))
        size = parameters()["bus_bytes"]
        ready.value = 0
        taking = False
        now = 0
        held = None
        pause = 0
        command = bytearray()
        while True:
            await RisingEdge(self.dut.clk)
            now += 1
            pause -= 1
            assert held is None or (valid.value and int(payload.value) == held), "a word changed before it was taken"
            held = int(payload.value) if valid.value and not taking else None
            if taking and valid.value:
                self.words += 1
                command += int(payload.value).to_bytes(size, "little")
                if len(command) == SIZES[engine]:
                    self.received[engine].append(bytes(command))
                    self.times[engine].append(now)
                    pause = self.spacing[engine] - SIZES[engine] // size
                    command.clear()
            taking = pause <= 0 and random.random() < self.take[engine]
            ready.value = taking

    async def _watch(self):
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.fault__valid.value:
                self.faults.append(FAULT.from_bits(int(self.dut.fault__payload.value)))

    async def settle(self, limit=8000):
        """Until nothing has moved for 200 cycles."""
        last, still = None, 0
        for _ in range(limit):
            state = (len(self.memory.segments), self.memory.beats, self.words)
            still = still + 1 if state == last else 0
            last = state
            if still == 200:
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError("the fetcher did not settle")
