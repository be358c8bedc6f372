"""The cocotb harness: passes what passes, fails what fails, and refuses to call nothing a success."""

import random

import cocotb
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tests.cocotb_harness import parameters, run_cocotb


class Queue(wiring.Component):
    """A FIFO of bytes with stream ends."""

    def __init__(self, depth: int):
        self.depth = depth
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=8, depth=self.depth)
        m.d.comb += [
            fifo.w_data.eq(self.i.payload), fifo.w_en.eq(self.i.valid), self.i.ready.eq(fifo.w_rdy),
            self.o.payload.eq(fifo.r_data), self.o.valid.eq(fifo.r_rdy), fifo.r_en.eq(self.o.ready),
        ]
        return m


async def _start(dut):
    dut.i__valid.value = 0
    dut.o__ready.value = 0
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns").start()
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0


@cocotb.test(timeout_time=100, timeout_unit="us")
async def keeps_order_under_stalls(dut):
    await _start(dut)
    data = [random.randrange(256) for _ in range(200)]

    async def produce():
        for value in data:
            dut.i__payload.value = value
            dut.i__valid.value = 1
            await RisingEdge(dut.clk)
            while not dut.i__ready.value:
                await RisingEdge(dut.clk)
            dut.i__valid.value = 0
            while random.random() < 0.3:
                await RisingEdge(dut.clk)

    cocotb.start_soon(produce())
    received = []
    while len(received) < len(data):
        dut.o__ready.value = random.random() < 0.5
        await RisingEdge(dut.clk)
        if dut.o__ready.value and dut.o__valid.value:
            received.append(int(dut.o__payload.value))
    assert received == data


@cocotb.test(timeout_time=10, timeout_unit="us")
async def holds_its_depth(dut):
    """Fill without reading; `depth` of the pytest side must be what fits."""
    await _start(dut)
    dut.i__valid.value = 1
    accepted = 0
    for _ in range(40):
        await RisingEdge(dut.clk)
        accepted += int(dut.i__ready.value)
    assert accepted == parameters()["depth"], f"{accepted} bytes fit"


@pytest.mark.parametrize("depth", [4, 16])
def test_a_good_block_passes(depth):
    assert run_cocotb(Queue(depth), "queue", __name__, parameters={"depth": depth}) == 2


def test_a_failing_cocotb_test_fails_with_its_message():
    with pytest.raises(pytest.fail.Exception, match=r"holds_its_depth: .*4 bytes fit"):
        run_cocotb(Queue(4), "queue", __name__, parameters={"depth": 5})


def test_no_cocotb_test_is_a_failure():
    with pytest.raises(pytest.fail.Exception, match="no cocotb test ran"):
        run_cocotb(Queue(4), "queue", "tests.sim.test_verilog")


def test_a_wrong_test_name_is_a_failure():
    with pytest.raises(pytest.fail.Exception, match="no cocotb test ran"):
        run_cocotb(Queue(4), "queue", __name__, testcase="misspelt")


def test_one_test_can_be_chosen():
    assert run_cocotb(Queue(4), "queue", __name__, testcase="keeps_order_under_stalls", seed=7) == 1


def test_an_ambiguous_module_name_is_refused():
    with pytest.raises(ValueError, match=r"test_module must name one file under tests, not 'nothing_here' \(0 found\)"):
        run_cocotb(Queue(4), "queue", "nothing_here")
