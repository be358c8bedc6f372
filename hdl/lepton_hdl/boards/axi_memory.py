"""The chip's AXI4 port as two managers of the board's memory, one for reads and one for writes."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..axi import Resp
from ..dma.queue import Queue
from .requests import ADDRESS_BITS, MemorySignature

_BURSTS = 4  # addresses taken ahead
_BEATS = 8  # read beats on their way to the chip

_BURST = data.StructLayout({"word": ADDRESS_BITS, "last": 8, "outside": 1})


def _burst(m, address, length, data_bytes: int, words: int):
    """An address channel's burst. It is `outside` if any of its beats is not in memory."""
    burst = Signal(_BURST)
    first = address // data_bytes
    m.d.comb += [burst.word.eq(first), burst.last.eq(length), burst.outside.eq(first + length >= words)]
    return burst


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
        bursts = Queue(_BURST, _BURSTS)
        beats = Queue(data.StructLayout({"last": 1, "outside": 1}), _BEATS)
        words = Queue(8 * self.data_bytes, _BEATS)
        m.submodules.bursts, m.submodules.beats, m.submodules.words = renew(bursts), renew(beats), renew(words)
        m.d.comb += [
            bursts.i.valid.eq(self.arvalid), self.arready.eq(bursts.i.ready),
            bursts.i.payload.eq(_burst(m, self.araddr, self.arlen, self.data_bytes, self.words)),
        ]

        # A request a beat; its place among the answers is taken at once, so that they never overflow.
        done = Signal(8)  # beats of the burst
        step = Signal()
        burst = bursts.o.payload
        request = self.memory.request
        m.d.comb += [
            request.valid.eq(bursts.o.valid & ~burst.outside & beats.i.ready & ~self.forget),
            request.payload.address.eq(burst.word + done),
            step.eq(bursts.o.valid & beats.i.ready & (burst.outside | request.ready)),
            beats.i.valid.eq(step),
            beats.i.payload.last.eq(done == burst.last), beats.i.payload.outside.eq(burst.outside),
            bursts.o.ready.eq(step & (done == burst.last)),
        ]
        with m.If(step):
            m.d.sync += done.eq(done + 1)
        with m.If(self.forget | (bursts.o.valid & bursts.o.ready)):
            m.d.sync += done.eq(0)

        asked = Signal()
        pending, stale = Signal(range(_BEATS + 1)), Signal(range(_BEATS + 1))  # asked of memory; of these, forgotten
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
        bursts = Queue(_BURST, _BURSTS)
        responses = Queue(1, _BURSTS)
        m.submodules.bursts, m.submodules.responses = renew(bursts), renew(responses)
        burst = bursts.o.payload
        request = self.memory.request
        done = Signal(8)
        usable = Signal()
        step = Signal()
        last = Signal()
        m.d.comb += [
            bursts.i.valid.eq(self.awvalid), self.awready.eq(bursts.i.ready),
            bursts.i.payload.eq(_burst(m, self.awaddr, self.awlen, self.data_bytes, self.words)),
            usable.eq(bursts.o.valid & self.wvalid & responses.i.ready & ~self.forget),
            request.valid.eq(usable & ~burst.outside),
            request.payload.write.eq(1), request.payload.address.eq(burst.word + done),
            request.payload.data.eq(self.wdata), request.payload.strobe.eq(self.wstrb),
            step.eq(usable & (burst.outside | request.ready)),
            self.wready.eq(step),
            last.eq(step & (done == burst.last)),
            bursts.o.ready.eq(last),
            responses.i.valid.eq(last), responses.i.payload.eq(burst.outside),
            self.bvalid.eq(responses.o.valid), responses.o.ready.eq(self.bready),
            self.bresp.eq(responses.o.payload.replicate(2) & Resp.DECERR.value),
        ]
        with m.If(self.forget | last):
            m.d.sync += done.eq(0)
        with m.Elif(step):
            m.d.sync += done.eq(done + 1)
        return m
