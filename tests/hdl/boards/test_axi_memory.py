"""The AXI subordinates of a board's memory against cocotbext-axi's manager, and against a chip that forgets."""

import random

import cocotb
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiMaster, AxiResp
from lepton_hdl.boards.axi_memory import AxiReader, AxiWriter
from lepton_hdl.boards.requests import MemorySignature
from lepton_hdl.boards.share import Share

from tests.bench.clock import cycles, start_clock
from tests.bench.stalls import MOST, NONE, SOME, stall
from tests.cocotb_harness import run_cocotb
from tests.hdl.boards.peers import WordMemory

DATA_BYTES = 16
WORDS = (1 << 10) + 8  # the end is within 4 KiB, so that a burst can cross it
BYTES = DATA_BYTES * WORDS
_UNUSED = {f"{channel}{name}": width for channel in ("aw", "ar")
           for name, width in (("id", 1), ("size", 3), ("burst", 2))}


class Bench(wiring.Component):
    """Both subordinates in front of one memory, with all signals of AXI that a manager has."""

    def __init__(self):
        self.reader = AxiReader(DATA_BYTES, WORDS)
        self.writer = AxiWriter(DATA_BYTES, WORDS)
        members = {f"s_{name}": member for side in (self.reader, self.writer)
                   for name, member in side.signature.members.items() if name not in ("memory", "forget")}
        members |= {f"s_{name}": In(width) for name, width in _UNUSED.items()}
        members |= {"s_rid": Out(1), "s_bid": Out(1), "s_wlast": In(1)}
        super().__init__(members | {"forget": In(1), "memory": Out(MemorySignature(DATA_BYTES))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = self.reader
        m.submodules.writer = writer = self.writer
        m.submodules.share = share = Share(DATA_BYTES, 2)
        connect(m, reader.memory, share.clients[0])
        connect(m, writer.memory, share.clients[1])
        connect(m, share.memory, flipped(self.memory))
        for side in (reader, writer):
            m.d.comb += side.forget.eq(self.forget)
            for name, member in side.signature.members.items():
                if name not in ("memory", "forget"):
                    inner = getattr(side, name)
                    outer = getattr(self, f"s_{name}")
                    m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        return m


def manager_of(dut) -> AxiMaster:
    """An independent manager. The board's memory answers with ID 0, the only one that the chip uses."""
    axi = AxiMaster(AxiBus.from_prefix(dut, "s"), dut.clk, dut.rst)
    axi.read_if.id_count = axi.write_if.id_count = 1
    return axi


def endless(pattern):
    while True:
        yield int(pattern())


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(memory=[NONE, MOST], manager=[NONE, SOME])
async def reads_and_writes(dut, memory, manager):
    """Random bursts, many at once, none of which touch the same bytes."""
    words = WordMemory(dut, "memory", DATA_BYTES, stall(memory))
    axi = manager_of(dut)
    for channel in (axi.write_if.aw_channel, axi.write_if.w_channel, axi.write_if.b_channel,
                    axi.read_if.ar_channel, axi.read_if.r_channel):
        channel.set_pause_generator(endless(stall(manager)))
    await start_clock(dut, forget=0)
    expected = bytearray(BYTES)
    part = BYTES // 8

    async def use(n):
        for _ in range(6):
            size = random.choice([1, 15, 16, 17, 100, 1000])
            at = n * part + random.randrange(part - size)
            data = random.randbytes(size)
            expected[at:at + size] = data
            assert (await axi.write(at, data)).resp == AxiResp.OKAY
            answer = await axi.read(at, size)
            assert answer.resp == AxiResp.OKAY and bytes(answer.data) == data

    for task in [cocotb.start_soon(use(n)) for n in range(8)]:
        await task
    assert all(words.bytes.get(at, 0) == byte for at, byte in enumerate(expected))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def beyond_memory(dut):
    """A burst that leaves memory is answered with DECERR and changes nothing; those around it are served."""
    words = WordMemory(dut, "memory", DATA_BYTES, stall(NONE))
    axi = manager_of(dut)
    await start_clock(dut, forget=0)
    for at, size in [(BYTES, 16), (BYTES - 16, 32), (1 << 40, 64)]:
        before = cocotb.start_soon(axi.read(0, 64))
        assert (await axi.write(at, bytes(size))).resp == AxiResp.DECERR
        assert (await axi.read(at, size)).resp == AxiResp.DECERR
        assert (await before).resp == AxiResp.OKAY
    assert not words.bytes
    assert (await axi.read(BYTES - 16, 16)).resp == AxiResp.OKAY


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def answers_wait_for_a_manager(dut):
    """Bursts of one beat are accepted only as long as their answers have room; each is answered once."""
    WordMemory(dut, "memory", DATA_BYTES, stall(NONE))
    await start_clock(dut, forget=0, s_rready=0, s_arvalid=0, s_awvalid=1, s_awaddr=0, s_awlen=0, s_wvalid=1, s_wlast=1,
                      s_wdata=0, s_wstrb=0, s_bready=0)
    accepted = 0
    answered = 0
    for cycle in range(300):
        dut.s_bready.value = cycle >= 150
        if cycle == 250:  # what was accepted has its data by then
            dut.s_awvalid.value = 0
        await RisingEdge(dut.clk)
        accepted += int(dut.s_wvalid.value) & int(dut.s_wready.value)
        answered += int(dut.s_bvalid.value) & int(dut.s_bready.value)
        if cycle == 149:
            held = accepted
            assert answered == 0 and held < 100
    assert answered == accepted > held


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def forgets(dut):
    """After `forget`, at any moment of a read, the next read gets its own data and nothing of the one before."""
    words = WordMemory(dut, "memory", DATA_BYTES, stall(SOME), latency=9)
    words.bytes = {at: random.randrange(256) for at in range(BYTES)}
    await start_clock(dut, forget=0, s_rready=0, s_arvalid=0, s_awvalid=0, s_wvalid=0, s_bready=1)

    async def ask(word, beats):
        dut.s_araddr.value = word * DATA_BYTES
        dut.s_arlen.value = beats - 1
        dut.s_arvalid.value = 1
        while True:
            await RisingEdge(dut.clk)
            if dut.s_arready.value:
                break
        dut.s_arvalid.value = 0

    for _ in range(60):
        await ask(random.randrange(WORDS - 32), random.randrange(1, 32))
        dut.s_rready.value = random.random() < 0.7
        await cycles(dut, random.randrange(40))
        dut.forget.value = 1
        await cycles(dut, 1)
        dut.forget.value = 0
        word = random.randrange(WORDS - 4)
        beats = random.randrange(1, 5)
        dut.s_rready.value = 1
        await cycles(dut, 1)
        await ask(word, beats)
        for beat in range(beats):
            while not dut.s_rvalid.value:
                await RisingEdge(dut.clk)
            assert int(dut.s_rdata.value) == words.word(word + beat)
            assert bool(dut.s_rlast.value) == (beat == beats - 1)
            await RisingEdge(dut.clk)
        dut.s_rready.value = 0
        await cycles(dut, 1)


def test_axi_memory():
    run_cocotb(Bench(), "axi_memory", __name__)
