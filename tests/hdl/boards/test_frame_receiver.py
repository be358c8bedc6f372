"""The receiver of frames alone, against the host's decoder, on lines full of damage."""

import cocotb
from cocotb.triggers import RisingEdge
from lepton.arch.serial import FLAG, MAX_FRAME
from lepton.serial.frames import Decoder
from lepton_hdl.boards.frames import FrameReceiver

from tests.bench.checker import InOrder
from tests.bench.clock import start_clock
from tests.bench.stalls import STALLS, stall
from tests.bench.stream import StreamDriver
from tests.cocotb_harness import run_cocotb
from tests.hdl.boards.lines import line

LINES = 60


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(writer=STALLS)
async def receives(dut, writer):
    sent = b"".join(line() for _ in range(LINES)) + bytes([FLAG])
    whole = [frame for frame in Decoder().feed(sent) if len(frame) + 4 <= MAX_FRAME]
    checker = InOrder("frame", whole)
    driver = StreamDriver(dut, "i", lambda byte: byte, stall(writer))
    await start_clock(dut, done=0, address=0)
    driver.send(*sent)
    while not (driver.idle and not dut.valid.value):
        await RisingEdge(dut.clk)
        if not dut.valid.value or dut.done.value:
            dut.done.value = 0
            continue
        frame = bytearray()
        for at in range(int(dut.length.value)):
            dut.address.value = at
            await RisingEdge(dut.clk)
            await RisingEdge(dut.clk)
            frame.append(int(dut.data.value))
        checker.receive(bytes(frame))
        dut.done.value = 1
    checker.finish()


def test_receiver():
    run_cocotb(FrameReceiver(), "frame_receiver", __name__)
