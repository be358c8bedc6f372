"""A memory behind a `WordReadSignature`: data exactly one cycle after an accepted request."""

import random
from collections.abc import Callable

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge

from tests.bench.stalls import Stall
from tests.bench.stream import ReadyDriver, StreamMonitor


class WordReads:
    """Takes requests on the stream `{name}__request` and gives `read(address)` at `{name}__data`.

    The data are noise in every cycle that does not follow a request: another reader's.
    """

    def __init__(self, dut: HierarchyObject, name: str, read: Callable[[int], int], bits: int,
                 pause: Stall | None = None) -> None:
        self.dut = dut
        self.sink = ReadyDriver(dut, f"{name}__request", pause)
        self.requests = StreamMonitor(dut, f"{name}__request", int, self._ask)
        self._data = getattr(dut, f"{name}__data")
        self._read = read
        self._bits = bits
        self._word: int | None = None  # that was asked for at this edge
        cocotb.start_soon(self._answer())

    def _ask(self, address: int) -> None:
        self._word = self._read(address)

    async def _answer(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)  # behind the monitor, which was started first
            self._data.value = random.getrandbits(self._bits) if self._word is None else self._word
            self._word = None
