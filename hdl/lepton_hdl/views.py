"""How blocks are written for what becomes of them: a simulation, a device with multipliers of its own, or gates.

The results are the same in every cycle; `tests/hdl/tensor` runs the same benches on every view. A design's `platform`
chooses the view with its attribute `view` (docs/decisions/22-gates.md has what each choice brings).
"""

from enum import Enum, auto
from itertools import pairwise

from amaranth.hdl import Cat, Const, Mux, Signal, signed


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


def sum_of_products(m, pairs, bits: int, view: View):
    """The sum of the products of pairs of signed values: signed, modulo 2**`bits`.

    All partial sums have that width: a simulator would mask and extend narrower ones, and Yosys joins additions
    of one width into one tree of carry-save adders.
    """
    return add(split_sum_of_products(m, pairs, bits, view) if view is View.GATES else [a * b for a, b in pairs], bits)


def add(terms, bits: int):
    """The sum of values: signed, modulo 2**`bits`."""
    total = terms[0] | Const(0, signed(bits))
    for term in terms[1:]:
        total = (total + term)[:bits].as_signed()
    return total


_SELECT = 24  # bits of an addend that one carry chain takes in gates


def add_parts(m, parts, bits: int, view: View, carry=None):
    """As `add`, with `carry`, a bit, added; the quickest way from registers to a register.

    GATES: blocks of the sum are computed for both values of the carry into them, which chooses (O. J. Bedrij 1962,
    carry-select). An FPGA has carry chains that are quicker than its multiplexers.
    """
    carry = Const(0, 1) if carry is None else carry
    if view is not View.GATES:
        return add([*parts, carry], bits)
    a, b = ((part | Const(0, bits))[:bits] for part in parts)
    blocks = -(-bits // _SELECT)
    places = [bits * i // blocks for i in range(blocks + 1)]
    result = []
    for low, high in pairwise(places):
        sums = []
        for value in (carry,) if low == 0 else (0, 1):
            name = f"block{low}_{len(sums)}"
            total = Signal(high - low + 2, name=name)
            carry_in = value if low == 0 else Const(value, 1)
            m.d.comb += total.eq(Cat(carry_in, a[low:high]) + Cat(carry_in, b[low:high]))
            sums.append(total[1:])
        chosen = sums[0] if low == 0 else Mux(carry, sums[1], sums[0])
        block = Signal(high - low + 1, name=f"block{low}")
        m.d.comb += block.eq(chosen)
        carry = block[-1]
        result.append(block[:-1])
    return Cat(result).as_signed()


class Digits:
    """A signed value of `bits` bits as Booth's digits, which a register can hold: `Digits(bits, recoded(value))`."""

    def __init__(self, bits: int, packed):
        self.bits = bits
        self.each = [tuple(packed[3 * i:3 * i + 3]) for i in range((bits + 1) // 2)]

    def __len__(self) -> int:
        return self.bits

    @property
    def negative(self):
        """The value's sign."""
        return self.each[-1][2]


def recoded(value):
    """(once, twice, negative) for each of Booth's digits of a signed value, the lowest first (`_partial_products`)."""
    bit = [Const(0, 1), *value, value[-1]]  # bit[k + 1] is bit k; one more sign for an odd length
    digits = []
    for i in range((len(value) + 1) // 2):
        low, middle, high = bit[2 * i:2 * i + 3]
        once = low ^ middle
        digits += [once, (high ^ middle) & ~once, high]
    return Cat(digits)


def split_sum_of_products(m, pairs, bits: int, view: View, offset=()) -> list:
    """Values whose sum is that of the products of pairs of signed values and of `offset`, modulo 2**`bits`.

    What a register can hold between the two halves of a long multiplication. GATES: two values, the carry-save form.
    MULTIPLIERS: one for each multiplier block that a product takes, or two that do not overlap, and `offset`.
    `offset`: a sequence of (place, value): the value, unsigned, times 2**place. In GATES a second factor may be
    `Digits`.
    """
    if view is not View.GATES:
        terms = [term for a, b in pairs for term in _block_products(a, b)]
        return [*terms, *(Cat(Const(0, place), value) for place, value in offset)]
    rows = [*offset]
    constant = 0
    for a, b in pairs:
        more, constant_of_rows = _partial_products(m, a, b)
        rows += more
        constant += constant_of_rows
    return _carry_save(m, rows, constant % (1 << bits), bits)


_BLOCK = 16  # bits of an operand that a multiplier block of 18 x 18 signed bits takes with a zero or a sign above them


def _block_products(a, b) -> list:
    """Values with the sum a * b, for signed a and b, each from one multiplier block or two that do not overlap."""
    if len(a) <= _BLOCK + 2 and len(b) <= _BLOCK + 2:
        return [a * b]
    if len(b) > len(a):
        a, b = b, a
    low_a = Cat(a[:_BLOCK], Const(0, 1)).as_signed()
    high_a = a[_BLOCK:].as_signed()
    if len(b) <= _BLOCK + 2:
        return [low_a * b, Cat(Const(0, _BLOCK), high_a * b).as_signed()]
    low_b = Cat(b[:_BLOCK], Const(0, 1)).as_signed()
    high_b = b[_BLOCK:].as_signed()
    outer = Cat((low_a * low_b)[:2 * _BLOCK], high_a * high_b).as_signed()
    return [outer, *(Cat(Const(0, _BLOCK), high * low).as_signed() for high, low in ((high_a, low_b), (high_b, low_a)))]


def _carry_save(m, rows, constant: int, bits: int) -> list:
    """Two values with the sum of `constant` and of rows (place, value), modulo 2**`bits`.

    Full adders take the three earliest bits of a place first (V. G. Oklobdzija, D. Villeger and S. S. Liu 1996, "A
    method for speed optimized partial product reduction"). A sum is two exclusive ors behind its first two inputs
    and one behind its third; a carry is as late as a sum.
    """
    heap: list[list] = [[] for _ in range(bits + 1)]  # (when it is there, in exclusive ors, and the bit) by place
    for place, row in rows:
        value = Signal(len(row), name="row")  # its bits are used one by one, and Amaranth copies what has no name
        m.d.comb += value.eq(row)
        for k in range(place, min(place + len(value), bits)):
            heap[k].append((0, value[k - place]))
    for k in range(bits):
        if constant >> k & 1:
            heap[k].append((0, Const(1, 1)))
        column = heap[k]
        while len(column) > 2:
            column.sort(key=lambda entry: entry[0])
            (_, a), (second, b), (third, c) = column[:3]
            del column[:3]
            total = Signal(name=f"sum{k}")
            carry = Signal(name=f"carry{k + 1}")
            m.d.comb += [total.eq(a ^ b ^ c), carry.eq((a & b) | ((a ^ b) & c))]
            time = max(second + 2, third + 1)
            column.append((time, total))
            heap[k + 1].append((time, carry))
    return [Cat(column[i][1] if i < len(column) else Const(0, 1) for column in heap[:bits]) for i in range(2)]


def _partial_products(m, a, b):
    """(rows, constant) that add up to a * b, for signed a and b; a row is (place, value): the value times 2**place.

    Booth's recoding in base 4 (A. D. Booth 1951, O. L. MacSorley 1961): b is a sum of digits -2..2 times 4**i, each
    from three neighbouring bits. A digit times a is 0, a or 2 a, inverted where the digit is negative, plus 1 then.
    The sign of such a row counts -2**n; with the bit inverted it counts +2**n, and the rest is constant. So no row is
    extended to the width of the sum, as it is where Yosys maps a signed `*`.
    """
    if len(b) > len(a) and not isinstance(b, Digits):
        a, b = b, a  # fewer digits
    n = len(a)
    if isinstance(b, Digits):
        digits = b
    else:
        packed = Signal(3 * ((len(b) + 1) // 2), name="digits")
        m.d.comb += packed.eq(recoded(b))
        digits = Digits(len(b), packed)
    rows = []
    constant = 0
    for i, (once, twice, negative) in enumerate(digits.each):
        row = Cat((a[min(k, n - 1)] & once) | ((a[k - 1] & twice) if k else 0) for k in range(n + 1))
        row = row ^ negative.replicate(n + 1)
        rows += [(2 * i, Cat(row[:n], ~row[n])), (2 * i, negative)]
        constant -= 1 << n + 2 * i
    return rows, constant
