"""LOAD and FILL: rows of memory become words of the scratchpad or the weight memory."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2
from lepton.arch import ChipConfig, Dma, ErrorCode

from ..axi import Resp
from ..interfaces import REGION_TABLE, EngineSignature, ReadClientSignature, word_write_layout
from .queue import Queue
from .realign import Realign
from .rows import CheckedRows


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
        super().__init__({
            "control": In(EngineSignature(Dma)),
            "regions": In(REGION_TABLE),
            "read": Out(ReadClientSignature(config.bus_bytes)),
            "write": Out(stream.Signature(word_write_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config, control = self.config, self.control
        bus, lanes = config.bus_bytes, config.lanes
        unit = min(bus, lanes)
        per_beat, per_word = bus // unit, lanes // unit  # one of them is 1
        unit_shift, word_shift, bus_shift = exact_log2(unit), exact_log2(lanes), exact_log2(bus)
        size_bits = bits_for(max(config.scratchpad_bytes, config.weight_bytes))
        count_bits = size_bits - unit_shift

        row_layout = data.StructLayout({
            "align": Realign.row_layout(unit, count_bits),
            "slot": range(max(2, per_beat)),  # unit of the first beat in which the row begins
            "end_slot": range(max(2, per_beat)),  # unit of the last beat in which it ends
            "tail": range(unit),  # bytes in the last unit, 0 if it is full
            "address": size_bits - word_shift,
            "fill": 8, "space": 1, "last": 1, "index": 32, "layer": 16, "post": 16, "error": 1,
        })
        # Twice the bursts in flight, so that rows of one burst each never run out of entries.
        depth = 2 * max(4, config.outstanding)
        m.submodules.rows = rows = CheckedRows(config, store=False)
        m.submodules.queue = queue = Queue(row_layout, depth)
        m.submodules.realign = realign = Realign(unit, count_bits)
        wiring.connect(m, control=wiring.flipped(control.command), rows=rows.command)

        stopped, stop = Signal(), Signal()
        m.d.comb += [stop.eq(stopped | control.halt), rows.stop.eq(stop), rows.regions.eq(self.regions)]
        with m.If(control.halt):
            m.d.sync += stopped.eq(1)

        # Address half. A row enters the queue in the cycle in which its segment enters the register.
        row, segment = rows.row.payload, self.read.segment
        wrong, reads, take, issue = Signal(), Signal(), Signal(), Signal()
        code, error_address = Signal(ErrorCode), Signal(32)
        m.d.comb += [
            wrong.eq(row.error != ErrorCode.NONE.value),
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
                segment.valid.eq(1), segment.payload.address.eq(row.address), segment.payload.length.eq(row.bytes)]
        with m.If(take & wrong):
            m.d.sync += [code.eq(row.error), error_address.eq(row.error_address)]

        entry = queue.i.payload
        shift, before_end, over = Signal(unit_shift), Signal(size_bits), Signal(unit_shift + 1)
        m.d.comb += [
            shift.eq(row.address), before_end.eq(row.bytes - 1), over.eq(shift + before_end[:unit_shift]),
            entry.align.left.eq(before_end >> unit_shift),
            entry.tail.eq(row.bytes),
            entry.address.eq(row.local >> word_shift),
            entry.error.eq(wrong),
        ]
        for name in ("fill", "space", "last", "index", "layer", "post"):
            m.d.comb += getattr(entry, name).eq(getattr(row, name))
        with m.If(row.is_fill):
            m.d.comb += [entry.align.blank.eq(1), entry.align.left.eq(before_end >> word_shift), entry.tail.eq(0)]
        with m.Elif(shift != 0):
            # The row's first byte is `shift` bytes into its unit; it ends in one unit more where the sum carries.
            m.d.comb += [entry.align.keep.eq(-shift), entry.align.prime.eq(1), entry.align.flush.eq(~over[-1])]
        if per_beat > 1:
            m.d.comb += [
                entry.slot.eq(row.address[unit_shift:bus_shift]),
                entry.end_slot.eq((row.address[:bus_shift] + before_end[:bus_shift])[unit_shift:bus_shift]),
            ]

        # Data half: beats are cut into units, realigned, and joined to words.
        head, current = queue.o.payload, Signal(row_layout)
        word_address = Signal(size_bits - word_shift)
        slot, part = Signal(range(max(2, per_beat))), Signal(range(max(2, per_word)))
        m.d.comb += [
            realign.row.valid.eq(queue.o.valid & ~head.error & ~stop),
            realign.row.payload.eq(head.align),
            queue.o.ready.eq(realign.row.ready & ~head.error & ~stop),
        ]
        beat, fault = self.read.beat, Signal()
        units = beat.payload.data.word_select(slot, 8 * unit) if per_beat > 1 else beat.payload.data
        spent = ((slot == per_beat - 1) | (beat.payload.last & (slot == current.end_slot))) if per_beat > 1 else 1
        failed = beat.payload.resp[1]
        m.d.comb += [
            realign.i.payload.eq(units),
            realign.i.valid.eq(beat.valid & ~failed & ~stop),
            fault.eq(beat.valid & failed & realign.i.ready & ~stop),
            beat.ready.eq(stop | (realign.i.ready & ~failed & spent)),  # a stopped engine lets the bus run empty
        ]
        with m.If(realign.i.valid & realign.i.ready):
            m.d.sync += slot.eq(slot + 1)
            with m.If(spent):
                m.d.sync += slot.eq(0)

        write, step, emit = self.write, Signal(), Signal()
        last_of_command, post, layer = Signal(), Signal(16), Signal(16)
        masked = Signal(8 * unit)
        keep = Signal(unit)  # bytes of the row; the others get the fill byte
        kept_bits = Cat(bit.replicate(8) for bit in keep)
        aligned = realign.o.payload
        m.d.comb += [
            realign.o.ready.eq((~write.valid | write.ready) & ~stop),
            step.eq(realign.o.valid & realign.o.ready),
            emit.eq(step & (aligned.last | current.align.blank | (part == per_word - 1))),
            keep.eq(~0),
            masked.eq((aligned.data & kept_bits) | (current.fill.replicate(unit) & ~kept_bits)),
        ]
        with m.If(current.align.blank):
            m.d.comb += keep.eq(0)
        with m.Elif(aligned.last & (current.tail != 0)):
            m.d.comb += keep.eq((1 << current.tail) - 1)
        with m.If(write.ready):
            m.d.sync += write.valid.eq(0)
        if per_word == 1:
            with m.If(step):
                m.d.sync += write.payload.data.eq(masked)
        else:
            with m.If(step):
                m.d.sync += [write.payload.data.word_select(part, 8 * unit).eq(masked), part.eq(part + 1)]
                with m.If(part == 0):
                    m.d.sync += write.payload.data.eq(Cat(masked, current.fill.replicate(lanes - unit)))
                with m.If(emit):
                    m.d.sync += part.eq(0)
        with m.If(emit):
            m.d.sync += [
                write.valid.eq(1), write.payload.address.eq(word_address), write.payload.space.eq(current.space),
                word_address.eq(word_address + 1),
                last_of_command.eq(aligned.last & current.last), post.eq(current.post), layer.eq(current.layer),
            ]
        with m.If(realign.row.valid & realign.row.ready):
            m.d.sync += [current.eq(head), word_address.eq(head.address), slot.eq(head.slot)]

        done, error = control.done, control.error
        m.d.sync += [done.valid.eq(0), error.valid.eq(0)]
        with m.If(write.valid & write.ready & last_of_command & ~stop):
            m.d.sync += [done.valid.eq(1), done.payload.post.eq(post), done.payload.layer.eq(layer)]
        with m.If(fault):
            m.d.sync += [
                stopped.eq(1), error.valid.eq(1), error.payload.code.eq(ErrorCode.AXI_SLVERR),
                error.payload.index.eq(current.index), error.payload.layer.eq(current.layer),
                error.payload.address.eq(beat.payload.address),
            ]
            with m.If(beat.payload.resp == Resp.DECERR.value):
                m.d.sync += error.payload.code.eq(ErrorCode.AXI_DECERR)
        with m.If(queue.o.valid & head.error & ~realign.busy & ~write.valid & ~stop):
            m.d.sync += [
                stopped.eq(1), error.valid.eq(1), error.payload.code.eq(code), error.payload.address.eq(error_address),
                error.payload.index.eq(head.index), error.payload.layer.eq(head.layer),
            ]

        # Segments whose last beat has not come; each has its row in the queue or at hand.
        open_ = Signal(range(depth + 4))
        closed = Signal()
        m.d.comb += closed.eq(beat.valid & beat.ready & beat.payload.last)
        with m.If(issue & ~closed):
            m.d.sync += open_.eq(open_ + 1)
        with m.If(closed & ~issue):
            m.d.sync += open_.eq(open_ - 1)
        m.d.comb += control.busy.eq(
            write.valid | (open_ != 0) | done.valid | error.valid
            | (~stop & (rows.busy | queue.o.valid | realign.busy)))
        return m
