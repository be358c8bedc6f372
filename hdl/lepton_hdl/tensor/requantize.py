"""One lane of the requantizer: int32 accumulator to int8."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch.commands import PARAM_WORDS, UNIFORM_PARAM_WORDS

from ..views import Digits, View, add_parts, recoded, split_sum_of_products, view_of
from .rounding import (
    FLOAT_FRACTION,
    NEAR_BITS,
    POINT,
    away_from_zero,
    clamp,
    float_round_up,
    float_round_up_window,
    near,
    nudge,
    round_up,
    shift_right,
    to_float,
    whole,
)


@dataclass(frozen=True)
class RequantizeStages:
    """The stage of each step; `y` is there at stage `count`.

    bias: bias and left shift. convert: to a float. multiply: the multiplier. nudge: `double`. shift: right shift.
    round: rounding. zero: the zero point. clamp: the limits.
    """

    bias: int
    convert: int
    multiply: int
    nudge: int
    shift: int
    round: int
    zero: int
    clamp: int
    count: int


# The simulator's view computes in fewer steps, and the tail delays its bytes: fewer and narrower registers to copy.
_SIMULATION = RequantizeStages(bias=0, convert=0, multiply=1, nudge=2, shift=2, round=3, zero=3, clamp=4, count=5)
_HARDWARE = RequantizeStages(bias=0, convert=1, multiply=2, nudge=2, shift=4, round=5, zero=6, clamp=6, count=7)
STAGES = _HARDWARE.count


def schedule_of(view: View) -> RequantizeStages:
    """The stages of a view."""
    return _SIMULATION if view is View.SIMULATION else _HARDWARE


class Requantizer(wiring.Component):
    """clamp(rescale(value + bias, multiplier, left, right) + zero, low, high), by `lepton.arch.Rounding`.

    Members
    -------
    param_write, param_index, param_data: byte `param_index` of the next parameter record of this
        lane (bias, multiplier, left shift, right shift; `lepton.arch.commands.PARAM_WORDS`).
    uniform_write, uniform_multiplier, uniform_left, uniform_right: multiplier and shifts of the next record, whose
        bytes are only the bias then.
    valid: bit s is set when stage s holds a row; `value` enters at stage 0, `y` is there at stage
        `RequantizeStages.count`.
    fresh: bit s is set when stage s takes over the next parameters at the coming clock edge, so
        that rows of two commands can be in the pipeline without disturbing each other.
    as_float: bit s says that the row at stage s is rounded as FLOAT (convert, shift, round).
    double: the row at stage `nudge` is rounded as DOUBLE.
    zero, low, high: per tensor, stable while the stage that uses them holds a row: zero, clamp, clamp.
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
        view = view_of(platform)
        at = schedule_of(view)
        next_bytes = self._next_record(m)
        bias = Signal(signed(32))
        left = Signal(5)
        right = Signal(5)
        with m.If(self.fresh[at.bias]):
            m.d.sync += [bias.eq(Cat(next_bytes[0:4])), left.eq(next_bytes[8])]
        with m.If(self.fresh[at.shift]):
            m.d.sync += right.eq(next_bytes[9])

        biased = Signal(signed(32))
        if view is View.SIMULATION:
            m.d.comb += biased.eq((self.value + bias)[:32] << left)
        else:
            with m.If(self.valid[at.bias]):
                m.d.sync += biased.eq(add_parts(m, [self.value, bias], 32, view) << left)
        factor = Signal(signed(32))
        with m.If(self.valid[at.convert]):
            m.d.sync += factor.eq(Mux(self.as_float[at.convert], to_float(biased), biased))
        next_multiplier = Cat(next_bytes[4:8]).as_signed()
        if view is View.SIMULATION:
            wide = self._rescale_at_once(m, at, factor, next_multiplier, right)
        else:
            wide = self._rescale(m, at, view, factor, next_multiplier, right, next_bytes[9])
        m.d.comb += self.clamped.eq(clamp(wide, self.low, self.high))
        with m.If(self.valid[at.clamp]):
            m.d.sync += self.y.eq(self.clamped)
        return m

    def _next_record(self, m):
        """The bytes of the next parameter record."""
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
        return next_bytes

    def _rescale_at_once(self, m, at, factor, next_multiplier, right):
        """The rescaled value with its zero point, three stages behind `factor`."""
        multiplier = Signal(signed(32))
        with m.If(self.fresh[at.multiply]):
            m.d.sync += multiplier.eq(next_multiplier)
        product = Signal(signed(64))
        scaled = Signal(signed(64))
        more = Signal()  # POINT fraction bits; something above 0 was cut off
        wide = Signal(signed(35))
        with m.If(self.valid[at.multiply]):
            m.d.sync += product.eq(factor * multiplier)
        with m.If(self.valid[at.shift]):
            m.d.sync += scaled.eq(away_from_zero(product, POINT - 1, self.double & (right != 0)) >> right)
            with m.If(self.as_float[at.shift]):
                m.d.sync += more.eq((product[:31] & ~(Const(-1, 31) << right)[:31]).any())
        with m.If(self.valid[at.round]):
            up = Mux(self.as_float[at.round], float_round_up(scaled, more), round_up(scaled))
            m.d.sync += wide.eq(whole(scaled) + self.zero + up)
        return wide

    def _rescale(self, m, at, view, factor, next_multiplier, right, next_right):
        """The same four stages behind `factor`, from near int8's range only as many bits as the clamp needs."""
        rounds_away = Signal()  # where `double`: the right shift is not 0
        with m.If(self.fresh[at.multiply]):
            m.d.sync += rounds_away.eq(next_right[:5] != 0)
        if view is View.GATES:
            digits = Signal(len(recoded(next_multiplier)))
            multiplier = Digits(32, digits)
            sign = multiplier.negative
            with m.If(self.fresh[at.multiply]):
                m.d.sync += digits.eq(recoded(next_multiplier))
        else:
            multiplier = Signal(signed(32))
            sign = multiplier[-1]
            with m.If(self.fresh[at.multiply]):
                m.d.sync += multiplier.eq(next_multiplier)
        terms = split_sum_of_products(m, [(factor, multiplier)], 64, view,
                                      [nudge(POINT - 1, self.double & rounds_away, factor[-1] ^ sign)])
        parts = [Signal(64, name=f"part{i}") for i in range(len(terms))]
        with m.If(self.valid[at.multiply]):
            m.d.sync += [part.eq(term) for part, term in zip(parts, terms, strict=True)]
        product = Signal(signed(64))
        with m.If(self.valid[at.multiply + 1]):
            m.d.sync += product.eq(add_parts(m, parts, 64, view))

        window = Signal(FLOAT_FRACTION + NEAR_BITS)
        outside = Signal()
        below = Signal()
        below_zero = Signal()
        parts_of_shift = shift_right(product, right, POINT - FLOAT_FRACTION, len(window))
        with m.If(self.valid[at.shift]):
            m.d.sync += [Cat(window, outside, below).eq(Cat(parts_of_shift)), below_zero.eq(product[-1])]
        number = Signal(signed(NEAR_BITS))
        up = Signal()
        with m.If(self.valid[at.round]):
            m.d.sync += [
                number.eq(near(window[FLOAT_FRACTION:], outside, below_zero)),
                up.eq(Mux(self.as_float[at.round], float_round_up_window(window, below), window[FLOAT_FRACTION - 1])),
            ]
        return number + self.zero + up
