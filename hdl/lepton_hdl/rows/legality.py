"""Which ROWS commands are refused before they start."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import ChipConfig, ErrorCode
from lepton.arch.rows import EXPONENTIALS, NORM_WORDS, ROW_LENGTH, Rows, RowsOpcode

from ..bounds import above_power
from ..layouts import layout

_COUNTS = ("length", "nx", "ny", "nz")  # at least 1
_ADDRESSES = ("in_addr", "in_x", "in_y", "in_z", "in_block", "out_addr", "out_x", "out_y", "out_z", "out_block")
_SOFTMAX_SHIFT = 31  # the largest
_NORM_SHIFT = 40
_EPSILON_BITS = 48


class Legality(wiring.Component):
    """Members
    -------
    record: the command, stable from `start` to `done`.
    done: in the cycle after `start`, later where the command is `illegal`. code, value: its error then.

    The conditions are registered, and the first that holds is looked for one a cycle: no long chain of choices. So is
    the error: what is chosen from is computed when a command is illegal, not in every cycle.
    """

    def __init__(self, config: ChipConfig):
        self._config = config
        super().__init__({"record": In(layout(Rows)), "start": In(1), "done": Out(1), "illegal": Out(1),
                          "code": Out(ErrorCode), "value": Out(32)})

    def elaborate(self, platform):
        m = Module()
        checks = self._checks()
        wrong = Signal(len(checks))
        number = Signal(range(len(checks)))
        busy = Signal()
        m.d.comb += self.done.eq(busy & (self.illegal | ~wrong.any()))
        with m.If(self.start):
            m.d.sync += [busy.eq(1), number.eq(0), wrong.eq(Cat(condition for _, condition, _ in checks)),
                         self.illegal.eq(0)]
        with m.Elif(self.done):
            m.d.sync += busy.eq(0)
        with m.Else():
            m.d.sync += [number.eq(number + 1), wrong.eq(wrong >> 1)]
        with m.If(busy & wrong[0] & ~self.illegal):
            m.d.sync += self.illegal.eq(1)
            with m.Switch(number):
                for i, (code, _, value) in enumerate(checks):
                    with m.Case(i) if i < len(checks) - 1 else m.Default():
                        m.d.sync += [self.code.eq(code), self.value.eq(value)]
        return m

    def _checks(self) -> list:
        """(code, condition, offending value) for each rule, in the order in which they are reported."""
        record = self.record
        lanes = self._config.lanes
        softmax = record.opcode == RowsOpcode.SOFTMAX
        fields = []
        for field in Rows.fields:
            value = record[field.name]
            if field.name.startswith("reserved") and field.name != "reserved_header":  # the dispatcher's
                fields.append((value != 0, value))
            elif field.name in _COUNTS:
                fields.append((value == 0, 0))
        fields += [
            (above_power(record.length, ROW_LENGTH), record.length),
            (softmax & above_power(record.out_shift, _SOFTMAX_SHIFT + 1) | (record.out_shift == _SOFTMAX_SHIFT + 1)
             & softmax | ~softmax & ((record.out_shift == 0) | (record.out_shift > _NORM_SHIFT)), record.out_shift),
            (softmax & record.out_mult[31], record.out_mult),
            (~softmax & ((record.count == 0) | above_power(record.count, ROW_LENGTH)), record.count),
            (~softmax & record.epsilon[_EPSILON_BITS:].any(), record.epsilon[:32]),
        ]
        checks = [(ErrorCode.ILLEGAL_FIELD, condition, value) for condition, value in fields]
        used = dict.fromkeys(_ADDRESSES, 1) | {"table_addr": softmax & record.load_table, "params_addr": ~softmax}
        low = exact_log2(lanes)
        for name, condition in used.items():
            value = record[name].as_unsigned() if Rows.find(name).signed else record[name]
            checks.append((ErrorCode.LOCAL_ALIGNMENT, condition & value[:low].any(), value))
        words = self._config.scratchpad_words
        blocks = (record.length + lanes - 1) >> low
        table_end = (record.table_addr >> low) + (4 * EXPONENTIALS + lanes - 1) // lanes
        params_end = (record.params_addr >> low) + blocks * NORM_WORDS
        checks.append((ErrorCode.LOCAL_BOUNDS, softmax & record.load_table & above_power(table_end, words),
                       record.table_addr))
        checks.append((ErrorCode.LOCAL_BOUNDS, ~softmax & above_power(params_end, words), record.params_addr))
        return checks
