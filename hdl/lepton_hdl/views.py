"""How blocks are written for what becomes of them: a simulation, a device with multipliers of its own, or gates.

The results are the same in every cycle; `tests/hdl/tensor` runs the same benches on every view. A design's `platform`
chooses the view with its attribute `view` (docs/decisions/22-gates.md has what each choice brings).
"""

from enum import Enum, auto

from amaranth.hdl import Cat, Const, signed


class View(Enum):
    SIMULATION = auto()
    """What a simulator runs fastest: two branches instead of a multiplexer in front of a multiplier."""
    MULTIPLIERS = auto()
    """Every multiplier once, as `*`: what an FPGA's tools map to its multiplier blocks. Where nothing is said."""
    GATES = auto()
    """Products as sums of partial products, in fewer gates than a general flow makes of a signed `*`."""


def view_of(platform: object) -> View:
    """The view that `platform` asks for."""
    return getattr(platform, "view", View.MULTIPLIERS)


def times(a, b, view: View):
    """The product of two signed values, with as many bits as both have together."""
    return sum_of_products([(a, b)], len(a) + len(b), view) if view is View.GATES else a * b


def sum_of_products(pairs, bits: int, view: View):
    """The sum of the products of pairs of signed values: signed, modulo 2**`bits`.

    All partial sums have that width: a simulator would mask and extend narrower ones, and Yosys joins additions
    of one width into one tree of carry-save adders.
    """
    if view is View.GATES:
        terms = []
        constant = 0
        for a, b in pairs:
            more, offset = _partial_products(a, b)
            terms += more
            constant += offset
        terms.append(Const(constant % (1 << bits), bits))
    else:
        terms = [a * b for a, b in pairs]
    total = terms[0] | Const(0, signed(bits))
    for term in terms[1:]:
        total = (total + term)[:bits].as_signed()
    return total


def _partial_products(a, b):
    """(values, constant) that add up to a * b, for signed a and b.

    Booth's recoding in base 4 (A. D. Booth 1951, O. L. MacSorley 1961): b is a sum of digits -2..2 times 4**i, each
    from three neighbouring bits. A digit times a is 0, a or 2 a, inverted where the digit is negative, plus 1 then.
    The sign of such a row counts -2**n; with the bit inverted it counts +2**n, and the rest is constant. So no row is
    extended to the width of the sum, as it is where Yosys maps a signed `*`.
    """
    if len(b) > len(a):
        a, b = b, a  # fewer digits
    n = len(a)
    digits = (len(b) + 1) // 2
    bit = [Const(0, 1), *b, b[-1]]  # bit[k + 1] is bit k; one more sign for an odd length
    rows = []
    negatives = []
    constant = 0
    for i in range(digits):
        low, middle, high = bit[2 * i:2 * i + 3]
        once = low ^ middle
        twice = (high ^ middle) & ~once
        row = Cat((a[min(k, n - 1)] & once) | ((a[k - 1] & twice) if k else 0) for k in range(n + 1))
        row = row ^ high.replicate(n + 1)
        rows.append(Cat(Const(0, 2 * i), row[:n], ~row[n]) if i else Cat(row[:n], ~row[n]))
        negatives += [high, Const(0, 1)]
        constant -= 1 << n + 2 * i
    return [*rows, Cat(negatives)], constant
