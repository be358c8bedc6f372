"""The front half of both engines: commands in, checked rows out."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig, Dma, DmaOpcode, ErrorCode, Space
from lepton.arch.commands import REGIONS

from ..interfaces import REGION_TABLE, command_layout
from .walk import Walk

# A row that may happen, or (`wrong`) the reason why it and all later ones may not.
CHECKED_ROW = data.StructLayout({
    "address": 64,  # of its first byte in memory
    "local": 32,  # byte address on chip
    "bytes": 32,
    "last": 1,  # of its command
    "is_fill": 1,  # memory is not touched
    "fill": 8,
    "space": 1,
    "index": 32,  # of the command, for error reports
    "layer": 16,
    "post": 16,
    "wrong": 1,  # the row may not happen
    "error": 8,  # ErrorCode
    "error_address": 32,  # the offending address or value
})

# Fields that must be zero, and fields that must not.
CHECKED_FIELDS = tuple(f.name for f in Dma.fields
                       if f.name.startswith(("reserved", "count")) or f.name == "row_bytes")


class CheckedRows(wiring.Component):
    """Walks commands and checks every row before an engine acts on it.

    After a row with an error, nothing more comes. The same when `stop` rises: a row that
    waits is withdrawn (this stream is internal to an engine, which has stopped looking).

    `store`: the rows of a STORE; only the scratchpad is allowed.
    `busy`: a command has rows that have not been taken.
    """

    def __init__(self, config: ChipConfig, *, store: bool):
        self.config = config
        self.store = store
        super().__init__({
            "command": In(stream.Signature(command_layout(Dma))),
            "regions": In(REGION_TABLE),
            "stop": In(1),
            "row": Out(stream.Signature(CHECKED_ROW)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = Walk()
        failed = Signal()
        open_ = Signal()
        command = self.command.p
        row = self.row.p
        record = command.record
        m.d.comb += [
            open_.eq(~(failed | self.stop)),
            walk.command.p.eq(record),
            walk.command.valid.eq(self.command.valid & open_),
            self.command.ready.eq(walk.command.ready & open_),
            self.row.valid.eq(walk.row.valid & open_),
            walk.row.ready.eq(self.row.ready & open_),
            self.busy.eq(self.row.valid),
        ]

        # What stays the same for all rows of a command.
        held = Signal(data.StructLayout({"is_fill": 1, "fill": 8, "space": 1, "index": 32, "layer": 16, "post": 16}))
        base = Signal(64)
        # A row is outside where its place is above what is left of the memory without its bytes: a comparison, and the
        # difference is made when the command comes. Negative: the memory is smaller than a row.
        lanes = self.config.lanes
        memory_room = Signal(signed(33))
        local_room = Signal(signed(33))
        illegal = Signal()
        illegal_value = Signal(32)
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [
                held.is_fill.eq(record.opcode == DmaOpcode.FILL), held.fill.eq(record.fill),
                held.space.eq(record.space), held.index.eq(command.index),
                held.layer.eq(record.layer), held.post.eq(record.post),
            ]
            with m.Switch(record.region):
                for i in range(REGIONS):
                    with m.Case(i):
                        m.d.sync += [base.eq(self.regions[i].base),
                                     memory_room.eq(self.regions[i].size - record.row_bytes)]
            capacity = self.config.scratchpad_bytes
            if not self.store:
                capacity = Mux(record.space, self.config.weight_bytes, capacity)
            m.d.sync += local_room.eq(capacity - record.row_bytes)
            # The first that applies is reported, in the order of the record, region and space at the end.
            checks = [(getattr(record, name) != 0, getattr(record, name)) if name.startswith("reserved") else
                      (getattr(record, name) == 0, 0) for name in CHECKED_FIELDS]
            checks += [
                (record.region >= REGIONS, record.region),
                (record.space >= (1 if self.store else len(Space)), record.space),
            ]
            m.d.sync += illegal.eq(0)
            for wrong, value in reversed(checks):
                with m.If(wrong):
                    m.d.sync += [illegal.eq(1), illegal_value.eq(value)]
        m.d.comb += [getattr(row, name).eq(getattr(held, name)) for name, _ in held.shape()]
        unaligned = Signal()
        beyond = Signal()
        outside = Signal()
        m.d.comb += [
            row.address.eq(base + walk.row.p.offset),
            row.local.eq(walk.row.p.local),
            row.bytes.eq(walk.row.p.bytes),
            row.last.eq(walk.row.p.last),
            # On chip a row takes whole words, but as it begins at a word and the memory ends with one, its bytes leave
            # the memory exactly where its last word does.
            unaligned.eq((row.local & (lanes - 1)).any()),
            beyond.eq(_above(row.local, local_room)),
            outside.eq(~row.is_fill & _above(walk.row.p.offset, memory_room)),
            row.wrong.eq(illegal | unaligned | beyond | outside),
        ]
        with m.If(illegal):
            m.d.comb += [row.error.eq(ErrorCode.ILLEGAL_FIELD), row.error_address.eq(illegal_value)]
        with m.Elif(unaligned):
            m.d.comb += [row.error.eq(ErrorCode.LOCAL_ALIGNMENT), row.error_address.eq(row.local)]
        with m.Elif(beyond):
            m.d.comb += [row.error.eq(ErrorCode.LOCAL_BOUNDS), row.error_address.eq(row.local)]
        with m.Elif(outside):
            m.d.comb += [row.error.eq(ErrorCode.MEMORY_BOUNDS), row.error_address.eq(walk.row.p.offset)]
        with m.If(self.row.valid & self.row.ready & row.wrong):
            m.d.sync += failed.eq(1)
        return m


def _above(place, room):
    """Whether `place`, 32 bits, is above `room`, signed."""
    return room[-1] | (place > room[:32])
