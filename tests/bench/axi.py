"""Monitors of an AXI4 manager's channels and the rules that it must keep (Arm IHI 0022), and memory for its model."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cocotb.handle import HierarchyObject, LogicArrayObject
from lepton_hdl.axi import Burst as BurstKind
from lepton_hdl.axi import Resp

BOUNDARY = 4096  # bytes that a burst must not cross (IHI 0022, A3.4.1)
BAD_DATA = b"\xee"  # in a beat that fails


@dataclass(frozen=True)
class Burst:
    """What a transfer on AR or AW asks for."""

    address: int
    beats: int


@dataclass(frozen=True)
class WriteBeat:
    """A transfer on W."""

    data: int
    strobe: int
    last: bool


class ChannelMonitor:
    """Watches a channel from the side that takes. `sample` is to be called once for every rising edge.

    Fails where an offer that was not taken is withdrawn or changed (IHI 0022, A3.2.1).
    """

    def __init__(self, dut: HierarchyObject, bus: str, channel: str, fields: Sequence[str]) -> None:
        self.channel = channel
        self.offered = False  # at the last edge
        self._held: dict[str, int] | None = None
        self._valid: LogicArrayObject = getattr(dut, f"{bus}__{channel}valid")
        self._ready: LogicArrayObject = getattr(dut, f"{bus}__{channel}ready")
        self._fields = {name: getattr(dut, f"{bus}__{channel}{name}") for name in fields}

    def sample(self) -> dict[str, int] | None:
        """The fields of the transfer at this edge, if there is one."""
        self.offered = bool(self._valid.value)
        if not self.offered:
            assert self._held is None, f"{self.channel} was withdrawn before it was accepted"
            return None
        offer = {name: int(handle.value) for name, handle in self._fields.items()}
        assert self._held in (None, offer), f"{self.channel} changed before it was accepted"
        taken = bool(self._ready.value)
        self._held = None if taken else offer
        return offer if taken else None


class AddressMonitor(ChannelMonitor):
    """Bursts on AR or AW: INCR, ID 0, whole beats, within 4 KiB. `bursts` are those accepted."""

    def __init__(self, dut: HierarchyObject, bus: str, channel: str, data_bytes: int) -> None:
        super().__init__(dut, bus, channel, ("addr", "len", "size", "burst", "id"))
        self.bursts: list[Burst] = []
        self._data_bytes = data_bytes

    def sample_burst(self) -> Burst | None:
        """The burst that is accepted at this edge, if there is one."""
        offer = self.sample()
        if offer is None:
            return None
        burst = Burst(offer["addr"], offer["len"] + 1)
        assert offer["burst"] == BurstKind.INCR.value, f"{self.channel}burst is {offer['burst']}, not INCR"
        assert offer["id"] == 0, f"{self.channel}id is {offer['id']}, not 0"
        assert 1 << offer["size"] == self._data_bytes, f"{self.channel}size is {offer['size']}: not a whole beat"
        first = burst.address // self._data_bytes * self._data_bytes
        last = first + burst.beats * self._data_bytes - 1
        assert burst.address // BOUNDARY == last // BOUNDARY, f"{burst} crosses 4 KiB"
        self.bursts.append(burst)
        return burst


class WriteDataMonitor(ChannelMonitor):
    """Beats on W. `gaps` counts the cycles inside a burst in which none is offered."""

    def __init__(self, dut: HierarchyObject, bus: str) -> None:
        super().__init__(dut, bus, "w", ("data", "strb", "last"))
        self.gaps = 0
        self._inside = False

    def sample_beat(self) -> WriteBeat | None:
        """The beat that is accepted at this edge, if there is one."""
        transfer = self.sample()
        self.gaps += self._inside and not self.offered
        if transfer is None:
            return None
        beat = WriteBeat(transfer["data"], transfer["strb"], bool(transfer["last"]))
        self._inside = not beat.last
        return beat


class InFlight:
    """Counts the bursts without an answer; `most` at a time."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    def add(self) -> None:
        """A burst was accepted."""
        self.now += 1
        self.most = max(self.most, self.now)

    def remove(self) -> None:
        """A burst was answered."""
        self.now -= 1


@dataclass
class Contents:
    """The bytes of a memory from address `base` on, some of which fail: the model of an AXI subordinate."""

    data_bytes: int
    data: bytearray
    base: int = 0
    faults: list[tuple[int, int, int]] = field(default_factory=list)  # first address, end, response

    def response(self, address: int, length: int) -> int:
        """The worst response for these bytes."""
        found = (resp for low, end, resp in self.faults if low < address + length and address < end)
        return max(found, default=Resp.OKAY.value)

    def _index(self, address: int) -> int:
        """Where a beat begins in `data`; its bytes behind the end of `data` are no part of the memory."""
        at = address - self.base
        assert -self.data_bytes < at < len(self.data), f"{address:#x} is outside memory"
        return at

    def read(self, address: int) -> tuple[int, int]:
        """Data and response of the beat at `address`, a multiple of the beat."""
        at = self._index(address)
        response = self.response(address, self.data_bytes)
        beat = bytes(self.data[at:at + self.data_bytes]) if response == Resp.OKAY.value else BAD_DATA * self.data_bytes
        return int.from_bytes(beat, "little"), response

    def write(self, burst: Burst, beats: Sequence[WriteBeat]) -> int:
        """Write a burst and give its response; one that fails changes nothing. Checks WLAST."""
        first = burst.address // self.data_bytes * self.data_bytes
        response = self.response(burst.address, burst.beats * self.data_bytes)
        for i, beat in enumerate(beats):
            assert beat.last == (i == burst.beats - 1), f"WLAST is {int(beat.last)} on beat {i} of {burst.beats}"
            at = self._index(first + i * self.data_bytes)
            for lane in range(self.data_bytes):
                if beat.strobe >> lane & 1 and response == Resp.OKAY.value:
                    self.data[at + lane] = beat.data >> 8 * lane & 0xFF
        return response
