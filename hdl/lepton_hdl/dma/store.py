"""STORE: words of the scratchpad become rows of memory."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig, Dma, ErrorCode

from ..axi import Resp
from ..interfaces import REGION_TABLE, EngineSignature, WordReadSignature, WriteClientSignature
from .queue import LongQueue, Queue
from .realign import Realign
from .rows import CheckedRows
from .units import Units

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
        self._units = Units.of(config, config.scratchpad_bytes)
        super().__init__({
            "control": In(EngineSignature(Dma)),
            "regions": In(REGION_TABLE),
            "read": Out(WordReadSignature(config)),
            "write": Out(WriteClientSignature(config.bus_bytes)),
        })

    def _row_layout(self) -> data.StructLayout:
        """A row whose words are on their way from the scratchpad."""
        units = self._units
        return data.StructLayout({
            "align": Realign.row_layout(units.unit, units.count_bits),
            "slot": range(max(2, units.per_beat)),  # unit of the first beat in which the row begins
            "end": range(units.unit),  # the row's last byte in the last unit
            "end_part": range(max(2, units.per_word)),  # unit of the last word in which the row ends
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        units = self._units
        control = self.control
        row_layout = self._row_layout()
        pending_layout = data.StructLayout({"index": 32, "layer": 16, "post": 16, "last": 1, "error": 1})
        # Twice the bursts in flight, so that rows of one burst each never run out of entries.
        depth = 2 * max(4, config.outstanding)
        m.submodules.rows = rows = CheckedRows(config, store=True)
        m.submodules.starts = starts = Queue(row_layout, ROWS_AHEAD)
        m.submodules.pending = pending = LongQueue(pending_layout, depth)
        m.submodules.words = words = Queue(data.StructLayout({"data": 8 * config.lanes, "last": 1}), WORDS_AHEAD)
        m.submodules.realign = realign = Realign(units.unit, units.count_bits)
        wiring.connect(m, control=wiring.flipped(control.command), rows=rows.command)

        stopped = Signal()
        stop = Signal()
        m.d.comb += [stop.eq(stopped | control.halt), rows.stop.eq(stop), rows.regions.eq(self.regions)]
        with m.If(control.halt):
            m.d.sync += stopped.eq(1)

        reading = Signal()
        words_left = Signal(units.size_bits - units.word_shift)
        requested = Signal()
        before_end = Signal(units.size_bits)  # bytes of the row, less one
        m.d.comb += before_end.eq(rows.row.p.bytes - 1)
        may_read = ~reading | (requested & (words_left == 0))
        issue, code, error_address = self._start_rows(m, rows, starts, pending, before_end, may_read)
        self._request_words(m, rows.row.p, before_end, issue, words, reading, words_left, requested)

        # Words are cut into units, realigned, and joined to beats.
        current = Signal(row_layout)
        slot = Signal(range(max(2, units.per_beat)))
        m.d.comb += [
            realign.row.valid.eq(starts.o.valid),
            realign.row.p.eq(starts.o.p.align),
            starts.o.ready.eq(realign.row.ready),
        ]
        self._cut_words(m, words, realign, current)
        self._put_beats(m, realign, current, slot)
        with m.If(realign.row.valid & realign.row.ready):
            m.d.sync += [current.eq(starts.o.p), slot.eq(starts.o.p.slot)]

        self._take_responses(m, pending, stop, stopped, code, error_address)

        # Segments without a response.
        response = self.write.response
        open_ = Signal(range(depth + 3))
        with m.If(issue & ~response.valid):
            m.d.sync += open_.eq(open_ + 1)
        with m.If(response.valid & ~issue):
            m.d.sync += open_.eq(open_ - 1)
        m.d.comb += control.busy.eq(
            (open_ != 0) | control.done.valid | control.error.valid | (~stop & (rows.busy | (pending.level != 0))))
        return m

    def _start_rows(self, m, rows, starts, pending, before_end, may_read):
        """A row starts everywhere at once: its segment, its requests (`may_read`) and its place among the responses.

        Gives `issue` (a row starts), and code and address of the first row that must not happen.
        """
        units = self._units
        row = rows.row.p
        segment = self.write.segment
        wrong = Signal()
        take = Signal()
        issue = Signal()
        code = Signal(ErrorCode)
        error_address = Signal(32)
        m.d.comb += [
            wrong.eq(row.wrong),
            rows.row.ready.eq(pending.i.ready & (wrong | (
                starts.i.ready & (~segment.valid | segment.ready) & may_read))),
            take.eq(rows.row.valid & rows.row.ready),
            issue.eq(take & ~wrong),
            pending.i.valid.eq(take),
            pending.i.p.error.eq(wrong),
            starts.i.valid.eq(issue),
        ]
        for name in ("index", "layer", "post", "last"):
            m.d.comb += getattr(pending.i.p, name).eq(getattr(row, name))
        with m.If(take & wrong):
            m.d.sync += [code.eq(row.error), error_address.eq(row.error_address)]
        with m.If(segment.ready):
            m.d.sync += segment.valid.eq(0)
        with m.If(issue):
            m.d.sync += [
                segment.valid.eq(1),
                segment.p.address.eq(row.address),
                segment.p.length.eq(row.bytes),
            ]

        start = starts.i.p
        shift = Signal(units.unit_shift)
        end = Signal(units.size_bits + 1)
        m.d.comb += [
            shift.eq(row.address),
            end.eq(shift + before_end),
            start.align.keep.eq(shift),
            start.align.left.eq(end >> units.unit_shift),
            start.align.flush.eq((end >> units.unit_shift) != (before_end >> units.unit_shift)),
            start.end.eq(end),
        ]
        if units.per_beat > 1:
            m.d.comb += start.slot.eq(row.address[units.unit_shift:units.bus_shift])
        if units.per_word > 1:
            m.d.comb += start.end_part.eq(before_end[units.unit_shift:units.word_shift])
        return issue, code, error_address

    def _request_words(self, m, row, before_end, issue, words, reading, words_left, requested):
        """Requests the words of a row while there is certainly room for them.

        Sets `reading` (the row has words that were not requested), `words_left` (their number, less one) and
        `requested` (one is requested in this cycle).
        """
        units = self._units
        request = self.read.request
        arriving = Signal()
        arriving_last = Signal()
        reserved = Signal(range(WORDS_AHEAD + 1))
        used = Signal()
        word_address = Signal(units.size_bits - units.word_shift)
        m.d.comb += [
            request.valid.eq(reading & (reserved != WORDS_AHEAD)),
            request.p.eq(word_address),
            requested.eq(request.valid & request.ready),
            words.i.valid.eq(arriving),
            words.i.p.data.eq(self.read.data),
            words.i.p.last.eq(arriving_last),
            used.eq(words.o.valid & words.o.ready),
        ]
        m.d.sync += arriving.eq(requested)
        with m.If(requested):
            m.d.sync += [
                arriving_last.eq(words_left == 0),
                word_address.eq(word_address + 1),
                words_left.eq(words_left - 1),
            ]
            with m.If(words_left == 0):
                m.d.sync += reading.eq(0)
        with m.If(issue):
            m.d.sync += [
                reading.eq(1),
                word_address.eq(row.local >> units.word_shift),
                words_left.eq(before_end >> units.word_shift),
            ]
        with m.If(requested & ~used):
            m.d.sync += reserved.eq(reserved + 1)
        with m.If(used & ~requested):
            m.d.sync += reserved.eq(reserved - 1)

    def _cut_words(self, m, words, realign, current):
        """Units of words go into the realigner."""
        units = self._units
        word = words.o.p
        cut = word.data
        spent = 1
        if units.per_word > 1:
            part = Signal(range(max(2, units.per_word)))
            cut = word.data.word_select(part, 8 * units.unit)
            spent = (part == units.per_word - 1) | (word.last & (part == current.end_part))
            with m.If(realign.i.valid & realign.i.ready):
                m.d.sync += part.eq(part + 1)
                with m.If(spent):
                    m.d.sync += part.eq(0)
        m.d.comb += [
            realign.i.valid.eq(words.o.valid),
            realign.i.p.eq(cut),
            words.o.ready.eq(realign.i.ready & spent),
        ]

    def _put_beats(self, m, realign, current, slot):
        """Realigned units become beats, with strobes from the row's first byte to its last."""
        units = self._units
        unit = units.unit
        beat = self.write.beat
        aligned = realign.o.p
        strobe = Signal(unit)
        joined = Signal(self.config.bus_bytes)
        emit = Signal()
        step = Signal()
        begun = Signal()  # the beat at hand has units already
        from_first = Signal(unit)
        to_end = Signal(unit)
        m.d.comb += [
            realign.o.ready.eq(~beat.valid | beat.ready),
            step.eq(realign.o.valid & realign.o.ready),
            emit.eq(step & (aligned.last | (slot == units.per_beat - 1))),
            from_first.eq(~0),
            to_end.eq(~0),
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
            if units.per_beat == 1:
                m.d.sync += [beat.p.data.eq(aligned.data), beat.p.strobe.eq(strobe)]
            else:
                m.d.comb += joined.eq(strobe << (slot << units.unit_shift))
                m.d.sync += [
                    beat.p.data.word_select(slot, 8 * unit).eq(aligned.data),
                    beat.p.strobe.eq(joined),
                    slot.eq(slot + 1),
                    begun.eq(1),
                ]
                with m.If(begun):
                    m.d.sync += beat.p.strobe.eq(beat.p.strobe | joined)
                with m.If(emit):
                    m.d.sync += [slot.eq(0), begun.eq(0)]

    def _take_responses(self, m, pending, stop, stopped, code, error_address):
        """Responses come in the order of the rows; a row that must not happen takes its place among them."""
        response = self.write.response
        oldest = pending.o.p
        done = self.control.done
        error = self.control.error
        failed = response.p.resp[1]
        m.d.comb += pending.o.ready.eq(response.valid)
        m.d.sync += [done.valid.eq(0), error.valid.eq(0)]
        with m.If(response.valid & ~stop):
            with m.If(failed):
                m.d.sync += [
                    stopped.eq(1),
                    error.valid.eq(1),
                    error.p.code.eq(ErrorCode.AXI_SLVERR),
                    error.p.address.eq(response.p.address),
                ]
                with m.If(response.p.resp == Resp.DECERR.value):
                    m.d.sync += error.p.code.eq(ErrorCode.AXI_DECERR)
            with m.Else():
                m.d.sync += [
                    done.valid.eq(oldest.last),
                    done.p.post.eq(oldest.post),
                    done.p.layer.eq(oldest.layer),
                ]
        with m.If(pending.o.valid & oldest.error & ~stop):
            m.d.sync += [stopped.eq(1), error.valid.eq(1), error.p.code.eq(code),
                         error.p.address.eq(error_address)]
        with m.If(~stop):
            m.d.sync += [error.p.index.eq(oldest.index), error.p.layer.eq(oldest.layer)]
