"""Which words the ROWS engine reads, in which order, and where it may write."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2
from lepton.arch import ChipConfig
from lepton.arch.rows import ROW_GROUP, Rows

from ..bounds import word_outside
from ..layouts import layout

ROW_BITS = ceil_log2(ROW_GROUP)


class RowWalk(wiring.Component):
    """The first pass over the rows of a command: word by word, with both addresses as they are before any check.

    Members
    -------
    record: the command, stable while it is walked. blocks: words of a row.
    start: begin at the first row. step: go on to the next word.
    source, target: byte addresses of the word. ends_row: it is the last of its row; ends_command: of the command.
    source_outside, target_outside: the word leaves the scratchpad.

    Sums are modulo 2**32, one addition a word as in `dma.walk`.
    """

    def __init__(self, config: ChipConfig):
        self._config = config
        super().__init__({
            "record": In(layout(Rows)), "blocks": In(13), "start": In(1), "step": In(1),
            "source": Out(32), "target": Out(32), "ends_row": Out(1), "ends_command": Out(1),
            "source_outside": Out(1), "target_outside": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        record = self.record
        # Counters run down to 1, the innermost loop first. Whether one is there is a register, too: what follows
        # from it is a long path.
        counts = (self.blocks, record.nx, record.ny, record.nz)
        left = [Signal(len(count), name=f"left{i}") for i, count in enumerate(counts)]
        ends = [Signal(name=f"end{i}") for i in range(len(counts))]
        m.d.comb += [
            self.ends_row.eq(ends[0]),
            self.ends_command.eq(ends[0] & ends[1] & ends[2] & ends[3]),
        ]
        with m.If(self.step):
            self._count(m, counts, left, ends, 0)
        for prefix, at, outside in (("in", self.source, self.source_outside),
                                    ("out", self.target, self.target_outside)):
            steps = [record[f"{prefix}_{name}"] for name in ("block", "x", "y", "z")]
            # Where the running pass of each outer loop began.
            begins = [at, *(Signal(32, name=f"{prefix}_begin{i}") for i in range(1, len(steps)))]
            base = Signal(32, name=f"{prefix}_base")
            step = Signal(32, name=f"{prefix}_step")
            following = Signal(32, name=f"{prefix}_following")
            self._choose(m, list(zip(ends, begins, steps, strict=True)), base, step)
            m.d.comb += [following.eq(base + step),
                         outside.eq(word_outside(at, self._config.scratchpad_bytes, self._config.lanes))]
            with m.If(self.step):
                ended = 1
                for end, begin in zip((1, *ends[:-1]), begins, strict=True):
                    ended = ended & end
                    with m.If(ended):
                        m.d.sync += begin.eq(following)
            with m.If(self.start):
                m.d.sync += [begin.eq(record[f"{prefix}_addr"]) for begin in begins]
        with m.If(self.start):
            for counter, end, count in zip(left, ends, counts, strict=True):
                m.d.sync += [counter.eq(count), end.eq(count == 1)]
        return m

    def _count(self, m, counts, left, ends, level):
        """One more of the loop `level`."""
        m.d.sync += [left[level].eq(left[level] - 1), ends[level].eq(left[level] == 2)]
        if level + 1 < len(counts):
            with m.If(ends[level]):
                m.d.sync += [left[level].eq(counts[level]), ends[level].eq(counts[level] == 1)]
                self._count(m, counts, left, ends, level + 1)

    def _choose(self, m, loops, base, step):
        """From where the next word is reached: the innermost loop that has not ended."""
        end, begin, by = loops[0]
        if len(loops) == 1:
            m.d.comb += [base.eq(begin), step.eq(by)]
            return
        with m.If(~end):
            m.d.comb += [base.eq(begin), step.eq(by)]
        with m.Else():
            self._choose(m, loops[1:], base, step)


# Of a word on its way into the lanes: its row in the group, whether it is the first or the last of the row, whether the
# row is the group's first, and which of the two sets of parameters belongs to it.
WORD_TAG = data.StructLayout({"row": ROW_BITS, "first": 1, "last": 1, "fresh": 1, "bank": 1})


class GroupWalk(wiring.Component):
    """The later passes over a group of rows, whose first words are known to be inside the scratchpad.

    Members
    -------
    row_write, row_index, row_first: the word address of a row's first word, while the first pass goes over it.
    blocks, last_row: words of a row, and the number of the last row. block_step: words from one block to the next.
    start: begin. by_block: rows inside, blocks outside; otherwise the other way round. step: go on to the next word.
    address, tag: of the word. ends_block: it is the last of the inner loop over rows. ends: of the pass.
    """

    def __init__(self, config: ChipConfig):
        bits = exact_log2(config.scratchpad_words)
        self._bits = bits
        super().__init__({
            "row_write": In(1), "row_index": In(ROW_BITS), "row_first": In(bits), "blocks": In(13),
            "last_row": In(ROW_BITS), "block_step": In(bits), "start": In(1), "by_block": In(1), "step": In(1),
            "address": Out(bits), "tag": Out(WORD_TAG), "ends_block": Out(1), "ends": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.firsts = firsts = Memory(shape=self._bits, depth=ROW_GROUP, init=[])
        first = firsts.read_port(domain="comb")
        write = firsts.write_port()
        row = Signal(ROW_BITS)
        block = Signal(13)  # less one, it counts down
        offset = Signal(self._bits)
        first_block = Signal()
        bank = Signal()
        last_block = Signal()
        last_row = Signal()
        m.d.comb += [
            last_block.eq(block == 0), last_row.eq(row == self.last_row),
            write.en.eq(self.row_write), write.addr.eq(self.row_index), write.data.eq(self.row_first),
            first.addr.eq(row),
            self.address.eq(first.data + offset),
            self.ends_block.eq(last_row), self.ends.eq(last_row & last_block),
            self.tag.row.eq(row), self.tag.first.eq(first_block), self.tag.last.eq(last_block),
            self.tag.fresh.eq(row == 0), self.tag.bank.eq(bank),
        ]
        next_row = [row.eq(Mux(last_row, 0, row + 1))]
        next_block = [offset.eq(offset + self.block_step), block.eq(block - 1), first_block.eq(0), bank.eq(~bank)]
        first_again = [offset.eq(0), block.eq(self.blocks - 1), first_block.eq(1), bank.eq(0)]
        with m.If(self.start):
            m.d.sync += [row.eq(0), *first_again]
        with m.Elif(self.step):
            with m.If(self.by_block):
                m.d.sync += next_row
                with m.If(last_row):
                    m.d.sync += next_block
            with m.Else():
                m.d.sync += next_block
                with m.If(last_block):
                    m.d.sync += [*next_row, *first_again]
        return m
