"""Results of the lanes as words on their way to the scratchpad."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import ChipConfig
from lepton.arch.rows import ROW_GROUP

from ..dma.queue import Queue
from ..memory.scratchpad import tensor_write_layout
from .walk import ROW_BITS

_DEPTH = 2  # words that wait for their bank


class RowWriter(wiring.Component):
    """Members
    -------
    row_write, row_index, row_target: the word address to which a row goes.
    start: the first row's first block comes next; then rows inside, blocks outside. last_row, block_step: number of the
        last row, and words from one block to the next.
    enable, bytes: results of the lanes, the lowest channels first; only while `room`.
    write: words for the scratchpad. idle: all of them are written.
    """

    def __init__(self, config: ChipConfig):
        self._config = config
        self._bits = exact_log2(config.scratchpad_words)
        super().__init__({
            "row_write": In(1), "row_index": In(ROW_BITS), "row_target": In(self._bits),
            "start": In(1), "last_row": In(ROW_BITS), "block_step": In(self._bits),
            "enable": In(1), "bytes": In(8 * config.row_lanes), "room": Out(1), "idle": Out(1),
            "write": Out(stream.Signature(tensor_write_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        pieces = config.lanes // config.row_lanes
        m.submodules.words = words = Queue(tensor_write_layout(config), _DEPTH)
        wiring.connect(m, words=words.o, outward=wiring.flipped(self.write))
        m.submodules.targets = targets = Memory(shape=self._bits, depth=ROW_GROUP, init=[])
        target = targets.read_port(domain="comb")
        write = targets.write_port()
        row = Signal(ROW_BITS)
        offset = Signal(self._bits)
        piece = Signal(range(max(pieces, 2)))
        ends = piece == pieces - 1
        gathered = Signal(8 * (config.lanes - config.row_lanes))
        m.d.comb += [
            self.room.eq(words.i.ready), self.idle.eq(words.level == 0),
            words.i.valid.eq(self.enable & ends),
            write.en.eq(self.row_write), write.addr.eq(self.row_index), write.data.eq(self.row_target),
            target.addr.eq(row),
            words.i.p.address.eq(target.data + offset),
            words.i.p.data.eq(Cat(gathered, self.bytes)),
        ]
        with m.If(self.start):
            m.d.sync += [row.eq(0), offset.eq(0), piece.eq(0)]
        with m.Elif(self.enable):
            m.d.sync += [gathered.eq(Cat(gathered, self.bytes) >> 8 * config.row_lanes), piece.eq(piece + 1)]
            with m.If(ends):
                m.d.sync += [piece.eq(0), row.eq(Mux(row == self.last_row, 0, row + 1))]
                with m.If(row == self.last_row):
                    m.d.sync += offset.eq(offset + self.block_step)
        return m
