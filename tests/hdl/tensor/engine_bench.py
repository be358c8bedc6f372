"""The bench of the TENSOR engine with its memories; its model is the golden chip of the simulator.

Drivers of commands, of LOAD's words and of STORE's requests; monitors of completions, errors, STORE's data and `busy`;
checkers of completions and of the scratchpad.
"""

import random
from collections import deque

import cocotb
import numpy as np
from cocotb.handle import HierarchyObject
from cocotb.task import Task
from cocotb.triggers import RisingEdge
from lepton.arch import ChipConfig, Space, Tensor, TensorOpcode
from lepton_hdl.control.job import SETTLE_CYCLES
from lepton_hdl.interfaces import word_write_layout

from tests.bench.clock import cycles, until
from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.bench.stalls import NONE, share
from tests.bench.stream import StreamDriver
from tests.hdl.command_bench import CommandBench, EngineError, Memory

BASIC = dict(opcode=TensorOpcode.DOT, first=1, last=1, kernel_x=1, kernel_y=1, blocks=1, nx=1, ny=1, nz=1,
             in_w=1, in_h=1, out_min=-128, out_max=127)
WINDOW = dict(opcode=TensorOpcode.WINDOW)
LIMIT = 200_000  # cycles for the commands of a test; the longest take less than a tenth of it


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


class Bench(CommandBench):
    """All parts around one `Datapath`. `pause`: the pattern in which commands are held back."""

    record = Tensor
    limit = LIMIT

    def __init__(self, dut: HierarchyObject, config: ChipConfig, pause: str = NONE) -> None:
        super().__init__(dut, config, pause)
        self.loads = StreamDriver[tuple[Space, int, int]](dut, "load_write", self._pack_word)
        self.requests = StreamDriver[int](dut, "store_read__request", int, share(0.3))
        self.store = StoreMonitor(dut)
        self._interference: Task[None] | None = None

    def _pack_word(self, write: tuple[Space, int, int]) -> int:
        space, address, data = write
        return encode(word_write_layout(self.config), space=space, address=address, data=data)

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
