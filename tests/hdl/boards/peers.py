"""What stands on the other side of the boards' blocks."""

import random
from collections import deque

import cocotb
from cocotb.triggers import RisingEdge
from lepton_hdl.boards.requests import request_layout

from tests.bench.layouts import decode
from tests.bench.stalls import Stall


class WordMemory:
    """A memory at the port of `MemorySignature`. It answers reads in order, after `latency` cycles or more."""

    def __init__(self, dut, name: str, data_bytes: int, pause: Stall, latency: int = 4) -> None:
        self.dut = dut
        self.name = name
        self.data_bytes = data_bytes
        self.bytes: dict[int, int] = {}
        self.log: list[tuple[bool, int]] = []  # (write, address) of each request
        self._pause = pause
        self._latency = latency
        self._layout = request_layout(data_bytes)
        self._answers: deque[tuple[int, int]] = deque()
        cocotb.start_soon(self._run())

    def word(self, address: int) -> int:
        return sum(self.bytes.get(address * self.data_bytes + i, 0) << 8 * i for i in range(self.data_bytes))

    def _port(self, name: str):
        return getattr(self.dut, f"{self.name}__{name}")

    async def _run(self) -> None:
        now = 0
        self._port("request__ready").value = 0
        self._port("read_data__valid").value = 0
        while True:
            await RisingEdge(self.dut.clk)
            now += 1
            if not self.dut.rst.value and self._port("request__valid").value and self._port("request__ready").value:
                request = decode(self._layout, int(self._port("request__payload").value))
                self.log.append((bool(request["write"]), request["address"]))
                if request["write"]:
                    for i in range(self.data_bytes):
                        if request["strobe"] >> i & 1:
                            self.bytes[request["address"] * self.data_bytes + i] = request["data"] >> 8 * i & 0xFF
                else:
                    last = self._answers[-1][0] if self._answers else 0
                    when = max(now + self._latency + random.randrange(4), last + 1)
                    self._answers.append((when, self.word(request["address"])))
            self._port("request__ready").value = not self._pause()
            due = bool(self._answers) and self._answers[0][0] <= now
            self._port("read_data__valid").value = due
            if due:
                self._port("read_data__payload").value = self._answers.popleft()[1]
