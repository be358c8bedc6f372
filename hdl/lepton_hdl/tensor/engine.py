"""The TENSOR engine: the pipeline's stages wired one after the other.

    cycle 0      issue: address to the scratchpad, out address into a queue
          1      align: the word from the scratchpad, shifted to its first byte
          2      products
          3      their sums; accumulator row fetched
          4      accumulate
          5-11   requantize; the table is read with the clock edge after 11
          12     the table's entry
          13     word to the scratchpad; or, with a residual, the residual add until 22, and
          23     word to the scratchpad
          14, 24 done

Nothing in it stalls but the issue stage.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2, exact_log2
from lepton.arch import ChipConfig, ErrorCode, Tensor, TensorOpcode

from ..control.counters import Activity
from ..interfaces import DONE, EngineSignature, WordReadSignature
from ..memory.scratchpad import tensor_read_layout, tensor_write_layout
from .accumulators import Accumulators
from .array import STAGES as ARRAY_STAGES
from .array import DotArray
from .feeder import Feeder
from .issue import Issue, pixel_layout
from .residual import ResidualReader
from .tail import SHORT_STAGES, STAGES, Tail
from .window import WindowUnit

_FRONT = 2 + ARRAY_STAGES  # cycles from issue to accumulate
# Results and commands that can be between issue and the scratchpad at once.
_IN_FLIGHT = 32
assert _IN_FLIGHT > _FRONT + 1 + STAGES


class TensorEngine(wiring.Component):
    """Executes TENSOR commands.

    Members
    -------
    control: commands, completions, errors. activity: what happened in this cycle.
    scratch_read, low, high, residual_read, scratch_write: the scratchpad.
    weight_read, weight_data: the weight memory.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "control": In(EngineSignature(Tensor)),
            "activity": Out(Activity),
            "scratch_read": Out(stream.Signature(tensor_read_layout(config), always_ready=True)),
            "low": In(8 * config.lanes),
            "high": In(8 * config.lanes),
            "residual_read": Out(WordReadSignature(config)),
            "scratch_write": Out(stream.Signature(tensor_write_layout(config), always_ready=True)),
            "weight_read": Out(stream.Signature(ceil_log2(config.weight_words), always_ready=True)),
            "weight_data": In(8 * config.lanes),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.issue = issue = Issue(config)
        m.submodules.feeder = feeder = Feeder(config)
        m.submodules.array = array = DotArray(config)
        m.submodules.accumulators = accumulators = Accumulators(config, array.dot_shape)
        m.submodules.tail = tail = Tail(config)
        m.submodules.residual = residual = ResidualReader(config)
        m.submodules.addresses = addresses = fifo.SyncFIFO(width=ceil_log2(config.scratchpad_words), depth=_IN_FLIGHT)
        m.submodules.completions = completions = fifo.SyncFIFO(width=DONE.size, depth=_IN_FLIGHT)

        self._accept(m, issue, feeder, completions)
        self._issue(m, issue, feeder, residual, addresses)
        here = Signal(pixel_layout(config))  # the pixel in cycle 1
        valid = Signal(_FRONT)  # bit s: a pixel is in cycle s + 1
        # A word that only fills the window goes no further than cycle 1.
        m.d.sync += valid.eq(Cat(issue.pixel.valid, valid[0] & here.counts, valid[1:]))
        with m.If(issue.pixel.valid):
            m.d.sync += here.eq(issue.pixel.p)
        word = self._align(m, here, valid, array)
        if config.window_columns:
            m.submodules.window = window = WindowUnit(config)
            self._fill_window(m, window, issue, here, word, valid)
            m.d.comb += [array.taps[k].eq(window.taps[k]) for k in range(array.taps_count)]
        self._multiply(m, here, valid, feeder, array, accumulators)
        self._accumulate(m, here, valid, array, accumulators, tail)

        # From cycle 5 on: the tail.
        m.d.comb += [tail.value[n].eq(accumulators.result[n]) for n in range(config.columns)]
        m.d.comb += [
            residual.take.eq(tail.residual_take),
            tail.residual.eq(residual.word),
            self.scratch_write.valid.eq(tail.out_valid),
            self.scratch_write.p.address.eq(addresses.r_data),
            self.scratch_write.p.data.eq(tail.out),
            addresses.r_en.eq(tail.out_valid),
            feeder.data.eq(self.weight_data),
        ]
        connect(m, feeder=feeder.parameters, tail=tail.parameters)
        connect(m, feeder=feeder.read, memory=flipped(self.weight_read))
        connect(m, issue=issue.residual, residual=residual.start)
        connect(m, residual=residual.read, scratchpad=flipped(self.residual_read))

        # The last pixel of every command is followed to the end, also where it does not emit.
        leaves = issue.pixel.valid & issue.pixel.p.final
        final = Signal(_FRONT + 1 + STAGES + 1)
        m.d.sync += final.eq(Cat(leaves & issue.pixel.p.residual, final)
                             | (leaves & ~issue.pixel.p.residual) << STAGES - SHORT_STAGES)
        m.d.comb += [
            completions.r_en.eq(final[-1]),
            self.control.done.valid.eq(final[-1]),
            self.control.done.p.eq(completions.r_data),
            # During a halt, commands that were taken stay unfinished; only the pipeline counts.
            self.control.busy.eq(valid.any() | final.any() | (addresses.level != 0)
                                 | (~self.control.halt & (completions.level != 0))),
        ]
        self._report(m, issue, feeder, residual)
        return m

    def _issue(self, m, issue, feeder, residual, addresses):
        """Cycle 0: the input address goes to the scratchpad, the output address into a queue."""
        pixel = issue.pixel.p
        lanes = self.config.lanes
        m.d.comb += [
            self.scratch_read.valid.eq(issue.pixel.valid & ~pixel.padding),
            self.scratch_read.p.address.eq(pixel.address >> exact_log2(lanes)),
            self.scratch_read.p.pair.eq(pixel.address % lanes != 0),
            addresses.w_data.eq(pixel.out),
            addresses.w_en.eq(issue.pixel.valid & pixel.emit),
            issue.halt.eq(self.control.halt),
            issue.drained.eq(addresses.level == 0),
            issue.tile_ready.eq(feeder.tile_ready),
            feeder.tile_take.eq(issue.tile_take),
            issue.params_ready.eq(feeder.params_ready),
            feeder.params_take.eq(issue.params_take),
            issue.residual_available.eq(residual.available),
            residual.claim.eq(issue.residual_claim),
            self.activity.eq(issue.activity),
        ]

    def _align(self, m, here, valid, array):
        """Cycle 1: the word from the scratchpad, shifted to its first byte, or padding."""
        lanes = self.config.lanes
        offset = here.address[:exact_log2(lanes)]
        word = Signal(8 * lanes)
        with m.If(offset == 0):
            m.d.comb += word.eq(self.low)
        with m.Else():
            m.d.comb += word.eq(Cat(self.low, self.high) >> (offset << 3))
        for k in range(lanes):
            with m.If(valid[0]):
                with m.If(here.padding):
                    m.d.sync += array.x[k].eq(here.pad)
                with m.Else():
                    m.d.sync += array.x[k].eq(word.word_select(k, 8))
        return word

    def _fill_window(self, m, window, issue, here, word, valid):
        """Cycles 0 and 1: a word of a WINDOW walk enters the line buffers."""
        m.d.comb += [
            window.look.eq(issue.pixel.valid & issue.pixel.p.window),
            window.look_column.eq(issue.pixel.p.column),
            window.push.eq(valid[0] & here.window),
            window.column.eq(here.column),
            window.word.eq(word),
            window.take.eq(valid[0] & here.window & here.counts),
            window.pad.eq(here.pad),
            window.rows_used.eq(here.tap_rows_used),
            window.rows_inside.eq(here.tap_rows_inside),
            window.columns_used.eq(here.tap_columns_used),
            window.columns_inside.eq(here.tap_columns_inside),
        ]

    def _multiply(self, m, here, valid, feeder, array, accumulators):
        """Cycles 2 and 3: dot products; the accumulator row is read."""
        row = Signal.like(here.row)
        with m.If(valid[0]):
            m.d.sync += [array.bypass.eq(here.bypass), array.window.eq(here.window), row.eq(here.row)]
        with m.If(valid[1]):
            m.d.sync += accumulators.read_row.eq(row)
        m.d.comb += [
            array.swap.eq(valid[0] & here.swap),
            array.enable.eq(valid[1]),
            array.load.eq(feeder.load),
            array.load_column.eq(feeder.load_column),
            array.load_data.eq(feeder.load_data),
            accumulators.read.eq(valid[2]),
        ]

    def _accumulate(self, m, here, valid, array, accumulators, tail):
        """Cycle 4: the sums are added to the row, which may leave through the tail."""
        fate = data.StructLayout({"maximum": 1, "start": 1, "emit": 1, "fresh": 1})
        at_products = Signal(fate)
        at_sums = Signal(fate)
        at_accumulators = Signal(fate)
        with m.If(valid[0]):
            m.d.sync += [at_products[name].eq(here[name]) for name, _ in fate]
        with m.If(valid[1]):
            m.d.sync += at_sums.eq(at_products)
        with m.If(valid[2]):
            m.d.sync += at_accumulators.eq(at_sums)
        m.d.comb += [
            accumulators.update.eq(valid[3]),
            accumulators.start.eq(at_accumulators.start),
            accumulators.maximum.eq(at_accumulators.maximum),
            accumulators.emit.eq(at_accumulators.emit),
            tail.enter.eq(valid[3] & at_accumulators.emit),
            tail.enter_fresh.eq(at_accumulators.fresh),
        ]
        m.d.comb += [accumulators.value[n].eq(array.dot[n]) for n in range(self.config.columns)]

    def _accept(self, m, issue, feeder, completions):
        """Offers the command to feeder and issue stage; the feeder may take it first."""
        command = self.control.command
        record = self.control.command.p.record
        fed = Signal()
        job = feeder.job.p
        m.d.comb += [
            feeder.job.valid.eq(command.valid & ~fed),
            job.tiles.eq((record.opcode == TensorOpcode.DOT) | (record.opcode == TensorOpcode.WINDOW)),
            job.emits.eq(record.last),
            # The window unit has the kernel's columns side by side, in one tile.
            job.kernel_x.eq(Mux(record.opcode == TensorOpcode.WINDOW, 1, record.kernel_x)),
            job.kernel_y.eq(record.kernel_y), job.blocks.eq(record.blocks),
            job.weights.eq(record.weights), job.params.eq(record.params),
            job.load_table.eq(record.load_table), job.table_at.eq(record.table_at),
            job.index.eq(command.p.index), job.layer.eq(record.layer),
        ]
        m.d.comb += [job.scalars[name].eq(record[name]) for name, _ in job.scalars.shape()]
        taken = Signal()
        m.d.comb += [
            issue.command.p.eq(command.p),
            issue.command.valid.eq(command.valid & (fed | feeder.job.ready)),
            command.ready.eq(issue.command.ready & (fed | feeder.job.ready)),
            taken.eq(command.valid & command.ready),
            issue.room.eq(completions.w_rdy),
            completions.w_en.eq(taken),
            completions.w_data.eq(Cat(record.post, record.layer, record.snapshot)),
        ]
        with m.If(taken):
            m.d.sync += fed.eq(0)
        with m.Elif(feeder.job.valid & feeder.job.ready):
            m.d.sync += fed.eq(1)

    def _report(self, m, issue, feeder, residual):
        """One error per job: the first that any of the three walks meets."""
        error = self.control.error
        reported = Signal()
        with m.If(issue.failed):
            m.d.comb += [error.p.code.eq(issue.code), error.p.address.eq(issue.bad_address)]
        with m.Elif(feeder.out_of_bounds):
            m.d.comb += [error.p.code.eq(ErrorCode.LOCAL_BOUNDS), error.p.address.eq(feeder.bad_address)]
        with m.Else():
            m.d.comb += [error.p.code.eq(ErrorCode.LOCAL_BOUNDS), error.p.address.eq(residual.bad_address)]
        from_feeder = feeder.out_of_bounds & ~issue.failed
        with m.If(from_feeder):
            m.d.comb += [error.p.index.eq(feeder.bad_index), error.p.layer.eq(feeder.bad_layer)]
        with m.Else():
            m.d.comb += [error.p.index.eq(issue.index), error.p.layer.eq(issue.layer)]
        failed = issue.failed | feeder.out_of_bounds | residual.out_of_bounds
        m.d.comb += error.valid.eq(failed & ~reported)
        with m.If(failed):
            m.d.sync += reported.eq(1)
