"""The sender of frames alone, against the host's encoder."""

import cocotb
from amaranth.lib import data
from lepton.serial.frames import encode
from lepton_hdl.boards.frames import FrameSender

from tests.bench.clock import start_clock, until
from tests.bench.layouts import encode as pack
from tests.bench.stalls import STALLS, stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor
from tests.cocotb_harness import run_cocotb
from tests.hdl.boards.lines import payload

FRAMES = 15
_BYTE = data.StructLayout({"byte": 8, "last": 1})


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(writer=STALLS, reader=STALLS)
async def sends(dut, writer, reader):
    frames = [payload() for _ in range(FRAMES)]
    driver = StreamDriver(dut, "i", lambda item: pack(_BYTE, byte=item[0], last=item[1]), stall(writer))
    ReadyDriver(dut, "o", stall(reader))
    monitor = StreamMonitor(dut, "o", lambda bits: bits)
    await start_clock(dut)
    for frame in frames:
        driver.send(*((byte, at == len(frame) - 1) for at, byte in enumerate(frame)))
    expected = b"".join(map(encode, frames))
    await until(dut, lambda: len(monitor.items) >= len(expected), 400_000)
    assert bytes(monitor.items) == expected


def test_sender():
    run_cocotb(FrameSender(), "frame_sender", __name__)
