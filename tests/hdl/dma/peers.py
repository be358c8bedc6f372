"""What the DMA talks to, per cycle: control, AXI memory with faults and latency, on-chip memories."""

import random
from collections import deque

import cocotb
from cocotb.triggers import RisingEdge
from lepton.arch import ChipConfig, Dma
from lepton_hdl.interfaces import DONE, ERROR, REGION_TABLE, word_write_layout

from tests.bench.clock import start_clock


async def start(dut, regions: list[tuple[int, int]]):
    """Start the clock and reset; `regions` are (base, size)."""
    for name in ("control__command__valid", "control__command__payload", "control__halt", "timeout", "restart"):
        getattr(dut, name).value = 0
    table = REGION_TABLE.const([{"base": base, "size": size} for base, size in regions])
    dut.regions.value = table.as_value().value
    await start_clock(dut)
    await RisingEdge(dut.clk)


async def cycle(dut):
    """Wait for a clock edge outside reset."""
    while True:
        await RisingEdge(dut.clk)
        if not dut.rst.value:
            return


async def reset(dut):
    """Start the clock of a port's bench and reset it."""
    await start_clock(dut, timeout=0, restart=0)


class Control:
    """Sends commands back to back, or with gaps of up to `gap` cycles; notes what comes back and when."""

    def __init__(self, dut, gap: int = 0):
        self.dut, self.gap = dut, gap
        self.commands = deque()
        self.sent = 0
        self.now = 0
        self.accepted: list[int] = []  # cycle of each command
        self.done: list[tuple[int, dict]] = []  # cycle, payload
        self.errors: list[tuple[int, dict]] = []
        self.busy = self._offered = False
        cocotb.start_soon(self._run())

    def send(self, *commands: dict):
        self.commands.extend(commands)

    def forget(self):
        """Back to the state after a reset, which must follow at once: an offered command is withdrawn."""
        for record in (self.commands, self.accepted, self.done, self.errors):
            record.clear()
        self.sent, self._offered = 0, False
        self.dut.control__command__valid.value = 0

    async def finished(self, count: int, limit: int = 50_000):
        """Wait until `count` commands are done in total and the engine is idle."""
        await self.until(lambda: len(self.done) >= count and not self.busy, limit)
        assert not self.errors, self.errors

    async def until(self, condition, limit: int = 50_000):
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if condition():
                return
        raise AssertionError(f"waited {limit} cycles; {len(self.done)} done, errors {self.errors}, busy {self.busy}")

    async def _run(self):
        dut = self.dut
        pause = 0
        while True:
            await cycle(dut)
            self.now += 1
            self.busy = bool(dut.control__busy.value)
            if self._offered and dut.control__command__ready.value:
                self.commands.popleft()
                self.accepted.append(self.now)
                self.sent += 1
                self._offered, pause = False, random.randint(0, self.gap)
            if dut.control__done__valid.value:
                self.done.append((self.now, _fields(DONE, dut.control__done__payload)))
            if dut.control__error__valid.value:
                self.errors.append((self.now, _fields(ERROR, dut.control__error__payload)))
            if not self._offered and self.commands and not pause:
                record = int.from_bytes(Dma.pack(**self.commands[0]), "little")
                dut.control__command__payload.value = record | self.sent << 512
                self._offered = True
            pause = max(0, pause - 1)
            dut.control__command__valid.value = self._offered


def _fields(shape, handle) -> dict:
    view = shape.from_bits(int(handle.value))
    return {name: view[name] for name, _ in shape}


class WordSink:
    """On-chip memories that take words; `words` holds (space, word address, bytes) in order."""

    def __init__(self, dut, config: ChipConfig, stall: float = 0.0):
        self.words, self.times = [], []
        self.stall, self.config, self.dut = stall, config, dut
        cocotb.start_soon(self._run())

    async def _run(self):
        dut, shape, held, now = self.dut, word_write_layout(self.config), None, 0
        ready = False
        dut.write__ready.value = 0
        while True:
            await cycle(dut)
            now += 1
            if dut.write__valid.value:
                bits = int(dut.write__payload.value)
                assert held in (None, bits), "a word changed before it was accepted"
                held = None if ready else bits
                if ready:
                    word = shape.from_bits(bits)
                    self.words.append((word.space, word.address, word.data.to_bytes(self.config.lanes, "little")))
                    self.times.append(now)
            else:
                assert held is None, "a word was withdrawn"
            ready = random.random() >= self.stall
            dut.write__ready.value = ready


class WordSource:
    """The scratchpad as the STORE engine reads it: data exactly one cycle after an accepted request."""

    def __init__(self, dut, config: ChipConfig, contents: bytes, stall: float = 0.0):
        self.requests = []
        self.dut, self.config, self.contents, self.stall = dut, config, contents, stall
        cocotb.start_soon(self._run())

    async def _run(self):
        dut, lanes, ready = self.dut, self.config.lanes, False
        dut.read__request__ready.value = 0
        while True:
            await cycle(dut)
            data = random.getrandbits(8 * lanes)  # whatever another reader gets
            if ready and dut.read__request__valid.value:
                address = int(dut.read__request__payload.value)
                assert address < self.config.scratchpad_words, f"word {address} is outside the scratchpad"
                self.requests.append(address)
                data = int.from_bytes(self.contents[address * lanes:(address + 1) * lanes], "little")
            dut.read__data.value = data
            ready = random.random() >= self.stall
            dut.read__request__ready.value = ready


class AxiMemory:
    """An AXI4 subordinate with `latency` from address (last data) to first data (response) and one beat a cycle.
    It accepts up to `outstanding` bursts: by default more than a manager may have open, so that a test can see whether
    the manager keeps its own limit (`most_in_flight`). It checks the rules that a manager must keep, and:

    `faults`: (first address, end, response) of bytes that fail; `hold`: answer nothing more; `stall`: the
    probability that a channel is not ready, or not valid, in a cycle; `write_first`: "aw" accepts
    no data before its address, "w" no address before its data.

    `misplaced`: number of a read burst -> (beats that it gets, index of the one with RLAST), out of step.
    `unasked`: responses that nobody asked for, offered at once: (beats with RLAST or B).
    """

    def __init__(self, dut, data_bytes: int, kind: str, contents: bytearray, *, base: int = 0, latency: int = 64,
                 outstanding: int = 256, stall: float = 0.0, write_first: str = "any"):
        self.dut, self.data_bytes, self.contents, self.base = dut, data_bytes, contents, base
        self.latency, self.outstanding, self.stall, self.write_first = latency, outstanding, stall, write_first
        self.faults: list[tuple[int, int, int]] = []
        self.hold = False
        self.misplaced: dict[int, tuple[int, int]] = {}
        self.unasked = 0
        self.bursts: list[tuple[int, int]] = []  # address, beats
        self.beat_times: list[int] = []
        self.in_flight = self.most_in_flight = 0
        self.gaps = 0  # cycles inside a burst without WVALID
        self.now = 0
        cocotb.start_soon(self._read() if kind == "read" else self._write())

    def _go(self) -> bool:
        return random.random() >= self.stall

    def _burst(self, channel: str, held):
        """The burst that is offered, or None; `held` is what the last cycle refused."""
        dut = self.dut
        if not getattr(dut, f"bus__{channel}valid").value:
            assert held is None, f"{channel} was withdrawn"
            return None
        address = int(getattr(dut, f"bus__{channel}addr").value)
        beats = int(getattr(dut, f"bus__{channel}len").value) + 1
        burst = (address, beats)
        assert held in (None, burst), f"{channel} changed before it was accepted"
        assert int(getattr(dut, f"bus__{channel}burst").value) == 1 and getattr(dut, f"bus__{channel}id").value == 0
        assert 1 << int(getattr(dut, f"bus__{channel}size").value) == self.data_bytes
        last = address // self.data_bytes * self.data_bytes + beats * self.data_bytes - 1
        assert address >> 12 == last >> 12, f"burst {burst} crosses 4 KiB"
        return burst

    def _answer(self, address: int, length: int) -> int:
        return max((resp for low, end, resp in self.faults if low < address + length and address < end), default=0)

    def _count(self, change: int):
        self.in_flight += change
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    async def _read(self):
        dut, width = self.dut, self.data_bytes
        queue, held, ready, valid = deque(), None, False, False
        dut.bus__arready.value, dut.bus__rvalid.value, dut.bus__rid.value = 0, 0, 0
        while True:
            await cycle(dut)
            self.now += 1
            burst = self._burst("ar", held)
            held = None if ready else burst
            if burst and ready:
                self.bursts.append(burst)
                self._count(1)
                first = burst[0] // width * width
                beats, last = self.misplaced.get(len(self.bursts) - 1, (burst[1], burst[1] - 1))
                due = self.now + self.latency - 1
                queue.extend((due, first + i * width, i == last, i == beats - 1) for i in range(beats))
            if valid and dut.bus__rready.value:
                valid = False
                if self.unasked:
                    self.unasked -= 1
                else:
                    self.beat_times.append(self.now)
                    self._count(-queue.popleft()[3])
            ready = self.in_flight < self.outstanding and self._go()
            dut.bus__arready.value = ready
            if not valid and self.unasked:
                valid = True
                dut.bus__rlast.value, dut.bus__rresp.value = 1, 0
            elif not valid and queue and queue[0][0] <= self.now and not self.hold and self._go():
                valid = True
                _, address, last, _ = queue[0]
                at = address - self.base
                answer = self._answer(address, width)
                data = b"\xee" * width if answer else bytes(self.contents[at:at + width])
                dut.bus__rdata.value = int.from_bytes(data, "little")
                dut.bus__rlast.value, dut.bus__rresp.value = last, answer
            dut.bus__rvalid.value = valid

    async def _write(self):
        dut, width = self.dut, self.data_bytes
        addresses, beats, answers = deque(), deque(), deque()
        held, held_beat, index = None, None, 0
        aw_ready = w_ready = valid = False
        for name in ("awready", "wready", "bvalid", "bid", "bresp"):
            getattr(dut, f"bus__{name}").value = 0
        while True:
            await cycle(dut)
            self.now += 1
            burst = self._burst("aw", held)
            held = None if aw_ready else burst
            if burst and aw_ready:
                self.bursts.append(burst)
                addresses.append(burst)
                self._count(1)
            if dut.bus__wvalid.value:
                beat = (int(dut.bus__wdata.value), int(dut.bus__wstrb.value), bool(dut.bus__wlast.value))
                assert held_beat in (None, beat), "W changed before it was accepted"
                held_beat = None if w_ready else beat
                if w_ready:
                    beats.append(beat)
                    self.beat_times.append(self.now)
                    index = 0 if beat[2] else index + 1
            else:
                assert held_beat is None, "W was withdrawn"
                self.gaps += index > 0
            while addresses and len(beats) >= addresses[0][1]:
                address, count = addresses.popleft()
                answers.append((self.now + self.latency - 1, self._answer(address, count * width)))
                for i in range(count):
                    data, strobe, last = beats.popleft()
                    assert last == (i == count - 1), f"WLAST is {last} on beat {i} of {count}"
                    at = address // width * width + i * width - self.base
                    for lane in range(width):
                        if strobe >> lane & 1 and not answers[-1][1]:
                            self.contents[at + lane] = data >> 8 * lane & 0xFF
            if valid:
                assert dut.bus__bready.value, "a response was refused"
                valid = False
                if self.unasked:
                    self.unasked -= 1
                else:
                    answers.popleft()
                    self._count(-1)
            aw_ready = self.in_flight < self.outstanding and self._go() and (self.write_first != "w" or bool(beats))
            w_ready = self._go() and (self.write_first != "aw" or bool(addresses))
            if self.unasked:
                valid = True
                dut.bus__bresp.value = 0
            elif answers and answers[0][0] <= self.now and not self.hold and self._go():
                valid = True
                dut.bus__bresp.value = answers[0][1]
            dut.bus__awready.value, dut.bus__wready.value, dut.bus__bvalid.value = aw_ready, w_ready, valid
