"""The words of the scratchpad that the ROWS engine works on, in the order of its passes."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import ChipConfig
from lepton.arch.rows import EXPONENTIALS, NORM_WORDS, ROW_GROUP, Rows

from ..dma.queue import Queue
from ..interfaces import WordReadSignature
from ..layouts import layout
from .walk import ROW_BITS, WORD_TAG, GroupWalk, RowWalk

WORDS_AHEAD = 4  # words that are asked for or wait for their turn; three are the latency from address to queue


class Pass(enum.Enum):
    """What is read."""

    TABLE = 0  # the exponentials
    FIRST = 1  # all words of the next rows, row by row; every address is checked
    AGAIN = 2  # the same words in the same order
    WRITE = 3  # the same words, block by block, each block behind its parameters


class RowReader(wiring.Component):
    """Members
    -------
    record: the command, stable while it is under way. norm: it is a NORM.
    start: a command begins. begin, kind: so does a pass. active: the pass has words that are not in the queue.
    read: the scratchpad.
    word: words of rows, or of the table.
    parameter, parameter_bank, parameter_index: a word of the next block's parameters is at `read.data`.
    parameters_used: the first row of a block has its parameters; those of the block before are not needed any more.
    row_write, row_index, row_target: the word address to which a row goes, given in the first pass.
    last_row: number of the last row of the group. more: rows are left behind this group.
    blocks: words of a row.
    outside, bad_address: a word leaves the scratchpad; nothing behind it is read.
    """

    def __init__(self, config: ChipConfig):
        self._config = config
        self._bits = exact_log2(config.scratchpad_words)
        self._word = data.StructLayout({"data": 8 * config.lanes, "tag": WORD_TAG})
        super().__init__({
            "record": In(layout(Rows)), "norm": In(1), "stop": In(1),
            "start": In(1), "begin": In(1), "kind": In(Pass), "active": Out(1),
            "read": Out(WordReadSignature(config)),
            "word": Out(stream.Signature(self._word)),
            "parameter": Out(1), "parameter_bank": Out(1), "parameter_index": Out(range(NORM_WORDS)),
            "parameters_used": In(1),
            "row_write": Out(1), "row_index": Out(ROW_BITS), "row_target": Out(self._bits),
            "last_row": Out(ROW_BITS), "more": Out(1), "blocks": Out(13),
            "outside": Out(1), "bad_address": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        low = exact_log2(self._config.lanes)
        record = self.record
        m.submodules.walk = walk = RowWalk(self._config)
        m.submodules.group = group = GroupWalk(self._config)
        m.submodules.words = words = Queue(self._word, WORDS_AHEAD)
        wiring.connect(m, words=words.o, outward=wiring.flipped(self.word))

        walking = Signal()
        kind = Signal(Pass)
        first = Signal()
        row = Signal(ROW_BITS)
        fresh_row = Signal()  # the walk is at the first word of a row
        side, side_left = self._side(m, kind)

        # A request is made where its register is free.
        request = self.read.request
        free = Signal()
        room = Signal()
        ask_side = Signal()
        ask_word = Signal()
        checked = Signal()
        reserved = Signal(range(WORDS_AHEAD + 1))
        may_load = Signal()  # the next block's parameters
        m.d.comb += [
            first.eq(kind == Pass.FIRST),
            free.eq((~request.valid | request.ready) & ~self.stop),
            room.eq(reserved != WORDS_AHEAD),
            self.outside.eq(walking & first & (walk.source_outside | walk.target_outside)),
            self.bad_address.eq(Mux(walk.source_outside, walk.source, walk.target)),
            checked.eq(~first | ~(walk.source_outside | walk.target_outside)),
            ask_side.eq(free & (side_left != 0) & Mux(kind == Pass.TABLE, room, may_load)),
            ask_word.eq(free & walking & (side_left == 0) & room & checked),
            walk.record.eq(record), walk.blocks.eq(self.blocks), walk.start.eq(self.start),
            walk.step.eq(ask_word & first),
            group.blocks.eq(self.blocks), group.last_row.eq(self.last_row), group.start.eq(self.begin),
            group.block_step.eq(record.in_block >> low), group.by_block.eq(kind == Pass.WRITE),
            group.step.eq(ask_word & ~first),
            group.row_write.eq(self.row_write), group.row_index.eq(row), group.row_first.eq(walk.source >> low),
            self.row_write.eq(ask_word & first & fresh_row), self.row_index.eq(row),
            self.row_target.eq(walk.target >> low),
        ]
        m.d.sync += self.blocks.eq((record.length + self._config.lanes - 1) >> low)

        tag = Signal(WORD_TAG)
        m.d.comb += tag.eq(group.tag)
        with m.If(first):
            m.d.comb += [tag.row.eq(row), tag.first.eq(fresh_row), tag.last.eq(walk.ends_row)]
        self._advance(m, walk, group, ask_word, first, row, fresh_row, walking, side_left, kind)
        with m.If(self.begin):
            m.d.sync += [kind.eq(self.kind), row.eq(0), fresh_row.eq(1), walking.eq(self.kind != Pass.TABLE),
                         may_load.eq(1)]
            with m.If(self.kind == Pass.TABLE):
                m.d.sync += [side.eq(record.table_addr >> low),
                             side_left.eq((4 * EXPONENTIALS) // self._config.lanes)]
            with m.Elif((self.kind == Pass.WRITE) & self.norm):
                m.d.sync += [side.eq(record.params_addr >> low), side_left.eq(NORM_WORDS)]
        with m.If(ask_side):
            m.d.sync += [side.eq(side + 1), side_left.eq(side_left - 1)]
            with m.If(side_left == 1):
                m.d.sync += may_load.eq(0)
        with m.If(self.parameters_used):
            m.d.sync += may_load.eq(1)
        self._transfer(m, words, kind, ask_side, ask_word, side, side_left, walk, group, tag, reserved)
        m.d.comb += self.active.eq(walking | (side_left != 0) | (reserved != 0))
        return m

    def _side(self, m, kind):
        """Where the words of the table or of the parameters are, and how many are left to ask for."""
        side = Signal(self._bits)
        side_left = Signal(range(max(NORM_WORDS, 4 * EXPONENTIALS // self._config.lanes) + 1))
        return side, side_left

    def _advance(self, m, walk, group, ask_word, first, row, fresh_row, walking, side_left, kind):
        """From one word to the next."""
        with m.If(ask_word):
            with m.If(first):
                m.d.sync += fresh_row.eq(walk.ends_row)
                with m.If(walk.ends_row):
                    m.d.sync += row.eq(row + 1)
                    with m.If(walk.ends_command | (row == ROW_GROUP - 1)):
                        m.d.sync += [walking.eq(0), self.last_row.eq(row), self.more.eq(~walk.ends_command)]
            with m.Else():
                with m.If(group.ends):
                    m.d.sync += walking.eq(0)
                with m.Elif(group.ends_block & (kind == Pass.WRITE) & self.norm):
                    m.d.sync += side_left.eq(NORM_WORDS)

    def _transfer(self, m, words, kind, ask_side, ask_word, side, side_left, walk, group, tag, reserved):
        """Requests go out, words come in: into the queue, or as parameters."""
        low = exact_log2(self._config.lanes)
        request = self.read.request
        asked = data.StructLayout({"tag": WORD_TAG, "parameter": 1, "index": range(NORM_WORDS)})
        requested = Signal(asked)
        arriving = Signal(asked)
        arrives = Signal()
        used = Signal()
        queued = Signal()
        with m.If(request.ready):
            m.d.sync += request.valid.eq(0)
        with m.If(ask_side | ask_word):
            address = Mux(kind == Pass.FIRST, walk.source >> low, group.address)
            m.d.sync += [
                request.valid.eq(1), request.p.eq(Mux(ask_side, side, address)), requested.tag.eq(tag),
                requested.parameter.eq(ask_side & (kind != Pass.TABLE)), requested.index.eq(NORM_WORDS - side_left),
            ]
        m.d.sync += arrives.eq(request.valid & request.ready)
        with m.If(request.valid & request.ready):
            m.d.sync += arriving.eq(requested)
        m.d.comb += [
            words.i.valid.eq(arrives & ~arriving.parameter), words.i.p.data.eq(self.read.data),
            words.i.p.tag.eq(arriving.tag), used.eq(words.o.valid & words.o.ready),
            self.parameter.eq(arrives & arriving.parameter), self.parameter_index.eq(arriving.index),
            queued.eq(ask_word | (ask_side & (kind == Pass.TABLE))),
        ]
        # The parameters of a block are asked for before its words.
        m.d.comb += self.parameter_bank.eq(arriving.tag.bank)
        m.d.sync += reserved.eq(reserved + queued - used)
