"""The TENSOR engine with the on-chip memories, and the way of LOAD and STORE into them."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from lepton.arch import ChipConfig, Space, Tensor

from .control.counters import Activity
from .interfaces import EngineSignature, WordReadSignature, word_write_layout
from .memory.scratchpad import Scratchpad
from .memory.weights import WeightMemory
from .tensor.engine import TensorEngine


class Datapath(wiring.Component):
    """Members
    -------
    control: the TENSOR engine's commands. activity: what it does, for the counters.
    load_write: words from LOAD for either memory. store_read: the scratchpad for STORE.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "control": In(EngineSignature(Tensor)),
            "activity": Out(Activity),
            "load_write": In(stream.Signature(word_write_layout(config))),
            "store_read": In(WordReadSignature(config)),
        })

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

        load = self.load_write
        m.d.comb += [
            scratchpad.load_write.p.address.eq(load.p.address), scratchpad.load_write.p.data.eq(load.p.data),
            weights.write.p.address.eq(load.p.address), weights.write.p.data.eq(load.p.data),
        ]
        with m.If(load.p.space == Space.WEIGHTS):
            m.d.comb += [weights.write.valid.eq(load.valid), load.ready.eq(weights.write.ready)]
        with m.Else():
            m.d.comb += [scratchpad.load_write.valid.eq(load.valid), load.ready.eq(scratchpad.load_write.ready)]
        return m
