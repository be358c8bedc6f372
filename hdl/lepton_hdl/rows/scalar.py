"""What is computed once for a row: the reciprocal of SOFTMAX and the reciprocal square root of NORM.

Each product takes the three stages of `StepMultiplier`, and what follows from one is the operand of the next in the
cycle in which it is there:

    SOFTMAX   7 products, one more with `out_mult`: 26 or 29 cycles from `start` to `done`
    NORM      2 products for the variance, 9 for three Newton steps: 37 cycles
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch.rows import RSQRT_SEED

NEWTON_STEPS = 3
# gemmlowp's first approximation of 1 / half, 48/17 - 32/17 * half, in Q2.29 (fixedpoint.h, one_over_one_plus_x).
_CONSTANT_48_OVER_17 = 1515870810
_CONSTANT_32_OVER_17 = 1010580540
_SUM_SHIFT = 12  # exponentials are added as Q12.19
WIDE_BITS = 50  # of a variance, which is below 2**49, rounded up to pairs
X_BITS = 31  # of the value in front of the Newton steps: Q2.29 and above 1, or Q0.31 and above 1/2


class Product(enum.Enum):
    """What the product under way is."""

    ESTIMATE = 0  # x * 32/17
    ERROR = 1  # x * estimate
    CORRECTION = 2  # estimate * error
    SCALE = 3  # r * out_mult
    SQUARE = 4  # y * y
    RELATION = 5  # x * y**2
    ROOT = 6  # y * (3 - x * y**2)


class ScalarUnit(wiring.Component):
    """Members
    -------
    ready, start: takes a row's `total` (SOFTMAX: the sum of exponentials, NORM: that of squares) and `deviation` (the
        sum of differences).
    softmax, count, epsilon, out_mult, out_shift: of the command; stable while a row is under way.
    multiply, nudge, a, b, multiplied, product: the multiplier.
    done, value, shift: r and the right shift of y[c] in SOFTMAX, y and e in NORM (`lepton.arch.rows`); in SOFTMAX
        `value` is 0 for a shift above 31.
    """

    ready: Out(1)
    start: In(1)
    total: In(32)
    deviation: In(signed(21))
    softmax: In(1)
    count: In(13)
    epsilon: In(48)
    out_mult: In(31)
    out_shift: In(5)
    multiply: Out(1)
    nudge: Out(1)
    a: Out(signed(32))
    b: Out(signed(32))
    multiplied: In(1)
    product: In(signed(64))
    done: Out(1)
    value: Out(32)
    shift: Out(5)

    def elaborate(self, platform):
        m = Module()
        total = Signal(32)
        deviation = Signal(signed(21))
        wide = Signal(signed(WIDE_BITS + 1))
        zeros = Signal(range(WIDE_BITS))
        nothing = Signal()  # the variance is 0
        shift = Signal(6)
        x = wide[WIDE_BITS - X_BITS:WIDE_BITS]
        m.d.sync += self.done.eq(0)
        m.d.comb += self.nudge.eq(self.softmax)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.ready.eq(1)
                with m.If(self.start):
                    m.d.sync += [total.eq(self.total), deviation.eq(self.deviation)]
                    at_least_one = Cat(self.total[0] | (self.total == 0), self.total[1:])
                    m.d.sync += wide.eq(Cat(Const(0, WIDE_BITS - 32), at_least_one))
                    with m.If(self.softmax):
                        m.next = "LEADING"
                    with m.Else():
                        m.next = "SUM"
            self._variance(m, total, deviation, wide)
            with m.State("LEADING"):
                m.d.sync += [zeros.eq(_leading_zeros(wide[:WIDE_BITS], even=~self.softmax)),
                             nothing.eq(wide[:WIDE_BITS] == 0)]
                m.next = "NORMALIZE"
            with m.State("NORMALIZE"):
                m.d.sync += wide.eq((wide[:WIDE_BITS] << zeros)[:WIDE_BITS])
                right = Signal(signed(8))
                m.d.comb += right.eq(self.out_shift + _SUM_SHIFT - zeros)
                with m.If(self.softmax):
                    m.d.sync += shift.eq(Mux(right < 0, 0, right))
                with m.Else():
                    m.d.sync += shift.eq((WIDE_BITS - 2 - zeros) >> 1)
                m.next = "FIRST"
            self._newton(m, x, nothing, shift)
        m.d.comb += self.shift.eq(shift)
        return m

    def _variance(self, m, total, deviation, wide):
        """NORM: V = max(256 * (count * Q - S**2), 0) + epsilon to `wide`."""
        with m.State("SUM"):
            m.d.comb += [self.multiply.eq(1), self.a.eq(self.count), self.b.eq(total)]
            m.next = "SQUARE"
        with m.State("SQUARE"):
            m.d.comb += [self.multiply.eq(1), self.a.eq(deviation), self.b.eq(deviation)]
            m.next = "WAIT"
        with m.State("WAIT"):
            m.next = "MINUEND"
        with m.State("MINUEND"):
            m.d.sync += wide.eq(self.product)
            m.next = "DIFFERENCE"
        with m.State("DIFFERENCE"):
            m.d.sync += wide.eq(wide - self.product)
            m.next = "EPSILON"
        with m.State("EPSILON"):
            m.d.sync += wide.eq(Cat(Const(0, 8), wide[:41] & (~wide[-1]).replicate(41)) + self.epsilon)
            m.next = "LEADING"

    def _newton(self, m, x, nothing, shift):
        """From the normalized value to the result."""
        under_way = Signal(Product)
        left = Signal(range(NEWTON_STEPS + 1))
        y = Signal(signed(32))
        scaled = Signal(signed(32))
        corrected = Signal(signed(32))
        minuend = Signal(signed(33))
        m.d.comb += [
            scaled.eq(Mux(self.softmax, self.product[31:63], self.product[30:62])),
            minuend.eq(Mux(self.softmax, 1 << 29, 3 << 29)),
        ]
        last = left == 1
        result = Signal(32)
        end = Signal()

        def begin(product, a, b):
            m.d.comb += [self.multiply.eq(1), self.a.eq(a), self.b.eq(b)]
            m.d.sync += under_way.eq(product)

        with m.State("FIRST"):
            seed = Signal(32)
            with m.Switch(x[-4:]):
                for i, value in enumerate(RSQRT_SEED):
                    with m.Case(i):
                        m.d.comb += seed.eq(value)
            m.d.sync += [left.eq(NEWTON_STEPS), y.eq(seed)]
            with m.If(self.softmax):
                begin(Product.ESTIMATE, x, -_CONSTANT_32_OVER_17)
            with m.Else():
                begin(Product.SQUARE, seed, seed)
            m.next = "STEPS"
        with m.State("STEPS"):
            with m.If(self.multiplied), m.Switch(under_way):
                with m.Case(Product.ESTIMATE):
                    m.d.comb += corrected.eq(scaled + _CONSTANT_48_OVER_17)
                    m.d.sync += y.eq(corrected)
                    begin(Product.ERROR, x, corrected)
                with m.Case(Product.ERROR):
                    begin(Product.CORRECTION, y, minuend - scaled)
                with m.Case(Product.CORRECTION):
                    # An error of the first approximation of at most 1/17 keeps this far from saturation.
                    m.d.comb += corrected.eq(y + (scaled << 2))
                    m.d.sync += [y.eq(corrected), left.eq(left - 1)]
                    # Twice the estimate, saturated: 1/(1 + 0) is one more than the largest Q0.31.
                    m.d.comb += result.eq(Mux(corrected[30], (1 << 31) - 1, corrected << 1))
                    with m.If(~last):
                        begin(Product.ERROR, x, corrected)
                    with m.Elif(self.out_mult != 0):
                        begin(Product.SCALE, result, self.out_mult)
                    with m.Else():
                        m.d.comb += end.eq(1)
                with m.Case(Product.SCALE):
                    m.d.comb += [result.eq(scaled), end.eq(1)]
                with m.Case(Product.SQUARE):
                    begin(Product.RELATION, x, scaled)
                with m.Case(Product.RELATION):
                    begin(Product.ROOT, y, minuend - scaled)
                with m.Case(Product.ROOT):
                    m.d.sync += [y.eq(scaled), left.eq(left - 1)]
                    m.d.comb += result.eq(scaled)
                    with m.If(last):
                        m.d.comb += end.eq(1)
                    with m.Else():
                        begin(Product.SQUARE, scaled, scaled)
            with m.If(end):
                zero = Mux(self.softmax, shift[5], nothing)
                m.d.sync += [self.done.eq(1), self.value.eq(result & (~zero).replicate(32))]
                m.next = "IDLE"


def _leading_zeros(value, even):
    """Zeros above the highest one of `value`, rounded down to an even number with `even`; all of them where it is 0."""
    padded = Cat(Const(-1, 64 - len(value)), value)
    _, zeros = _any_and_zeros(padded)
    return Cat(zeros[0] & ~even, zeros[1:])


def _any_and_zeros(value):
    """Whether a bit is one, and the zeros above it, of a value whose length is a power of two, at least 2."""
    if len(value) == 2:
        return value.any(), ~value[1]
    half = len(value) // 2
    any_low, zeros_low = _any_and_zeros(value[:half])
    any_high, zeros_high = _any_and_zeros(value[half:])
    return any_low | any_high, Cat(Mux(any_high, zeros_high, zeros_low), ~any_high)
