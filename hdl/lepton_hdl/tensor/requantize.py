"""One lane of the requantizer: int32 accumulator to int8."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch.commands import PARAM_WORDS, UNIFORM_PARAM_WORDS

from ..views import times, view_of
from .rounding import POINT, away_from_zero, clamp, float_round_up, round_up, to_float, whole

# bias and left shift, multiply, right shift, round and zero point, clamp
STAGES = 5
# The stages at which parameters are used.
BIAS, MULTIPLY, SHIFT, ROUND, CLAMP = range(STAGES)


class Requantizer(wiring.Component):
    """clamp(rescale(value + bias, multiplier, left, right) + zero, low, high), by `lepton.arch.Rounding`.

    Members
    -------
    param_write, param_index, param_data: byte `param_index` of the next parameter record of this
        lane (bias, multiplier, left shift, right shift; `lepton.arch.commands.PARAM_WORDS`).
    uniform_write, uniform_multiplier, uniform_left, uniform_right: multiplier and shifts of the next record, whose
        bytes are only the bias then.
    valid: bit s is set when stage s holds a row; `value` enters at stage 0, `y` is there at stage STAGES.
    fresh: bit s is set when stage s takes over the next parameters at the coming clock edge, so
        that rows of two commands can be in the pipeline without disturbing each other.
    as_float: bit s says that the row at stage s is rounded as FLOAT (BIAS, SHIFT, ROUND).
    double: the row at SHIFT is rounded as DOUBLE.
    zero, low, high: per tensor, stable while the stage that uses them holds a row: ROUND, CLAMP, CLAMP.
    clamped: what `y` becomes at the coming clock edge, for a memory that is read at it.
    """

    value: In(signed(32))
    valid: In(STAGES)
    fresh: In(STAGES)
    param_write: In(1)
    param_index: In(4)
    param_data: In(8)
    uniform_write: In(1)
    uniform_multiplier: In(32)
    uniform_left: In(5)
    uniform_right: In(5)
    as_float: In(STAGES)
    double: In(1)
    zero: In(signed(8))
    low: In(signed(8))
    high: In(signed(8))
    clamped: Out(signed(8))
    y: Out(signed(8))

    def elaborate(self, platform):
        m = Module()
        next_bytes = [Signal(8, name=f"next_byte{i}") for i in range(PARAM_WORDS)]
        with m.If(self.param_write), m.Switch(self.param_index):
            for i, byte in enumerate(next_bytes):
                with m.Case(i):
                    m.d.sync += byte.eq(self.param_data)
                    if i == UNIFORM_PARAM_WORDS - 1:  # what an int24 is as an int32; a longer record goes on
                        m.d.sync += next_bytes[i + 1].eq(self.param_data[-1].replicate(8))
        with m.If(self.uniform_write):
            m.d.sync += [Cat(next_bytes[4:8]).eq(self.uniform_multiplier),
                         next_bytes[8].eq(self.uniform_left), next_bytes[9].eq(self.uniform_right)]

        bias = Signal(signed(32))
        multiplier = Signal(signed(32))
        left = Signal(5)
        right = Signal(5)
        with m.If(self.fresh[BIAS]):
            m.d.sync += [bias.eq(Cat(next_bytes[0:4])), left.eq(next_bytes[8])]
        with m.If(self.fresh[MULTIPLY]):
            m.d.sync += multiplier.eq(Cat(next_bytes[4:8]))
        with m.If(self.fresh[SHIFT]):
            m.d.sync += right.eq(next_bytes[9])

        biased = Signal(signed(32))
        factor = Signal(signed(32))
        product = Signal(signed(64))
        scaled = Signal(signed(64))
        more = Signal()  # POINT fraction bits; something above 0 was cut off
        wide = Signal(signed(35))
        m.d.comb += biased.eq((self.value + bias)[:32] << left)
        with m.If(self.valid[BIAS]):
            m.d.sync += factor.eq(Mux(self.as_float[BIAS], to_float(biased), biased))
        with m.If(self.valid[MULTIPLY]):
            m.d.sync += product.eq(times(factor, multiplier, view_of(platform)))
        with m.If(self.valid[SHIFT]):
            m.d.sync += scaled.eq(away_from_zero(product, POINT - 1, self.double & (right != 0)) >> right)
            with m.If(self.as_float[SHIFT]):
                m.d.sync += more.eq((product[:31] & ~(Const(-1, 31) << right)[:31]).any())
        with m.If(self.valid[ROUND]):
            up = Mux(self.as_float[ROUND], float_round_up(scaled, more), round_up(scaled))
            m.d.sync += wide.eq(whole(scaled) + self.zero + up)
        m.d.comb += self.clamped.eq(clamp(wide, self.low, self.high))
        with m.If(self.valid[CLAMP]):
            m.d.sync += self.y.eq(self.clamped)
        return m
