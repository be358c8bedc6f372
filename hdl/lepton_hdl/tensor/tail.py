"""The tail: finished accumulator rows to words of int8, a row a cycle, never stalled.

Two commands' rows can be in it at once. Parameters therefore travel with the
rows: each stage keeps its own copy and takes the next command's when that
command's first row is about to enter the stage.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig, Rounding, Tensor
from lepton.arch.commands import PARAM_WORDS

from ..layouts import layout
from . import requantize, residual_add, table
from .requantize import Requantizer
from .residual_add import ResidualAdd
from .table import Table

STAGES = requantize.STAGES + residual_add.STAGES  # from a row at `value` to its word at `out`
_ADD = requantize.STAGES  # the stage at which the residual add begins

_TENSOR = layout(Tensor)
# The per-tensor parameters that go with the rows of a command.
SCALARS = data.StructLayout({name: _TENSOR[name].shape for name in (
    "uniform", "rounding", "out_zero", "out_min", "out_max", "table", "add",
    *(f"add_{kind}_{operand}" for kind in ("zero", "mult", "shift") for operand in "abo"), "add_min", "add_max")})


class Tail(wiring.Component):
    """Requantizes rows, looks them up and adds the residual.

    Members
    -------
    enter: a row will be at `value` in the next cycle; enter_fresh: it is its command's first.
    value: N int32.
    param_write, param_index, param_word: word `param_index` of the next parameter record.
    scalars_write, scalars, bank: the next command's per-tensor parameters, and the bank of tables that it uses.
    table_write, table_bank, table_index, table_beat: a part of a table; its bank must not be that of a command with
        rows in the tail.
    taken: the next parameters have reached the last stage; they may be overwritten. Only rows of the command that
        took them are left.
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
            "bank": In(range(table.BANKS)),
            "table_write": In(1),
            "table_bank": In(range(table.BANKS)),
            "table_index": In(range(table.BEATS)),
            "table_beat": In(8 * table.BEAT_BYTES),
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

        waiting, waiting_bank = Signal(SCALARS), Signal.like(self.bank)
        with m.If(self.scalars_write):
            m.d.sync += [waiting.eq(self.scalars), waiting_bank.eq(self.bank)]

        def at(stage, name, value=None):
            """The parameter, or a value made of the waiting ones, as the row at `stage` needs it."""
            value = waiting[name] if value is None else value
            copy = Signal.like(value, name=f"{name}_{stage}")
            with m.If(take[stage]):
                m.d.sync += copy.eq(value)
            return copy

        as_float = waiting.rounding == Rounding.FLOAT
        floats = Cat(at(s, "as_float", as_float) for s in range(STAGES))
        requantization = {
            "double": at(requantize.SHIFT, "double", waiting.rounding == Rounding.DOUBLE),
            "zero": at(requantize.ROUND, "out_zero"),
            "low": at(requantize.CLAMP, "out_min"), "high": at(requantize.CLAMP, "out_max"),
        }
        adds = Cat(at(_ADD + s, "add") for s in range(residual_add.STAGES))
        addition = {
            "adds": adds,
            "low": at(_ADD + residual_add.CLAMP, "add_min"), "high": at(_ADD + residual_add.CLAMP, "add_max"),
        }
        for stage, names in ((residual_add.SCALE, ("zero_a", "zero_b", "mult_a", "mult_b")),
                             (residual_add.SUM, ("shift_a", "shift_b")), (residual_add.SCALE_SUM, ("mult_o",)),
                             (residual_add.SHIFT_SUM, ("shift_o",)), (residual_add.ROUND, ("zero_o",))):
            addition |= {name: at(_ADD + stage, f"add_{name}") for name in names}
        m.d.comb += self.residual_take.eq(valid[_ADD] & adds[0])

        bank, looks, looked = (at(requantize.CLAMP, "bank", waiting_bank), at(requantize.CLAMP, "table"),
                               at(_ADD, "table"))

        lanes = []
        for n in range(self.config.columns):
            m.submodules[f"requantize{n}"] = lane = Requantizer()
            m.submodules[f"table{n}"] = entries = Table()
            m.submodules[f"add{n}"] = add = ResidualAdd()
            lanes.append(add.out)
            m.d.comb += [
                lane.value.eq(self.value[n]),
                lane.valid.eq(valid[:_ADD]),
                lane.fresh.eq(take[:_ADD]),
                lane.as_float.eq(floats[:_ADD]),
                lane.param_write.eq(self.param_write),
                lane.param_index.eq(self.param_index),
                lane.param_data.eq(self.param_word.word_select(n, 8)),
                lane.uniform_write.eq(self.scalars_write & self.scalars.uniform),
                lane.uniform_multiplier.eq(self.scalars.add_mult_a),
                lane.uniform_left.eq(self.scalars.add_shift_a), lane.uniform_right.eq(self.scalars.add_shift_b),
                entries.write.eq(self.table_write), entries.write_bank.eq(self.table_bank),
                entries.index.eq(self.table_index), entries.beat.eq(self.table_beat),
                entries.look.eq(valid[requantize.CLAMP] & looks), entries.bank.eq(bank), entries.q.eq(lane.clamped),
                add.y.eq(Mux(looked, entries.y, lane.y)),
                add.residual.eq(self.residual.word_select(n, 8)),
                add.valid.eq(valid[_ADD:STAGES]),
                add.as_float.eq(floats[_ADD:]),
            ]
            m.d.comb += [getattr(lane, name).eq(value) for name, value in requantization.items()]
            m.d.comb += [getattr(add, name).eq(value) for name, value in addition.items()]
        m.d.comb += self.out.eq(Cat(lanes))
        return m
