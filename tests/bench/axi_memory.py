"""AXI4 subordinates: memories that answer a manager, late, with pauses, with errors, and against the rules."""

import random
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge
from lepton_hdl.axi import Resp

from tests.bench.axi import AddressMonitor, Burst, Contents, InFlight, WriteBeat, WriteDataMonitor
from tests.bench.stalls import NONE, Stall, stall

UNLIMITED = 256  # bursts: more than any configuration may open, so that a test sees whether the manager keeps its limit


@dataclass(frozen=True)
class _ReadBeat:
    """A beat that is to be given."""

    due: int  # not before this cycle
    address: int
    last: bool  # RLAST
    ends: bool  # it is the burst's last one, whatever RLAST says


class AxiMemory(ABC):
    """What both directions have in common. `latency`: cycles from an address (or the last data) to the first answer.

    `pause` says in which cycles a channel is not ready, or not valid; it is asked once for each channel and cycle and
    may be replaced. `hold`: answer nothing more. `unasked`: this number of answers that belong to no burst, at once.
    """

    def __init__(self, dut: HierarchyObject, address: AddressMonitor, contents: Contents, *, latency: int = 64,
                 outstanding: int = UNLIMITED, pause: Stall | None = None) -> None:
        self.dut = dut
        self.contents = contents
        self.latency = latency
        self.pause = pause or stall(NONE)
        self.hold = False
        self.unasked = 0
        self.now = 0  # rising edges outside reset
        self.beat_times: list[int] = []  # cycle of each data beat
        self.in_flight = InFlight()
        self._address = address
        self._outstanding = outstanding
        cocotb.start_soon(self._run())

    @property
    def bursts(self) -> list[Burst]:
        """The bursts accepted, in order."""
        return self._address.bursts

    @abstractmethod
    def step(self) -> None:
        """One rising edge: take what was transferred, then set the ports for the next edge."""

    def _may_accept(self) -> bool:
        return self.in_flight.now < self._outstanding and not self.pause()

    async def _run(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)
            if not self.dut.rst.value:
                self.now += 1
                self.step()


class AxiReadMemory(AxiMemory):
    """Answers AR on R, one beat a cycle. `misplaced`: by number of the burst, how many beats it gets and the index of
    the one with RLAST."""

    def __init__(self, dut: HierarchyObject, data_bytes: int, data: bytearray, *, base: int = 0, latency: int = 64,
                 outstanding: int = UNLIMITED, pause: Stall | None = None) -> None:
        for name in ("arready", "rvalid", "rid", "rlast", "rresp", "rdata"):
            getattr(dut, f"bus__{name}").value = 0
        self.misplaced: dict[int, tuple[int, int]] = {}
        self._beats: deque[_ReadBeat] = deque()
        self._valid = False
        super().__init__(dut, AddressMonitor(dut, "bus", "ar", data_bytes), Contents(data_bytes, data, base),
                         latency=latency, outstanding=outstanding, pause=pause)

    def step(self) -> None:
        burst = self._address.sample_burst()
        if burst is not None:
            self._queue(burst)
        if self._valid and self.dut.bus__rready.value:
            self._valid = False
            if self.unasked:
                self.unasked -= 1
            else:
                self.beat_times.append(self.now)
                if self._beats.popleft().ends:
                    self.in_flight.remove()
        self.dut.bus__arready.value = self._may_accept()
        if not self._valid:
            self._offer()
        self.dut.bus__rvalid.value = self._valid

    def _queue(self, burst: Burst) -> None:
        width = self.contents.data_bytes
        self.in_flight.add()
        first = burst.address // width * width
        beats, last = self.misplaced.get(len(self.bursts) - 1, (burst.beats, burst.beats - 1))
        due = self.now + self.latency - 1
        self._beats.extend(_ReadBeat(due, first + i * width, i == last, i == beats - 1) for i in range(beats))

    def _offer(self) -> None:
        if self.unasked:
            self._drive(random.getrandbits(8 * self.contents.data_bytes), Resp.OKAY.value, last=True)
        elif self._beats and self._beats[0].due <= self.now and not self.hold and not self.pause():
            data, response = self.contents.read(self._beats[0].address)
            self._drive(data, response, last=self._beats[0].last)

    def _drive(self, data: int, response: int, *, last: bool) -> None:
        self._valid = True
        self.dut.bus__rdata.value = data
        self.dut.bus__rresp.value = response
        self.dut.bus__rlast.value = last


class AxiWriteMemory(AxiMemory):
    """Takes AW and W, answers on B. `first`: "aw" accepts no data before its address, "w" no address before its data.

    A response that the manager refuses is an error: it must always have room for it.
    """

    def __init__(self, dut: HierarchyObject, data_bytes: int, data: bytearray, *, base: int = 0, latency: int = 64,
                 outstanding: int = UNLIMITED, pause: Stall | None = None, first: str = "any") -> None:
        for name in ("awready", "wready", "bvalid", "bid", "bresp"):
            getattr(dut, f"bus__{name}").value = 0
        self.first = first
        self._data = WriteDataMonitor(dut, "bus")
        self._addresses: deque[Burst] = deque()
        self._beats: deque[WriteBeat] = deque()
        self._answers: deque[tuple[int, int]] = deque()  # cycle from which on, response
        self._valid = False
        super().__init__(dut, AddressMonitor(dut, "bus", "aw", data_bytes), Contents(data_bytes, data, base),
                         latency=latency, outstanding=outstanding, pause=pause)

    @property
    def gaps(self) -> int:
        """Cycles in which the manager kept a burst on the bus waiting for its data."""
        return self._data.gaps

    def step(self) -> None:
        self._take()
        if self._valid:
            assert self.dut.bus__bready.value, "a response was refused"
            self._valid = False
            if self.unasked:
                self.unasked -= 1
            else:
                self._answers.popleft()
                self.in_flight.remove()
        self.dut.bus__awready.value = self._may_accept() and (self.first != "w" or bool(self._beats))
        self.dut.bus__wready.value = not self.pause() and (self.first != "aw" or bool(self._addresses))
        if self.unasked:
            self._drive(Resp.OKAY.value)
        elif self._answers and self._answers[0][0] <= self.now and not self.hold and not self.pause():
            self._drive(self._answers[0][1])
        self.dut.bus__bvalid.value = self._valid

    def _take(self) -> None:
        burst = self._address.sample_burst()
        if burst is not None:
            self._addresses.append(burst)
            self.in_flight.add()
        beat = self._data.sample_beat()
        if beat is not None:
            self._beats.append(beat)
            self.beat_times.append(self.now)
        while self._addresses and len(self._beats) >= self._addresses[0].beats:
            whole = self._addresses.popleft()
            beats = [self._beats.popleft() for _ in range(whole.beats)]
            self._answers.append((self.now + self.latency - 1, self.contents.write(whole, beats)))

    def _drive(self, response: int) -> None:
        self._valid = True
        self.dut.bus__bresp.value = response
