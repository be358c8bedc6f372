"""The processor behind the clock gate, with programs put into its memories through the copy engine's port."""

from dataclasses import dataclass

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from cocotb.handle import HierarchyObject
from lepton_hdl.controller.clock import ClockGate
from lepton_hdl.controller.processor import Processor

from tests.bench.bus import Access, Answer, BusResponder
from tests.bench.clock import cycles, start_clock

RESULT = 0x1FFC // 4  # word of data memory that tells the outcome of a program
PASSED = 0x600D
JUMP_TO_CODE = [0x1000_00B7, 0x0000_8067]  # lui ra, 0x10000; jalr x0, 0(ra)
LIMIT = 30_000  # cycles of a program
POLL = 50  # cycles between two looks at the result
ANSWER_DELAYS = range(4)


class Gated(wiring.Component):
    """The processor behind the clock gate that the chip has in front of its controller."""

    def __init__(self, rom: list[int]) -> None:
        self.processor = Processor(rom)
        super().__init__({"awake": In(1)} | dict(self.processor.signature.members))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.awake = ClockDomain()
        m.submodules.gate = gate = ClockGate()
        m.submodules.processor = DomainRenamer("awake")(self.processor)
        m.d.comb += [gate.run.eq(self.awake), ClockSignal("awake").eq(gate.clock),
                     ResetSignal("awake").eq(ResetSignal())]
        for name, member in self.processor.signature.members.items():
            inner = getattr(self.processor, name)
            outer = getattr(self, name)
            if not member.is_port:
                connect(m, **{f"inner_{name}": inner, f"outer_{name}": flipped(outer)})
            elif member.flow == In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)
        return m


@dataclass(frozen=True)
class Program:
    """What goes into code and data memory."""

    code: bytes
    data: bytes = b""

    @classmethod
    def of(cls, *words: int) -> "Program":
        """From instructions."""
        return cls(b"".join(word.to_bytes(4, "little") for word in words))


@dataclass(frozen=True)
class Outcome:
    """How a program ended: with a result, or in a trap at an address; with neither it ran too long."""

    result: int | None = None
    trap: int | None = None


class MemoryPort:
    """Driver of the copy engine's port to code and data memory."""

    def __init__(self, dut: HierarchyObject) -> None:
        self.dut = dut
        for name in ("copy_read", "copy_write_code", "copy_write_memory"):
            getattr(dut, name).value = 0

    async def write(self, memory: str, data: bytes) -> None:
        """Write `data` from the start of `memory` on, "code" or "memory" (that of data)."""
        enable = getattr(self.dut, f"copy_write_{memory}")
        enable.value = 1
        for at in range(0, len(data), 4):
            self.dut.copy_address.value = at // 4
            self.dut.copy_write_data.value = int.from_bytes(data[at:at + 4].ljust(4, b"\0"), "little")
            await cycles(self.dut, 1)
        enable.value = 0

    async def write_word(self, index: int, value: int) -> None:
        """Write a word of data memory."""
        self.dut.copy_address.value = index
        self.dut.copy_write_data.value = value
        self.dut.copy_write_memory.value = 1
        await cycles(self.dut, 1)
        self.dut.copy_write_memory.value = 0

    async def read_word(self, index: int) -> int:
        """Read a word of data memory; it follows a cycle behind the request."""
        self.dut.copy_address.value = index
        self.dut.copy_read.value = 1
        await cycles(self.dut, 1)
        self.dut.copy_read.value = 0
        await cycles(self.dut, 1)
        return int(self.dut.copy_data.value)


class Registers:
    """The model of both register buses: words that read as they were written; every access is logged in order.

    `refused`: addresses that answer with an error.
    """

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.refused: set[int] = set()

    def serve(self, access: Access) -> Answer:
        """Read or write a register."""
        if access.address in self.refused:
            return Answer(error=True)
        if access.data is not None:
            self.words[access.address] = access.data
        return Answer(self.words.get(access.address, 0))


class ProcessorBench:
    """The parts together. `buses` and `registers` by the name of the bus: "peripheral" and "chip"."""

    def __init__(self, dut: HierarchyObject) -> None:
        self.dut = dut
        self.memory = MemoryPort(dut)
        self.registers = {name: Registers() for name in ("peripheral", "chip")}
        self.buses = {name: BusResponder(dut, name, registers.serve, ANSWER_DELAYS)
                      for name, registers in self.registers.items()}

    @classmethod
    async def open(cls, dut: HierarchyObject) -> "ProcessorBench":
        """Out of reset, with the processor stopped."""
        bench = cls(dut)
        await start_clock(dut, run=0, awake=1)
        await cycles(dut, 1)
        return bench

    async def load(self, program: Program) -> None:
        """Stop the processor and put a program into its memories; the word of the result is 0."""
        self.dut.run.value = 0
        await cycles(self.dut, 3)
        await self.memory.write("code", program.code)
        await self.memory.write("memory", program.data.ljust(64, b"\0"))
        await self.memory.write_word(RESULT, 0)

    async def run(self, program: Program, limit: int = LIMIT) -> Outcome:
        """Run a program until it has written its result or is trapped."""
        await self.load(program)
        self.dut.run.value = 1
        for _ in range(limit // POLL):
            await cycles(self.dut, POLL)
            if self.dut.trap.value:
                return Outcome(trap=int(self.dut.trap_address.value))
            if result := await self.memory.read_word(RESULT):
                return Outcome(result=result)
        return Outcome()
