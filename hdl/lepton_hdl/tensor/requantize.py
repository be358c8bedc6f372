"""One lane of the requantizer: int32 accumulator to int8, four cycles."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch.commands import PARAM_WORDS

from .rounding import clamp, doubling_high_mul, rounding_divide_by_pot


class Requantizer(wiring.Component):
    """clamp(MultiplyByQuantizedMultiplier(value + bias, multiplier, left, right) + zero, low, high).

    Members
    -------
    param_write, param_index, param_data: byte `param_index` of the next parameter record of this
        lane (bias, multiplier, left shift, right shift; `lepton.arch.commands.PARAM_WORDS`).
    valid: bit s is set when stage s holds a row; `value` enters at stage 0, `y` is there at stage 4.
    fresh: bit s is set when stage s takes over the next parameters at the coming clock edge, so
        that rows of two commands can be in the pipeline without disturbing each other.
    zero, low, high: per tensor, stable while stage 3 holds a row.
    """

    value: In(signed(32))
    valid: In(4)
    fresh: In(4)
    param_write: In(1)
    param_index: In(4)
    param_data: In(8)
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
        with m.If(self.fresh[0]):
            m.d.sync += [bias.eq(Cat(next_bytes[0:4])), left.eq(next_bytes[8])]
        with m.If(self.fresh[1]):
            m.d.sync += multiplier.eq(Cat(next_bytes[4:8]))
        with m.If(self.fresh[3]):
            m.d.sync += right.eq(next_bytes[9])

        biased = Signal(signed(32))
        shifted = Signal(signed(32))
        product = Signal(signed(64))
        scaled = Signal(signed(32))
        m.d.comb += biased.eq(self.value + bias)
        with m.If(self.valid[0]):
            m.d.sync += shifted.eq(biased << left)
        with m.If(self.valid[1]):
            m.d.sync += product.eq(shifted * multiplier)
        with m.If(self.valid[2]):
            m.d.sync += scaled.eq(doubling_high_mul(m, product, "scaled"))
        with m.If(self.valid[3]):
            m.d.sync += self.y.eq(clamp(m, rounding_divide_by_pot(m, scaled, right, "y") + self.zero,
                                        self.low, self.high, "y"))
        return m
