"""Clients of the memory ports: drivers and monitors of their streams, and models of what must come back."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cocotb.handle import HierarchyObject
from lepton_hdl.axi import Resp
from lepton_hdl.interfaces import SEGMENT, WRITE_RESPONSE, read_beat_layout, write_beat_layout

from tests.bench.axi import Contents, WriteBeat
from tests.bench.checker import InOrder
from tests.bench.layouts import decode, encode
from tests.bench.stalls import Stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor


@dataclass(frozen=True)
class Segment:
    """A run of bytes in memory."""

    address: int
    length: int

    def pack(self) -> int:
        """The bits on the stream."""
        return encode(SEGMENT, address=self.address, length=self.length)

    @classmethod
    def unpack(cls, bits: int) -> "Segment":
        """The segment with these bits."""
        return cls(**decode(SEGMENT, bits))

    def beats(self, width: int) -> list[int]:
        """The address of every beat: the segment's own for the first, then the lowest byte's."""
        end = self.address + self.length
        return [self.address, *range(self.address // width * width + width, end, width)]


@dataclass(frozen=True)
class ReadBeat:
    """What a client of the read port gets."""

    data: int
    last: int
    resp: int
    address: int


def read_beats(segment: Segment, memory: Contents) -> Iterator[ReadBeat]:
    """The model of the read port: `resp` is the worst of the segment so far."""
    width = memory.data_bytes
    addresses = segment.beats(width)
    worst = Resp.OKAY.value
    for address in addresses:
        data, response = memory.read(address // width * width)
        worst = max(worst, response)
        yield ReadBeat(data, int(address == addresses[-1]), worst, address)


class ReadClient:
    """Sends segments; its checker compares every beat with `memory`. `discarded` is high where the client is reset.

    A segment counts from when the port has taken it. From beat number `fails_from` of the segments to come, beats that
    are good in memory must come with SLVERR: the port has found memory to break the rules.
    """

    def __init__(self, dut: HierarchyObject, index: int, memory: Contents, pause_segments: Stall,
                 pause_beats: Stall) -> None:
        name = f"clients__{index}"
        layout = read_beat_layout(memory.data_bytes)
        self._memory = memory

        def discarded() -> bool:
            return bool(int(dut.discard.value) >> index & 1)

        self.driver = StreamDriver(dut, f"{name}__segment", Segment.pack, pause_segments)
        self.sink = ReadyDriver(dut, f"{name}__beat", pause_beats)
        self.checker = InOrder[ReadBeat](f"client {index}")
        self.fails_from: int | None = None
        self.segments = StreamMonitor(dut, f"{name}__segment", Segment.unpack, self._expect, reset=discarded)
        self.beats = StreamMonitor(dut, f"{name}__beat", lambda bits: ReadBeat(**decode(layout, bits)),
                                   self.checker.receive, reset=discarded)

    def _expect(self, segment: Segment) -> None:
        for number, beat in enumerate(read_beats(segment, self._memory)):
            broken = self.fails_from is not None and number >= self.fails_from
            self.checker.expect(ReadBeat(beat.data, beat.last, Resp.SLVERR.value, beat.address) if broken else beat)

    def send(self, address: int, length: int) -> None:
        """Queue a segment."""
        self.driver.send(Segment(address, length))

    def forget(self) -> None:
        """The client is reset at the next rising edge: what it asked for, and what comes for it, is no longer its own.

        To be called at a falling edge, when every monitor has seen the rising edge before.
        """
        self.driver.withdraw()
        self.checker.forget()

    @property
    def idle(self) -> bool:
        """Whether every segment was taken and answered."""
        return self.driver.idle and self.checker.complete


def write_beats(address: int, content: bytes, width: int) -> list[WriteBeat]:
    """The beats of a segment, in their byte lanes. `last` is of the bus, not of the client: always False."""
    beats: list[WriteBeat] = []
    end = address + len(content)
    for first in range(address // width * width, end, width):
        low = max(first, address)
        part = content[low - address:min(first + width, end) - address]
        beats.append(WriteBeat(int.from_bytes(part, "little") << 8 * (low - first),
                               ((1 << len(part)) - 1) << low - first, False))
    return beats


@dataclass(frozen=True)
class Response:
    """What a client of the write port gets for a segment. The address has a meaning only where it failed."""

    resp: int
    address: int | None

    @classmethod
    def unpack(cls, bits: int) -> "Response":
        """The response with these bits."""
        fields = decode(WRITE_RESPONSE, bits)
        failed = fields["resp"] in (Resp.SLVERR.value, Resp.DECERR.value)
        return cls(fields["resp"], fields["address"] if failed else None)


GOOD = Response(Resp.OKAY.value, None)


class WriteClient:
    """Sends segments and their beats, each at its own pace; its checker compares the responses.

    `name`: of the client's ports. `written`: the bytes whose segments were answered without an error, by address.
    `reset`: a port's name, or a condition, that is high where the client is reset and takes no answer.
    """

    def __init__(self, dut: HierarchyObject, name: str, width: int, pause_segments: Stall, pause_beats: Stall,
                 reset: str | Callable[[], object] = "rst") -> None:
        self.width = width
        self.written: dict[int, int] = {}
        self.checker = InOrder[Response](name)
        self._open: deque[tuple[int, bytes]] = deque()
        layout = write_beat_layout(width)
        self.segment_driver = StreamDriver(dut, f"{name}__segment", Segment.pack, pause_segments)

        def pack(beat: WriteBeat) -> int:
            return encode(layout, data=beat.data, strobe=beat.strobe)

        self.beat_driver = StreamDriver(dut, f"{name}__beat", pack, pause_beats)
        self.responses = StreamMonitor(dut, f"{name}__response", Response.unpack, self._receive, reset=reset)

    def send(self, address: int, content: bytes, response: Response = GOOD, held: int = 0) -> list[WriteBeat]:
        """Queue a segment that must be answered so, and its beats but for the last `held`, which are returned."""
        self.segment_driver.send(Segment(address, len(content)))
        beats = write_beats(address, content, self.width)
        self.beat_driver.send(*beats[:len(beats) - held])
        self.checker.expect(response)
        self._open.append((address, content))
        return beats[len(beats) - held:]

    def _receive(self, response: Response) -> None:
        self.checker.receive(response)
        address, content = self._open.popleft()
        if response == GOOD:
            self.written |= {address + i: byte for i, byte in enumerate(content)}

    def forget(self) -> None:
        """The client is reset at the next rising edge. To be called at a falling edge."""
        self.segment_driver.withdraw()
        self.beat_driver.withdraw()
        self.checker.forget()
        self._open.clear()

    @property
    def idle(self) -> bool:
        """Whether every segment was taken and answered."""
        return self.segment_driver.idle and self.beat_driver.idle and self.checker.complete

    def check(self, memory: Contents) -> None:
        """Fail where memory does not hold what was written."""
        for address, byte in self.written.items():
            got = memory.data[address - memory.base]
            assert got == byte, f"byte {address:#x} is {got:#x}, not {byte:#x}"
