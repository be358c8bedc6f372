"""The read port by itself: several clients, segments cut into bursts, beats that fail, few outstanding."""

import gc
import random
from collections import deque

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge
from lepton.arch import PRESETS
from lepton_hdl.dma import ReadPort
from lepton_hdl.interfaces import SEGMENT, read_beat_layout

from tests.bench.clock import until
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.dma.bench import READ_CLIENTS as CLIENTS
from tests.hdl.dma.peers import AxiMemory, reset

CONFIGS = [{"bus_bytes": 16}, {"bus_bytes": 4}, {"bus_bytes": 64}, {"bus_bytes": 16, "outstanding": 1}]
BASE = 0xFFFF_F000  # addresses pass 4 GiB in the middle of the test
SIZE = 0x8000


def config():
    return PRESETS["base"].with_(**parameters())


def cut(address: int, length: int, width: int) -> list[int]:
    """The address of every beat of a segment: its own for the first, then the lowest byte's."""
    return [address, *range(address // width * width + width, address + length, width)]


class Client:
    """Sends segments and checks each beat of the answers."""

    def __init__(self, dut, index: int, width: int, contents: bytes, faults, stall: float):
        self.name, self.dut, self.width, self.contents, self.faults = f"clients__{index}", dut, width, contents, faults
        self.stall, self.segments, self.expected = stall, deque(), deque()
        self.beat_times = []
        self.forgotten = self.blocked = False
        cocotb.start_soon(self._run())

    def send(self, address: int, length: int):
        self.segments.append((address, length))

    def forget(self):
        """The client is reset at this clock edge: what it asked for and what comes is nobody's."""
        self.segments.clear()
        self.expected.clear()
        self.forgotten = True

    @property
    def idle(self):
        return not self.segments and not self.expected

    def _beats(self, address, length):
        worst, beats = 0, cut(address, length, self.width)
        for at in beats:
            low = at // self.width * self.width
            for fault, _, resp in self.faults:
                if low <= fault < low + self.width:
                    worst = max(worst, resp)
            failing = any(low <= fault < low + self.width for fault, _, _ in self.faults)
            data = b"\xee" * self.width if failing else self.contents[low - BASE:low - BASE + self.width]
            yield {"data": int.from_bytes(data, "little"), "last": int(at == beats[-1]), "resp": worst, "address": at}

    async def _run(self):
        def port(name):
            return getattr(self.dut, f"{self.name}__{name}")

        layout = read_beat_layout(self.width)
        offered = ready = False
        now = 0
        port("segment__valid").value = port("beat__ready").value = 0
        while True:
            await RisingEdge(self.dut.clk)
            now += 1
            if self.forgotten:
                self.forgotten = offered = ready = False
                port("segment__valid").value = port("beat__ready").value = 0
                continue
            if offered and port("segment__ready").value:
                self.expected.extend(self._beats(*self.segments.popleft()))
                offered = False
            if ready and port("beat__valid").value:
                view = layout.from_bits(int(port("beat__payload").value))
                assert {name: view[name] for name, _ in layout} == self.expected.popleft()
                self.beat_times.append(now)
            if not offered and self.segments and random.random() >= self.stall:
                address, length = self.segments[0]
                port("segment__payload").value = SEGMENT.const({"address": address, "length": length}).as_value().value
                offered = True
            port("segment__valid").value = offered
            ready = random.random() >= self.stall and not self.blocked
            port("beat__ready").value = ready


async def read_bench(dut, faults=(), stall=0.0, axi_stall=0.0, latency=64):
    width = config().bus_bytes
    contents = random.randbytes(SIZE)
    axi = AxiMemory(dut, width, "read", bytearray(contents), base=BASE, latency=latency, stall=axi_stall)
    axi.faults.extend(faults)
    clients = [Client(dut, i, width, contents, faults, stall) for i in range(CLIENTS)]
    dut.discard.value = 0
    await reset(dut)
    return axi, clients


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.3])
async def read_clients_get_their_own_beats(dut, stall):
    """Random segments of three clients, some of which fail: data, `last`, `resp` and `address` of every beat."""
    faults = [(BASE + random.randrange(SIZE), 0, random.choice([2, 3])) for _ in range(8)]
    faults = [(at, at + 1, resp) for at, _, resp in faults]
    axi, clients = await read_bench(dut, faults, stall, stall)
    for client in clients:
        for _ in range(12):
            length = random.choice([1, random.randint(1, 64), random.randint(1, 3000)])
            client.send(BASE + random.randint(0, SIZE - length), length)
    await until(dut, lambda: all(c.idle for c in clients) and not dut.busy.value)
    assert axi.most_in_flight <= config().outstanding


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def short_segments_wait_little(dut):
    """A client with a short segment comes next but for what is under way, also when the others have very long ones."""
    axi, clients = await read_bench(dut)
    clients[0].send(BASE, SIZE)
    clients[1].send(BASE, SIZE)
    await ClockCycles(dut.clk, 400)
    clients[2].send(BASE + 0x100, 64)
    # At most two bursts are on their way or, one at a time, one of each client comes first.
    wait = 2 * 256 + 64 if config().outstanding > 1 else 3 * (256 + 64)
    await until(dut, lambda: clients[2].beat_times and clients[2].idle, wait + 20)
    assert clients[0].expected
    await until(dut, lambda: all(c.idle for c in clients))
    if config().outstanding > 1:
        assert axi.beat_times[-1] - axi.beat_times[0] == len(axi.beat_times) - 1, "cycles without a beat"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def read_of_maximum_length_is_cut_at_4_kib(dut):
    axi, clients = await read_bench(dut, latency=5)
    width = config().bus_bytes
    clients[1].send(BASE + 0xFFF, 2)
    await until(dut, lambda: clients[1].segments == deque() and clients[1].idle)
    assert axi.bursts == [(BASE + 0x1000 - width, 1), (BASE + 0x1000, 1)]
    clients[1].send(BASE + 0x1001, 0x2000)
    await until(dut, lambda: clients[1].idle)
    beats = min(256, 4096 // width)
    per_page = 0x1000 // (beats * width)
    whole = [(BASE + 0x1000 + i * beats * width, beats) for i in range(2 * per_page)]
    assert axi.bursts[2:] == [*whole, (BASE + 0x3000, 1)]


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.3])
async def a_discarded_client_gets_nothing_that_it_asked_for_before(dut, stall):
    """At any moment, with memory late by up to some thousand cycles: no old beat comes to the client, its new segments
    wait for the last one, and the other clients notice nothing."""
    axi, clients = await read_bench(dut, stall=stall, axi_stall=stall)

    def send(client):
        for _ in range(6):
            length = random.choice([1, random.randint(1, 64), random.randint(1, 3000)])
            client.send(BASE + random.randint(0, SIZE - length), length)

    for late in [0, 1, 2, *(random.randrange(3, 3000) for _ in range(5))]:
        for client in clients:
            send(client)
        await ClockCycles(dut.clk, random.randrange(300))
        axi.hold = late > 0
        await ClockCycles(dut.clk, random.randrange(1, 30))
        dut.discard.value = 0b001
        clients[0].forget()
        await RisingEdge(dut.clk)
        dut.discard.value = 0
        send(clients[0])
        await ClockCycles(dut.clk, late)
        axi.hold = False
        await until(dut, lambda: all(c.idle for c in clients) and not dut.busy.value)
        await ClockCycles(dut.clk, 2)
        assert not dut.stale.value and not dut.open.value and not dut.broken.value


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(misplaced=[(8, 6), (7, 6), (9, 8), (8, 0), (8, 99)])
async def rlast_on_another_beat_is_noticed(dut, misplaced):
    """Early, late or missing, with beats too few or too many: `broken` from the first wrong beat of the burst on, which
    its client sees as an error; it gets no beat more than it asked for."""
    width = config().bus_bytes
    beats, last = misplaced
    wrong = min(last, 7)  # RLAST is where it must not be, or is not where it must be
    axi, clients = await read_bench(dut, latency=5)
    axi.misplaced[1] = misplaced
    clients[0].send(BASE, 8 * width)
    await until(dut, lambda: clients[0].idle)
    assert not dut.broken.value
    clients[0].send(BASE + 0x1000, 8 * width)
    await until(dut, lambda: not clients[0].segments)
    for beat in list(clients[0].expected)[wrong:]:
        beat["resp"] = 2
    await until(dut, lambda: dut.broken.value, 100)
    assert dut.failed_address.value == BASE + 0x1000 + wrong * width
    await ClockCycles(dut.clk, 50)
    assert len(clients[0].expected) == max(0, 8 - beats)
    dut.restart.value = 1
    await ClockCycles(dut.clk, 1)
    dut.restart.value = 0
    await ClockCycles(dut.clk, 2)
    assert dut.broken.value == (beats < 8), "memory still owes a beat, and no later one can be told from it"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_beat_that_nobody_asked_for_is_dropped(dut):
    axi, clients = await read_bench(dut, latency=5)
    for _ in range(3):
        axi.unasked = 1
        await until(dut, lambda: not axi.unasked, 10)
        await ClockCycles(dut.clk, 2)
        assert dut.broken.value and not dut.timed_out.value
        dut.restart.value = 1
        await ClockCycles(dut.clk, 1)
        dut.restart.value = 0
        await ClockCycles(dut.clk, 2)
        assert not dut.broken.value, "nothing is outstanding, so that nothing can be mistaken for it"
        clients[2].send(BASE + 0x123, 777)
        await until(dut, lambda: clients[2].idle)
        assert not dut.broken.value


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_beat_that_its_client_does_not_take_is_an_answer_of_memory(dut):
    """A client that is busy for longer than TIMEOUT, as LOAD with a long FILL, is no time-out; silence after it is."""
    axi, clients = await read_bench(dut, latency=5)
    dut.timeout.value = 200
    clients[1].blocked = True
    clients[1].send(BASE, 64)
    await until(dut, lambda: dut.bus__rvalid.value and not dut.bus__rready.value, 50)
    await ClockCycles(dut.clk, 1000)
    assert not dut.timed_out.value
    clients[1].blocked = False
    await until(dut, lambda: clients[1].idle, 100)
    axi.hold = True
    clients[1].send(BASE + 0x200, 64)
    await until(dut, lambda: dut.timed_out.value, 250)
    assert dut.failed_address.value == BASE + 0x200


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def read_opens_as_many_bursts_as_it_may_and_no_more(dut):
    """Short segments of all clients and slow answers; the memory would take any number of bursts."""
    axi, clients = await read_bench(dut, latency=150)
    for i in range(3 * config().outstanding):
        clients[i % CLIENTS].send(BASE + 256 * i, 1)
    await until(dut, lambda: all(c.idle for c in clients) and not dut.busy.value)
    assert axi.most_in_flight == config().outstanding


@pytest.mark.parametrize("changes", CONFIGS, ids=lambda c: "-".join(map(str, c.values())))
def test_read_port(changes):
    run_cocotb(ReadPort(PRESETS["base"].with_(**changes), CLIENTS), "read_port", "tests.hdl.dma.test_dma_read_port",
               parameters=changes)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_a_read_port_needs_clients():
    with pytest.raises(ValueError, match=r"a ReadPort needs at least 1 client, not 0"):
        ReadPort(PRESETS["base"], clients=0)
    gc.collect()  # Amaranth warns when it finds the half-made port; here, where that is expected
