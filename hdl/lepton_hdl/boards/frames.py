"""Frames on a byte stream: flags, escapes and CRC (`lepton.arch.serial`)."""

from amaranth.hdl import Module, Signal
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from lepton.arch.serial import CRC_BYTES, ESCAPE, FLAG, FLIP, MAX_FRAME

_CRC32 = crc.catalog.CRC32_ISO_HDLC(data_width=8)


class FrameReceiver(wiring.Component):
    """Keeps one frame with a right CRC until `done`.

    Members
    -------
    i: bytes of the line; stalled while a frame is kept.
    valid: a frame is kept. length: its bytes without the CRC.
    address, data: reads it; `data` follows `address` by a cycle.
    done: the frame may be overwritten.
    """

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(8)),
            "valid": Out(1), "length": Out(range(MAX_FRAME + 1)),
            "address": In(range(MAX_FRAME)), "data": Out(8),
            "done": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.frame = frame = Memory(shape=8, depth=MAX_FRAME, init=[])
        m.submodules.crc = check = _CRC32.create()
        write = frame.write_port()
        read = frame.read_port()
        m.d.comb += [read.addr.eq(self.address), self.data.eq(read.data)]

        escaped = Signal()
        count = Signal(range(MAX_FRAME + 2))  # bytes since the flag; one too many means too long
        byte = Signal(8)
        put = Signal()
        taken = Signal()
        is_flag = Signal()
        is_escape = Signal()
        flag = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.valid),
            taken.eq(self.i.valid & self.i.ready),
            is_flag.eq(self.i.payload == FLAG), is_escape.eq(self.i.payload == ESCAPE),
            flag.eq(taken & is_flag),
            byte.eq(self.i.payload ^ (escaped.replicate(8) & FLIP)),
            put.eq(taken & ~is_flag & (escaped | ~is_escape) & (count <= MAX_FRAME)),
            write.addr.eq(count), write.data.eq(byte), write.en.eq(put & (count < MAX_FRAME)),
            check.start.eq(flag), check.data.eq(byte), check.valid.eq(put),
        ]
        with m.If(taken):
            m.d.sync += escaped.eq(is_escape & ~escaped)
        with m.If(put):
            m.d.sync += count.eq(count + 1)
        with m.If(flag):
            m.d.sync += count.eq(0)
            # A flag right behind an ESCAPE aborts the frame (RFC 1662, section 4.3).
            with m.If((count > CRC_BYTES) & (count <= MAX_FRAME) & check.match_detected & ~escaped):
                m.d.sync += [self.valid.eq(1), self.length.eq(count - CRC_BYTES)]
        with m.If(self.done):
            m.d.sync += self.valid.eq(0)
        return m


class FrameSender(wiring.Component):
    """Bytes up to the one marked `last` become a frame."""

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"byte": 8, "last": 1}))),
            "o": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = check = _CRC32.create()
        remainder = Signal(32)
        left = Signal(range(CRC_BYTES + 1))
        escaped = Signal()  # the ESCAPE of the next byte has been sent
        byte = Signal(8)
        special = Signal()
        sent = Signal()  # `byte` is sent whole
        m.d.comb += [
            special.eq((byte == FLAG) | (byte == ESCAPE)),
            sent.eq(self.o.ready & (~special | escaped)),
        ]

        def send():
            """`byte`, after an ESCAPE where it needs one."""
            m.d.comb += self.o.valid.eq(1)
            with m.If(special & ~escaped):
                m.d.comb += self.o.payload.eq(ESCAPE)
            with m.Else():
                m.d.comb += self.o.payload.eq(byte ^ (special.replicate(8) & FLIP))
            with m.If(self.o.ready):
                m.d.sync += escaped.eq(special & ~escaped)

        with m.FSM(name="sender"):
            with m.State("FLAG"):
                m.d.comb += [self.o.valid.eq(self.i.valid), self.o.payload.eq(FLAG), check.start.eq(1)]
                with m.If(self.o.valid & self.o.ready):
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += byte.eq(self.i.payload.byte)
                with m.If(self.i.valid):
                    send()
                    m.d.comb += [self.i.ready.eq(sent), check.valid.eq(sent), check.data.eq(byte)]
                    with m.If(sent & self.i.payload.last):
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.sync += [remainder.eq(check.crc), left.eq(CRC_BYTES - 1)]
                m.next = "CRC_BYTE"
            with m.State("CRC_BYTE"):
                m.d.comb += byte.eq(remainder[:8])
                send()
                with m.If(sent):
                    m.d.sync += [remainder.eq(remainder >> 8), left.eq(left - 1)]
                    with m.If(left == 0):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(FLAG)]
                with m.If(self.o.ready):
                    m.next = "FLAG"
        return m
