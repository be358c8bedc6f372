"""The share in front of a port that takes every segment at once and answers late: its own bound on open segments."""

import random
from collections import deque

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from lepton.arch import PRESETS
from lepton_hdl.axi import Resp
from lepton_hdl.dma import WriteShare
from lepton_hdl.interfaces import WRITE_RESPONSE, write_beat_layout

from tests.bench.clock import start_clock, until
from tests.bench.layouts import decode, encode
from tests.bench.stalls import NONE, STALLS, stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor
from tests.cocotb_harness import run_cocotb
from tests.hdl.dma.port_bench import Response, Segment, WriteClient

CONFIG = PRESETS["base"].with_(bus_bytes=4, outstanding=2)
CLIENTS = 2
SHARE = WriteShare(CONFIG, CLIENTS)


class LatePort:
    """Takes segments and their beats, and answers each segment with its own address, while it is not `silent`.

    `most`: the most segments without an answer at a time.
    """

    def __init__(self, dut, pattern: str) -> None:
        self.silent = False
        self.taken: list[Segment] = []
        self.most = 0
        self.answered = 0
        self._owed: deque[int] = deque()  # beats that have not come of the segments that were taken
        layout = write_beat_layout(CONFIG.bus_bytes)
        ReadyDriver(dut, "port__segment", stall(pattern))
        ReadyDriver(dut, "port__beat", stall(pattern))
        StreamMonitor(dut, "port__segment", Segment.unpack, self._take)
        StreamMonitor(dut, "port__beat", lambda bits: decode(layout, bits), self._count)
        self._answers = StreamDriver(dut, "port__response", lambda segment: encode(
            WRITE_RESPONSE, resp=Resp.SLVERR.value, address=segment.address), lambda: self.silent)
        StreamMonitor(dut, "port__response", lambda bits: bits, self._answer)

    @property
    def open(self) -> int:
        """Segments without an answer."""
        return len(self.taken) - self.answered

    def _take(self, segment: Segment) -> None:
        self.taken.append(segment)
        self._owed.append(len(segment.beats(CONFIG.bus_bytes)))
        self.most = max(self.most, self.open)

    def _count(self, beat: dict) -> None:
        assert self._owed, f"a beat of no segment: {beat}"
        self._owed[0] -= 1
        if not self._owed[0]:
            self._owed.popleft()
            self._answers.send(self.taken[-1 - len(self._owed)])

    def _answer(self, bits: int) -> None:
        self.answered += 1


class Bench:
    """The port and the clients, each with addresses of its own."""

    def __init__(self, dut, client: str, port: str) -> None:
        self.dut = dut
        self.port = LatePort(dut, port)
        self.clients = [WriteClient(dut, f"clients__{i}", CONFIG.bus_bytes, stall(client), stall(client))
                        for i in range(CLIENTS)]

    def send(self, count: int, longest: int) -> None:
        """Random segments of each client; every answer must have the address of its segment."""
        for i, client in enumerate(self.clients):
            for _ in range(count):
                address = i << 32 | random.getrandbits(20)
                client.send(address, random.randbytes(random.randint(1, longest)), Response(Resp.SLVERR.value, address))

    async def finish(self) -> None:
        """Wait for all answers."""
        await until(self.dut, lambda: all(client.idle for client in self.clients), 20_000,
                    lambda: f"missing {[client.checker.missing for client in self.clients]}")
        for client in self.clients:
            client.checker.finish()
        await RisingEdge(self.dut.clk)
        assert not self.dut.open.value


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(longest=[1, 40])
async def segments_wait_while_as_many_as_it_holds_have_no_answer(dut, longest):
    """One client may have all of them, or both some; the share forgets no one's answer."""
    bench = Bench(dut, NONE, NONE)
    await start_clock(dut, discard=0)
    bench.port.silent = True
    bench.send(SHARE.segments, longest)
    await until(dut, lambda: bench.port.open == SHARE.segments, 4000)
    await ClockCycles(dut.clk, 200)
    assert bench.port.open == SHARE.segments
    assert not dut.port__segment__valid.value
    bench.port.silent = False
    await bench.finish()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(client=STALLS, port=STALLS)
async def every_answer_goes_to_its_client(dut, client, port):
    """With answers that come and stay away at random."""
    bench = Bench(dut, client, port)
    await start_clock(dut, discard=0)
    bench.send(3 * SHARE.segments, 20)

    async def be_silent_now_and_then() -> None:
        while True:
            bench.port.silent = not bench.port.silent
            await ClockCycles(dut.clk, random.randrange(1, 300))

    silences = cocotb.start_soon(be_silent_now_and_then())
    await bench.finish()
    silences.cancel()
    assert bench.port.most <= SHARE.segments


def test_write_share_room():
    run_cocotb(SHARE, "write_share_alone", __name__)
