"""The serial line alone: rates that differ, glitches, breaks."""

import random
from itertools import pairwise

import cocotb
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.triggers import Timer
from lepton_hdl.boards.uart import UartReceiver, UartTransmitter, divisor

from tests.bench.clock import PERIOD_NS, cycles, start_clock, until
from tests.bench.stalls import STALLS, stall
from tests.bench.stream import StreamDriver, StreamMonitor
from tests.cocotb_harness import parameters, run_cocotb

BYTES = 100


class Line(wiring.Component):
    """A receiver and a transmitter."""

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"rx": In(1), "tx": Out(1), "i": In(stream.Signature(8)),
                          "o": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        connect(m, flipped(self.i), transmitter.i)
        connect(m, receiver.o, flipped(self.o))
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        return m


async def send(dut, byte: int, bit_ps: int, stop: int = 1):
    for level in (0, *(byte >> i & 1 for i in range(8)), stop):
        dut.rx.value = level
        await Timer(bit_ps, "ps")
    dut.rx.value = 1


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(error=[-0.02, 0.0, 0.02])
async def receives(dut, error):
    monitor = StreamMonitor(dut, "o", lambda bits: bits)
    await start_clock(dut, rx=1)
    await cycles(dut, 5)
    sent = random.randbytes(BYTES)
    bit_ps = round(parameters()["divisor"] * PERIOD_NS * 1000 * (1 + error))
    for byte in sent:
        await send(dut, byte, bit_ps)
        await Timer(random.choice([0, random.randrange(1, 20 * PERIOD_NS * 1000)]) or 1, "ps")
    await cycles(dut, 2 * parameters()["divisor"])
    assert bytes(monitor.items) == sent


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def ignores_glitches_and_breaks(dut):
    """A level that ends before the middle of a start bit is no byte, nor is one without a stop bit."""
    monitor = StreamMonitor(dut, "o", lambda bits: bits)
    await start_clock(dut, rx=1)
    bit = parameters()["divisor"]
    for _ in range(10):
        dut.rx.value = 0
        await cycles(dut, random.randrange(1, bit // 2 - 1))
        dut.rx.value = 1
        await cycles(dut, 3 * bit)
        dut.rx.value = 0
        await cycles(dut, random.randrange(11 * bit, 40 * bit))
        dut.rx.value = 1
        await cycles(dut, 2 * bit)
        await send(dut, 0xA5, bit * PERIOD_NS * 1000)
        await cycles(dut, 2 * bit)
    assert bytes(monitor.items) == b"\xa5" * 10


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(writer=STALLS)
async def sends(dut, writer):
    """What is sent is received by the block's own receiver; bytes that follow each other take ten bits each."""
    cocotb.start_soon(_loop(dut))
    driver = StreamDriver(dut, "i", lambda byte: byte, stall(writer))
    monitor = StreamMonitor(dut, "o", lambda bits: bits)
    await start_clock(dut, rx=1)
    sent = random.randbytes(BYTES)
    driver.send(*sent)
    await until(dut, lambda: len(monitor.items) == BYTES, 30 * BYTES * parameters()["divisor"])
    assert bytes(monitor.items) == sent
    if writer == "none":
        steps = [after - before for before, after in pairwise(monitor.times)]
        assert all(abs(step - 10 * parameters()["divisor"]) <= 2 for step in steps), steps


async def _loop(dut):
    while True:
        await Timer(PERIOD_NS, "ns")
        dut.rx.value = int(dut.tx.value) if dut.tx.value.is_resolvable else 1


@pytest.mark.parametrize("cycles_a_bit", [8, 20])
def test_uart(cycles_a_bit):
    run_cocotb(Line(cycles_a_bit), f"uart{cycles_a_bit}", __name__, parameters={"divisor": cycles_a_bit})


def test_rates_that_a_clock_cannot_make():
    assert divisor(60e6, 3e6) == 20
    with pytest.raises(ValueError, match="3000000 baud needs a clock of at least 24 MHz, not 20 MHz"):
        divisor(20e6, 3e6)
    with pytest.raises(ValueError, match=r"a clock of 25 MHz gives 3125000 baud, 4.2 % off 3000000"):
        divisor(25e6, 3e6)
