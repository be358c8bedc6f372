"""What is computed once for a row: the reciprocal of SOFTMAX and the reciprocal square root of NORM.

Each product takes the three stages of `StepMultiplier`, and what follows from one is the operand of the next in the
cycle in which it is there:

    SOFTMAX   7 products, one more with `out_mult`: 26 or 29 cycles from `start` to `done`
    NORM      2 products for the variance, 9 for three Newton steps: 37 cycles
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch.rows import RSQRT_SEED

NEWTON_STEPS = 3
# gemmlowp's first approximation of 1 / half, 48/17 - 32/17 * half, in Q2.29 (fixedpoint.h, one_over_one_plus_x).
_CONSTANT_48_OVER_17 = 1515870810
_CONSTANT_32_OVER_17 = 1010580540
_SUM_SHIFT = 12  # exponentials are added as Q12.19
WIDE_BITS = 50  # of a variance, which is below 2**49, rounded up to pairs
X_BITS = 31  # of the value in front of the Newton steps: Q2.29 and above 1, or Q0.31 and above 1/2
# The steps of a row and what the product under way is, one bit each: nothing is decoded, which a simulator would do in
# every cycle.
_STEPS = ("sum", "square", "wait", "minuend", "difference", "epsilon", "leading", "normalize", "first", "newton")
_PRODUCTS = ("estimate",  # x * 32/17
             "error",  # x * estimate
             "correction",  # estimate * error
             "scale",  # r * out_mult
             "square",  # y * y
             "relation",  # x * y**2
             "root")  # y * (3 - x * y**2)


class ScalarUnit(wiring.Component):
    """Members
    -------
    ready, start: takes a row's `total` (SOFTMAX: the sum of exponentials, NORM: that of squares) and `deviation` (the
        sum of differences).
    softmax, count, epsilon, out_mult, out_shift: of the command; stable while a row is under way.
    load, multiply, nudge, a, b, operand, multiplied, product: the multiplier.
    done, value, shift: r and the right shift of y[c] in SOFTMAX, y and e in NORM (`lepton.arch.rows`); in SOFTMAX
        `value` is 0 for a shift above 31.

    The first operand of the multiplier is where the estimate of each step and the result are first kept.
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
    load: Out(1)
    multiply: Out(1)
    nudge: Out(1)
    a: Out(signed(32))
    b: Out(signed(32))
    operand: In(signed(32))
    multiplied: In(1)
    product: In(signed(64))
    done: Out(1)
    value: Out(32)
    shift: Out(5)

    def elaborate(self, platform):
        m = Module()
        at = Signal(data.StructLayout(dict.fromkeys(_STEPS, 1)))
        under_way = Signal(data.StructLayout(dict.fromkeys(_PRODUCTS, 1)))
        busy = Signal()
        total = Signal(32)
        deviation = Signal(signed(21))
        wide = Signal(signed(WIDE_BITS + 1))
        nothing = Signal()  # the variance is 0
        shift = Signal(6)
        left = Signal(range(NEWTON_STEPS + 1))
        last = left == 1
        step = Signal()
        ends = Signal()
        m.d.comb += [
            step.eq(at.newton & self.multiplied),
            ends.eq(step & (under_way.scale | last & (under_way.root | under_way.correction & (self.out_mult == 0)))),
            self.ready.eq(~busy), self.shift.eq(shift), self.nudge.eq(self.softmax),
            self.load.eq(at.sum | at.square | at.first | step), self.multiply.eq(self.load & ~ends),
            self.value.eq(self.operand & (~Mux(self.softmax, shift[5], nothing)).replicate(32)),
        ]
        m.d.sync += [
            self.done.eq(ends),
            at.eq(Cat(self.start & ~self.softmax, Value.cast(at)[:-1])),
            at.leading.eq(at.epsilon | self.start & self.softmax),
            at.newton.eq(at.first | at.newton & ~ends),
        ]
        with m.If(self.start):
            m.d.sync += [busy.eq(1), total.eq(self.total), deviation.eq(self.deviation)]
        with m.If(ends):
            m.d.sync += busy.eq(0)
        with m.If(at.first):
            m.d.sync += [under_way.eq(Mux(self.softmax, _only("estimate"), _only("square"))), left.eq(NEWTON_STEPS)]
        with m.Elif(step):
            m.d.sync += [
                under_way.estimate.eq(0), under_way.error.eq(under_way.estimate | under_way.correction & ~last),
                under_way.correction.eq(under_way.error), under_way.scale.eq(under_way.correction & last),
                under_way.square.eq(under_way.root), under_way.relation.eq(under_way.square),
                under_way.root.eq(under_way.relation),
            ]
            with m.If(under_way.correction | under_way.root):
                m.d.sync += left.eq(left - 1)
        self._normalize(m, at, wide, nothing, shift)
        self._operands(m, at, under_way, last, wide[WIDE_BITS - X_BITS:WIDE_BITS], total, deviation)
        return m

    def _normalize(self, m, at, wide, nothing, shift):
        """NORM: V = max(256 * (count * Q - S**2), 0) + epsilon to `wide`. Then it is shifted to where x is."""
        zeros = Signal(range(WIDE_BITS))
        right = Signal(signed(8))
        m.d.comb += right.eq(self.out_shift + _SUM_SHIFT - zeros)
        with m.If(self.start):
            at_least_one = Cat(self.total[0] | (self.total == 0), self.total[1:])
            m.d.sync += wide.eq(Cat(Const(0, WIDE_BITS - 32), at_least_one))
        with m.If(at.minuend):
            m.d.sync += wide.eq(self.product)
        with m.If(at.difference):
            m.d.sync += wide.eq(wide - self.product)
        with m.If(at.epsilon):
            m.d.sync += wide.eq(Cat(Const(0, 8), wide[:41] & (~wide[-1]).replicate(41)) + self.epsilon)
        with m.If(at.leading):
            m.d.sync += [zeros.eq(_leading_zeros(wide[:WIDE_BITS], even=~self.softmax)),
                         nothing.eq(wide[:WIDE_BITS] == 0)]
        with m.If(at.normalize):
            m.d.sync += [wide.eq((wide[:WIDE_BITS] << zeros)[:WIDE_BITS]),
                         shift.eq(Mux(self.softmax, Mux(right < 0, 0, right), (WIDE_BITS - 2 - zeros) >> 1))]

    def _operands(self, m, at, under_way, last, x, total, deviation):
        """What is multiplied next. What is no step of Newton's is the result."""
        y = Signal(signed(32))
        scaled = Signal(signed(32))
        corrected = Signal(signed(32))
        minuend = Signal(signed(33))
        seed = Signal(32)
        fresh = Signal()
        m.d.comb += [
            scaled.eq(Mux(self.softmax, self.product[31:63], self.product[30:62])),
            minuend.eq(Mux(self.softmax, 1 << 29, 3 << 29)),
            # An error of the first approximation of at most 1/17 keeps this far from saturation.
            corrected.eq(Mux(under_way.estimate, _CONSTANT_48_OVER_17 + scaled, y + (scaled << 2))),
        ]
        with m.Switch(x[-4:]):
            for i, value in enumerate(RSQRT_SEED):
                with m.Case(i):
                    m.d.comb += seed.eq(value)
        m.d.sync += fresh.eq(self.load)
        with m.If(fresh & (under_way.error | under_way.square)):
            m.d.sync += y.eq(self.operand)
        with m.If(at.sum):
            m.d.comb += [self.a.eq(self.count), self.b.eq(total)]
        with m.Elif(at.square):
            m.d.comb += [self.a.eq(deviation), self.b.eq(deviation)]
        with m.Elif(at.first):
            m.d.comb += [self.a.eq(Mux(self.softmax, x, seed)),
                         self.b.eq(Mux(self.softmax, -_CONSTANT_32_OVER_17, seed))]
        with m.Elif(under_way.error | under_way.relation):
            m.d.comb += [self.a.eq(y), self.b.eq(minuend - scaled)]
        with m.Elif(under_way.square | under_way.scale):
            m.d.comb += [self.a.eq(scaled), self.b.eq(x)]
        with m.Elif(under_way.root):
            m.d.comb += [self.a.eq(scaled), self.b.eq(scaled)]
        with m.Elif(under_way.correction & last):
            # Twice the estimate, saturated: 1/(1 + 0) is one more than the largest Q0.31.
            m.d.comb += [self.a.eq(Mux(corrected[30], (1 << 31) - 1, corrected << 1)), self.b.eq(self.out_mult)]
        with m.Else():
            m.d.comb += [self.a.eq(corrected), self.b.eq(x)]


def _only(product: str) -> int:
    """The mask of one of _PRODUCTS."""
    return 1 << _PRODUCTS.index(product)


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
