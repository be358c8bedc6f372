"""The lanes of the ROWS engine with what belongs to rows: words in, sums or words out."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import ChipConfig
from lepton.arch.rows import EXPONENTIALS, NORM_WORDS, ROW_GROUP, Rows

from ..layouts import layout
from ..memory.scratchpad import tensor_write_layout
from ..views import view_of
from .lane import ENTRY_BITS, FACTOR_STAGE, SCALE_STAGE, STAGES, SUM_STAGE, RowLane, encoded
from .multiplier import StepMultiplier
from .parameters import ParameterSets
from .scalar import ScalarUnit
from .sums import DEVIATION_BITS, RowSums
from .walk import ROW_BITS, WORD_TAG
from .writer import RowWriter


class RowPipeline(wiring.Component):
    """Cuts words into pieces of `row_lanes` channels, and takes one piece a cycle through the lanes.

    Members
    -------
    record, softmax: the command, stable while it is under way.
    load: words are the table's. statistics: rows are summed (`largest`: their largest value is looked for); otherwise
        results are written. start: a pass begins.
    word: words with their tags. parameter, ...: as of `RowReader`.
    row_write, row_index, row_target, last_row: of the group, as of `RowReader`.
    write: words for the scratchpad. idle: nothing is under way.
    stop: nothing goes on but words to the scratchpad.

    The lanes stand still while there is no room for a result, or while a finished sum waits for the scalar unit.
    """

    def __init__(self, config: ChipConfig):
        self._config = config
        self._pieces = config.lanes // config.row_lanes
        self._tag = data.StructLayout({
            "row": ROW_BITS, "bank": 1, "piece": range(max(self._pieces, 2)), "first": 1, "last": 1, "fresh": 1,
            "inside": config.row_lanes})
        bits = exact_log2(config.scratchpad_words)
        super().__init__({
            "record": In(layout(Rows)), "softmax": In(1), "load": In(1), "statistics": In(1), "largest": In(1),
            "start": In(1), "stop": In(1), "idle": Out(1),
            "word": In(stream.Signature(data.StructLayout({"data": 8 * config.lanes, "tag": WORD_TAG}))),
            "parameter": In(1), "parameter_bank": In(1), "parameter_index": In(range(NORM_WORDS)),
            "parameter_data": In(8 * config.lanes), "parameters_used": Out(1),
            "row_write": In(1), "row_index": In(ROW_BITS), "row_target": In(bits), "last_row": In(ROW_BITS),
            "write": Out(stream.Signature(tensor_write_layout(config))),
            "writing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self._config
        view = view_of(platform)
        m.submodules.sums = sums = RowSums(config.row_lanes)
        m.submodules.writer = writer = RowWriter(config)
        m.submodules.parameters = parameters = ParameterSets(config)
        m.submodules.scalar = scalar = ScalarUnit()
        m.submodules.multiplier = multiplier = StepMultiplier()
        lanes = [RowLane(view) for _ in range(config.row_lanes)]
        for i, lane in enumerate(lanes):
            m.submodules[f"lane{i}"] = lane

        valid = Signal(STAGES)
        tags = [Signal(self._tag, name=f"tag{s}") for s in range(STAGES - 1)]
        go = Signal()
        enable = Signal(STAGES)
        m.d.comb += [
            go.eq(writer.room & (~sums.done | sums.take) & ~self.stop),
            enable.eq(valid & go.replicate(STAGES)),
            self.idle.eq(~(valid.any() | sums.done | scalar.done) & scalar.ready & writer.idle),
            self.writing.eq(~writer.idle),
        ]
        # Only what is to be written goes further than the sums.
        with m.If(go):
            m.d.sync += [valid[s].eq(valid[s - 1] & (~self.statistics if s > SUM_STAGE + 1 else 1))
                         for s in range(1, STAGES)]
        for s in range(1, STAGES - 1):
            with m.If(enable[s - 1]):
                m.d.sync += tags[s].eq(tags[s - 1])
        self._cut(m, go, valid, tags, lanes)
        self._connect_lanes(m, enable, tags, lanes)
        self._sum(m, enable, tags, lanes, sums, scalar)
        self._reduce(m, enable, tags, lanes, sums, scalar, multiplier, view)
        self._write(m, enable, tags, lanes, parameters, writer)
        return m

    def _cut(self, m, go, valid, tags, lanes):
        """Stage 0: a piece of the oldest word; or a word of the table goes to every lane's."""
        config = self._config
        low = exact_log2(config.lanes)
        head = self.word.p
        piece = Signal(range(max(self._pieces, 2)))
        take = Signal()
        ends = piece == self._pieces - 1
        entries = max(config.lanes // 4, 1)
        entry = Signal(range(max(entries, 2)))
        index = Signal(range(EXPONENTIALS))
        write_entry = Signal()
        end = Signal(low)  # the last channel of the last word
        m.d.comb += [
            take.eq(go & self.word.valid & ~self.load),
            write_entry.eq(self.word.valid & self.load & ~self.stop),
            self.word.ready.eq(Mux(self.load, write_entry & (entry == entries - 1), take & ends)),
            end.eq(self.record.length - 1),
        ]
        with m.If(self.start):
            m.d.sync += [piece.eq(0), entry.eq(0), index.eq(0)]
        with m.If(write_entry):
            m.d.sync += [entry.eq(Mux(entry == entries - 1, 0, entry + 1)), index.eq(index + 1)]
        for lane in lanes:
            m.d.comb += [lane.table_write.eq(write_entry), lane.table_index.eq(index),
                         lane.table_entry.eq(head.data.word_select(entry, 32)[:ENTRY_BITS])]
        with m.If(go):
            m.d.sync += valid[0].eq(take)
        with m.If(take):
            m.d.sync += [
                piece.eq(Mux(ends, 0, piece + 1)),
                tags[0].row.eq(head.tag.row), tags[0].bank.eq(head.tag.bank), tags[0].piece.eq(piece),
                tags[0].first.eq(head.tag.first & (piece == 0)), tags[0].last.eq(head.tag.last & ends),
                tags[0].fresh.eq(head.tag.fresh & (piece == 0)),
            ]
            for i, lane in enumerate(lanes):
                place = Cat(Const(i, exact_log2(config.row_lanes)), piece)[:low]  # the lane's channel in the word
                m.d.sync += [tags[0].inside[i].eq(~head.tag.last | (place <= end)),
                             lane.q.eq(head.data.word_select(piece, 8 * config.row_lanes)[8 * i:8 * i + 8])]
        self._taken = take

    def _connect_lanes(self, m, enable, tags, lanes):
        """What the command says, and the largest value of the row that enters stage 0."""
        record = self.record
        rounding = Signal(40)
        shift = Signal(6)
        with m.If(self.start):
            m.d.sync += [shift.eq(Mux(self.softmax, 1, record.out_shift)),
                         rounding.eq(Mux(self.softmax, 1, 1 << (record.out_shift - 1)[:6]))]
        for i, lane in enumerate(lanes):
            m.d.comb += [
                lane.enable.eq(enable), lane.softmax.eq(self.softmax), lane.statistics.eq(self.statistics),
                lane.zero.eq(Mux(self.softmax, 0, record.in_zero)), lane.count.eq(record.count),
                lane.rounding.eq(rounding), lane.shift.eq(shift), lane.out_zero.eq(record.out_zero),
                lane.low.eq(record.out_min), lane.high.eq(record.out_max),
                lane.inside.eq(tags[STAGES - 2].inside[i]),
            ]

    def _sum(self, m, enable, tags, lanes, sums, scalar):
        """Stages 2 to 4: sums of rows, and where they are kept."""
        m.submodules.largest = largest = Memory(shape=signed(8), depth=ROW_GROUP, init=[])
        m.submodules.deviations = deviations = Memory(shape=signed(DEVIATION_BITS), depth=ROW_GROUP, init=[])
        largest_read = largest.read_port(domain="comb")
        largest_write = largest.write_port()
        deviation_read = deviations.read_port(domain="comb")
        deviation_write = deviations.write_port()
        deviation = Signal(signed(DEVIATION_BITS))
        at_sum = tags[SUM_STAGE + 1]
        m.d.comb += [
            sums.enable.eq(enable[SUM_STAGE] & self.statistics), sums.inside.eq(tags[SUM_STAGE].inside),
            sums.enable_sum.eq(enable[SUM_STAGE + 1] & self.statistics),
            sums.first.eq(at_sum.first), sums.last.eq(at_sum.last), sums.row.eq(at_sum.row),
            sums.take.eq(sums.done & (self.largest | scalar.ready) & ~self.stop),
            deviation.eq(Mux(self.record.center, sums.deviation, 0)),
            largest_read.addr.eq(self.word.p.tag.row),
            largest_write.en.eq(sums.take & self.largest), largest_write.addr.eq(sums.done_row),
            largest_write.data.eq(sums.largest),
            deviation_read.addr.eq(tags[SUM_STAGE - 1].row),
            deviation_write.en.eq(sums.take & ~self.softmax), deviation_write.addr.eq(sums.done_row),
            deviation_write.data.eq(deviation),
            scalar.start.eq(sums.take & ~self.largest), scalar.total.eq(sums.total), scalar.deviation.eq(deviation),
        ]
        for i, lane in enumerate(lanes):
            m.d.comb += [sums.difference[i].eq(lane.difference),
                         sums.term[i].eq(Mux(self.softmax, lane.exponential, lane.square))]
            with m.If(self._taken):
                m.d.sync += lane.largest.eq(largest_read.data)
            with m.If(enable[SUM_STAGE - 1]):
                m.d.sync += lane.deviation.eq(deviation_read.data)

    def _reduce(self, m, enable, tags, lanes, sums, scalar, multiplier, view):
        """The scalar unit, and its results at stage FACTOR_STAGE."""
        record = self.record
        kept = data.StructLayout({"factor": signed(32), "shift": 5})
        m.submodules.factors = factors = Memory(shape=kept, depth=ROW_GROUP, init=[])
        read = factors.read_port(domain="comb")
        write = factors.write_port()
        row = Signal(ROW_BITS)
        factor = Signal(signed(32))
        shift = Signal(5)
        with m.If(scalar.start):
            m.d.sync += row.eq(sums.done_row)
        m.d.comb += [
            scalar.softmax.eq(self.softmax), scalar.count.eq(record.count), scalar.epsilon.eq(record.epsilon),
            scalar.out_mult.eq(record.out_mult), scalar.out_shift.eq(record.out_shift),
            multiplier.load.eq(scalar.load), multiplier.start.eq(scalar.multiply), multiplier.nudge.eq(scalar.nudge),
            multiplier.a.eq(scalar.a), multiplier.b.eq(scalar.b), scalar.operand.eq(multiplier.operand),
            scalar.multiplied.eq(multiplier.done), scalar.product.eq(multiplier.product),
            write.en.eq(scalar.done), write.addr.eq(row), write.data.factor.eq(scalar.value),
            write.data.shift.eq(scalar.shift), read.addr.eq(tags[FACTOR_STAGE - 1].row),
            factor.eq(read.data.factor),
        ]
        form = Signal(len(encoded(factor, view)))
        with m.If(enable[FACTOR_STAGE - 1] & ~self.statistics):
            m.d.sync += [form.eq(encoded(factor, view)), shift.eq(read.data.shift)]
        for lane in lanes:
            m.d.comb += [lane.factor.eq(form), lane.factor_shift.eq(shift)]

    def _write(self, m, enable, tags, lanes, parameters, writer):
        """Parameters at stage SCALE_STAGE, and results behind the last stage."""
        here = tags[SCALE_STAGE - 1]
        m.d.comb += [
            parameters.write.eq(self.parameter), parameters.write_set.eq(self.parameter_bank),
            parameters.index.eq(self.parameter_index), parameters.data.eq(self.parameter_data),
            parameters.enable.eq(enable[SCALE_STAGE - 1]), parameters.set.eq(here.bank),
            parameters.piece.eq(here.piece), parameters.neutral.eq(self.softmax),
            self.parameters_used.eq(enable[SCALE_STAGE - 1] & here.fresh),
            writer.row_write.eq(self.row_write), writer.row_index.eq(self.row_index),
            writer.row_target.eq(self.row_target), writer.start.eq(self.start), writer.last_row.eq(self.last_row),
            writer.block_step.eq(self.record.out_block >> exact_log2(self._config.lanes)),
            writer.enable.eq(enable[STAGES - 1]), writer.bytes.eq(Cat(lane.y for lane in lanes)),
        ]
        wiring.connect(m, words=writer.write, outward=wiring.flipped(self.write))
        for i, lane in enumerate(lanes):
            m.d.comb += [lane.scale.eq(parameters.scale[i]), lane.bias.eq(parameters.bias[i])]
