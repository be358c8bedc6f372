"""The whole control block with a host, a memory and three engines."""

import random

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp
from lepton.arch import COUNTERS, REGISTERS, ErrorCode, Region
from lepton.arch import Engine as EngineName
from lepton.arch.commands import ENGINE_OPCODES, ENGINE_RECORDS
from lepton.arch.registers import State

from tests.bench.clock import cycles, start_clock
from tests.cocotb_harness import parameters
from tests.hdl.control.peers import Engine, Host, Memory

PROGRAM_BASE = 0x2_0000_1000
STREAM_BYTES = 0x8000
CAUSES = [name for name, _ in COUNTERS[1:7]]


class Bench:
    """`now` counts clock cycles; `resets` are those with engine_reset, `memory_resets` those with memory_reset,
    `dones` those with a TENSOR done."""

    @classmethod
    async def open(cls, dut, *, latency=10, stall=0.0, duration=range(1, 12)):
        bench = cls()
        bench.dut, bench.now, bench.resets, bench.memory_resets, bench.dones = dut, 0, [], [], []
        for name in ("tensor_activity", *(f"{port}_{name}" for port in ("read", "write") for name in (
                "open", "stale", "timed_out", "broken", "failed_address", "beat"))):
            getattr(dut, name).value = 0
        bench.host = Host(dut, "host_")
        bench.memory = Memory(dut, "read", parameters()["bus_bytes"], latency=latency, stall=stall)
        bench.engines = [Engine(dut, e.name.lower(), record, duration) for e, record in ENGINE_RECORDS.items()]
        await start_clock(dut)
        cocotb.start_soon(bench._watch())
        await cycles(dut, 2)
        await bench.write("IRQ_ENABLE", 3)
        return bench

    async def _watch(self):
        while True:
            await RisingEdge(self.dut.clk)
            self.now += 1
            if self.dut.engine_reset.value:
                self.resets.append(self.now)
            if self.dut.memory_reset.value:
                self.memory_resets.append(self.now)
            if self.dut.tensor__done__valid.value:
                self.dones.append(self.now)

    async def write(self, name, value):
        assert await self.host.write(REGISTERS[name].offset, value) == AxiResp.OKAY, name

    async def read(self, name):
        value, response = await self.host.read(REGISTERS[name].offset)
        assert response == AxiResp.OKAY, name
        return value

    async def ring(self, streams):
        """Put the streams (lists of field dicts, by engine) into memory and start the job."""
        for engine in EngineName:
            stream = streams.get(engine, [])
            self.engines[engine].started.clear()
            self.engines[engine].finished.clear()
            data = b"".join(encode(engine, i, fields) for i, fields in enumerate(stream))
            self.memory.write(PROGRAM_BASE + engine * STREAM_BYTES, data)
            await self.write(f"{engine.name}_PROGRAM", engine * STREAM_BYTES)
            await self.write(f"{engine.name}_COUNT", len(stream))
        await self.write(f"{Region.PROGRAM.name}_BASE", PROGRAM_BASE & 0xFFFF_FFFF)
        await self.write(f"{Region.PROGRAM.name}_BASE_HI", PROGRAM_BASE >> 32)
        await self.write(f"{Region.PROGRAM.name}_SIZE", 3 * STREAM_BYTES)
        self.resets.clear()
        self.dones.clear()
        await self.write("DOORBELL", 1)

    async def finish(self, limit=20_000):
        """Wait for the interrupt, clear it; returns the state."""
        for _ in range(limit):
            if self.dut.irq.value:
                break
            await RisingEdge(self.dut.clk)
        else:
            raise AssertionError("no interrupt")
        self.ended = self.now
        state, pending = State(await self.read("STATUS")), await self.read("IRQ_STATUS")
        assert pending == {State.DONE: 1, State.ERROR: 2}[state]
        await self.write("IRQ_STATUS", pending)
        assert await self.read("IRQ_STATUS") == 0 and not self.dut.irq.value
        return state

    async def run(self, streams):
        await self.ring(streams)
        return await self.finish()

    async def error(self):
        """(code, engine, command, layer, address) of the last job."""
        names = ("CODE", "ENGINE", "COMMAND", "LAYER", "ADDRESS", "ADDRESS_HI")
        values = [await self.read(f"ERROR_{name}") for name in names]
        return (ErrorCode(values[0]), EngineName(values[1]), *values[2:4], values[4] | values[5] << 32)

    async def counters(self):
        return {name: await self.read(name) for name, _ in COUNTERS}


def encode(engine, index, fields):
    """A command of the engine, with a payload that tells it from every other."""
    marker = {"in_addr": index} if engine is EngineName.TENSOR else {"offset": index}
    return ENGINE_RECORDS[engine].pack(**{"opcode": ENGINE_OPCODES[engine][0]} | marker | fields)


def random_streams(rng: random.Random, lengths, *, lost=0.0):
    """Streams whose waits are met by earlier posts of one global order; each semaphore has one consumer, so
    that no other order can starve anybody. A share `lost` of the posts is left out."""
    consumers = [rng.choice(list(EngineName)) for _ in range(16)]
    remaining = dict(zip(EngineName, lengths, strict=True))
    tokens = [0] * 16
    streams = {engine: [] for engine in EngineName}
    while any(remaining.values()):
        engine = rng.choice([e for e in EngineName if remaining[e]])
        remaining[engine] -= 1
        ready = [s for s in range(16) if tokens[s] and consumers[s] is engine]
        wait = sum(1 << s for s in ready if rng.random() < 0.7)
        post = sum(1 << s for s in range(16) if rng.random() < 0.12 and tokens[s] < 200)
        for s in range(16):
            tokens[s] += (post >> s & 1) - (wait >> s & 1)
        opcode = int(rng.choice(ENGINE_OPCODES[engine]))
        streams[engine].append({"opcode": opcode, "wait": wait, "layer": rng.randrange(1 << 16),
                                "post": 0 if rng.random() < lost else post})
    return streams


def expected_end(streams):
    """What a job must end with: None, or (engine, index, layer, missing) of the deadlock.

    Every semaphore has one consumer, so the order of execution does not matter (a Kahn network).
    """
    at, tokens = dict.fromkeys(EngineName, 0), [0] * 16

    def missing(engine):
        wait = streams[engine][at[engine]]["wait"]
        return sum(1 << s for s in range(16) if wait >> s & 1 and not tokens[s])

    def unfinished():
        return [e for e in EngineName if at[e] < len(streams[e])]

    while ready := [e for e in unfinished() if not missing(e)]:
        command = streams[ready[0]][at[ready[0]]]
        for s in range(16):
            tokens[s] += (command["post"] >> s & 1) - (command["wait"] >> s & 1)
        at[ready[0]] += 1
    if not unfinished():
        return None
    engine = unfinished()[0]
    return engine, at[engine], streams[engine][at[engine]]["layer"], missing(engine)
