"""Products and sums of each view: every value of few bits, edges and random values of many."""

import random
from itertools import product

import pytest
from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.sim import Simulator
from lepton_hdl.views import View, add_parts, split_sum_of_products, sum_of_products

from tests.hdl.expressions import evaluated
from tests.seeds import seeds


@pytest.mark.parametrize("lengths, pairs", [
    ((8, 8), 1), ((9, 5), 1), ((3, 7), 1), ((1, 4), 1), ((4, 3), 2), ((3, 2), 2)])
def test_products_in_gates_are_products(lengths: tuple[int, int], pairs: int) -> None:
    """Each parity and order of lengths, and one sum of several products that wraps."""
    a = [Signal(signed(lengths[0]), name=f"a{i}") for i in range(pairs)]
    b = [Signal(signed(lengths[1]), name=f"b{i}") for i in range(pairs)]
    bits = sum(lengths)
    result = Signal(signed(bits))
    m = Module()
    m.d.comb += result.eq(sum_of_products(m, list(zip(a, b, strict=True)), bits, View.GATES))
    wrong: list[tuple[int, ...]] = []

    async def every_value(ctx) -> None:
        ranges = [range(-(1 << bits - 1), 1 << bits - 1) for bits in lengths for _ in range(pairs)]
        everything = Cat(*a, *b)
        for values in product(*ranges):
            bits_of = [(value, length) for value, length in zip(
                values, (length for length in lengths for _ in range(pairs)), strict=True)]
            packed = 0
            for value, length in reversed(bits_of):
                packed = packed << length | value % (1 << length)
            ctx.set(everything, packed)
            total = sum(x * y for x, y in zip(values[:pairs], values[pairs:], strict=True))
            if ctx.get(result) % (1 << bits) != total % (1 << bits):
                wrong.append(values)

    simulator = Simulator(m)
    simulator.add_testbench(every_value)
    simulator.run()
    assert wrong == []


def edges(bits: int, rng: random.Random) -> list[int]:
    """The ends of a signed range, long runs of ones and zeros, and random values."""
    runs = [sign * (1 << k) + d for k in range(0, bits, 5) for d in (-1, 0) for sign in (1, -1)]
    ends = [-(1 << bits - 1), (1 << bits - 1) - 1]
    return [*ends, *(value for value in runs if ends[0] <= value <= ends[1]),
            *(rng.randint(*ends) for _ in range(10))]


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("view, lengths", [
    (View.MULTIPLIERS, (32, 32)), (View.MULTIPLIERS, (9, 32)), (View.MULTIPLIERS, (18, 18)),
    (View.MULTIPLIERS, (19, 8)), (View.GATES, (9, 32))])
def test_split_products_of_many_bits_are_products(view: View, lengths: tuple[int, int], seed: int) -> None:
    """With an offset, as the tail's products have one. Multiplier blocks of 18 bits take parts of an operand."""
    rng = random.Random(seed)
    a, b = (Signal(signed(length), name=name) for name, length in zip("ab", lengths, strict=True))
    offset = Signal(5)
    bits = sum(lengths)
    m = Module()
    total = Signal(bits)
    m.d.comb += total.eq(sum(split_sum_of_products(m, [(a, b)], bits, view, [(3, offset)])))
    rows = [(x, y, rng.randrange(32)) for x in rng.sample(edges(lengths[0], rng), 9) for y in edges(lengths[1], rng)]
    for (x, y, more), found in zip(rows, evaluated(m, [a, b, offset], {"total": total}, rows), strict=True):
        assert found["total"] == (x * y + (more << 3)) % (1 << bits), (x, y, more)


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("bits", [20, 42, 64])
def test_sums_by_carry_select_are_sums(bits: int, seed: int) -> None:
    """One block of 24 bits, two and three; carries through all of them."""
    rng = random.Random(seed)
    a, b = (Signal(bits, name=name) for name in "ab")
    carry = Signal()
    m = Module()
    sums = {"sum": add_parts(m, [a, b], bits, View.GATES), "with_carry": add_parts(m, [a, b], bits, View.GATES, carry)}
    values = [value % (1 << bits) for value in edges(bits, rng)]
    rows = [(x, y, rng.randrange(2)) for x in rng.sample(values, 12) for y in (*values, ~x % (1 << bits))]
    for (x, y, one), found in zip(rows, evaluated(m, [a, b, carry], sums, rows), strict=True):
        assert found["sum"] % (1 << bits) == (x + y) % (1 << bits), (x, y)
        assert found["with_carry"] % (1 << bits) == (x + y + one) % (1 << bits), (x, y, one)
