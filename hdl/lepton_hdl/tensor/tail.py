"""The tail: finished accumulator rows to words of int8, a row a cycle, never stalled.

Rows of several commands can be in it at once. Parameters therefore travel with the
rows: each stage keeps its own copy and takes the next command's when that
command's first row is about to enter the stage.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig, Rounding

from ..views import View, recoded, view_of
from . import requantize, residual_add
from .parameters import SCALARS_WRITE, ParameterSignature
from .requantize import Requantizer
from .residual_add import ResidualAdd
from .table import TableMemory

# From a row at `value` to its word: requantization, and the register behind the table.
SHORT_STAGES = requantize.STAGES + 1
# The same for a row that takes a residual.
STAGES = SHORT_STAGES + residual_add.STAGES


class Tail(wiring.Component):
    """Requantizes rows and looks them up; then they leave, or the residual is added to them.

    Members
    -------
    enter: a row will be at `value` in the next cycle; enter_fresh: it is its command's first. A row without residual
        enters at least residual_add.STAGES + 1 cycles behind one with a residual.
    value: N int32.
    parameters: the next command's parameters, from the feeder.
    residual_take, residual: the residual of the row that begins its residual add; taken when it is used.
    out_valid, out: the finished word, `SHORT_STAGES` cycles after the row was at `value`, or `STAGES` with a residual.
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
        view = view_of(platform)
        record = self.parameters.record
        scalars = self.parameters.scalars
        table = self.parameters.table
        next_command = Signal(SCALARS_WRITE)
        waiting = next_command.scalars
        with m.If(scalars.valid):
            m.d.sync += next_command.eq(scalars.p)
        as_float = waiting.rounding == Rounding.FLOAT

        entered = Signal()
        m.d.sync += entered.eq(self.enter)
        rows = _Pipeline(m, "row", SHORT_STAGES, entered, self.enter & self.enter_fresh)
        first = requantize.schedule_of(view)
        requantization = {
            "as_float": rows.at_each(requantize.STAGES, "as_float", as_float),
            "double": rows.at(first.nudge, "double", waiting.rounding == Rounding.DOUBLE),
            "zero": rows.at(first.zero, "zero", waiting.out_zero),
            "low": rows.at(first.clamp, "low", waiting.out_min), "high": rows.at(first.clamp, "high", waiting.out_max),
        }
        bank = rows.at(first.clamp, "bank", next_command.bank)
        looks = rows.at(first.clamp, "table", waiting.table)
        looked = rows.at(first.count, "table", waiting.table)
        has_residual = rows.at(SHORT_STAGES, "add", waiting.add)

        enters_add = rows.valid[SHORT_STAGES] & has_residual
        adding = _Pipeline(m, "add", residual_add.STAGES, enters_add, rows.take[SHORT_STAGES] & waiting.add)
        second = residual_add.schedule_of(view)
        addition = self._addition(adding, second, view, waiting, as_float)
        m.d.comb += [
            self.residual_take.eq(enters_add),
            self.parameters.taken.eq(Mux(waiting.add, adding.take[residual_add.STAGES - 1], rows.take[SHORT_STAGES])),
        ]

        words = []
        added = []
        entering = Signal(8 * self.config.lanes)  # the word behind the table
        for n in range(self.config.columns):
            m.submodules[f"requantize{n}"] = lane = Requantizer()
            m.submodules[f"table{n}"] = entries = TableMemory()
            m.submodules[f"add{n}"] = add = ResidualAdd()
            words.append(Mux(looked, entries.y, lane.y))
            added.append(add.out)
            m.d.comb += [
                lane.value.eq(self.value[n]),
                lane.valid.eq(rows.valid),
                lane.fresh.eq(rows.take),
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
                entries.look.eq(rows.valid[first.clamp] & looks),
                entries.bank.eq(bank),
                entries.q.eq(lane.clamped),
                add.y.eq(entering.word_select(n, 8)),
                add.residual.eq(self.residual.word_select(n, 8)),
                add.valid.eq(adding.valid),
            ]
            m.d.comb += [getattr(lane, name).eq(value) for name, value in requantization.items()]
            m.d.comb += [getattr(add, name).eq(value) for name, value in addition.items()]
        m.d.comb += entering.eq(_delayed(m, "requantized", Cat(words), rows.valid[first.count:SHORT_STAGES]))
        sum_word = _delayed(m, "added", Cat(added), adding.valid[second.count:residual_add.STAGES])
        m.d.comb += [
            self.out_valid.eq((rows.valid[SHORT_STAGES] & ~has_residual) | adding.valid[residual_add.STAGES]),
            self.out.eq(Mux(adding.valid[residual_add.STAGES], sum_word, entering)),
        ]
        return m

    def _addition(self, adding, at, view, waiting, as_float):
        """The parameters of the residual add, at the stages that use them."""
        addition = {
            "as_float": adding.at_each(residual_add.STAGES, "as_float", as_float),
            "multiplies": adding.at_each(residual_add.STAGES, "multiplies", waiting.multiply),
            "offset_o": adding.at(at.scale_sum + 1, "offset_o", waiting.add_mult_o),
            "zero_o": adding.at(at.zero_o, "zero_o", waiting.add_zero_o),
            "low": adding.at(at.clamp, "low", waiting.add_min), "high": adding.at(at.clamp, "high", waiting.add_max),
        }
        for stage, kind, operands in ((at.zero, "zero", "ab"), (at.scale, "mult", "ab"), (at.shift, "shift", "ab"),
                                      (at.scale_sum, "mult", "o"), (at.shift_sum, "shift", "o")):
            for operand in operands:
                name = f"{kind}_{operand}"
                addition[name] = adding.at(stage, name, waiting[f"add_{name}"])
        if view is View.GATES:
            addition["digits_o"] = adding.at(at.scale_sum, "digits_o", recoded(waiting.add_mult_o))
        for stage, operands in ((at.nudge, "ab"), (at.nudge_sum, "o")):
            for operand in operands:
                name = f"nudge_{operand}"
                addition[name] = adding.at(stage, name, (waiting[f"add_shift_{operand}"] != 0) & ~as_float)
        return addition


class _Pipeline:
    """What goes with the rows through `stages` stages.

    valid: bit s says that a row is at stage s. take: bit s says that stage s takes the next parameters at the coming
    clock edge, as their first row enters it.
    """

    def __init__(self, m, name, stages, valid, take):
        """`valid`, `take`: the bits of stage 0."""
        self._m = m
        self._name = name
        later_valid = Signal(stages, name=f"{name}_valid")
        fresh = Signal(stages, name=f"{name}_fresh")
        self.valid = Cat(valid, later_valid)
        self.take = Cat(take, fresh)
        m.d.sync += [later_valid.eq(self.valid), fresh.eq(self.take)]

    def at(self, stage, name, value):
        """`value`, made of the waiting parameters, as the row at `stage` needs it."""
        copy = Signal.like(value, name=f"{self._name}_{name}_{stage}")
        with self._m.If(self.take[stage]):
            self._m.d.sync += copy.eq(value)
        return copy

    def at_each(self, stages, name, value):
        """A bit for each stage below `stages`."""
        return Cat(self.at(s, name, value) for s in range(stages))


def _delayed(m, name, word, valid):
    """`word` a cycle later for each bit of `valid`, which says whether it is at that stage."""
    for s in range(len(valid)):
        later = Signal(len(word), name=f"{name}_{s + 1}")
        with m.If(valid[s]):
            m.d.sync += later.eq(word)
        word = later
    return word
