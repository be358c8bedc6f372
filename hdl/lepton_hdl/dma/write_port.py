"""The AXI4 write manager: a burst starts only when all of its data is here."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import ChipConfig

from ..axi import Axi4Signature, Burst, Resp
from ..interfaces import SEGMENT, WriteClientSignature
from .queue import Queue
from .watchdog import Watchdog

# Bursts end at multiples of this many beats: at most 4 KiB on the widest bus, so they cross no 4 KiB
# boundary, and long enough that 16 outstanding ones hide 1 000 cycles of latency.
MAX_BEATS = 64
BUFFER_BEATS = 2 * MAX_BEATS  # one burst leaves while the next one gathers
SEGMENTS_AHEAD = 4  # short segments wait here for their data, which comes a few cycles later


class WriteSignature(wiring.Signature):
    """The AW, W and B channels of `Axi4Signature`."""

    def __init__(self, data_bytes: int):
        members = Axi4Signature(data_bytes).members
        super().__init__({name: member for name, member in members.items() if name.startswith(("aw", "w", "b"))})


class WritePort(wiring.Component):
    """Writes the segments of one client, one beat a cycle, with `config.outstanding` bursts in flight.

    AW is issued once all beats of its burst are buffered, so that a burst on the bus never waits for
    the client. W may reach memory before or after its AW. One response per segment, with
    the worst BRESP and the address of the first burst that failed: the segment's own for
    its first burst.

    `busy`: a segment is not answered. `timed_out`: no handshake on AW, W or B for `timeout` cycles with a burst
    outstanding. `broken`: a response came that no burst waits for, or before the burst's address and all
    of its data were accepted; it is dropped, and later segments are answered with SLVERR. `restart`: as for `ReadPort`.
    `failed_address` is that of the oldest burst without an answer. `beat_transferred` pulses for every beat.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "client": In(WriteClientSignature(config.bus_bytes)),
            "bus": Out(WriteSignature(config.bus_bytes)),
            "timeout": In(32),
            "restart": In(1),
            "timed_out": Out(1),
            "broken": Out(1),
            "failed_address": Out(64),
            "busy": Out(1),
            "beat_transferred": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        beat_bytes = self.config.bus_bytes
        outstanding = max(2, self.config.outstanding)
        bus = self.bus
        client = self.client
        m.submodules.segments = segments = Queue(SEGMENT, SEGMENTS_AHEAD)
        m.submodules.beats = beats = SyncFIFOBuffered(width=9 * beat_bytes, depth=BUFFER_BEATS)
        m.submodules.lengths = lengths = Queue(range(MAX_BEATS), outstanding)
        m.submodules.order = order = Queue(data.StructLayout({"final": 1, "address": 64}), outstanding)
        m.submodules.watchdog = watchdog = Watchdog()
        wiring.connect(m, client=wiring.flipped(client.segment), queue=segments.i)
        buffered = Signal()
        m.d.comb += [
            beats.w_data.eq(client.beat.p),
            beats.w_en.eq(client.beat.valid),
            client.beat.ready.eq(beats.w_rdy),
            buffered.eq(client.beat.valid & client.beat.ready),
        ]

        waiting = self._issue_bursts(m, segments, lengths, order, buffered)
        sent = self._send_beats(m, beats, lengths)
        answered, violation = self._take_responses(m, lengths, order, watchdog.broken)

        m.d.comb += [
            self.busy.eq(segments.o.valid | waiting | order.o.valid),
            watchdog.limit.eq(self.timeout),
            watchdog.waiting.eq(order.o.valid),
            watchdog.progress.eq((bus.awvalid & bus.awready) | sent | answered),
            watchdog.violation.eq(violation),
            watchdog.restart.eq(self.restart),
            watchdog.address.eq(order.o.p.address),
            self.timed_out.eq(watchdog.expired),
            self.broken.eq(watchdog.broken),
            self.failed_address.eq(watchdog.failed_address),
        ]
        return m

    def _issue_bursts(self, m, segments, lengths, order, buffered):
        """Segments become bursts on AW, each when its beats are here (`buffered`: one comes). High while a segment has
        beats that no burst has claimed.
        """
        bus = self.bus
        beat_bytes = self.config.bus_bytes
        shift = exact_log2(beat_bytes)
        waiting = Signal()
        address = Signal(64)
        left = Signal(33 - shift)
        room = Signal(range(MAX_BEATS + 1))
        burst = Signal(range(MAX_BEATS + 1))
        final = Signal()
        issue = Signal()
        available = Signal(range(BUFFER_BEATS + 2))  # beats in the buffer that no burst has claimed
        m.d.comb += [
            room.eq(MAX_BEATS - address[shift:shift + exact_log2(MAX_BEATS)]),
            final.eq(left <= room),
            burst.eq(Mux(final, left, room)),
            issue.eq(waiting & (~bus.awvalid | bus.awready) & (available >= burst)
                     & (order.level < self.config.outstanding)),
            lengths.i.valid.eq(issue),
            lengths.i.p.eq(burst - 1),
            order.i.valid.eq(issue),
            order.i.p.final.eq(final),
            order.i.p.address.eq(address),
            segments.o.ready.eq(~waiting | (issue & final)),
            bus.awid.eq(0),
            bus.awsize.eq(shift),
            bus.awburst.eq(Burst.INCR),
        ]
        with m.If(bus.awready):
            m.d.sync += bus.awvalid.eq(0)
        with m.If(issue):
            m.d.sync += [
                bus.awvalid.eq(1),
                bus.awaddr.eq(Cat(Const(0, shift), address[shift:])),
                bus.awlen.eq(burst - 1),
                address.eq((address[shift:] + burst) << shift),
                left.eq(left - burst),
                waiting.eq(~final),
            ]
        segment = segments.o.p
        with m.If(segments.o.valid & segments.o.ready):
            m.d.sync += [
                waiting.eq(1),
                address.eq(segment.address),
                left.eq((segment.length + segment.address[:shift] + beat_bytes - 1) >> shift),
            ]
        with m.If(issue | buffered):
            m.d.sync += available.eq(available + buffered - Mux(issue, burst, 0))
        return waiting

    def _send_beats(self, m, beats, lengths):
        """W: the claimed beats in order. High when one is accepted."""
        bus = self.bus
        index = Signal(range(MAX_BEATS))
        sent = Signal()
        m.d.comb += [
            Cat(bus.wdata, bus.wstrb).eq(beats.r_data),
            bus.wvalid.eq(lengths.o.valid & beats.r_rdy),
            bus.wlast.eq(index == lengths.o.p),
            sent.eq(bus.wvalid & bus.wready),
            beats.r_en.eq(sent),
            lengths.o.ready.eq(sent & bus.wlast),
            self.beat_transferred.eq(sent),
        ]
        with m.If(sent):
            m.d.sync += index.eq(Mux(bus.wlast, 0, index + 1))
        return sent

    def _take_responses(self, m, lengths, order, broken):
        """B: bursts are answered in order, as they have one ID.

        High when a burst is answered, and when a response comes that no burst waits for.
        """
        bus = self.bus
        oldest = order.o.p
        response = self.client.response
        worst = Signal(Resp)
        failed_address = Signal(64)
        failed = Signal()
        bad = Signal()
        answered = Signal()
        violation = Signal()
        # Bursts without an answer whose last beat has been accepted.
        written = Signal(range(max(2, self.config.outstanding) + 1))
        m.d.comb += [
            bus.bready.eq(1),
            # The newest burst's address may not have been accepted yet.
            answered.eq(bus.bvalid & (written != 0) & (order.level > bus.awvalid)),
            violation.eq(bus.bvalid & (~answered | bus.bid)),
            order.o.ready.eq(answered),
            failed.eq(worst.as_value()[1]),
            bad.eq(bus.bresp[1]),
            response.valid.eq(answered & oldest.final),
            response.p.resp.eq(Mux(bus.bresp > worst.as_value(), bus.bresp, worst.as_value())),
            response.p.address.eq(Mux(failed, failed_address, oldest.address)),
        ]
        with m.If(answered):
            m.d.sync += worst.eq(Mux(oldest.final, Resp.OKAY.value, response.p.resp))
            with m.If(bad & ~failed):
                m.d.sync += failed_address.eq(oldest.address)
        with m.If((violation | broken) & ~bad & ~failed):
            m.d.comb += response.p.resp.eq(Resp.SLVERR)
        with m.If(lengths.o.ready | answered):
            m.d.sync += written.eq(written + lengths.o.ready - answered)
        return answered, violation
