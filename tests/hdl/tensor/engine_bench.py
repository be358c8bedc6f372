"""The bench of the TENSOR engine with its memories; its model is the golden chip of the simulator.

Drivers of commands, of LOAD's words and of STORE's requests; monitors of completions, errors, STORE's data and `busy`;
checkers of completions and of the scratchpad.
"""

import random
from collections import deque
from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.handle import HierarchyObject
from cocotb.task import Task
from cocotb.triggers import RisingEdge
from lepton.arch import ChipConfig, Space, Tensor, TensorOpcode
from lepton_hdl.control.job import SETTLE_CYCLES
from lepton_hdl.interfaces import DONE, ERROR, command_layout, word_write_layout
from numpy.typing import NDArray

from tests.bench.checker import InOrder
from tests.bench.clock import cycles, start_clock, until
from tests.bench.layouts import decode, encode
from tests.bench.pins import Pins
from tests.bench.stalls import NONE, share, stall
from tests.bench.stream import StreamDriver, StreamMonitor

BASIC = dict(opcode=TensorOpcode.DOT, first=1, last=1, kernel_x=1, kernel_y=1, blocks=1, nx=1, ny=1, nz=1,
             in_w=1, in_h=1, out_min=-128, out_max=127)
WINDOW = dict(opcode=TensorOpcode.WINDOW)
LIMIT = 200_000  # cycles for the commands of a test; the longest take less than a tenth of it
COMMAND_BITS = 8 * Tensor.size
assert command_layout(Tensor).size == COMMAND_BITS + 32  # the command's index follows it

Memory = NDArray[np.uint8]
Completion = tuple[int, int, int]
"""Post, layer, snapshot."""


@dataclass(frozen=True)
class EngineError:
    """What the engine reports, as `ERROR`."""

    code: int
    index: int
    layer: int
    address: int


def completion_of(fields: dict[str, int]) -> Completion:
    """What the engine says when a command with these fields is done."""
    return fields["post"], fields["layer"], fields["snapshot"]


class StoreMonitor:
    """The words that STORE is given: in the cycle behind that in which its request was taken."""

    def __init__(self, dut: HierarchyObject) -> None:
        self.dut = dut
        self.words: list[int] = []
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        request = (self.dut.store_read__request__valid, self.dut.store_read__request__ready)
        asked = False
        while True:
            await RisingEdge(self.dut.clk)
            if asked:
                self.words.append(int(self.dut.store_read__data.value))
            asked = all(bool(port.value) for port in request)


class BusyMonitor:
    """`busy` must be high from `SETTLE_CYCLES` after the engine has taken a command until it is done."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.taken = 0
        self.checked = 0  # cycles in which it had to be high
        self._now = 0
        self._unfinished: deque[int] = deque()  # in which cycle each command was taken

    def sample(self) -> None:
        """Look at the ports; to be called at every rising edge."""
        self._now += 1
        if self.pins.get("control__done__valid"):
            self._unfinished.popleft()
        if self._unfinished and self._now - self._unfinished[0] > SETTLE_CYCLES:
            self.checked += 1
            assert self.pins.get("control__busy"), f"{len(self._unfinished)} commands are not done, but it is not busy"
        if self.pins.get("control__command__valid") and self.pins.get("control__command__ready"):
            self._unfinished.append(self._now)
            self.taken += 1


def check_scratchpad(got: Memory, expected: Memory, lanes: int) -> None:
    """Every byte as the model says."""
    wrong = np.flatnonzero(got != expected)
    assert not wrong.size, (f"{wrong.size} bytes of the scratchpad are wrong, first byte {wrong[0] % lanes} of word "
                            f"{wrong[0] // lanes}: {got[wrong[0]]}, not {expected[wrong[0]]}")


class Bench:
    """All parts around one `Datapath`. `pause`: the pattern in which commands are held back."""

    def __init__(self, dut: HierarchyObject, config: ChipConfig, pause: str = NONE) -> None:
        self.dut = dut
        self.config = config
        self.commands = StreamDriver[bytes](dut, "control__command", self._pack, stall(pause))
        self.completions = InOrder[Completion]("completion")
        self.done = StreamMonitor(dut, "control__done", self._completion, lambda item: self.completions.receive(item))
        self.errors = StreamMonitor(dut, "control__error", lambda bits: EngineError(**decode(ERROR, bits)))
        self.loads = StreamDriver[tuple[Space, int, int]](dut, "load_write", self._pack_word)
        self.requests = StreamDriver[int](dut, "store_read__request", int, share(0.3))
        self.store = StoreMonitor(dut)
        self._packed = 0
        self._interference: Task[None] | None = None

    async def start(self) -> None:
        await start_clock(self.dut, control__halt=0)
        await cycles(self.dut, 1)

    async def again(self) -> None:
        """Reset; what was sent and seen is forgotten, memories keep their contents."""
        self.dut.rst.value = 1
        self.dut.control__halt.value = 0
        self.commands.clear()
        await cycles(self.dut, 2)
        self._packed = 0
        self.completions = InOrder("completion")
        for monitor in (self.done, self.errors):
            monitor.items.clear()
            monitor.times.clear()
        self.dut.rst.value = 0
        await cycles(self.dut, 1)

    def _pack(self, record: bytes) -> int:
        index = self._packed
        self._packed += 1
        return int.from_bytes(record, "little") | index << COMMAND_BITS

    def _pack_word(self, write: tuple[Space, int, int]) -> int:
        space, address, data = write
        return encode(word_write_layout(self.config), space=space, address=address, data=data)

    @staticmethod
    def _completion(bits: int) -> Completion:
        return completion_of(decode(DONE, bits))

    async def fill(self, space: Space, data: Memory) -> None:
        """Write a whole memory through LOAD's port."""
        words = data.reshape(-1, self.config.lanes)
        self.loads.send(*((space, i, int.from_bytes(word.tobytes(), "little")) for i, word in enumerate(words)))
        await until(self.dut, lambda: self.loads.idle)

    async def dump(self) -> Memory:
        """The scratchpad, through STORE's port."""
        count = self.config.scratchpad_words
        self.store.words.clear()
        self.requests.send(*range(count))
        await until(self.dut, lambda: len(self.store.words) == count)
        words = (word.to_bytes(self.config.lanes, "little") for word in self.store.words)
        return np.frombuffer(b"".join(words), np.uint8)

    def send(self, *commands: dict[str, int]) -> None:
        """Offer commands; their completions are expected."""
        self.completions.expect(*(completion_of(Tensor.unpack(Tensor.pack(**fields))) for fields in commands))
        self.commands.send(*(Tensor.pack(**fields) for fields in commands))

    async def finish(self) -> None:
        """Until every command is done; no error may be reported, and the engine is not busy behind it."""
        def ended() -> bool:
            assert not self.errors.items, f"{self.errors.items[0]}"
            return self.completions.complete

        await until(self.dut, ended, LIMIT, lambda: f"{self.completions.received} commands are done")
        self.completions.finish()
        await cycles(self.dut, 2)
        assert not self.dut.control__busy.value, "busy without a command"

    async def error(self) -> EngineError:
        """The first error that is reported."""
        await until(self.dut, lambda: self.errors.items, state=lambda: "no error is reported")
        return self.errors.items[0]

    def interfere(self) -> None:
        """Read the scratchpad at random, as STORE would, to take banks away from the residual."""
        async def read() -> None:
            while True:
                self.requests.send(random.randrange(self.config.scratchpad_words))
                await RisingEdge(self.dut.clk)
                while not self.requests.idle:
                    await RisingEdge(self.dut.clk)

        self._interference = cocotb.start_soon(read())

    async def end_interference(self) -> None:
        """Until no request is left."""
        if self._interference is not None:
            self._interference.cancel()
            await until(self.dut, lambda: self.requests.idle)
            await cycles(self.dut, 2)  # the last word has come
