"""The march between its driver and a memory with defects; the model of the accesses that it must make."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from amaranth.utils import ceil_log2
from cocotb.handle import HierarchyObject
from lepton.arch import ChipConfig

from tests.bench.checker import InOrder
from tests.bench.clock import cycles, start_clock, until
from tests.bench.stalls import NONE, stall
from tests.bench.stream import ReadyDriver, StreamMonitor
from tests.bench.word_memory import WordReads

DEPTH = 24  # words, not a power of two
BITS = 32
ONES = (1 << BITS) - 1
CONFIG = ChipConfig("march", lanes=4, columns=4, scratchpad_kib=1, weight_kib=1, accumulator_rows=16)
LIMIT = 5_000  # cycles of a march: 5 accesses a word, each of which waits for up to some dozens


@dataclass(frozen=True)
class Write:
    """A write that was accepted."""

    address: int
    word: int


@dataclass(frozen=True)
class Read:
    """A read that was accepted."""

    address: int


def background(address: int) -> int:
    """The word that the march writes first: bits differ from their neighbours in the word and in the words next to it.
    """
    even = int("01" * (BITS // 2), 2)
    return even ^ ONES if address % 2 else even


def accesses() -> list[Write | Read]:
    """The model: {up (w0); up (r0, w1); down (r1, w0)}, in order."""
    made: list[Write | Read] = [Write(address, background(address)) for address in range(DEPTH)]
    for address in range(DEPTH):
        made += [Read(address), Write(address, background(address) ^ ONES)]
    for address in reversed(range(DEPTH)):
        made += [Read(address), Write(address, background(address))]
    return made


class Memory:
    """A sound memory, of random contents."""

    def __init__(self) -> None:
        self.words = [random.getrandbits(BITS) for _ in range(DEPTH)]

    def read(self, address: int) -> int:
        """What a read gives."""
        return self.words[address]

    def write(self, address: int, word: int) -> None:
        """What a write does."""
        self.words[address] = word


@dataclass
class Stuck(Memory):
    """A bit that always reads as `value`."""

    address: int
    bit: int
    value: int

    def __post_init__(self) -> None:
        super().__init__()

    def read(self, address: int) -> int:
        word = super().read(address)
        return word & ~(1 << self.bit) | self.value << self.bit if address == self.address else word


@dataclass
class Aliased(Memory):
    """A decoder that takes address `first` for `second`."""

    first: int
    second: int

    def __post_init__(self) -> None:
        super().__init__()

    def read(self, address: int) -> int:
        return super().read(self.second if address == self.first else address)

    def write(self, address: int, word: int) -> None:
        super().write(self.second if address == self.first else address, word)


@dataclass
class Coupled(Memory):
    """A write to address `first` inverts bit 0 of `second`."""

    first: int
    second: int

    def __post_init__(self) -> None:
        super().__init__()

    def write(self, address: int, word: int) -> None:
        super().write(address, word)
        if address == self.first:
            self.words[self.second] ^= 1


@dataclass
class WrongRead(Memory):
    """One bit is wrong in read number `number`, and only in that."""

    number: int

    def __post_init__(self) -> None:
        super().__init__()
        self._reads = 0
        self._bit = random.randrange(BITS)

    def read(self, address: int) -> int:
        wrong = self._reads == self.number
        self._reads += 1
        return super().read(address) ^ (wrong << self._bit)


@dataclass
class Slow(Memory):
    """The bits in `mask` of word `address` can be set once, but then no longer change to `value`."""

    address: int
    mask: int
    value: int

    def __post_init__(self) -> None:
        super().__init__()
        self._written = False

    def write(self, address: int, word: int) -> None:
        if address == self.address and self._written:
            stays = self.mask & (word if self.value else ~word)
            word = word & ~stays | self.words[address] & stays
        self._written |= address == self.address
        super().write(address, word)


@dataclass
class Bridged(Memory):
    """Bit `low` of each word and the next one are one wire, which reads as `join` of both."""

    join: Callable[[int, int], int]
    low: int

    def __post_init__(self) -> None:
        super().__init__()

    def read(self, address: int) -> int:
        word = super().read(address)
        both = self.join(word >> self.low & 1, word >> self.low + 1 & 1)
        return word & ~(3 << self.low) | 3 * both << self.low


class MarchBench:
    """Driver of `start`, a memory that is replaced for every march, and the checker of every access."""

    def __init__(self, dut: HierarchyObject) -> None:
        self.dut = dut
        self.memory = Memory()
        self.accesses = InOrder[Write | Read]("access")
        address_bits = ceil_log2(DEPTH)

        def unpack(bits: int) -> Write:
            return Write(bits & (1 << address_bits) - 1, bits >> address_bits)

        self.reads = WordReads(dut, "read", self._read, BITS)
        self.write_sink = ReadyDriver(dut, "write")
        self.writes = StreamMonitor(dut, "write", unpack, self._write)

    def _read(self, address: int) -> int:
        self.accesses.receive(Read(address))
        return self.memory.read(address)

    def _write(self, write: Write) -> None:
        self.accesses.receive(write)
        self.memory.write(write.address, write.word)

    async def start(self) -> None:
        """Start the clock and reset."""
        await start_clock(self.dut, start=0)
        await cycles(self.dut, 1)

    async def march(self, memory: Memory, pattern: str = NONE) -> bool:
        """Whether the march says that this memory is defective. It makes every access whatever it finds."""
        self.memory = memory
        self.reads.sink.pause = stall(pattern)
        self.write_sink.pause = stall(pattern)
        self.accesses.expect(*accesses())
        self.dut.start.value = 1
        await cycles(self.dut, 1)
        self.dut.start.value = 0
        await cycles(self.dut, 1)
        assert self.dut.busy.value, "the march does not begin"
        await until(self.dut, lambda: not self.dut.busy.value, LIMIT, lambda: "the march does not end")
        self.accesses.finish()
        return bool(self.dut.failed.value)


async def opened(dut: HierarchyObject) -> MarchBench:
    """A bench out of reset."""
    bench = MarchBench(dut)
    await bench.start()
    return bench
