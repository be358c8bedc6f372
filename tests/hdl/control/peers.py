"""What the control block talks to: memory behind a read client, and engines."""

import random
from collections import deque
from dataclasses import dataclass, field

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster
from lepton.arch.record import Record
from lepton_hdl.axi import Resp
from lepton_hdl.interfaces import DONE, ERROR, SEGMENT, command_layout, read_beat_layout


class Host:
    """An AXI4-Lite manager: reads return (value, response), writes the response."""

    def __init__(self, dut, prefix):
        self.axi = AxiLiteMaster(AxiLiteBus.from_prefix(dut, prefix), dut.clk, dut.rst)
        self.axi.write_if.log.setLevel("ERROR")
        self.axi.read_if.log.setLevel("ERROR")

    async def write(self, offset, value, size=4):
        return (await self.axi.write(offset, value.to_bytes(4, "little")[:size])).resp

    async def read(self, offset):
        answer = await self.axi.read(offset, 4)
        return int.from_bytes(answer.data, "little"), answer.resp

    def stall(self, probability):
        def pauses():
            while True:
                yield random.random() < probability
        for channel in (self.axi.write_if.aw_channel, self.axi.write_if.w_channel, self.axi.write_if.b_channel,
                        self.axi.read_if.ar_channel, self.axi.read_if.r_channel):
            channel.set_pause_generator(pauses())


class Memory:
    """A read port that answers segments in order, `latency` cycles after each, one beat a cycle.

    `stall` is the probability that it does not take a segment, or does not offer a beat, in a cycle.
    `bad` maps an address to the response of the beat that holds it; responses stay until the segment's end, as the
    port's contract says. With `frozen` nothing is answered.
    """

    def __init__(self, dut, prefix: str, data_bytes: int, *, latency: int = 64, stall: float = 0.0):
        self.dut, self.data_bytes, self.latency, self.stall = dut, data_bytes, latency, stall
        self.contents: dict[int, bytes] = {}
        self.bad: dict[int, Resp] = {}
        self.frozen = False
        self.segments: list[tuple[int, int]] = []
        self.beats = 0
        self.refused = 0  # cycles in which a beat was offered and not taken
        self._prefix = prefix
        self._layout = read_beat_layout(data_bytes)
        self.process = cocotb.start_soon(self._run())

    def write(self, address: int, data: bytes):
        for i in range(0, len(data), 4):
            self.contents[address + i] = data[i:i + 4]

    def read(self, address: int, size: int) -> bytes:
        return b"".join(self.contents.get(a, b"\xee" * 4) for a in range(address, address + size, 4))

    def _port(self, name):
        return getattr(self.dut, f"{self._prefix}__{name}")

    async def _run(self):
        segment_valid, segment_ready, segment = (self._port(f"segment__{n}") for n in ("valid", "ready", "payload"))
        beat_valid, beat_ready, beat = (self._port(f"beat__{n}") for n in ("valid", "ready", "payload"))
        due, now = deque(), 0
        accepting, offering, held = False, False, None
        reset = getattr(self.dut, "engine_reset", None)  # the port forgets what it was asked, as its client does
        segment_ready.value, beat_valid.value = 0, 0
        while True:
            await RisingEdge(self.dut.clk)
            now += 1
            if reset is not None and reset.value:
                due.clear()
                accepting, offering, held = False, False, None
                segment_ready.value = beat_valid.value = 0
                continue
            if accepting and segment_valid.value:
                held = None
                taken = SEGMENT.from_bits(int(segment.value))
                self.segments.append((taken.address, taken.length))
                due.extend((now + self.latency, word) for word in self._beats(taken.address, taken.length))
            elif segment_valid.value:
                offered = int(segment.value)
                assert held in (None, offered), "a segment changed before it was accepted"
                held = offered
            else:
                assert held is None, "a segment was withdrawn before it was accepted"
            if offering:
                if beat_ready.value:
                    due.popleft()
                    self.beats += 1
                    offering = False
                else:
                    self.refused += 1
            accepting = not self.frozen and random.random() >= self.stall
            segment_ready.value = accepting
            if not offering and due and due[0][0] <= now and not self.frozen and random.random() >= self.stall:
                offering = True
                beat.value = due[0][1]
            beat_valid.value = offering

    def _beats(self, address, length):
        assert address % self.data_bytes == 0 and length % self.data_bytes == 0, (address, length)
        worst = Resp.OKAY.value
        for at in range(address, address + length, self.data_bytes):
            for bad, response in self.bad.items():
                if at <= bad < at + self.data_bytes:
                    worst = max(worst, response.value)
            data = int.from_bytes(self.read(at, self.data_bytes), "little")
            last = at + self.data_bytes == address + length
            yield self._layout.const(
                {"data": data, "last": last, "resp": worst, "address": at}).as_value().value


@dataclass
class Engine:
    """An engine that takes commands in order and finishes each a random number of cycles later.

    `stuck_at` is the index of a command that never finishes, `fails` maps an index to the (code, address) it
    raises instead of finishing. After `halt` it takes nothing and goes quiet after `quiet_after` cycles.
    """

    dut: object
    name: str
    record: Record
    duration: range = range(1, 12)
    depth: int = 2
    stuck_at: int | None = None
    fails: dict[int, tuple[int, int]] = field(default_factory=dict)
    quiet_after: int = 5
    started: list[tuple[int, int, dict]] = field(default_factory=list)  # cycle, index, fields
    finished: list[tuple[int, int]] = field(default_factory=list)  # cycle, index
    failed: bool = False
    now: int = 0

    def __post_init__(self):
        self._layout = command_layout(self.record)
        self.process = cocotb.start_soon(self._run())

    def _port(self, name):
        return getattr(self.dut, f"{self.name}__{name}")

    async def _run(self):
        valid, ready, payload = (self._port(f"command__{n}") for n in ("valid", "ready", "payload"))
        done, error, halt, busy = (self._port(n) for n in ("done__valid", "error__valid", "halt", "busy"))
        for signal in (ready, done, error, busy):
            signal.value = 0
        queue, ends, halted, accepting = deque(), 0, 0, False
        while True:
            await RisingEdge(self.dut.clk)
            self.now += 1
            done.value = error.value = 0
            if self.dut.engine_reset.value:
                queue.clear()
                accepting = self.failed = False
            elif accepting and valid.value:
                bits = int(payload.value)
                size = self.record.size
                fields = self.record.unpack((bits & ((1 << 8 * size) - 1)).to_bytes(size, "little"))
                index = bits >> 8 * size
                if not queue:
                    ends = self.now + random.choice(self.duration)
                queue.append((index, fields))
                self.started.append((self.now, index, fields))
            halted = halted + 1 if halt.value else 0
            if halted > self.quiet_after:
                queue.clear()
            if queue and not halted and self.now >= ends and queue[0][0] != self.stuck_at and not self.failed:
                index, fields = queue.popleft()
                if index in self.fails:
                    code, address = self.fails[index]
                    self._port("error__payload").value = _bits(
                        ERROR, code=code, index=index, layer=fields["layer"], address=address)
                    error.value = 1
                    self.failed = True
                else:
                    self._port("done__payload").value = _bits(
                        DONE, post=fields["post"], layer=fields["layer"], snapshot=fields.get("snapshot", 0))
                    done.value = 1
                    self.finished.append((self.now, index))
                    ends = self.now + random.choice(self.duration)
            accepting = len(queue) < self.depth and not halted
            ready.value = accepting
            busy.value = bool(queue)


def _bits(layout, **values) -> int:
    return layout.const(values).as_value().value
