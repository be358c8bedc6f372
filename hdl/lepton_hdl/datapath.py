"""The TENSOR and ROWS engines with the on-chip memories, and the way of LOAD and STORE into them."""

from amaranth.hdl import Cat, DomainRenamer, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from lepton.arch import ChipConfig, Rows, Space, Tensor

from .control.counters import Activity
from .interfaces import EngineSignature, WordReadSignature, word_write_layout
from .memory.bist import March
from .memory.scratchpad import Scratchpad
from .memory.weights import WeightMemory
from .rows.engine import RowsEngine
from .tensor.engine import TensorEngine


class Datapath(wiring.Component):
    """Members
    -------
    control: the TENSOR engine's commands. activity: what it does, for the counters.
    rows: the ROWS engine's commands; only with `config.row_lanes`.
    load_write: words from LOAD for either memory. store_read: the scratchpad for STORE.
    bist_start, bist_busy, bist_failed (scratchpad, weights): the memories' self-test, with `config.controller` only,
    in the clock domain "awake"; no engine may work meanwhile.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "control": In(EngineSignature(Tensor)),
            "activity": Out(Activity),
            "load_write": In(stream.Signature(word_write_layout(config))),
            "store_read": In(WordReadSignature(config)),
        } | ({"rows": In(EngineSignature(Rows))} if config.row_lanes else {})
          | ({"bist_start": In(1), "bist_busy": Out(1), "bist_failed": Out(2)} if config.controller else {}))

    def elaborate(self, platform):
        m = Module()
        m.submodules.tensor = tensor = TensorEngine(self.config)
        m.submodules.scratchpad = scratchpad = Scratchpad(self.config)
        m.submodules.weights = weights = WeightMemory(self.config)

        connect(m, control=flipped(self.control), tensor=tensor.control)
        connect(m, tensor=tensor.scratch_read, scratchpad=scratchpad.tensor_read)
        connect(m, tensor=tensor.scratch_write, scratchpad=scratchpad.tensor_write)
        connect(m, tensor=tensor.residual_read, scratchpad=scratchpad.residual_read)
        connect(m, tensor=tensor.weight_read, weights=weights.read)
        connect(m, store=flipped(self.store_read), scratchpad=scratchpad.store_read)
        m.d.comb += [
            self.activity.eq(tensor.activity),
            tensor.low.eq(scratchpad.low),
            tensor.high.eq(scratchpad.high),
            tensor.weight_data.eq(weights.data),
        ]

        if self.config.row_lanes:
            m.submodules.rows = rows = RowsEngine(self.config)
            connect(m, rows=flipped(self.rows), engine=rows.control)
            connect(m, rows=rows.read, scratchpad=scratchpad.rows_read)
            connect(m, rows=rows.write, scratchpad=scratchpad.rows_write)

        load = self.load_write
        m.d.comb += [
            scratchpad.load_write.p.address.eq(load.p.address), scratchpad.load_write.p.data.eq(load.p.data),
            weights.write.p.address.eq(load.p.address), weights.write.p.data.eq(load.p.data),
        ]
        with m.If(load.p.space == Space.WEIGHTS):
            m.d.comb += [weights.write.valid.eq(load.valid), load.ready.eq(weights.write.ready)]
        with m.Else():
            m.d.comb += [scratchpad.load_write.valid.eq(load.valid), load.ready.eq(scratchpad.load_write.ready)]
        if self.config.controller:
            self._add_self_test(m, scratchpad, weights)
        return m

    def _add_self_test(self, m, scratchpad, weights):
        """The marches take the memories' ports while they run; a later assignment wins over the engines'."""
        marches = March(self.config, self.config.scratchpad_words), March(self.config, self.config.weight_words)
        for name, march in zip(("scratchpad_march", "weight_march"), marches, strict=True):
            m.submodules[name] = DomainRenamer("awake")(march)
        for march in marches:
            m.d.comb += march.start.eq(self.bist_start)
        m.d.comb += [self.bist_busy.eq(marches[0].busy | marches[1].busy),
                     self.bist_failed.eq(Cat(marches[0].failed, marches[1].failed))]
        for march, write in zip(marches, (scratchpad.load_write, weights.write), strict=True):
            m.d.comb += march.write.ready.eq(march.busy & write.ready)
            with m.If(march.busy):
                m.d.comb += [write.valid.eq(march.write.valid), write.p.eq(march.write.p)]
        march = marches[0].read
        request = scratchpad.store_read.request
        m.d.comb += [march.request.ready.eq(request.ready), march.data.eq(scratchpad.store_read.data)]
        with m.If(marches[0].busy):
            m.d.comb += [request.valid.eq(march.request.valid), request.p.eq(march.request.p)]
        march = marches[1].read
        m.d.comb += [march.request.ready.eq(1), march.data.eq(weights.data)]
        with m.If(marches[1].busy):
            m.d.comb += [weights.read.valid.eq(march.request.valid), weights.read.p.eq(march.request.p)]
