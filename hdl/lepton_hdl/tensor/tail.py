"""The tail: finished accumulator rows to words of int8, a row a cycle, never stalled.

Two commands' rows can be in it at once. Parameters therefore travel with the
rows: each stage keeps its own copy and takes the next command's when that
command's first row is about to enter the stage.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig, Rounding

from . import requantize, residual_add
from .parameters import SCALARS_WRITE, ParameterSignature
from .requantize import Requantizer
from .residual_add import ResidualAdd
from .table import TableMemory

STAGES = requantize.STAGES + residual_add.STAGES  # from a row at `value` to its word at `out`
_ADD = requantize.STAGES  # the stage at which the residual add begins


class Tail(wiring.Component):
    """Requantizes rows, looks them up and adds the residual.

    Members
    -------
    enter: a row will be at `value` in the next cycle; enter_fresh: it is its command's first.
    value: N int32.
    parameters: the next command's parameters, from the feeder.
    residual_take, residual: the residual of the row that begins its residual add; taken when it is used.
    out_valid, out: the finished word, `STAGES` cycles after the row was at `value`.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "enter": In(1),
            "enter_fresh": In(1),
            "value": In(signed(32)).array(config.columns),
            "parameters": In(ParameterSignature(config)),
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
            self.parameters.taken.eq(take[STAGES - 1]),
            self.out_valid.eq(valid[STAGES]),
        ]

        record = self.parameters.record
        scalars = self.parameters.scalars
        table = self.parameters.table
        next_command = Signal(SCALARS_WRITE)
        waiting = next_command.scalars
        with m.If(scalars.valid):
            m.d.sync += next_command.eq(scalars.p)

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
            "multiplies": Cat(at(_ADD + s, "multiply") for s in range(residual_add.STAGES)),
            "low": at(_ADD + residual_add.CLAMP, "add_min"), "high": at(_ADD + residual_add.CLAMP, "add_max"),
        }
        for stage, names in ((residual_add.SCALE, ("zero_a", "zero_b", "mult_a", "mult_b")),
                             (residual_add.SHIFT, ("shift_a", "shift_b")), (residual_add.SCALE_SUM, ("mult_o",)),
                             (residual_add.SHIFT_SUM, ("shift_o",)), (residual_add.ROUND, ("zero_o",))):
            addition |= {name: at(_ADD + stage, f"add_{name}") for name in names}
        m.d.comb += self.residual_take.eq(valid[_ADD] & adds[0])

        bank = at(requantize.CLAMP, "bank", next_command.bank)
        looks = at(requantize.CLAMP, "table")
        looked = at(_ADD, "table")

        lanes = []
        for n in range(self.config.columns):
            m.submodules[f"requantize{n}"] = lane = Requantizer()
            m.submodules[f"table{n}"] = entries = TableMemory()
            m.submodules[f"add{n}"] = add = ResidualAdd()
            lanes.append(add.out)
            m.d.comb += [
                lane.value.eq(self.value[n]),
                lane.valid.eq(valid[:_ADD]),
                lane.fresh.eq(take[:_ADD]),
                lane.as_float.eq(floats[:_ADD]),
                lane.param_write.eq(record.valid),
                lane.param_index.eq(record.p.index),
                lane.param_data.eq(record.p.word.word_select(n, 8)),
                lane.uniform_write.eq(scalars.valid & scalars.p.scalars.uniform),
                lane.uniform_multiplier.eq(scalars.p.scalars.add_mult_a),
                lane.uniform_left.eq(scalars.p.scalars.add_shift_a),
                lane.uniform_right.eq(scalars.p.scalars.add_shift_b),
                entries.write.eq(table.valid),
                entries.write_bank.eq(table.p.bank),
                entries.index.eq(table.p.index),
                entries.beat.eq(table.p.beat),
                entries.look.eq(valid[requantize.CLAMP] & looks),
                entries.bank.eq(bank),
                entries.q.eq(lane.clamped),
                add.y.eq(Mux(looked, entries.y, lane.y)),
                add.residual.eq(self.residual.word_select(n, 8)),
                add.valid.eq(valid[_ADD:STAGES]),
                add.as_float.eq(floats[_ADD:]),
            ]
            m.d.comb += [getattr(lane, name).eq(value) for name, value in requantization.items()]
            m.d.comb += [getattr(add, name).eq(value) for name, value in addition.items()]
        m.d.comb += self.out.eq(Cat(lanes))
        return m
