"""LOAD and FILL: rows of memory become words of the scratchpad or the weight memory."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig, Dma, ErrorCode

from ..axi import Resp
from ..interfaces import REGION_TABLE, EngineSignature, ReadClientSignature, word_write_layout
from .queue import LongQueue
from .realign import Realign
from .rows import CheckedRows
from .units import Units


class LoadEngine(wiring.Component):
    """Reads rows from memory, or makes them of fill bytes, and writes one word a cycle.

    The address half checks rows, asks for their segments and puts them into a queue; the data half takes rows
    from there as their beats arrive. The queue holds rows of any number of commands, so the latency
    of memory is hidden across commands, and `done` comes in order, a cycle after the memory has
    accepted the last word of a command. An error found ahead of time takes its place in the queue:
    all earlier rows happen, and nothing after it.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        self._units = Units.of(config, max(config.scratchpad_bytes, config.weight_bytes))
        super().__init__({
            "control": In(EngineSignature(Dma)),
            "regions": In(REGION_TABLE),
            "read": Out(ReadClientSignature(config.bus_bytes)),
            "write": Out(stream.Signature(word_write_layout(config))),
        })

    def _row_layout(self) -> data.StructLayout:
        """A row on its way from the address half to the data half."""
        units = self._units
        return data.StructLayout({
            "align": Realign.row_layout(units.unit, units.count_bits),
            "slot": range(max(2, units.per_beat)),  # unit of the first beat in which the row begins
            "end_slot": range(max(2, units.per_beat)),  # unit of the last beat in which it ends
            "tail": range(units.unit),  # bytes in the last unit, 0 if it is full
            "address": units.size_bits - units.word_shift,
            "fill": 8, "space": 1, "last": 1, "index": 32, "layer": 16, "post": 16, "error": 1,
        })

    def elaborate(self, platform):
        m = Module()
        units = self._units
        control = self.control
        row_layout = self._row_layout()
        # Twice the bursts in flight, so that rows of one burst each never run out of entries.
        depth = 2 * max(4, self.config.outstanding)
        m.submodules.rows = rows = CheckedRows(self.config, store=False)
        m.submodules.queue = queue = LongQueue(row_layout, depth)
        m.submodules.realign = realign = Realign(units.unit, units.count_bits)
        wiring.connect(m, control=wiring.flipped(control.command), rows=rows.command)

        stopped = Signal()
        stop = Signal()
        m.d.comb += [
            stop.eq(stopped | control.halt),
            rows.stop.eq(stop),
            rows.regions.eq(self.regions),
        ]
        with m.If(control.halt):
            m.d.sync += stopped.eq(1)

        issue, code, error_address = self._take_rows(m, rows, queue)

        # Data half: beats are cut into units, realigned, and joined to words.
        head = queue.o.p
        current = Signal(row_layout)
        word_address = Signal(units.size_bits - units.word_shift)
        slot = Signal(range(max(2, units.per_beat)))
        m.d.comb += [
            realign.row.valid.eq(queue.o.valid & ~head.error & ~stop),
            realign.row.p.eq(head.align),
            queue.o.ready.eq(realign.row.ready & ~head.error & ~stop),
        ]
        fault = self._take_beats(m, realign, current, slot, stop)
        last_of_command, post, layer = self._put_words(m, realign, current, word_address, stop)
        with m.If(realign.row.valid & realign.row.ready):
            m.d.sync += [
                current.eq(head),
                word_address.eq(head.address),
                slot.eq(head.slot),
            ]

        beat = self.read.beat
        write = self.write
        done = control.done
        error = control.error
        m.d.sync += [done.valid.eq(0), error.valid.eq(0)]
        with m.If(write.valid & write.ready & last_of_command & ~stop):
            m.d.sync += [
                done.valid.eq(1),
                done.p.post.eq(post),
                done.p.layer.eq(layer),
            ]
        with m.If(fault):
            m.d.sync += [
                stopped.eq(1),
                error.valid.eq(1),
                error.p.code.eq(ErrorCode.AXI_SLVERR),
                error.p.index.eq(current.index),
                error.p.layer.eq(current.layer),
                error.p.address.eq(beat.p.address),
            ]
            with m.If(beat.p.resp == Resp.DECERR.value):
                m.d.sync += error.p.code.eq(ErrorCode.AXI_DECERR)
        with m.If(queue.o.valid & head.error & ~realign.busy & ~write.valid & ~stop):
            m.d.sync += [
                stopped.eq(1),
                error.valid.eq(1),
                error.p.code.eq(code),
                error.p.address.eq(error_address),
                error.p.index.eq(head.index),
                error.p.layer.eq(head.layer),
            ]

        waiting = self._count_segments(m, issue, depth)
        m.d.comb += control.busy.eq(
            write.valid | waiting | done.valid | error.valid
            | (~stop & (rows.busy | (queue.level != 0) | realign.busy)))
        return m

    def _take_rows(self, m, rows, queue):
        """Address half: a row enters the queue in the cycle in which its segment enters the register.

        Gives `issue` (a segment is asked for), and code and address of the first row that must not happen.
        """
        units = self._units
        row = rows.row.p
        segment = self.read.segment
        wrong = Signal()
        reads = Signal()
        take = Signal()
        issue = Signal()
        code = Signal(ErrorCode)
        error_address = Signal(32)
        m.d.comb += [
            wrong.eq(row.wrong),
            reads.eq(~row.is_fill & ~wrong),
            rows.row.ready.eq(queue.i.ready & (~reads | ~segment.valid | segment.ready)),
            take.eq(rows.row.valid & rows.row.ready),
            issue.eq(take & reads),
            queue.i.valid.eq(take),
        ]
        with m.If(segment.ready):
            m.d.sync += segment.valid.eq(0)
        with m.If(issue):
            m.d.sync += [
                segment.valid.eq(1),
                segment.p.address.eq(row.address),
                segment.p.length.eq(row.bytes),
            ]
        with m.If(take & wrong):
            m.d.sync += [code.eq(row.error), error_address.eq(row.error_address)]

        entry = queue.i.p
        shift = Signal(units.unit_shift)
        before_end = Signal(units.size_bits)
        over = Signal(units.unit_shift + 1)
        m.d.comb += [
            shift.eq(row.address),
            before_end.eq(row.bytes - 1),
            over.eq(shift + before_end[:units.unit_shift]),
            entry.align.left.eq(before_end >> units.unit_shift),
            entry.tail.eq(row.bytes),
            entry.address.eq(row.local >> units.word_shift),
            entry.error.eq(wrong),
        ]
        for name in ("fill", "space", "last", "index", "layer", "post"):
            m.d.comb += getattr(entry, name).eq(getattr(row, name))
        with m.If(row.is_fill):
            m.d.comb += [
                entry.align.blank.eq(1),
                entry.align.left.eq(before_end >> units.word_shift),
                entry.tail.eq(0),
            ]
        with m.Elif(shift != 0):
            # The row's first byte is `shift` bytes into its unit; it ends in one unit more where the sum carries.
            m.d.comb += [
                entry.align.keep.eq(-shift),
                entry.align.prime.eq(1),
                entry.align.flush.eq(~over[-1]),
            ]
        if units.per_beat > 1:
            end = row.address[:units.bus_shift] + before_end[:units.bus_shift]
            m.d.comb += [
                entry.slot.eq(row.address[units.unit_shift:units.bus_shift]),
                entry.end_slot.eq(end[units.unit_shift:units.bus_shift]),
            ]
        return issue, code, error_address

    def _take_beats(self, m, realign, current, slot, stop):
        """Units of beats go into the realigner; high where a beat says that memory failed."""
        units = self._units
        beat = self.read.beat
        fault = Signal()
        cut = beat.p.data
        spent = 1
        if units.per_beat > 1:
            cut = beat.p.data.word_select(slot, 8 * units.unit)
            spent = (slot == units.per_beat - 1) | (beat.p.last & (slot == current.end_slot))
        failed = beat.p.resp[1]
        m.d.comb += [
            realign.i.p.eq(cut),
            realign.i.valid.eq(beat.valid & ~failed & ~stop),
            fault.eq(beat.valid & failed & realign.i.ready & ~stop),
            beat.ready.eq(stop | (realign.i.ready & ~failed & spent)),  # a stopped engine lets the bus run empty
        ]
        with m.If(realign.i.valid & realign.i.ready):
            m.d.sync += slot.eq(slot + 1)
            with m.If(spent):
                m.d.sync += slot.eq(0)
        return fault

    def _put_words(self, m, realign, current, word_address, stop):
        """Realigned units become words, with fill bytes behind the row's end.

        Gives what belongs to the word at `write`: whether it is the last of its command, and the command's post and
        layer.
        """
        units = self._units
        write = self.write
        part = Signal(range(max(2, units.per_word)))
        step = Signal()
        emit = Signal()
        last_of_command = Signal()
        post = Signal(16)
        layer = Signal(16)
        masked = Signal(8 * units.unit)
        keep = Signal(units.unit)  # bytes of the row; the others get the fill byte
        kept_bits = Cat(bit.replicate(8) for bit in keep)
        aligned = realign.o.p
        m.d.comb += [
            realign.o.ready.eq((~write.valid | write.ready) & ~stop),
            step.eq(realign.o.valid & realign.o.ready),
            emit.eq(step & (aligned.last | current.align.blank | (part == units.per_word - 1))),
            keep.eq(~0),
            # A mask, not a choice for each length: the simulator computes what is used once only where it is taken.
            masked.eq((aligned.data & kept_bits) | (current.fill.replicate(units.unit) & ~kept_bits)),
        ]
        with m.If(current.align.blank):
            m.d.comb += keep.eq(0)
        with m.Elif(aligned.last & (current.tail != 0)):
            m.d.comb += keep.eq((1 << current.tail) - 1)
        with m.If(write.ready):
            m.d.sync += write.valid.eq(0)
        with m.If(step):
            if units.per_word == 1:
                m.d.sync += write.p.data.eq(masked)
            else:
                m.d.sync += [
                    write.p.data.word_select(part, 8 * units.unit).eq(masked),
                    part.eq(part + 1),
                ]
                with m.If(part == 0):
                    m.d.sync += write.p.data.eq(
                        Cat(masked, current.fill.replicate(self.config.lanes - units.unit)))
                with m.If(emit):
                    m.d.sync += part.eq(0)
        with m.If(emit):
            m.d.sync += [
                write.valid.eq(1),
                write.p.address.eq(word_address),
                write.p.space.eq(current.space),
                word_address.eq(word_address + 1),
                last_of_command.eq(aligned.last & current.last),
                post.eq(current.post),
                layer.eq(current.layer),
            ]
        return last_of_command, post, layer

    def _count_segments(self, m, issue, depth):
        """High while the last beat of some segment has not come. Each has its row in the queue or at hand."""
        beat = self.read.beat
        open_ = Signal(range(depth + 5))
        closed = Signal()
        m.d.comb += closed.eq(beat.valid & beat.ready & beat.p.last)
        with m.If(issue & ~closed):
            m.d.sync += open_.eq(open_ + 1)
        with m.If(closed & ~issue):
            m.d.sync += open_.eq(open_ - 1)
        return open_ != 0
