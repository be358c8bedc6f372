"""The tail: finished accumulator rows to words of int8, a row a cycle, never stalled.

Two commands' rows can be in it at once. Parameters therefore travel with the
rows: each stage keeps its own copy and takes the next command's when that
command's first row is about to enter the stage.
"""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig, Rounding, Tensor
from lepton.arch.commands import PARAM_WORDS

from ..layouts import layout
from . import requantize, residual_add
from .requantize import Requantizer
from .residual_add import ResidualAdd

STAGES = requantize.STAGES + residual_add.STAGES  # from a row at `value` to its word at `out`
_ADD = requantize.STAGES  # the stage at which the residual add begins

_TENSOR = layout(Tensor)
# The per-tensor parameters and the stage that uses them.
_SCALAR_STAGE = {
    "rounding": requantize.ROUND, "out_zero": requantize.SHIFT,
    "out_min": requantize.CLAMP, "out_max": requantize.CLAMP,
    **dict.fromkeys(("add_zero_a", "add_zero_b", "add_mult_a", "add_mult_b"), _ADD + residual_add.SCALE),
    **dict.fromkeys(("add_shift_a", "add_shift_b"), _ADD + residual_add.SHIFT),
    "add_mult_o": _ADD + residual_add.SCALE_SUM,
    **dict.fromkeys(("add_shift_o", "add_zero_o"), _ADD + residual_add.SHIFT_SUM),
    **dict.fromkeys(("add", "add_min", "add_max"), _ADD + residual_add.CLAMP),
}
SCALARS = data.StructLayout({name: _TENSOR[name].shape for name in _SCALAR_STAGE})


class Tail(wiring.Component):
    """Requantizes rows and adds the residual.

    Members
    -------
    enter: a row will be at `value` in the next cycle; enter_fresh: it is its command's first.
    value: N int32.
    param_write, param_index, param_word: word `param_index` of the next parameter record.
    scalars_write, scalars: the next command's per-tensor parameters.
    taken: the next parameters have reached the last stage; they may be overwritten.
    residual_take, residual: the residual of the row that begins its residual add; taken when it is used.
    out_valid, out: the finished word, `STAGES` cycles after the row was at `value`.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "enter": In(1),
            "enter_fresh": In(1),
            "value": In(signed(32)).array(config.columns),
            "param_write": In(1),
            "param_index": In(ceil_log2(PARAM_WORDS)),
            "param_word": In(8 * config.lanes),
            "scalars_write": In(1),
            "scalars": In(SCALARS),
            "taken": Out(1),
            "residual_take": Out(1),
            "residual": In(8 * config.lanes),
            "out_valid": Out(1),
            "out": Out(8 * config.lanes),
        })

    def elaborate(self, platform):
        m = Module()

        valid = Signal(STAGES + 1)  # bit s: a row is at stage s
        fresh = Signal(STAGES)  # bit s: it is the first of its command
        take = Signal(STAGES)  # bit s: stage s takes the next parameters at this clock edge
        m.d.sync += [valid.eq(Cat(self.enter, valid)), fresh.eq(take)]
        m.d.comb += [
            take.eq(Cat(self.enter & self.enter_fresh, fresh)),
            self.taken.eq(take[STAGES - 1]),
            self.out_valid.eq(valid[STAGES]),
        ]

        waiting = Signal(SCALARS)
        with m.If(self.scalars_write):
            m.d.sync += waiting.eq(self.scalars)
        scalar = {}
        for name, stage in _SCALAR_STAGE.items():
            scalar[name] = Signal(SCALARS[name].shape, name=name)
            with m.If(take[stage]):
                m.d.sync += scalar[name].eq(waiting[name])

        # `add` is used at both ends of the residual add.
        add_now = Signal()
        with m.If(take[_ADD]):
            m.d.sync += add_now.eq(waiting.add)
        m.d.comb += self.residual_take.eq(valid[_ADD] & add_now)

        lanes = []
        for n in range(self.config.columns):
            m.submodules[f"requantize{n}"] = lane = Requantizer()
            m.submodules[f"add{n}"] = add = ResidualAdd()
            lanes.append(add.out)
            m.d.comb += [
                lane.value.eq(self.value[n]),
                lane.valid.eq(valid[:_ADD]),
                lane.fresh.eq(take[:_ADD]),
                lane.param_write.eq(self.param_write),
                lane.param_index.eq(self.param_index),
                lane.param_data.eq(self.param_word.word_select(n, 8)),
                lane.single.eq(scalar["rounding"] == Rounding.SINGLE),
                lane.zero.eq(scalar["out_zero"]),
                lane.low.eq(scalar["out_min"]),
                lane.high.eq(scalar["out_max"]),
                add.y.eq(lane.y),
                add.residual.eq(self.residual.word_select(n, 8)),
                add.valid.eq(valid[_ADD:STAGES]),
                add.add.eq(scalar["add"]),
                add.low.eq(scalar["add_min"]),
                add.high.eq(scalar["add_max"]),
            ]
            m.d.comb += [getattr(add, name).eq(scalar[f"add_{name}"]) for name in (
                "zero_a", "zero_b", "zero_o", "mult_a", "mult_b", "mult_o", "shift_a", "shift_b", "shift_o")]
        m.d.comb += self.out.eq(Cat(lanes))
        return m
