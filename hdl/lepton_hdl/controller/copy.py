"""The controller's only way to memory: copies between a window and the processor's memories."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import ChipConfig
from lepton.arch.controller import (
    CODE_BASE,
    CODE_BYTES,
    CONTROLLER_WINDOW,
    DATA_BASE,
    DATA_BYTES,
    STORED_BASE,
    WINDOW_BASE,
    WINDOW_STRIDE,
    CopyMode,
)

from ..interfaces import ReadClientSignature, WriteClientSignature
from .bus import BusSignature
from .crc import crc32_word
from .stored import WORD_BITS

LOCAL_BITS = exact_log2(CODE_BYTES // 4)  # of a word address in the larger memory
WINDOWS_AT = (WINDOW_BASE - STORED_BASE) // 4  # first window's word in the stored registers
TIMEOUT_BITS = 20  # 2**20 cycles, about 1 ms at 1 GHz: more than any memory takes that still works


class CopyEngine(wiring.Component):
    """`start` begins a copy of `length` bytes between `offset` of `window` and the local address `local`,
    all multiples of 4. Nothing is read or written when it would leave the window or the local memory, or
    write code memory while `locked`: then `bounds` is high. `failed`: memory answered an error or not at all.
    Both hold until the next start, `busy` until the copy has ended; a write has then been answered by memory.

    `crc` is the state after every word read, in every mode but WRITE; `crc_write` replaces it.
    `stuck`: memory has not answered for 2**20 cycles; the copy has `failed`, and the next one starts only after the
    memory ports and this engine have been reset.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "start": In(1), "mode": In(CopyMode), "window": In(4), "offset": In(32), "local": In(32), "length": In(32),
            "locked": In(1),
            "busy": Out(1), "bounds": Out(1), "failed": Out(1), "stuck": Out(1),
            "crc": Out(32, init=0xFFFF_FFFF), "crc_write": In(1), "crc_data": In(32),
            "registers": Out(BusSignature(WORD_BITS)),
            "read": Out(ReadClientSignature(config.bus_bytes)),
            "write": Out(WriteClientSignature(config.bus_bytes)),
            "address": Out(LOCAL_BITS), "data": In(32), "read_enable": Out(1),
            "write_data": Out(32), "write_code": Out(1), "write_memory": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        registers = self.registers
        lanes = self.config.bus_bytes // 4
        lane_bits = exact_log2(lanes)
        base = Signal(64)
        step = Signal(range(3))
        code = Signal()
        last_byte = Signal(33)
        left = Signal(30)
        lane = Signal(max(lane_bits, 1))
        mode = Signal(CopyMode)
        waited = Signal(TIMEOUT_BITS + 1)
        segment = Signal(64)
        m.d.comb += [
            segment.eq(base + self.offset),
            last_byte.eq(self.offset + self.length),
            registers.address.eq(WINDOWS_AT + self.window * (WINDOW_STRIDE // 4) + step),
        ]
        for port in (self.read, self.write):
            m.d.comb += [port.segment.p.address.eq(segment), port.segment.p.length.eq(self.length)]

        in_data, in_code = self._find_local(m, mode)
        word = Signal(32)
        take = Signal()
        full = Signal()
        taking = Signal()
        last = Signal()
        bad = Signal()
        beat = Signal(8 * self.config.bus_bytes)
        segment_taken = Signal()
        beat_taken = Signal()
        answered = Signal()
        self._register_ports(m, taking, full, beat, last, bad, segment_taken, beat_taken, answered)
        m.d.comb += [
            self.read.beat.ready.eq(taking & ~full),
            word.eq(beat.word_select(lane, 32)),
            self.write_data.eq(word),
            # What comes after the copy was given up must not reach a memory that may hold something else by then.
            self.write_code.eq(take & code & (mode == CopyMode.READ) & ~self.stuck),
            self.write_memory.eq(take & ~code & (mode == CopyMode.READ) & ~self.stuck),
        ]
        with m.If(take):
            m.d.sync += self.crc.eq(crc32_word(self.crc, word))
        with m.If(self.crc_write):
            m.d.sync += self.crc.eq(self.crc_data)

        out = Signal(8 * self.config.bus_bytes)
        strobe = Signal(self.config.bus_bytes)
        m.d.comb += [self.write.beat.p.data.eq(out), self.write.beat.p.strobe.eq(strobe)]
        with m.If(self.busy):
            m.d.sync += waited.eq(waited + 1)

        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [self.busy.eq(1), self.bounds.eq(0), self.failed.eq(0), mode.eq(self.mode),
                             step.eq(0), waited.eq(0), strobe.eq(0)]
                m.next = "WINDOW"
            with m.State("WINDOW"):
                m.d.comb += registers.valid.eq(1)
                with m.If(registers.done):
                    m.d.sync += step.eq(step + 1)
                    with m.Switch(step):
                        with m.Case(0):
                            m.d.sync += base[:32].eq(registers.read_data)
                        with m.Case(1):
                            m.d.sync += base[32:].eq(registers.read_data)
                        with m.Default():
                            m.d.sync += [left.eq(self.length[2:]), lane.eq(segment[2:] if lanes > 1 else 0),
                                         code.eq(in_code), self.address.eq(self.local[2:])]
                            m.next = "SEGMENT"
                            with m.If((last_byte > registers.read_data) | (self.window > CONTROLLER_WINDOW)
                                      | (self.length == 0) | ((self.length | self.offset | self.local)[:2] != 0)
                                      | ~(in_data | in_code | (mode == CopyMode.CHECK))):
                                m.d.sync += self.bounds.eq(1)
                                m.next = "END"
            with m.State("SEGMENT"):
                with m.If(mode == CopyMode.WRITE):
                    m.d.comb += [self.write.segment.valid.eq(~segment_taken), self.read_enable.eq(1)]
                    with m.If(segment_taken):
                        m.d.sync += self.address.eq(self.address + 1)
                        m.next = "GATHER"
                with m.Else():
                    m.d.comb += self.read.segment.valid.eq(~segment_taken)
                    with m.If(segment_taken):
                        m.next = "READ"
            self._add_read(m, taking, take, full, left, lane, bad, last)
            self._add_write(m, left, lane, out, strobe, beat_taken)
            with m.State("ANSWER"), m.If(answered):
                m.d.sync += self.failed.eq(bad)
                m.next = "END"
            with m.State("END"):
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"
        m.d.comb += self.stuck.eq(waited[TIMEOUT_BITS])
        with m.If(self.stuck):
            m.d.sync += [self.failed.eq(1), self.busy.eq(0), waited.eq(waited)]
        return m

    def _find_local(self, m, mode):
        """Whether the local addresses are in data memory, and whether in code memory that may be written."""
        in_data = Signal()
        in_code = Signal()
        local_end = Signal(33)
        m.d.comb += [
            local_end.eq(self.local[:28] + self.length),
            in_data.eq((self.local[28:] == DATA_BASE >> 28) & (local_end <= DATA_BYTES)),
            in_code.eq((self.local[28:] == CODE_BASE >> 28) & (local_end <= CODE_BYTES) & ~self.locked
                       & (mode == CopyMode.READ)),
        ]
        return in_data, in_code

    def _register_ports(self, m, taking, full, beat, last, bad, segment_taken, beat_taken, answered):
        """What comes from the memory ports passes through registers, so that nothing behind them changes while this
        block's clock stands still.
        """
        with m.If(~full):
            m.d.sync += [beat.eq(self.read.beat.p.data), last.eq(self.read.beat.p.last),
                         bad.eq(self.read.beat.p.resp[1])]
            m.d.sync += full.eq(self.read.beat.valid & taking)
        m.d.sync += [
            segment_taken.eq((self.read.segment.valid & self.read.segment.ready)
                             | (self.write.segment.valid & self.write.segment.ready)),
            beat_taken.eq(self.write.beat.valid & self.write.beat.ready),
            answered.eq(self.write.response.valid),
        ]
        with m.If(self.write.response.valid):
            m.d.sync += bad.eq(self.write.response.p.resp[1])

    def _step_lane(self, lane):
        """Whether `lane` is the last word of a beat, and the one after it."""
        lanes = self.config.bus_bytes // 4
        return lane == lanes - 1, lane + 1 if lanes > 1 else 0

    def _add_read(self, m, taking, take, full, left, lane, bad, last):
        """The state in which beats come from memory and their words go to the local memory."""
        last_lane, next_lane = self._step_lane(lane)
        with m.State("READ"):
            m.d.comb += [taking.eq(1), take.eq(full & (left != 0))]
            with m.If(full):
                m.d.sync += lane.eq(next_lane)
                with m.If(left != 0):
                    m.d.sync += [left.eq(left - 1), self.address.eq(self.address + 1)]
                with m.If(bad):
                    m.d.sync += self.failed.eq(1)
                with m.If(last_lane | (left <= 1)):
                    m.d.sync += full.eq(0)
                    with m.If(last):
                        m.next = "END"

    def _add_write(self, m, left, lane, out, strobe, beat_taken):
        """The states in which words of the local memory are gathered to beats and sent."""
        lanes = self.config.bus_bytes // 4
        last_lane, next_lane = self._step_lane(lane)
        with m.State("GATHER"):  # `data` is the word that was asked for a cycle ago
            with m.Switch(lane):
                for i in range(lanes):
                    with m.Case(i):
                        m.d.sync += [out[32 * i:32 * i + 32].eq(self.data), strobe[4 * i:4 * i + 4].eq(15)]
            m.d.sync += [left.eq(left - 1), lane.eq(next_lane)]
            m.d.comb += self.read_enable.eq(1)
            with m.If(last_lane | (left == 1)):
                m.next = "SEND"
            with m.Else():
                m.d.sync += self.address.eq(self.address + 1)
        with m.State("SEND"):
            m.d.comb += self.write.beat.valid.eq(~beat_taken)
            with m.If(beat_taken):
                m.d.sync += strobe.eq(0)
                m.next = "ANSWER"
                with m.If(left != 0):
                    m.d.sync += self.address.eq(self.address + 1)
                    m.next = "GATHER"
