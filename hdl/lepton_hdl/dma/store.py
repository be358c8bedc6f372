"""STORE: words of the scratchpad become rows of memory."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2
from lepton.arch import ChipConfig, Dma, ErrorCode

from ..axi import Resp
from ..interfaces import REGION_TABLE, EngineSignature, WordReadSignature, WriteClientSignature
from .queue import Queue
from .realign import Realign
from .rows import CheckedRows

WORDS_AHEAD = 4  # read words that wait for their turn: the latency of the scratchpad and this engine, and one
ROWS_AHEAD = 4  # rows whose words are on their way from the scratchpad


class StoreEngine(wiring.Component):
    """Reads one word a cycle from the scratchpad and writes one beat a cycle.

    A row starts when its segment, its word requests and its place among the responses are free;
    a started row is always written to its end, also after an error or `halt`. Later commands start
    while responses of earlier ones are pending; `done` comes in order, when the last segment of
    its command has been answered. An error found ahead of time takes its place among the
    responses: all earlier rows happen, and nothing after it.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "control": In(EngineSignature(Dma)),
            "regions": In(REGION_TABLE),
            "read": Out(WordReadSignature(config)),
            "write": Out(WriteClientSignature(config.bus_bytes)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        control = self.control
        bus = config.bus_bytes
        lanes = config.lanes
        unit = min(bus, lanes)
        per_beat = bus // unit
        per_word = lanes // unit  # one of them is 1
        unit_shift = exact_log2(unit)
        word_shift = exact_log2(lanes)
        bus_shift = exact_log2(bus)
        size_bits = bits_for(config.scratchpad_bytes)
        count_bits = size_bits - unit_shift

        row_layout = data.StructLayout({
            "align": Realign.row_layout(unit, count_bits),
            "slot": range(max(2, per_beat)),  # unit of the first beat in which the row begins
            "end": range(unit),  # the row's last byte in the last unit
            "end_part": range(max(2, per_word)),  # unit of the last word in which the row ends
        })
        pending_layout = data.StructLayout({"index": 32, "layer": 16, "post": 16, "last": 1, "error": 1})
        depth = 2 * max(4, config.outstanding)
        m.submodules.rows = rows = CheckedRows(config, store=True)
        m.submodules.starts = starts = Queue(row_layout, ROWS_AHEAD)
        m.submodules.pending = pending = Queue(pending_layout, depth)
        m.submodules.words = words = Queue(data.StructLayout({"data": 8 * lanes, "last": 1}), WORDS_AHEAD)
        m.submodules.realign = realign = Realign(unit, count_bits)
        wiring.connect(m, control=wiring.flipped(control.command), rows=rows.command)

        stopped = Signal()
        stop = Signal()
        m.d.comb += [stop.eq(stopped | control.halt), rows.stop.eq(stop), rows.regions.eq(self.regions)]
        with m.If(control.halt):
            m.d.sync += stopped.eq(1)

        # A row starts everywhere at once.
        row = rows.row.payload
        segment = self.write.segment
        request = self.read.request
        reading = Signal()
        words_left = Signal(size_bits - word_shift)
        requested = Signal()
        wrong = Signal()
        take = Signal()
        issue = Signal()
        code = Signal(ErrorCode)
        error_address = Signal(32)
        m.d.comb += [
            wrong.eq(row.error != ErrorCode.NONE.value),
            rows.row.ready.eq(pending.i.ready & (wrong | (
                starts.i.ready & (~segment.valid | segment.ready) & (~reading | (requested & (words_left == 0)))))),
            take.eq(rows.row.valid & rows.row.ready),
            issue.eq(take & ~wrong),
            pending.i.valid.eq(take),
            pending.i.payload.error.eq(wrong),
            starts.i.valid.eq(issue),
        ]
        for name in ("index", "layer", "post", "last"):
            m.d.comb += getattr(pending.i.payload, name).eq(getattr(row, name))
        with m.If(take & wrong):
            m.d.sync += [code.eq(row.error), error_address.eq(row.error_address)]
        with m.If(segment.ready):
            m.d.sync += segment.valid.eq(0)
        with m.If(issue):
            m.d.sync += [
                segment.valid.eq(1), segment.payload.address.eq(row.address), segment.payload.length.eq(row.bytes)]

        start = starts.i.payload
        shift = Signal(unit_shift)
        before_end = Signal(size_bits)
        end = Signal(size_bits + 1)
        m.d.comb += [
            shift.eq(row.address), before_end.eq(row.bytes - 1), end.eq(shift + before_end),
            start.align.keep.eq(shift),
            start.align.left.eq(end >> unit_shift),
            start.align.flush.eq((end >> unit_shift) != (before_end >> unit_shift)),
            start.end.eq(end),
        ]
        if per_beat > 1:
            m.d.comb += start.slot.eq(row.address[unit_shift:bus_shift])
        if per_word > 1:
            m.d.comb += start.end_part.eq(before_end[unit_shift:word_shift])

        # Words are requested while there is certainly room for them.
        arriving = Signal()
        arriving_last = Signal()
        reserved = Signal(range(WORDS_AHEAD + 1))
        used = Signal()
        word_address = Signal(size_bits - word_shift)
        m.d.comb += [
            request.valid.eq(reading & (reserved != WORDS_AHEAD)),
            request.payload.eq(word_address),
            requested.eq(request.valid & request.ready),
            words.i.valid.eq(arriving),
            words.i.payload.data.eq(self.read.data),
            words.i.payload.last.eq(arriving_last),
            used.eq(words.o.valid & words.o.ready),
        ]
        m.d.sync += arriving.eq(requested)
        with m.If(requested):
            m.d.sync += [
                arriving_last.eq(words_left == 0), word_address.eq(word_address + 1), words_left.eq(words_left - 1)]
            with m.If(words_left == 0):
                m.d.sync += reading.eq(0)
        with m.If(issue):
            m.d.sync += [
                reading.eq(1), word_address.eq(row.local >> word_shift), words_left.eq(before_end >> word_shift)]
        with m.If(requested & ~used):
            m.d.sync += reserved.eq(reserved + 1)
        with m.If(used & ~requested):
            m.d.sync += reserved.eq(reserved - 1)

        # Words are cut into units, realigned, and joined to beats.
        current = Signal(row_layout)
        part = Signal(range(max(2, per_word)))
        slot = Signal(range(max(2, per_beat)))
        word = words.o.payload
        m.d.comb += [
            realign.row.valid.eq(starts.o.valid),
            realign.row.payload.eq(starts.o.payload.align),
            starts.o.ready.eq(realign.row.ready),
            realign.i.valid.eq(words.o.valid),
            realign.i.payload.eq(word.data.word_select(part, 8 * unit) if per_word > 1 else word.data),
        ]
        spent = ((part == per_word - 1) | (word.last & (part == current.end_part))) if per_word > 1 else 1
        m.d.comb += words.o.ready.eq(realign.i.ready & spent)
        if per_word > 1:
            with m.If(realign.i.valid & realign.i.ready):
                m.d.sync += part.eq(part + 1)
                with m.If(spent):
                    m.d.sync += part.eq(0)

        beat = self.write.beat
        aligned = realign.o.payload
        strobe = Signal(unit)
        joined = Signal(bus)
        emit = Signal()
        step = Signal()
        begun = Signal()  # the beat at hand has units already
        from_first = Signal(unit)
        to_end = Signal(unit)
        m.d.comb += [
            realign.o.ready.eq(~beat.valid | beat.ready),
            step.eq(realign.o.valid & realign.o.ready),
            emit.eq(step & (aligned.last | (slot == per_beat - 1))),
            from_first.eq(~0), to_end.eq(~0),
            strobe.eq(from_first & to_end),
            joined.eq(strobe),
        ]
        with m.If(aligned.first):
            m.d.comb += from_first.eq(((1 << unit) - 1) << current.align.keep)
        with m.If(aligned.last):
            m.d.comb += to_end.eq((2 << current.end) - 1)
        with m.If(beat.ready):
            m.d.sync += beat.valid.eq(0)
        with m.If(step):
            m.d.sync += beat.valid.eq(emit)
            if per_beat == 1:
                m.d.sync += [beat.payload.data.eq(aligned.data), beat.payload.strobe.eq(strobe)]
            else:
                m.d.comb += joined.eq(strobe << (slot << unit_shift))
                m.d.sync += [
                    beat.payload.data.word_select(slot, 8 * unit).eq(aligned.data),
                    beat.payload.strobe.eq(joined),
                    slot.eq(slot + 1), begun.eq(1),
                ]
                with m.If(begun):
                    m.d.sync += beat.payload.strobe.eq(beat.payload.strobe | joined)
                with m.If(emit):
                    m.d.sync += [slot.eq(0), begun.eq(0)]
        with m.If(realign.row.valid & realign.row.ready):
            m.d.sync += [current.eq(starts.o.payload), slot.eq(starts.o.payload.slot)]

        # Responses, in the order of the rows.
        response = self.write.response
        oldest = pending.o.payload
        done = control.done
        error = control.error
        failed = response.payload.resp[1]
        m.d.comb += pending.o.ready.eq(response.valid)
        m.d.sync += [done.valid.eq(0), error.valid.eq(0)]
        with m.If(response.valid & ~stop):
            with m.If(failed):
                m.d.sync += [
                    stopped.eq(1), error.valid.eq(1), error.payload.code.eq(ErrorCode.AXI_SLVERR),
                    error.payload.address.eq(response.payload.address),
                ]
                with m.If(response.payload.resp == Resp.DECERR.value):
                    m.d.sync += error.payload.code.eq(ErrorCode.AXI_DECERR)
            with m.Else():
                m.d.sync += [
                    done.valid.eq(oldest.last), done.payload.post.eq(oldest.post), done.payload.layer.eq(oldest.layer)]
        with m.If(pending.o.valid & oldest.error & ~stop):
            m.d.sync += [
                stopped.eq(1), error.valid.eq(1), error.payload.code.eq(code), error.payload.address.eq(error_address)]
        with m.If(~stop):
            m.d.sync += [error.payload.index.eq(oldest.index), error.payload.layer.eq(oldest.layer)]

        # Segments without a response.
        open_ = Signal(range(depth + 2))
        with m.If(issue & ~response.valid):
            m.d.sync += open_.eq(open_ + 1)
        with m.If(response.valid & ~issue):
            m.d.sync += open_.eq(open_ - 1)
        m.d.comb += control.busy.eq(
            (open_ != 0) | done.valid | error.valid | (~stop & (rows.busy | pending.o.valid)))
        return m
