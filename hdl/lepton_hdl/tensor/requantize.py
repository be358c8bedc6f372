"""One lane of the requantizer: int32 accumulator to int8."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch.commands import PARAM_WORDS

from .rounding import clamp, round_last_bit, rounding_divide, saturate

# bias and left shift, multiply, cut, round and saturate, right shift and zero point, clamp
STAGES = 6
# The stages at which parameters are used.
BIAS, MULTIPLY, ROUND, SHIFT, CLAMP = 0, 1, 3, 4, 5


class Requantizer(wiring.Component):
    """clamp(rescale(value + bias, multiplier, left, right) + zero, low, high), by `lepton.arch.Rounding`.

    Members
    -------
    param_write, param_index, param_data: byte `param_index` of the next parameter record of this
        lane (bias, multiplier, left shift, right shift; `lepton.arch.commands.PARAM_WORDS`).
    valid: bit s is set when stage s holds a row; `value` enters at stage 0, `y` is there at stage STAGES.
    fresh: bit s is set when stage s takes over the next parameters at the coming clock edge, so
        that rows of two commands can be in the pipeline without disturbing each other.
    single, zero, low, high: per tensor, stable while the stage that uses them holds a row: ROUND,
        SHIFT, CLAMP, CLAMP.
    """

    value: In(signed(32))
    valid: In(STAGES)
    fresh: In(STAGES)
    param_write: In(1)
    param_index: In(4)
    param_data: In(8)
    single: In(1)
    zero: In(signed(8))
    low: In(signed(8))
    high: In(signed(8))
    y: Out(signed(8))

    def elaborate(self, platform):
        m = Module()
        next_bytes = [Signal(8, name=f"next_byte{i}") for i in range(PARAM_WORDS)]
        with m.If(self.param_write), m.Switch(self.param_index):
            for i, byte in enumerate(next_bytes):
                with m.Case(i):
                    m.d.sync += byte.eq(self.param_data)

        bias, multiplier = Signal(signed(32)), Signal(signed(32))
        left, right = Signal(5), Signal(5)
        with m.If(self.fresh[BIAS]):
            m.d.sync += [bias.eq(Cat(next_bytes[0:4])), left.eq(next_bytes[8])]
        with m.If(self.fresh[MULTIPLY]):
            m.d.sync += multiplier.eq(Cat(next_bytes[4:8]))
        with m.If(self.fresh[SHIFT]):
            m.d.sync += right.eq(next_bytes[9])

        shifted, product = Signal(signed(32)), Signal(signed(64))
        cut = Signal(signed(34))  # one bit below the point is all that rounding half up needs
        scaled, single = Signal(signed(34)), Signal()
        wide = Signal(signed(36))
        with m.If(self.valid[BIAS]):
            m.d.sync += shifted.eq((self.value + bias)[:32] << left)
        with m.If(self.valid[MULTIPLY]):
            m.d.sync += product.eq(shifted * multiplier)
        with m.If(self.valid[2]):
            m.d.sync += cut.eq(product >> 30)
        with m.If(self.valid[ROUND]):
            m.d.sync += [scaled.eq(Mux(self.single, cut, saturate(round_last_bit(cut)))), single.eq(self.single)]
        with m.If(self.valid[SHIFT]):
            m.d.sync += wide.eq(rounding_divide(scaled, right, single) + self.zero)
        with m.If(self.valid[CLAMP]):
            m.d.sync += self.y.eq(clamp(wide, self.low, self.high))
        return m
