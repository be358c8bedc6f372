"""The copy engine between windows of a memory and the processor's memories."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge
from lepton.arch import PRESETS
from lepton.arch.controller import CLIENTS, CODE_BASE, CODE_BYTES, DATA_BASE, DATA_BYTES, WINDOW_STRIDE, CopyMode
from lepton_hdl.axi import Resp
from lepton_hdl.controller.copy import WINDOWS_AT
from lepton_hdl.interfaces import SEGMENT, WRITE_RESPONSE, read_beat_layout, write_beat_layout

from tests.bench.bus import Access, Answer, BusResponder
from tests.bench.clock import cycles, start_clock
from tests.bench.layouts import decode, encode
from tests.bench.stalls import NONE, stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor

CONFIG = PRESETS["tiny"]
BUS = CONFIG.bus_bytes
MEMORY = 1 << 14  # bytes behind each window
TIMEOUT_BITS = 11  # in these tests; see `test_copy`
CRC_START = 0xFFFF_FFFF


@dataclass(frozen=True)
class Window:
    """What a client may reach: each window has a memory of its own, chosen by the upper half of the address."""

    base: int
    size: int


WINDOWS = [Window(0x1_0000_0000 * i + 0x100 + 4 * i, 0x600 + 4 * i) for i in range(CLIENTS + 1)]


@dataclass(frozen=True)
class Segment:
    """A run of bytes in memory."""

    address: int
    length: int

    @property
    def memory(self) -> int:
        """The number of the memory."""
        return self.address >> 32

    def parts(self) -> Iterator[tuple[int, int, int]]:
        """For each beat: the offset of its lane 0 in the memory, the first lane that is copied, and the one behind."""
        at = self.address & 0xFFFF_FFFF
        for first in range(at - at % BUS, at + self.length, BUS):
            yield first, max(at - first, 0), min(at + self.length - first, BUS)


@dataclass(frozen=True)
class Copy:
    """A copy between a window and a local memory; all counts are bytes."""

    mode: CopyMode
    window: int
    offset: int
    local: int
    length: int
    locked: int = 0

    def place(self) -> slice:
        """The bytes of the window in its memory."""
        at = (WINDOWS[self.window].base & 0xFFFF_FFFF) + self.offset
        return slice(at, at + self.length)


@dataclass
class Memories:
    """The contents of everything that a copy may change, and the model of a copy."""

    windows: list[bytearray]
    code: bytearray
    data: bytearray

    @classmethod
    def random(cls) -> "Memories":
        """Random bytes."""
        return cls([bytearray(random.randbytes(MEMORY)) for _ in WINDOWS], bytearray(random.randbytes(CODE_BYTES)),
                   bytearray(random.randbytes(DATA_BYTES)))

    def copied(self, copy: Copy) -> "Memories":
        """The contents behind a copy that is legal."""
        after = Memories([bytearray(part) for part in self.windows], bytearray(self.code), bytearray(self.data))
        to_code = copy.local >= CODE_BASE and copy.local < CODE_BASE + CODE_BYTES
        at = copy.local - (CODE_BASE if to_code else DATA_BASE)
        if copy.mode == CopyMode.READ:
            target = after.code if to_code else after.data
            target[at:at + copy.length] = self.windows[copy.window][copy.place()]
        elif copy.mode == CopyMode.WRITE:
            after.windows[copy.window][copy.place()] = self.data[at:at + copy.length]
        return after


class RemoteMemory:
    """What the engine's memory ports are connected to. It answers with `resp` from beat `bad_from` of a segment on, and
    with `hang` not at all. `segments` are all that it was asked for."""

    def __init__(self, dut: HierarchyObject, memories: Memories, pattern: str) -> None:
        self.resp = Resp.OKAY
        self.bad_from = 0
        self.hang = False
        self.segments: list[Segment] = []
        self._memories = memories
        self._writing: list[tuple[int, int, int]] = []  # the parts of a segment that have not come
        self._written_to = 0  # memory
        self._beat_layout = write_beat_layout(BUS)
        self.beats = StreamDriver(dut, "read__beat", int, stall(pattern))
        self.responses = StreamDriver(dut, "write__response", int, stall(pattern))

        def unpack(bits: int) -> Segment:
            return Segment(**decode(SEGMENT, bits))

        for name, report in (("read__segment", self._read), ("write__segment", self._write)):
            ReadyDriver(dut, name, stall(pattern))
            StreamMonitor(dut, name, unpack, report)
        ReadyDriver(dut, "write__beat", stall(pattern))
        StreamMonitor(dut, "write__beat", int, self._take)

    def _read(self, segment: Segment) -> None:
        self.segments.append(segment)
        if self.hang:
            return
        layout = read_beat_layout(BUS)
        parts = list(segment.parts())
        for i, (first, _, _) in enumerate(parts):
            data = int.from_bytes(self._memories.windows[segment.memory][first:first + BUS], "little")
            resp = self.resp if i >= self.bad_from else Resp.OKAY
            self.beats.send(encode(layout, data=data, last=i == len(parts) - 1, resp=resp.value, address=first))

    def _write(self, segment: Segment) -> None:
        self.segments.append(segment)
        self._writing = list(segment.parts())
        self._written_to = segment.memory

    def _take(self, bits: int) -> None:
        beat = self._beat_layout.from_bits(bits)
        assert self._writing, "a beat more than the segment has"
        first, low, end = self._writing.pop(0)
        lanes = sum(1 << i for i in range(low, end))
        assert beat.strobe == lanes, f"the strobe is {beat.strobe:#x}, not {lanes:#x}: other bytes are written"
        for i in range(low, end):
            self._memories.windows[self._written_to][first + i] = beat.data >> 8 * i & 0xFF
        if not self._writing and not self.hang:
            self.responses.send(encode(WRITE_RESPONSE, resp=self.resp.value))

    def clear(self) -> None:
        """Forget what is under way: the ports are in reset."""
        self.beats.clear()
        self.responses.clear()
        self._writing.clear()


class LocalMemories:
    """The processor's memories at the engine's port: data follow a read one cycle later."""

    def __init__(self, dut: HierarchyObject, memories: Memories) -> None:
        self._dut = dut
        self._memories = memories
        dut.data.value = 0
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        dut = self._dut
        while True:
            await RisingEdge(dut.clk)
            if dut.rst.value:
                continue
            at = 4 * int(dut.address.value)
            if dut.read_enable.value:
                dut.data.value = int.from_bytes(self._memories.data[at:at + 4], "little")
            for target, enable in ((self._memories.code, dut.write_code), (self._memories.data, dut.write_memory)):
                if enable.value:
                    target[at:at + 4] = int(dut.write_data.value).to_bytes(4, "little")


def _window_register(access: Access) -> Answer:
    """A word of the windows' registers; a window that does not exist has no end."""
    number, part = divmod(access.address - WINDOWS_AT, WINDOW_STRIDE // 4)
    window = WINDOWS[number] if number < len(WINDOWS) else Window(0, 0xFFFF_FFFF)
    return Answer((window.base & 0xFFFF_FFFF, window.base >> 32, window.size)[part])


@dataclass(frozen=True)
class Outcome:
    """What the engine says when a copy has ended."""

    bounds: bool = False
    failed: bool = False


GOOD = Outcome()


class CopyBench:
    """The parts together."""

    def __init__(self, dut: HierarchyObject, pattern: str) -> None:
        self.dut = dut
        self.memories = Memories.random()
        self.remote = RemoteMemory(dut, self.memories, pattern)
        self.local = LocalMemories(dut, self.memories)
        BusResponder(dut, "registers", _window_register)

    @classmethod
    async def open(cls, dut: HierarchyObject, pattern: str = NONE) -> "CopyBench":
        """Out of reset."""
        bench = cls(dut, pattern)
        await start_clock(dut, start=0, crc_write=0)
        await cycles(dut, 1)
        return bench

    async def copy(self, copy: Copy, limit: int = 20_000) -> Outcome:
        """Make a copy and wait until it has ended."""
        dut = self.dut
        for name in ("mode", "window", "offset", "local", "length", "locked"):
            getattr(dut, name).value = int(getattr(copy, name))
        dut.start.value = 1
        await cycles(dut, 1)
        dut.start.value = 0
        for _ in range(limit):
            await cycles(dut, 1)
            if not dut.busy.value:
                assert self.remote.beats.idle, "beats were left over"
                return Outcome(bool(dut.bounds.value), bool(dut.failed.value))
        raise AssertionError(f"the copy does not end within {limit} cycles")

    async def run(self, copy: Copy) -> None:
        """Make a copy that must succeed: the right bytes arrive, and no others change."""
        expected = self.memories.copied(copy)
        outcome = await self.copy(copy)
        assert outcome == GOOD, f"{copy}: {outcome}"
        assert self.memories == expected, f"{copy}: memory is not as the model says"

    async def reset_crc(self) -> None:
        """Begin a new checksum."""
        self.dut.crc_data.value = CRC_START
        self.dut.crc_write.value = 1
        await cycles(self.dut, 1)
        self.dut.crc_write.value = 0
        await cycles(self.dut, 1)

    @property
    def crc(self) -> int:
        """The checksum so far."""
        return int(self.dut.crc.value) ^ CRC_START

    async def reset(self) -> None:
        """Reset the engine, as the chip does together with the memory ports."""
        self.remote.clear()
        self.dut.rst.value = 1
        await cycles(self.dut, 1)
        self.dut.rst.value = 0
        await cycles(self.dut, 1)
