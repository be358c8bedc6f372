"""The copy engine between windows of a memory and the processor's memories."""

import random

from lepton.arch import PRESETS
from lepton.arch.controller import (
    CLIENTS,
    CODE_BYTES,
    DATA_BYTES,
    WINDOW_STRIDE,
)
from lepton_hdl.axi import Resp
from lepton_hdl.controller.copy import WINDOWS_AT
from lepton_hdl.interfaces import SEGMENT, WRITE_RESPONSE, read_beat_layout, write_beat_layout

from tests.bench.layouts import encode
from tests.bench.pins import Pins

CONFIG = PRESETS["tiny"]
BUS = CONFIG.bus_bytes
MEMORY = 1 << 14
TIMEOUT_BITS = 11  # in this test; see `test_copy`
WINDOWS = [(0x1_0000_0000 * i + 0x100 + 4 * i, 0x600 + 4 * i) for i in range(CLIENTS + 1)]  # base, size


class Bench:
    """Windows, memory and the processor's memories, a cycle at a time."""

    def __init__(self, dut, stall):
        self.pins, self.stall = Pins(dut), stall
        self.memory = [bytearray(random.randbytes(MEMORY)) for _ in WINDOWS]  # by the upper half of the address
        self.code, self.data = bytearray(CODE_BYTES), bytearray(random.randbytes(DATA_BYTES))
        self.resp, self.hang = Resp.OKAY, False
        self.beats, self.writing, self.answer = [], None, None
        self.touched = 0  # segments seen
        self.stored = None

    async def start(self):
        await self.pins.start(
            start=0, mode=0, window=0, offset=0, local=0, length=0, locked=0, crc_write=0, crc_data=0,
            registers__done=0, registers__error=0, registers__read_data=0, data=0, read__segment__ready=0,
            read__beat__valid=0, read__beat__payload=0, write__segment__ready=0, write__beat__ready=0,
            write__response__valid=0, write__response__payload=0)

    def go(self):
        return random.random() >= self.stall

    async def cycle(self, **inputs):
        """One cycle of everything around the engine."""
        pins = self.pins
        pins.set(**inputs)
        beat = self.beats[0] if self.beats and self.go() else None
        take_read, take_write, take_beat = self.go() and not self.beats, self.go(), self.go()
        answer = self.answer is not None and self.go() and not self.hang
        stored, self.stored = self.stored, None
        pins.set(read__segment__ready=take_read, write__segment__ready=take_write, write__beat__ready=take_beat,
                 read__beat__valid=beat is not None, registers__done=stored is not None,
                 registers__read_data=stored or 0, write__response__valid=answer)
        if beat is not None:
            pins.set(read__beat__payload=beat)
        if answer:
            pins.set(write__response__payload=encode(WRITE_RESPONSE, resp=self.answer))
            self.answer = None
        await pins.settle()
        if beat is not None and pins.get("read__beat__ready"):
            self.beats.pop(0)
        if pins.get("read__segment__valid") and take_read:
            self.read(SEGMENT.from_bits(pins.get("read__segment__payload")))
        if pins.get("write__segment__valid") and take_write:
            segment = SEGMENT.from_bits(pins.get("write__segment__payload"))
            self.touched += 1
            self.writing = [segment.address, segment.length]
        if pins.get("write__beat__valid") and take_beat:
            self.write(write_beat_layout(BUS).from_bits(pins.get("write__beat__payload")))
        if pins.get("registers__valid") and stored is None:
            window, word = divmod(pins.get("registers__address") - WINDOWS_AT, WINDOW_STRIDE // 4)
            base, size = WINDOWS[window] if window < len(WINDOWS) else (0, 0xFFFF_FFFF)
            self.stored = (base & 0xFFFF_FFFF, base >> 32, size)[word]
        address = 4 * pins.get("address")
        value = pins.get("write_data").to_bytes(4, "little")
        if pins.get("write_code"):
            self.code[address:address + 4] = value
        if pins.get("write_memory"):
            self.data[address:address + 4] = value
        data = self.data[address:address + 4] if pins.get("read_enable") else None
        await pins.tick()
        if data is not None:
            pins.set(data=int.from_bytes(data, "little"))

    def read(self, segment):
        self.touched += 1
        if self.hang:
            return
        block, at = self.memory[segment.address >> 32], segment.address & 0xFFFF_FFFF
        first, end = at - at % BUS, at + segment.length
        places = range(first, end, BUS)
        for place in places:
            self.beats.append(encode(read_beat_layout(BUS), data=int.from_bytes(block[place:place + BUS], "little"),
                                     last=place == places[-1], resp=self.resp.value, address=place))

    def write(self, beat):
        address, left = self.writing
        block, at = self.memory[address >> 32], address & 0xFFFF_FFFF
        first = at - at % BUS
        lanes = range(at - first, min(BUS, at - first + left))
        assert beat.strobe == sum(1 << i for i in lanes), "other bytes than those of the copy are written"
        for i in lanes:
            block[first + i] = beat.data >> 8 * i & 0xFF
        left -= len(lanes)
        self.writing = [(address - at) + first + BUS, left]
        if not left:
            self.answer = self.resp.value

    async def copy(self, mode, window, offset, local, length, locked=0, limit=20_000):
        """(bounds, failed) of one copy."""
        await self.cycle(start=1, mode=mode, window=window, offset=offset, local=local, length=length, locked=locked)
        await self.cycle(start=0)
        for _ in range(limit):
            if not self.pins.get("busy"):
                assert not self.beats, "beats were left over"
                return bool(self.pins.get("bounds")), bool(self.pins.get("failed"))
            await self.cycle()
        raise AssertionError("the copy does not end")

    async def set_crc(self, state=0xFFFF_FFFF):
        await self.cycle(crc_write=1, crc_data=state)
        await self.cycle(crc_write=0)

    def crc(self):
        return self.pins.get("crc") ^ 0xFFFF_FFFF

    def everything(self):
        return [bytes(part) for part in (*self.memory, self.code, self.data)]


def inside(window, offset, length):
    """Bytes of a window in its memory."""
    at = (WINDOWS[window][0] & 0xFFFF_FFFF) + offset
    return slice(at, at + length)
