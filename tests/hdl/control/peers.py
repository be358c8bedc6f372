"""What the control block talks to: a host, memory behind a read client, and engines."""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import cocotb
from cocotb.handle import HierarchyObject, LogicArrayObject
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp
from lepton.arch.record import Record
from lepton_hdl.axi import Resp
from lepton_hdl.interfaces import DONE, ERROR, SEGMENT, read_beat_layout

from tests.bench.layouts import decode, encode
from tests.bench.stalls import share
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor

UNWRITTEN = b"\xee" * 4  # what memory holds where nothing was written


class Host:
    """A driver of an AXI4-Lite bus."""

    def __init__(self, dut: HierarchyObject, prefix: str) -> None:
        self.axi = AxiLiteMaster(AxiLiteBus.from_prefix(dut, prefix), dut.clk, dut.rst)
        self.axi.write_if.log.setLevel("ERROR")
        self.axi.read_if.log.setLevel("ERROR")

    async def write(self, offset: int, value: int) -> AxiResp:
        """Write 32 bits; the response."""
        answer = await self.axi.write(offset, value.to_bytes(4, "little"))
        return answer.resp

    async def read(self, offset: int) -> tuple[int, AxiResp]:
        """Read 32 bits; the value and the response."""
        answer = await self.axi.read(offset, 4)
        return int.from_bytes(answer.data, "little"), answer.resp

    def stall(self, probability: float) -> None:
        """Pause every channel in each cycle with this probability."""
        def pauses() -> Iterator[bool]:
            while True:
                yield random.random() < probability

        for channel in (self.axi.write_if.aw_channel, self.axi.write_if.w_channel, self.axi.write_if.b_channel,
                        self.axi.read_if.ar_channel, self.axi.read_if.r_channel):
            channel.set_pause_generator(pauses())


class Memory:
    """A read port that answers segments in order, `latency` cycles after each, one beat a cycle.

    `stall` is the probability that it does not take a segment, or does not offer a beat, in a cycle.
    `bad` maps an address to the response of the beat that holds it; responses stay until the segment's end, as the
    port's contract says. With `frozen` nothing is answered. With `engine_reset`, if the block has such an output, the
    port forgets what it was asked, as its client does.
    """

    def __init__(self, dut: HierarchyObject, prefix: str, data_bytes: int, *, latency: int = 64,
                 stall: float = 0.0) -> None:
        self.dut = dut
        self.data_bytes = data_bytes
        self.latency = latency
        self.contents: dict[int, bytes] = {}  # words of 4 bytes by address
        self.bad: dict[int, Resp] = {}
        self.frozen = False
        self.segments: list[tuple[int, int]] = []  # address and bytes
        self.refused = 0  # cycles in which a beat was offered and not taken
        self._stalls = share(stall)
        self._layout = read_beat_layout(data_bytes)
        self._due: deque[tuple[int, int]] = deque()  # from which cycle on which beat may be offered
        self._now = 0
        reset = "engine_reset" if getattr(dut, "engine_reset", None) is not None else "rst"
        self._reset: LogicArrayObject = getattr(dut, reset)
        self._monitor = StreamMonitor(dut, f"{prefix}__segment", self._unpack, self._take, reset=reset)
        self._task = cocotb.start_soon(self._run(prefix))  # before the driver, which offers what is due in this cycle
        self._driver = StreamDriver[int](dut, f"{prefix}__beat", int, self._pause)
        self._ready = ReadyDriver(dut, f"{prefix}__segment", self._pause)

    def write(self, address: int, data: bytes) -> None:
        for i in range(0, len(data), 4):
            self.contents[address + i] = data[i:i + 4]

    def read(self, address: int, size: int) -> bytes:
        return b"".join(self.contents.get(at, UNWRITTEN) for at in range(address, address + size, 4))

    @property
    def beats(self) -> int:
        """How many were taken."""
        return self._driver.taken

    def stop(self) -> None:
        """Leave the ports to another memory."""
        self._task.cancel()
        for part in (self._monitor, self._driver, self._ready):
            part.stop()

    def _pause(self) -> bool:
        return self.frozen or self._stalls()

    @staticmethod
    def _unpack(bits: int) -> tuple[int, int]:
        segment = decode(SEGMENT, bits)
        return segment["address"], segment["length"]

    def _take(self, segment: tuple[int, int]) -> None:
        self.segments.append(segment)
        self._due.extend((self._now + self.latency, beat) for beat in self._answer(*segment))

    def _answer(self, address: int, length: int) -> Iterator[int]:
        assert address % self.data_bytes == 0 and length % self.data_bytes == 0, (address, length)
        worst = Resp.OKAY.value
        for at in range(address, address + length, self.data_bytes):
            for bad, response in self.bad.items():
                if at <= bad < at + self.data_bytes:
                    worst = max(worst, response.value)
            data = int.from_bytes(self.read(at, self.data_bytes), "little")
            last = at + self.data_bytes == address + length
            yield encode(self._layout, data=data, last=last, resp=worst, address=at)

    async def _run(self, prefix: str) -> None:
        valid, ready = (getattr(self.dut, f"{prefix}__beat__{name}") for name in ("valid", "ready"))
        while True:
            await RisingEdge(self.dut.clk)
            self._now += 1
            if self._reset.value:
                self._due.clear()
                self._driver.clear()
                continue
            self.refused += bool(valid.value) and not ready.value
            while self._due and self._due[0][0] <= self._now:
                self._driver.send(self._due.popleft()[1])


@dataclass(frozen=True)
class Started:
    """A command that an engine has taken."""

    cycle: int
    index: int
    fields: dict[str, int]


class Engine:
    """An engine that takes commands in order and finishes each a random number of cycles later.

    `stuck_at` is the index of a command that never finishes, `fails` maps an index to the (code, address) it
    raises instead of finishing. After `halt` it takes nothing and goes quiet after `quiet_after` cycles. It is busy for
    `linger` cycles after all of its commands are done, as one with a transfer on the bus is.
    """

    def __init__(self, dut: HierarchyObject, name: str, record: Record, duration: range = range(1, 12),
                 depth: int = 2) -> None:
        self.dut = dut
        self.name = name
        self.record = record
        self.duration = duration
        self.depth = depth  # commands that it holds at once
        self.stuck_at: int | None = None
        self.fails: dict[int, tuple[int, int]] = {}
        self.quiet_after = 5
        self.linger = 0
        self.started: list[Started] = []
        self.finished: list[tuple[int, int]] = []  # cycle, index
        self.failed = False
        self._now = 0
        self._queue: deque[Started] = deque()
        self._ends = 0  # cycle in which the oldest command may finish
        # The monitor's task is the first: what it reports is worked on in the same cycle.
        self._monitor = StreamMonitor(dut, f"{name}__command", self._unpack, self._take, reset="engine_reset")
        cocotb.start_soon(self._run())

    def _port(self, name: str) -> LogicArrayObject:
        return getattr(self.dut, f"{self.name}__{name}")

    def _unpack(self, bits: int) -> Started:
        size = self.record.size
        record = (bits & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        return Started(self._now + 1, bits >> 8 * size, self.record.unpack(record))

    def _take(self, command: Started) -> None:
        if not self._queue:
            self._ends = command.cycle + random.choice(self.duration)
        self._queue.append(command)
        self.started.append(command)

    async def _run(self) -> None:
        ready = self._port("command__ready")
        busy = self._port("busy")
        for name in ("command__ready", "done__valid", "error__valid", "busy"):
            self._port(name).value = 0
        halted = 0  # cycles since `halt`
        lingers = 0
        while True:
            await RisingEdge(self.dut.clk)
            self._now += 1
            self._port("done__valid").value = 0
            self._port("error__valid").value = 0
            if self.dut.engine_reset.value:
                self._queue.clear()
                self.failed = False
            halted = halted + 1 if self._port("halt").value else 0
            if halted > self.quiet_after:
                self._queue.clear()
            if not halted:
                self._finish()
            ready.value = len(self._queue) < self.depth and not halted
            lingers = self.linger if self._queue else max(0, lingers - 1)
            busy.value = bool(self._queue) or lingers > 0

    def _finish(self) -> None:
        """End the oldest command if it is due."""
        queue = self._queue
        if not queue or self._now < self._ends or queue[0].index == self.stuck_at or self.failed:
            return
        command = queue.popleft()
        if command.index in self.fails:
            code, address = self.fails[command.index]
            self._port("error__payload").value = encode(
                ERROR, code=code, index=command.index, layer=command.fields["layer"], address=address)
            self._port("error__valid").value = 1
            self.failed = True
            return
        self._port("done__payload").value = encode(
            DONE, post=command.fields["post"], layer=command.fields["layer"],
            snapshot=command.fields.get("snapshot", 0))
        self._port("done__valid").value = 1
        self.finished.append((self._now, command.index))
        self._ends = self._now + random.choice(self.duration)
