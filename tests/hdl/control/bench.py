"""The bench of the whole control block: a host, a memory, the engines, and monitors of its pulses."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp
from lepton.arch import COUNTERS, REGISTERS, ErrorCode, Region
from lepton.arch import Engine as EngineName
from lepton.arch.commands import ENGINE_RECORDS
from lepton.arch.registers import Control, Interrupt, State
from lepton_hdl.control import Activity

from tests.bench.clock import cycles, start_clock, until
from tests.cocotb_harness import parameters
from tests.hdl.control.peers import Engine, Host, Memory
from tests.hdl.control.programs import Streams, check_history, encode_command

PROGRAM_BASE = 0x2_0000_1000
STREAM_BYTES = 0x8000
CAUSES = [name for name, _ in COUNTERS[1:7]]
PORT_INPUTS = tuple(f"{port}_{name}" for port in ("read", "write")
                    for name in ("open", "stale", "timed_out", "broken", "failed_address", "beat"))
INTERRUPTS = {State.DONE: Interrupt.DONE, State.ERROR: Interrupt.ERROR}

Error = tuple[ErrorCode, EngineName, int, int, int]
"""Code, engine, command, layer, address, as in the registers."""
NO_ERROR: Error = (ErrorCode.NONE, EngineName.LOAD, 0, 0, 0)


class PulseMonitor:
    """The cycles in which each of some outputs is high. `now` counts clock cycles."""

    def __init__(self, dut: HierarchyObject, names: Iterable[str]) -> None:
        self.dut = dut
        self.now = 0
        self.cycles: dict[str, list[int]] = {name: [] for name in names}
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        ports = {name: getattr(self.dut, name) for name in self.cycles}
        while True:
            await RisingEdge(self.dut.clk)
            self.now += 1
            for name, port in ports.items():
                if port.value:
                    self.cycles[name].append(self.now)


@dataclass(frozen=True)
class Counted:
    """What happens to the counters in a cycle."""

    activity: Activity
    reads: bool
    writes: bool


class ActivityDriver:
    """Random inputs of the counters in every cycle; `driven`: those that each clock edge saw."""

    def __init__(self, dut: HierarchyObject) -> None:
        self.dut = dut
        self.driven: list[Counted] = []
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut = self.dut
        while True:
            cycle = Counted(random.choice(list(Activity)), random.random() < 0.3, random.random() < 0.2)
            dut.tensor_activity.value = cycle.activity.value
            dut.read_beat.value = cycle.reads
            dut.write_beat.value = cycle.writes
            await RisingEdge(dut.clk)
            self.driven.append(cycle)


class Bench:
    """All parts around one control block; `open` makes it."""

    def __init__(self, dut: HierarchyObject, latency: int, stall: float, duration: range) -> None:
        self.dut = dut
        self.host = Host(dut, "host_")
        self.memory = Memory(dut, "read", parameters()["bus_bytes"], latency=latency, stall=stall)
        self.engines = [Engine(dut, e.name.lower(), record, duration) for e, record in ENGINE_RECORDS.items()]
        self.ended = 0  # the cycle in which the last job was seen to have ended
        self._pulses = PulseMonitor(dut, ("engine_reset", "memory_reset", "tensor__done__valid", "rows__done__valid"))

    @classmethod
    async def open(cls, dut: HierarchyObject, *, latency: int = 10, stall: float = 0.0,
                   duration: range = range(1, 12)) -> "Bench":
        """Start the clock, reset, enable both interrupts."""
        bench = cls(dut, latency, stall, duration)
        await start_clock(dut, tensor_activity=0, **dict.fromkeys(PORT_INPUTS, 0))
        await cycles(dut, 2)
        await bench.write("IRQ_ENABLE", Interrupt.DONE | Interrupt.ERROR)
        return bench

    @property
    def now(self) -> int:
        """Clock cycles."""
        return self._pulses.now

    @property
    def resets(self) -> list[int]:
        """The cycles with engine_reset since the last job was set up."""
        return self._pulses.cycles["engine_reset"]

    @property
    def memory_resets(self) -> list[int]:
        """Those with memory_reset."""
        return self._pulses.cycles["memory_reset"]

    @property
    def dones(self) -> list[int]:
        """Those in which TENSOR has finished a command, since the last job was set up."""
        return self._pulses.cycles["tensor__done__valid"]

    @property
    def row_dones(self) -> list[int]:
        """Those in which ROWS has finished one."""
        return self._pulses.cycles["rows__done__valid"]

    async def write(self, name: str, value: int) -> None:
        assert await self.host.write(REGISTERS[name].offset, value) == AxiResp.OKAY, name

    async def read(self, name: str) -> int:
        value, response = await self.host.read(REGISTERS[name].offset)
        assert response == AxiResp.OKAY, name
        return value

    async def control(self, bit: Control) -> None:
        await self.write("CONTROL", bit)

    async def ring(self, streams: Streams) -> None:
        """Put the streams into memory and start the job."""
        for engine in EngineName:
            stream = streams.get(engine, [])
            self.engines[engine].started.clear()
            self.engines[engine].finished.clear()
            data = b"".join(encode_command(engine, i, fields) for i, fields in enumerate(stream))
            self.memory.write(PROGRAM_BASE + engine * STREAM_BYTES, data)
            await self.write(f"{engine.name}_PROGRAM", engine * STREAM_BYTES)
            await self.write(f"{engine.name}_COUNT", len(stream))
        await self.write(f"{Region.PROGRAM.name}_BASE", PROGRAM_BASE & 0xFFFF_FFFF)
        await self.write(f"{Region.PROGRAM.name}_BASE_HI", PROGRAM_BASE >> 32)
        await self.write(f"{Region.PROGRAM.name}_SIZE", len(EngineName) * STREAM_BYTES)
        self.resets.clear()
        self.dones.clear()
        self.row_dones.clear()
        await self.write("DOORBELL", 1)

    async def finish(self) -> State:
        """Wait for the interrupt, clear it; the state in which the job ended."""
        if not self.dut.irq.value:
            await until(self.dut, lambda: self.dut.irq.value, state=lambda: "no interrupt")
        self.ended = self.now
        state = State(await self.read("STATUS"))
        pending = await self.read("IRQ_STATUS")
        assert pending == INTERRUPTS[state]
        await self.write("IRQ_STATUS", pending)
        assert await self.read("IRQ_STATUS") == 0 and not self.dut.irq.value
        return state

    async def run(self, streams: Streams) -> State:
        await self.ring(streams)
        return await self.finish()

    def check_history(self, streams: Streams) -> None:
        """The last job executed these streams, whole and in order."""
        check_history(streams, {e: self.engines[e].started for e in EngineName},
                      {e: self.engines[e].finished for e in EngineName})

    async def error(self) -> Error:
        """That of the last job."""
        names = ("CODE", "ENGINE", "COMMAND", "LAYER", "ADDRESS", "ADDRESS_HI")
        code, engine, command, layer, low, high = [await self.read(f"ERROR_{name}") for name in names]
        return ErrorCode(code), EngineName(engine), command, layer, low | high << 32

    async def counters(self) -> dict[str, int]:
        return {name: await self.read(name) for name, _ in COUNTERS}
