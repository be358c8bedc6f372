"""The read port by itself: several clients, segments cut into bursts, beats that fail, few outstanding."""

import gc
import random
from dataclasses import dataclass

import cocotb
import pytest
from cocotb.handle import HierarchyObject
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from lepton.arch import PRESETS, ChipConfig
from lepton_hdl.axi import Resp
from lepton_hdl.dma import ReadPort

from tests.bench.axi import Burst
from tests.bench.axi_memory import AxiReadMemory
from tests.bench.clock import start_clock, until
from tests.bench.stalls import MOST, NONE, SOME, STALLS, stall
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.bench import READ_CLIENTS as CLIENTS
from tests.hdl.dma.peers import restart_port
from tests.hdl.dma.port_bench import ReadClient

CONFIGS = [{"bus_bytes": 16}, {"bus_bytes": 4}, {"bus_bytes": 64}, {"bus_bytes": 16, "outstanding": 1}]
BASE = 0xFFFF_F000  # addresses pass 4 GiB in the middle of the test
SIZE = 0x8000


def configuration() -> ChipConfig:
    """Of the port under test."""
    return PRESETS["base"].with_(**parameters())


@dataclass
class Bench:
    """The memory and the clients of a port."""

    dut: HierarchyObject
    axi: AxiReadMemory
    clients: list[ReadClient]

    @classmethod
    async def open(cls, dut, client: str = NONE, memory: str = NONE, latency: int = 64) -> "Bench":
        """Out of reset, with these stall patterns."""
        axi = AxiReadMemory(dut, configuration().bus_bytes, bytearray(random.randbytes(SIZE)), base=BASE,
                            latency=latency, pause=stall(memory))
        clients = [ReadClient(dut, i, axi.contents, stall(client), stall(client)) for i in range(CLIENTS)]
        await start_clock(dut, timeout=0, restart=0, discard=0)
        return cls(dut, axi, clients)

    def send_random(self, client: ReadClient, count: int) -> None:
        """Segments of one byte, of a few and of many: up to 190 beats, or 3000 bytes."""
        longest = min(3000, 190 * configuration().bus_bytes)
        for _ in range(count):
            length = random.choice([1, random.randint(1, 64), random.randint(1, longest)])
            client.send(BASE + random.randint(0, SIZE - length), length)

    async def idle(self, limit: int = 20_000) -> None:
        """Wait until every client has got everything."""
        await until(self.dut, lambda: all(c.idle for c in self.clients) and not self.dut.busy.value, limit,
                    lambda: f"missing {[c.checker.missing for c in self.clients]}")


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(client=STALLS, memory=[NONE, SOME])
async def read_clients_get_their_own_beats(dut, client, memory):
    """Random segments of three clients, some of which fail: data, `last`, `resp` and `address` of every beat."""
    bench = await Bench.open(dut, client, memory)
    for _ in range(8):
        at = BASE + random.randrange(SIZE)
        bench.axi.contents.faults.append((at, at + 1, random.choice([Resp.SLVERR.value, Resp.DECERR.value])))
    for reader in bench.clients:
        bench.send_random(reader, 3 if client == MOST else 6)
    await bench.idle(60_000)
    for reader in bench.clients:
        reader.checker.finish()
    assert bench.axi.in_flight.most <= configuration().outstanding


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def short_segments_wait_little(dut):
    """A client with a short segment comes next but for what is under way, also when the others have very long ones."""
    bench = await Bench.open(dut)
    clients = bench.clients
    clients[0].send(BASE, SIZE)
    clients[1].send(BASE, SIZE)
    await ClockCycles(dut.clk, 400)
    clients[2].send(BASE + 0x100, 64)
    # At most two bursts are on their way or, one at a time, one of each client comes first.
    wait = 2 * 256 + 64 if configuration().outstanding > 1 else 3 * (256 + 64)
    await until(dut, lambda: clients[2].checker.received and clients[2].idle, wait + 20)
    assert not clients[0].checker.complete
    await bench.idle()
    times = bench.axi.beat_times
    if configuration().outstanding > 1:
        assert times[-1] - times[0] == len(times) - 1, "cycles without a beat"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def read_of_maximum_length_is_cut_at_4_kib(dut):
    bench = await Bench.open(dut, latency=5)
    width = configuration().bus_bytes
    client = bench.clients[1]
    client.send(BASE + 0xFFF, 2)
    await bench.idle()
    assert bench.axi.bursts == [Burst(BASE + 0x1000 - width, 1), Burst(BASE + 0x1000, 1)]
    client.send(BASE + 0x1001, 0x2000)
    await bench.idle()
    beats = min(256, 4096 // width)
    per_page = 0x1000 // (beats * width)
    whole = [Burst(BASE + 0x1000 + i * beats * width, beats) for i in range(2 * per_page)]
    assert bench.axi.bursts[2:] == [*whole, Burst(BASE + 0x3000, 1)]


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(pattern=[NONE, SOME])
async def a_discarded_client_gets_nothing_that_it_asked_for_before(dut, pattern):
    """At any moment, with memory late by up to some thousand cycles: no old beat comes to the client, its new segments
    wait for the last one, and the other clients notice nothing."""
    bench = await Bench.open(dut, pattern, pattern)
    for late in [0, 1, 2, *(random.randrange(3, 3000) for _ in range(5))]:
        for client in bench.clients:
            bench.send_random(client, 6)
        await ClockCycles(dut.clk, random.randrange(300))
        bench.axi.hold = late > 0
        await ClockCycles(dut.clk, random.randrange(1, 30))
        await FallingEdge(dut.clk)
        dut.discard.value = 0b001
        bench.clients[0].forget()
        await RisingEdge(dut.clk)
        dut.discard.value = 0
        bench.send_random(bench.clients[0], 6)
        await ClockCycles(dut.clk, late)
        bench.axi.hold = False
        await bench.idle()
        await ClockCycles(dut.clk, 2)
        assert not dut.stale.value and not dut.open.value and not dut.broken.value


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(beats=range(7, 10), last=[0, 6, 8, 99])
async def rlast_on_another_beat_is_noticed(dut, beats, last):
    """Early, late or missing, with beats too few or too many: `broken` from the first wrong beat of the burst on, which
    its client sees as an error; it gets no beat more than it asked for."""
    width = configuration().bus_bytes
    wrong = min(last, 7)  # RLAST is where it must not be, or is not where it must be
    bench = await Bench.open(dut, latency=5)
    client = bench.clients[0]
    bench.axi.misplaced[1] = (beats, last)
    client.send(BASE, 8 * width)
    await until(dut, lambda: client.idle)
    assert not dut.broken.value
    client.fails_from = wrong
    client.send(BASE + 0x1000, 8 * width)
    if wrong < beats:
        await until(dut, lambda: dut.broken.value, 100)
        assert dut.failed_address.value == BASE + 0x1000 + wrong * width
    await ClockCycles(dut.clk, 100)
    assert client.checker.missing == max(0, 8 - beats)
    await restart_port(dut)
    assert dut.broken.value == (beats < 8 and wrong < beats), \
        "memory still owes a beat, and no later one can be told from it"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_beat_that_belongs_to_no_burst_is_dropped(dut):
    bench = await Bench.open(dut, latency=5)
    for _ in range(3):
        bench.axi.unasked = 1
        await until(dut, lambda: not bench.axi.unasked, 10)
        await ClockCycles(dut.clk, 2)
        assert dut.broken.value and not dut.timed_out.value
        await restart_port(dut)
        assert not dut.broken.value, "nothing is outstanding, so that nothing can be mistaken for it"
        bench.clients[2].send(BASE + 0x123, 777)
        await bench.idle()
        assert not dut.broken.value


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_beat_that_its_client_does_not_take_is_an_answer_of_memory(dut):
    """A client that is busy for longer than TIMEOUT, as LOAD with a long FILL, is no time-out; silence after it is."""
    bench = await Bench.open(dut, latency=5)
    client = bench.clients[1]
    dut.timeout.value = 200
    client.sink.blocked = True
    client.send(BASE, 64)
    await until(dut, lambda: dut.bus__rvalid.value and not dut.bus__rready.value, 50)
    await ClockCycles(dut.clk, 1000)
    assert not dut.timed_out.value
    client.sink.blocked = False
    await until(dut, lambda: client.idle, 100)
    bench.axi.hold = True
    client.send(BASE + 0x200, 64)
    await until(dut, lambda: dut.timed_out.value, 250)
    assert dut.failed_address.value == BASE + 0x200


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def read_opens_as_many_bursts_as_it_may_and_no_more(dut):
    """Short segments of all clients and slow answers; the memory would take any number of bursts."""
    bench = await Bench.open(dut, latency=150)
    for i in range(3 * configuration().outstanding):
        bench.clients[i % CLIENTS].send(BASE + 256 * i, 1)
    await bench.idle()
    assert bench.axi.in_flight.most == configuration().outstanding


@pytest.mark.parametrize("changes", CONFIGS, ids=lambda c: "-".join(map(str, c.values())))
def test_read_port(changes):
    run_cocotb(ReadPort(PRESETS["base"].with_(**changes), CLIENTS), "read_port", __name__, parameters=changes)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_a_read_port_needs_clients():
    with pytest.raises(ValueError, match=r"a ReadPort needs at least 1 client, not 0"):
        ReadPort(PRESETS["base"], clients=0)
    gc.collect()  # Amaranth warns when it finds the half-made port; here, where that is expected
