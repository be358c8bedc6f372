"""The ROWS engine: functions of all channels of a pixel, between the scratchpad and itself.

    SOFTMAX    the table, once; then for each group of rows: the largest value of each row; the sum of its exponentials;
               results
    NORM       for each group of rows: both sums of each row; results, block by block, so that a block's parameters are
               read once a group

Every pass takes lanes / row_lanes cycles a word. What is computed once for a row happens in the scalar unit, while the
next rows stream; so the latency of the lanes is paid once a pass and group.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig, ErrorCode
from lepton.arch.rows import Rows, RowsOpcode

from ..interfaces import EngineSignature, WordReadSignature
from ..memory.scratchpad import tensor_write_layout
from .legality import Legality
from .pipeline import RowPipeline
from .reader import Pass, RowReader


class RowsEngine(wiring.Component):
    """Executes ROWS commands, one after the other.

    A command is taken when it is done: until then it waits, unchanged, where it comes from, and no copy is kept.

    Members
    -------
    control: commands, completions, errors. read, write: the scratchpad.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "control": In(EngineSignature(Rows)),
            "read": Out(WordReadSignature(config)),
            "write": Out(stream.Signature(tensor_write_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        control = self.control
        command = control.command
        record = command.p.record
        m.submodules.legality = legality = Legality(self.config)
        m.submodules.reader = reader = RowReader(self.config)
        m.submodules.pipeline = pipeline = RowPipeline(self.config)
        wiring.connect(m, reader=reader.read, outward=wiring.flipped(self.read))
        wiring.connect(m, pipeline=pipeline.write, outward=wiring.flipped(self.write))
        wiring.connect(m, reader=reader.word, pipeline=pipeline.word)
        stopped = Signal()
        stop = Signal()
        softmax = Signal()
        kind = Signal(Pass)
        m.d.comb += [
            stop.eq(stopped | control.halt), softmax.eq(record.opcode == RowsOpcode.SOFTMAX),
            legality.record.eq(record), reader.record.eq(record), reader.norm.eq(~softmax), reader.stop.eq(stop),
            pipeline.record.eq(record), pipeline.softmax.eq(softmax), pipeline.stop.eq(stop),
            pipeline.load.eq(kind == Pass.TABLE), pipeline.statistics.eq(kind != Pass.WRITE),
            pipeline.largest.eq(softmax & (kind == Pass.FIRST)), pipeline.start.eq(reader.begin),
            pipeline.last_row.eq(reader.last_row), pipeline.parameter_data.eq(self.read.data),
            reader.parameters_used.eq(pipeline.parameters_used),
        ]
        for name in ("parameter", "parameter_bank", "parameter_index", "row_write", "row_index", "row_target"):
            m.d.comb += getattr(pipeline, name).eq(getattr(reader, name))
        with m.If(control.halt):
            m.d.sync += stopped.eq(1)
        with m.If(reader.begin):
            m.d.sync += kind.eq(reader.kind)
        idle = self._execute(m, legality, reader, pipeline, record, softmax, kind, stop, stopped)
        m.d.comb += control.busy.eq(
            self.read.request.valid | pipeline.writing | control.done.valid | control.error.valid | (~stop & ~idle))
        return m

    def _execute(self, m, legality, reader, pipeline, record, softmax, kind, stop, stopped):
        """The passes of a command. Gives whether there is none."""
        control = self.control
        command = control.command
        idle = Signal()
        m.d.sync += [control.done.valid.eq(0), control.error.valid.eq(0)]

        def fail(code, value):
            m.d.sync += [
                stopped.eq(1), control.error.valid.eq(1), control.error.p.code.eq(code),
                control.error.p.address.eq(value), control.error.p.index.eq(command.p.index),
                control.error.p.layer.eq(record.layer),
            ]

        def begin(which):
            m.d.comb += [reader.begin.eq(1), reader.kind.eq(which)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                with m.If(command.valid & ~stop):
                    m.d.comb += legality.start.eq(1)
                    m.next = "CHECK"
            with m.State("CHECK"), m.If(legality.done & ~stop):
                with m.If(legality.illegal):
                    fail(legality.code, legality.value)
                with m.Else():
                    m.d.comb += reader.start.eq(1)
                    begin(Mux(softmax & record.load_table, Pass.TABLE, Pass.FIRST))
                m.next = "PASS"
            with m.State("PASS"), m.If(~stop):
                with m.If(reader.outside):
                    fail(ErrorCode.LOCAL_BOUNDS, reader.bad_address)
                with m.Elif(~reader.active & pipeline.idle):
                    with m.If((kind == Pass.TABLE) | ((kind == Pass.WRITE) & reader.more)):
                        begin(Pass.FIRST)
                    with m.Elif((kind == Pass.FIRST) & softmax):
                        begin(Pass.AGAIN)
                    with m.Elif(kind != Pass.WRITE):
                        begin(Pass.WRITE)
                    with m.Else():
                        m.d.comb += command.ready.eq(1)
                        m.d.sync += [control.done.valid.eq(1), control.done.p.post.eq(record.post),
                                     control.done.p.layer.eq(record.layer),
                                     control.done.p.snapshot.eq(record.snapshot)]
                        m.next = "IDLE"
        return idle
