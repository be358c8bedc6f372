"""Framing alone, against the host's own decoder and encoder, on lines full of damage."""

import random

import cocotb
from amaranth.lib import data
from cocotb.triggers import RisingEdge
from lepton.arch.serial import ESCAPE, FLAG, MAX_FRAME
from lepton.serial.frames import Decoder, encode
from lepton_hdl.boards.frames import FrameReceiver, FrameSender

from tests.bench.checker import InOrder
from tests.bench.clock import start_clock, until
from tests.bench.layouts import encode as pack
from tests.bench.stalls import STALLS, stall
from tests.bench.stream import ReadyDriver, StreamDriver, StreamMonitor
from tests.cocotb_harness import run_cocotb

FRAMES = 60
_BYTE = data.StructLayout({"byte": 8, "last": 1})


def payload() -> bytes:
    """Bytes of which many need an escape; sometimes of the longest length, or too long."""
    size = random.choice([1, 2, 5, 9, 40, MAX_FRAME - 4, MAX_FRAME - 3] if random.random() < 0.1 else [1, 2, 5, 9, 40])
    return bytes(random.choice([FLAG, ESCAPE, FLAG ^ 0x20, random.randrange(256)]) for _ in range(size))


def line() -> bytes:
    """A frame, whole or damaged, or garbage."""
    frame = bytearray(encode(payload()))
    at = random.randrange(len(frame))
    match random.randrange(8):
        case 0:
            frame[at] ^= 1 << random.randrange(8)
        case 1:
            del frame[at]
        case 2:
            frame.insert(at, frame[at])
        case 3:
            frame[at:at] = bytes([ESCAPE, FLAG])  # abort
        case 4:
            frame = bytearray(random.randbytes(random.randrange(30)))
        case 5:
            frame[-1:] = b""  # the flag of the next frame ends it
    return bytes(frame)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(writer=STALLS)
async def receives(dut, writer):
    sent = b"".join(line() for _ in range(FRAMES)) + bytes([FLAG])
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


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(writer=STALLS, reader=STALLS)
async def sends(dut, writer, reader):
    frames = [payload() for _ in range(FRAMES // 4)]
    driver = StreamDriver(dut, "i", lambda item: pack(_BYTE, byte=item[0], last=item[1]), stall(writer))
    ReadyDriver(dut, "o", stall(reader))
    monitor = StreamMonitor(dut, "o", lambda bits: bits)
    await start_clock(dut)
    for frame in frames:
        driver.send(*((byte, at == len(frame) - 1) for at, byte in enumerate(frame)))
    expected = b"".join(map(encode, frames))
    await until(dut, lambda: len(monitor.items) >= len(expected), 400_000)
    assert bytes(monitor.items) == expected


def test_receiver():
    run_cocotb(FrameReceiver(), "frame_receiver", __name__, testcase="receives.*")


def test_sender():
    run_cocotb(FrameSender(), "frame_sender", __name__, testcase="sends.*")
