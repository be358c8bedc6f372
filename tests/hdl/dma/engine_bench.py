"""An engine with its port between the memories around it: what it must do, and checks that it has done it."""

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass

from cocotb.handle import HierarchyObject
from lepton.arch import ChipConfig, DmaOpcode

from tests.bench.axi_memory import AxiMemory, AxiReadMemory, AxiWriteMemory
from tests.bench.checker import InOrder
from tests.bench.clock import cycles, until
from tests.bench.stalls import NONE, stall
from tests.hdl.dma.commands import Fields, Region, Word, command, loaded, store
from tests.hdl.dma.peers import Control, Done, Failure, WordSink, WordSource, start_engine

QUIET = 200  # cycles for which nothing may move where nothing is under way; more than memory's latency in any test


@dataclass(frozen=True)
class Pauses:
    """Names of stall patterns: of memory, of the on-chip memories, and between commands."""

    memory: str = NONE
    local: str = NONE
    commands: str = NONE


NO_PAUSES = Pauses()


class EngineBench(ABC):
    """Driver, monitors, model and checkers of one engine. `memory`: what is in memory from address `base` on."""

    axi: AxiMemory

    def __init__(self, dut: HierarchyObject, config: ChipConfig, regions: list[Region], memory: bytes, base: int,
                 pauses: Pauses) -> None:
        self.dut = dut
        self.config = config
        self.regions = regions
        self.memory = memory
        self.base = base
        self.control = Control(dut, stall(pauses.commands))
        self.done = InOrder[Done]("done")
        self.control.done.report = self.done.receive

    @property
    @abstractmethod
    def opcode(self) -> DmaOpcode:
        """Of the commands of this engine that use memory."""

    @abstractmethod
    def expect(self, fields: Fields, count: int | None = None) -> None:
        """The first `count` rows of this command happen (default: all)."""

    @property
    @abstractmethod
    def landed(self) -> bool:
        """Whether everything expected has happened, and nothing else."""

    @abstractmethod
    def check(self) -> None:
        """Fail with the first difference where not everything expected has happened, or anything else has."""

    @abstractmethod
    def forget(self) -> None:
        """Bring memories, model and checkers back to the state before any command."""

    async def start(self) -> None:
        """Start the clock and reset."""
        await start_engine(self.dut, self.regions)

    def command(self, **fields: int) -> Fields:
        """A LOAD or STORE."""
        return command(self.opcode, **fields)

    def start_of(self, fields: Fields) -> int:
        """Where the region of a command begins in `memory`."""
        return self.regions[fields["region"]].base - self.base

    def send(self, *commands: Fields) -> None:
        """Send commands that must take full effect and finish."""
        for fields in commands:
            self.expect(fields)
            self.done.expect(Done.of(fields))
        self.control.send(*commands)

    async def run(self, *commands: Fields, limit: int = 50_000) -> None:
        """Send commands, wait until they are done, and check their effect."""
        self.send(*commands)
        await until(self.dut, lambda: self.done.complete and not self.control.busy, limit, lambda: self.control.state)
        assert not self.control.errors.items, self.control.errors.items
        assert self.axi.in_flight.now == 0, "done before the last answer"
        self.done.finish()
        self.check()

    async def stopped(self, limit: int = 5000) -> Failure:
        """Wait for the error. Then engine and port must be idle and stay so, and no second error may be reported."""
        control = self.control
        await until(self.dut, lambda: control.errors.items and not control.busy, limit, lambda: control.state)
        await self.quiet()
        assert len(control.errors.items) == 1, f"more than one error is reported: {control.errors.items}"
        assert self.done.complete, f"{self.done.missing} commands before the error are not done"
        return control.errors.items[0]

    async def quiet(self) -> None:
        """Nothing is under way, and nothing begins."""
        assert not self.dut.port_busy.value
        assert self.axi.in_flight.now == 0
        bursts = len(self.axi.bursts)
        moved = len(self.axi.beat_times)
        await cycles(self.dut, QUIET)
        assert len(self.axi.bursts) == bursts and len(self.axi.beat_times) == moved, "the bus did not stay quiet"
        assert not self.control.busy

    async def restart(self) -> None:
        """Reset, as between two jobs."""
        self.done.forget()
        self.forget()
        await self.control.reset()

    @property
    def duration(self) -> int:
        """Cycles from the first command accepted to the last one done."""
        return self.control.done.times[-1] - self.control.accepted.times[0]


class LoadTester(EngineBench):
    """LOAD and FILL: every word that is written, in order."""

    opcode = DmaOpcode.LOAD

    def __init__(self, dut: HierarchyObject, config: ChipConfig, regions: list[Region], memory: bytes, base: int,
                 pauses: Pauses = NO_PAUSES) -> None:
        super().__init__(dut, config, regions, memory, base, pauses)
        self.words = InOrder[Word]("word")
        self.sink = WordSink(dut, config, stall(pauses.local))
        self.sink.monitor.report = self.words.receive

    @classmethod
    def open(cls, dut: HierarchyObject, config: ChipConfig, regions: list[Region], size: int, base: int,
             pauses: Pauses = NO_PAUSES, latency: int = 64) -> "LoadTester":
        """With `size` random bytes of memory behind the port."""
        bench = cls(dut, config, regions, random.randbytes(size), base, pauses)
        bench.axi = AxiReadMemory(dut, config.bus_bytes, bytearray(bench.memory), base=base, latency=latency,
                                  pause=stall(pauses.memory))
        return bench

    def expect(self, fields: Fields, count: int | None = None) -> None:
        start = self.start_of(fields)
        region = self.memory[start:start + self.regions[fields["region"]].size]
        self.words.expect(*loaded(self.config, fields, region, count))

    @property
    def landed(self) -> bool:
        return self.words.complete

    def check(self) -> None:
        self.words.finish()

    def forget(self) -> None:
        self.words.forget()
        self.words.received = 0


class StoreTester(EngineBench):
    """STORE: the bytes of memory."""

    opcode = DmaOpcode.STORE
    axi: AxiWriteMemory

    def __init__(self, dut: HierarchyObject, config: ChipConfig, regions: list[Region], memory: bytes, base: int,
                 pauses: Pauses = NO_PAUSES) -> None:
        super().__init__(dut, config, regions, memory, base, pauses)
        self.expected = bytearray(memory)
        self.scratchpad = random.randbytes(config.scratchpad_bytes)
        self.source = WordSource(dut, config, self.scratchpad, stall(pauses.local))

    @classmethod
    def open(cls, dut: HierarchyObject, config: ChipConfig, regions: list[Region], size: int, base: int,
             pauses: Pauses = NO_PAUSES, latency: int = 64, first: str = "any") -> "StoreTester":
        """With `size` random bytes of memory behind the port."""
        bench = cls(dut, config, regions, random.randbytes(size), base, pauses)
        bench.axi = AxiWriteMemory(dut, config.bus_bytes, bytearray(bench.memory), base=base, latency=latency,
                                   pause=stall(pauses.memory), first=first)
        return bench

    def expect(self, fields: Fields, count: int | None = None) -> None:
        store(fields, self.expected, self.start_of(fields), self.scratchpad, count)

    @property
    def landed(self) -> bool:
        return self.axi.contents.data == self.expected

    def check(self) -> None:
        assert self.axi.gaps == 0, "a burst waited for its data"
        check_bytes(bytes(self.axi.contents.data), bytes(self.expected))

    def check_part(self) -> None:
        """Each byte is what it was or what is expected: for commands that were stopped on their way."""
        mixed = bytes(old if got == old else new
                      for got, old, new in zip(self.axi.contents.data, self.memory, self.expected, strict=True))
        check_bytes(bytes(self.axi.contents.data), mixed)

    def forget(self) -> None:
        self.axi.contents.data[:] = self.memory
        self.expected[:] = self.memory


def check_bytes(got: bytes, expected: bytes) -> None:
    """Fail with the first byte that differs."""
    if got == expected:
        return
    wrong = [at for at, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b]
    at = wrong[0]
    raise AssertionError(f"{len(wrong)} bytes differ, first {at:#x}: {got[at]:#x}, not {expected[at]:#x}")
