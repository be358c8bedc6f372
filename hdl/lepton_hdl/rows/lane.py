"""One lane of the ROWS engine: a channel in every cycle, from its byte to what is summed, and to its result.

    stage 0    q, the channel
          1    d, the difference from the zero point; that from the largest value, with which the table is read
          2    the table's entry; d * d or count * d                        what is summed
          3    the entry, or count * d - S
          4, 5 times r or y
          6, 7 shifted right, rounded, limited to 24 bits: t
          8, 9 t * factor + bias
          10   shifted right
          11   rounded, with the zero point, limited: the result

SOFTMAX takes the way of NORM with factor 2, bias 0 and a shift by one, which changes nothing: both have one product,
one shift to the right and one rounding behind it. y[c] is rounded twice, at bit 31 of r * e[c] and at bit 31 + shift;
both are half up, as nothing is negative, so the first is the addition of 2**30 where there is a shift
(`tensor.rounding`). t is y[c] limited to 24 bits, which are more than the limits of an int8 need.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from lepton.arch.rows import EXPONENTIALS

from ..tensor.rounding import NEAR_BITS, clamp, near, shift_right
from ..views import Digits, View, add_parts, recoded, split_sum_of_products

STAGES = 12  # of a channel, the last with the result
SUM_STAGE = 2  # in which `difference`, `square` and `exponential` are there
FACTOR_STAGE = 3  # in which `factor`, r or y, is there
SCALE_STAGE = 7  # in which `scale` and `bias` are there
ENTRY_BITS = 31  # of an exponential
_NORMAL_BITS = 24  # t
_NORMAL_POINT = 10  # bits of count * d * y below t, without e
_SOFTMAX_POINT = 31  # bits of r * e[c] below y[c], without its shift
_PRODUCT_BITS = 54  # of what is shifted to t: a product of 22 and 32 bits


def encoded(factor, view: View):
    """`factor` in the form in which lanes take it: Booth's digits in gates."""
    return recoded(factor) if view is View.GATES else factor


class RowLane(wiring.Component):
    """Members
    -------
    enable: bit s: stage s holds a channel, which goes on to stage s + 1 with the coming clock edge.
    table_write, table_index, table_entry: fills the table of exponentials.
    softmax: SOFTMAX, or NORM. statistics: d * d at stage 2 rather than count * d. zero, count, rounding, shift,
        out_zero, low, high: of the command; `rounding`: half of the last place of what is shifted by `shift`.
    q, largest: the channel and the largest value of its row, at stage 0. deviation: S, at stage 2.
    factor, factor_shift: r or y as `encoded`, and the shift that belongs to it, at stages 3 and 5.
    scale, bias: the channel's parameters, at stage 7. inside: the row has this channel, at stage 10.
    difference, square, exponential: at stage 2; the exponential is rounded to Q12.19 bits.
    y: the result, at stage 11.
    """

    def __init__(self, view: View = View.MULTIPLIERS):
        self._view = view
        super().__init__({
            "enable": In(STAGES), "table_write": In(1), "table_index": In(range(EXPONENTIALS)),
            "table_entry": In(ENTRY_BITS),
            "softmax": In(1), "statistics": In(1), "zero": In(signed(8)), "count": In(13), "rounding": In(40),
            "shift": In(6), "out_zero": In(signed(8)), "low": In(signed(8)), "high": In(signed(8)),
            "q": In(signed(8)), "largest": In(signed(8)), "deviation": In(signed(21)),
            "factor": In(len(encoded(Signal(signed(32)), view))), "factor_shift": In(5),
            "scale": In(signed(24)), "bias": In(signed(32)), "inside": In(1),
            "difference": Out(signed(9)), "square": Out(17), "exponential": Out(20), "y": Out(signed(8)),
        })

    def elaborate(self, platform):
        m = Module()
        value = self._value(m)
        product = self._multiply(m, value)
        normal = self._normalize(m, product)
        self._scale(m, normal)
        return m

    def _value(self, m):
        """Stages 0 to 3: what is summed, and the value that is multiplied."""
        m.submodules.table = table = Memory(shape=ENTRY_BITS, depth=EXPONENTIALS, init=[])
        rp = table.read_port()
        wp = table.write_port()
        difference = Signal(signed(9))
        below = Signal(8)
        scaled = Signal(signed(23))
        value = Signal(signed(32))
        with m.If(self.enable[0]):
            m.d.sync += [difference.eq(self.q - self.zero), below.eq(self.largest - self.q)]
        m.d.comb += [
            wp.en.eq(self.table_write), wp.addr.eq(self.table_index), wp.data.eq(self.table_entry),
            rp.en.eq(self.enable[1] & self.softmax), rp.addr.eq(below),
            self.square.eq(scaled), self.exponential.eq((rp.data[11:] + 1) >> 1),
        ]
        with m.If(self.enable[1]):
            m.d.sync += self.difference.eq(difference)
            with m.If(~self.softmax):
                m.d.sync += scaled.eq(difference * Mux(self.statistics, difference, self.count))
        with m.If(self.enable[2]):
            m.d.sync += value.eq(Mux(self.softmax, rp.data, scaled - self.deviation))
        return value

    def _multiply(self, m, value):
        """Stages 3 to 5: times r or y; 2**30 is added where SOFTMAX rounds twice."""
        view = self._view
        nudge = Signal()
        bits = 2 * 32
        m.d.comb += nudge.eq(self.softmax & (self.factor_shift != 0))
        factor = Digits(32, self.factor) if view is View.GATES else self.factor.as_signed()
        shift = Signal(5)
        if view is View.SIMULATION:
            terms = [value * factor + (nudge << _SOFTMAX_POINT - 1)]
        else:
            terms = split_sum_of_products(m, [(value, factor)], bits, view, [(_SOFTMAX_POINT - 1, nudge)])
        parts = [Signal(signed(bits), name=f"part{i}") for i in range(len(terms))]
        product = Signal(signed(bits))
        with m.If(self.enable[3]):
            m.d.sync += [part.eq(term) for part, term in zip(parts, terms, strict=True)]
            m.d.sync += shift.eq(self.factor_shift)
        self._product_shift = Signal(5)
        with m.If(self.enable[4]):
            m.d.sync += product.eq(parts[0] if view is View.SIMULATION else add_parts(m, parts, bits, view))
            m.d.sync += self._product_shift.eq(shift)
        return product

    def _normalize(self, m, product):
        """Stages 5 to 7: t. SOFTMAX's product is brought to the point of NORM's first; what that drops is below the
        bit that rounds."""
        wide = Signal(signed(_PRODUCT_BITS))
        m.d.comb += wide.eq(Mux(self.softmax, product >> _SOFTMAX_POINT - _NORMAL_POINT, product))
        window = Signal(_NORMAL_BITS + 1)
        outside = Signal()
        negative = Signal()
        shifted, beyond, _ = shift_right(wide, self._product_shift, _NORMAL_POINT - 1, len(window))
        with m.If(self.enable[5]):
            m.d.sync += [window.eq(shifted), outside.eq(beyond), negative.eq(wide[-1])]
        rounded = Signal(signed(_NORMAL_BITS + 1))
        normal = Signal(signed(_NORMAL_BITS))
        m.d.comb += rounded.eq(window[1:].as_signed() + window[0])
        above = ~rounded[-1] & rounded[-2]  # it was the largest, and was rounded up
        with m.If(self.enable[6]):
            with m.If(outside | above):
                m.d.sync += normal.eq(Cat((~negative).replicate(_NORMAL_BITS - 1), negative))
            with m.Else():
                m.d.sync += normal.eq(rounded)
        return normal

    def _scale(self, m, normal):
        """Stages 7 to 11: the result."""
        view = self._view
        bits = 48  # 24 x 24, 32 + 8 and 40 bits are added
        if view is View.SIMULATION:
            terms = [normal * self.scale + (self.bias << 8) + self.rounding]
        else:
            bias = Cat(self.bias, self.bias[-1].replicate(bits - 8 - len(self.bias)))
            terms = split_sum_of_products(m, [(normal, self.scale)], bits, view,
                                          [(0, self.rounding), (8, bias)])
        parts = [Signal(signed(bits), name=f"scaled_part{i}") for i in range(len(terms))]
        total = Signal(signed(bits))
        window = Signal(NEAR_BITS)
        outside = Signal()
        negative = Signal()
        shifted, beyond, _ = shift_right(total, self.shift, 0, NEAR_BITS)
        with m.If(self.enable[7]):
            m.d.sync += [part.eq(term) for part, term in zip(parts, terms, strict=True)]
        with m.If(self.enable[8]):
            m.d.sync += total.eq(parts[0] if view is View.SIMULATION else add_parts(m, parts, bits, view))
        with m.If(self.enable[9]):
            m.d.sync += [window.eq(shifted), outside.eq(beyond), negative.eq(total[-1])]
        number = Mux(self.inside, near(window, outside, negative), 0)
        with m.If(self.enable[10]):
            m.d.sync += self.y.eq(clamp(number + self.out_zero, self.low, self.high))


__all__ = ["FACTOR_STAGE", "SCALE_STAGE", "STAGES", "SUM_STAGE", "RowLane", "encoded"]
