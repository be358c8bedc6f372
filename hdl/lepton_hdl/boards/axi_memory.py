"""The chip's AXI4 port as two managers of the board's memory, one for reads and one for writes."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..axi import Resp
from ..dma.queue import Queue
from .requests import ADDRESS_BITS, MemorySignature

_BURSTS = 4  # addresses taken ahead
_BEATS = 8  # read beats on their way to the chip


class _AddressChannel(wiring.Component):
    """An AXI4 address channel (subordinate) as a stream of the beats of its bursts.

    `beats`: the beat's word in memory, whether it is the burst's last one, and whether the burst is `outside`, which it
    is if any of its beats is beyond `words`.
    """

    def __init__(self, data_bytes: int, words: int):
        self.data_bytes = data_bytes
        self.words = words
        super().__init__({
            "address": In(64), "length": In(8), "valid": In(1), "ready": Out(1),
            "beats": Out(stream.Signature(data.StructLayout({"word": ADDRESS_BITS, "last": 1, "outside": 1}))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bursts = bursts = Queue(
            data.StructLayout({"word": ADDRESS_BITS, "length": 8, "outside": 1}), _BURSTS)
        first = self.address // self.data_bytes
        m.d.comb += [
            bursts.i.valid.eq(self.valid), self.ready.eq(bursts.i.ready),
            bursts.i.payload.word.eq(first), bursts.i.payload.length.eq(self.length),
            bursts.i.payload.outside.eq(first + self.length >= self.words),
        ]
        done = Signal(8)  # beats of the burst
        burst = bursts.o.payload
        beat = self.beats.payload
        m.d.comb += [
            self.beats.valid.eq(bursts.o.valid),
            beat.word.eq(burst.word + done), beat.last.eq(done == burst.length), beat.outside.eq(burst.outside),
            bursts.o.ready.eq(self.beats.ready & beat.last),
        ]
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += done.eq(Mux(beat.last, 0, done + 1))
        return m


class AxiReader(wiring.Component):
    """AXI4's read channels (subordinate). A burst beyond `words` is answered with DECERR.

    `forget`: all transactions are forgotten; what memory still answers to them is dropped.
    """

    def __init__(self, data_bytes: int, words: int):
        self.data_bytes = data_bytes
        self.words = words
        super().__init__({
            "araddr": In(64), "arlen": In(8), "arvalid": In(1), "arready": Out(1),
            "rdata": Out(8 * data_bytes), "rresp": Out(2), "rlast": Out(1), "rvalid": Out(1), "rready": In(1),
            "forget": In(1),
            "memory": Out(MemorySignature(data_bytes)),
        })

    def elaborate(self, platform):
        m = Module()
        renew = ResetInserter(self.forget)
        addresses = _AddressChannel(self.data_bytes, self.words)
        beats = Queue(data.StructLayout({"last": 1, "outside": 1}), _BEATS)
        words = Queue(8 * self.data_bytes, _BEATS)
        m.submodules.addresses = renew(addresses)
        m.submodules.beats = renew(beats)
        m.submodules.words = renew(words)

        # A request a beat; its place among the answers is taken at once, so that they never overflow.
        beat = addresses.beats.payload
        request = self.memory.request
        step = Signal()
        m.d.comb += [
            addresses.address.eq(self.araddr), addresses.length.eq(self.arlen),
            addresses.valid.eq(self.arvalid), self.arready.eq(addresses.ready),
            request.valid.eq(addresses.beats.valid & ~beat.outside & beats.i.ready & ~self.forget),
            request.payload.address.eq(beat.word),
            step.eq(addresses.beats.valid & beats.i.ready & (beat.outside | request.ready)),
            beats.i.valid.eq(step),
            beats.i.payload.last.eq(beat.last), beats.i.payload.outside.eq(beat.outside),
            addresses.beats.ready.eq(step),
        ]

        asked = Signal()
        pending = Signal(range(_BEATS + 1))  # requests that memory has not answered
        stale = Signal(range(_BEATS + 1))  # of these, the forgotten ones
        answer = self.memory.read_data
        m.d.comb += [
            asked.eq(request.valid & request.ready),
            words.i.valid.eq(answer.valid & (stale == 0)), words.i.payload.eq(answer.payload),
        ]
        m.d.sync += pending.eq(pending + asked - answer.valid)
        with m.If(self.forget):
            m.d.sync += stale.eq(pending - answer.valid)
        with m.Elif(answer.valid & (stale != 0)):
            m.d.sync += stale.eq(stale - 1)

        beat = beats.o.payload
        given = Signal()
        m.d.comb += [
            self.rvalid.eq(beats.o.valid & (beat.outside | words.o.valid)),
            self.rdata.eq(words.o.payload), self.rlast.eq(beat.last),
            self.rresp.eq(beat.outside.replicate(2) & Resp.DECERR.value),
            given.eq(self.rvalid & self.rready),
            beats.o.ready.eq(given), words.o.ready.eq(given & ~beat.outside),
        ]
        return m


class AxiWriter(wiring.Component):
    """AXI4's write channels (subordinate). A burst beyond `words` changes nothing and is answered with DECERR.

    A burst is answered when its last request was accepted: every later read sees its bytes.
    `forget`: all transactions are forgotten; what was accepted before stays written.
    """

    def __init__(self, data_bytes: int, words: int):
        self.data_bytes = data_bytes
        self.words = words
        super().__init__({
            "awaddr": In(64), "awlen": In(8), "awvalid": In(1), "awready": Out(1),
            "wdata": In(8 * data_bytes), "wstrb": In(data_bytes), "wvalid": In(1), "wready": Out(1),
            "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
            "forget": In(1),
            "memory": Out(MemorySignature(data_bytes)),
        })

    def elaborate(self, platform):
        m = Module()
        renew = ResetInserter(self.forget)
        addresses = _AddressChannel(self.data_bytes, self.words)
        responses = Queue(1, _BURSTS)
        m.submodules.addresses = renew(addresses)
        m.submodules.responses = renew(responses)
        beat = addresses.beats.payload
        request = self.memory.request
        usable = Signal()
        step = Signal()
        m.d.comb += [
            addresses.address.eq(self.awaddr), addresses.length.eq(self.awlen),
            addresses.valid.eq(self.awvalid), self.awready.eq(addresses.ready),
            usable.eq(addresses.beats.valid & self.wvalid & responses.i.ready & ~self.forget),
            request.valid.eq(usable & ~beat.outside),
            request.payload.write.eq(1), request.payload.address.eq(beat.word),
            request.payload.data.eq(self.wdata), request.payload.strobe.eq(self.wstrb),
            step.eq(usable & (beat.outside | request.ready)),
            addresses.beats.ready.eq(step), self.wready.eq(step),
            responses.i.valid.eq(step & beat.last), responses.i.payload.eq(beat.outside),
            self.bvalid.eq(responses.o.valid), responses.o.ready.eq(self.bready),
            self.bresp.eq(responses.o.payload.replicate(2) & Resp.DECERR.value),
        ]
        return m
