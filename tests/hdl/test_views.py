"""Products in gates equal those of the processor, for every value of their operands."""

from itertools import product

import pytest
from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.sim import Simulator
from lepton_hdl.views import View, sum_of_products


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
