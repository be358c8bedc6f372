"""The bench of the program fetcher: a memory below, four consumers above, models of its checks and of its requests."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge
from lepton.arch import Engine, ErrorCode
from lepton.arch.commands import ENGINE_RECORDS
from lepton_hdl.control.faults import FAULT
from lepton_hdl.control.fetch import ALIGNMENT, PROGRAM_TABLE
from lepton_hdl.interfaces import REGION_TABLE

from tests.bench.clock import cycles, start_clock
from tests.bench.layouts import decode, encode
from tests.bench.stream import ReadyDriver, StreamMonitor
from tests.cocotb_harness import parameters
from tests.hdl.control.peers import Memory

BASE = 0x1_2345_6000
OFFSETS = (0, 0x1000, 0x4000, 0x8000)  # of the streams in the region, by engine
REGION_BYTES = 0x10000
SIZES = {engine: record.size for engine, record in ENGINE_RECORDS.items()}
QUIET_CYCLES = 200  # in which nothing moves: longer than any latency and any pause of these tests
LIMIT = 8000  # cycles

Programs = Mapping[Engine, Sequence[bytes]]
"""The commands of each engine."""


@dataclass(frozen=True)
class Stream:
    """Where the commands of an engine are: bytes from the region's base, and how many there are."""

    offset: int = 0
    count: int = 0


@dataclass(frozen=True)
class Fault:
    """What the fetcher reports, as `FAULT`."""

    code: int
    engine: int
    index: int
    layer: int
    address: int


def expected_fault(streams: Sequence[Stream], base: int, size: int) -> Fault | None:
    """The model of the checks: the first stream that is not aligned, or does not fit into the region."""
    for engine, stream in zip(Engine, streams, strict=True):
        start = (base + stream.offset) % (1 << 64)
        if stream.count and (stream.offset % ALIGNMENT or base % ALIGNMENT):
            return Fault(ErrorCode.ILLEGAL_FIELD, engine, 0, 0, start)
        fits = max(0, size - stream.offset) // SIZES[engine]
        if stream.count > fits:
            address = (start + fits * SIZES[engine]) % (1 << 64)
            return Fault(ErrorCode.MEMORY_BOUNDS, engine, fits, 0, address)
    return None


def expected_segments(streams: Sequence[Stream], base: int) -> list[tuple[int, int]]:
    """The model of the requests: one for each command, sorted by address."""
    return sorted((base + stream.offset + i * SIZES[engine], SIZES[engine])
                  for engine, stream in zip(Engine, streams, strict=True) for i in range(stream.count))


def check_programs(received: Programs, programs: Programs) -> None:
    """Every command of every engine, whole and in order."""
    for engine in Engine:
        got = list(received[engine])
        wanted = list(programs[engine])
        same = [a == b for a, b in zip(got, wanted, strict=False)]
        first = same.index(False) if False in same else len(same)
        assert got == wanted, f"{engine.name} got {len(got)} of {len(wanted)} commands; command {first} is not its own"


class Consumer:
    """Takes the words of an engine's commands and puts them together.

    `take` is the probability of taking a word in a cycle. Between the ends of two commands are at least `spacing`
    cycles. `times`: when each command was complete.
    """

    def __init__(self, dut: HierarchyObject, engine: Engine, take: float) -> None:
        self.take = take
        self.spacing = 0
        self.commands: list[bytes] = []
        self.times: list[int] = []
        self._size = SIZES[engine]
        self._word_bytes: int = parameters()["bus_bytes"]
        self._command = bytearray()
        self._free = 0  # the cycle from which on words are taken
        name = engine.name.lower()
        # The monitor's task is the first: a command that it completes counts for the pause of the same cycle.
        self._monitor = StreamMonitor(dut, name, lambda bits: bits.to_bytes(self._word_bytes, "little"), self._word)
        ReadyDriver(dut, name, self._pause)

    def clear(self) -> None:
        """Forget what came."""
        self.commands.clear()
        self.times.clear()
        self._command.clear()

    @property
    def words(self) -> int:
        """How many have come."""
        return len(self._monitor.items)

    def _word(self, word: bytes) -> None:
        self._command += word
        if len(self._command) == self._size:
            self.commands.append(bytes(self._command))
            self.times.append(self._monitor.now)
            self._command.clear()
            self._free = self._monitor.now + self.spacing - self._size // self._word_bytes

    def _pause(self) -> bool:
        return self._monitor.now < self._free or random.random() >= self.take


class Bench:
    """All parts around one fetcher. `programs` are in memory, and `received` what has come of them."""

    def __init__(self, dut: HierarchyObject, *, latency: int = 64, stall: float = 0.0, take: float = 1.0) -> None:
        self.dut = dut
        self.memory = Memory(dut, "read", parameters()["bus_bytes"], latency=latency, stall=stall)
        self.consumers = {engine: Consumer(dut, engine, take) for engine in Engine}
        self._reports = StreamMonitor(dut, "fault", lambda bits: Fault(**decode(FAULT, bits)))
        self.programs: dict[Engine, list[bytes]] = {}
        self.streams: list[Stream] = []
        self._started = False

    @property
    def faults(self) -> list[Fault]:
        """Those reported since the last start."""
        return self._reports.items

    @property
    def received(self) -> dict[Engine, list[bytes]]:
        return {engine: consumer.commands for engine, consumer in self.consumers.items()}

    async def open(self, counts: Sequence[int], offsets: Sequence[int] = OFFSETS, size: int = REGION_BYTES,
                   base: int = BASE) -> None:
        """Random programs of these lengths into memory, then start."""
        for engine, count, offset in zip(Engine, counts, offsets, strict=True):
            self.programs[engine] = [random.randbytes(SIZES[engine]) for _ in range(count)]
            self.memory.write(base + offset, b"".join(self.programs[engine]))
        await self.start([Stream(o, c) for o, c in zip(offsets, counts, strict=True)], size, base)

    async def start(self, streams: Sequence[Stream], size: int = REGION_BYTES, base: int = BASE) -> None:
        """Reset, then fetch these streams of a region."""
        dut = self.dut
        dut.active.value = 0
        dut.halt.value = 0
        if self._started:
            dut.rst.value = 1
            await cycles(dut, 3)
            dut.rst.value = 0
        else:
            await start_clock(dut)
        self._started = True
        self.streams = list(streams)
        for part in (self.faults, self.memory.segments):
            part.clear()
        for consumer in self.consumers.values():
            consumer.clear()
        table = [{"offset": stream.offset, "count": stream.count} for stream in streams]
        dut.programs.value = PROGRAM_TABLE.const(table).as_value().value
        dut.region.value = encode(REGION_TABLE.elem_shape, base=base, size=size)
        await RisingEdge(dut.clk)
        dut.active.value = 1

    async def settle(self) -> None:
        """Until nothing has moved for `QUIET_CYCLES`."""
        last: tuple[int, ...] = ()
        still = 0
        for _ in range(LIMIT):
            state = (len(self.memory.segments), self.memory.beats, *(c.words for c in self.consumers.values()))
            still = still + 1 if state == last else 0
            last = state
            if still == QUIET_CYCLES:
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"the fetcher did not come to rest within {LIMIT} cycles")
