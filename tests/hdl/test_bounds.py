"""Comparisons with powers of two, for every value of eight bits."""

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator
from lepton_hdl.bounds import below, word_outside

BITS = 8


def values_of(shape, expression) -> dict[int, int]:
    """What an expression of a signal gives for each of the signal's values."""
    m = Module()
    value = Signal(shape)
    result = Signal()
    m.d.comb += result.eq(expression(value))
    found = {}

    async def look(context):
        low = -(1 << BITS - 1) if value.shape().signed else 0
        for number in range(low, low + (1 << BITS)):
            context.set(value, number)
            await context.delay(1e-9)
            found[number] = context.get(result)

    simulator = Simulator(m)
    simulator.add_testbench(look)
    simulator.run()
    return found


@pytest.mark.parametrize("size, lanes", [(16, 4), (32, 1), (64, 16), (128, 4)])
def test_words_that_leave_a_memory(size, lanes):
    assert values_of(BITS, lambda value: word_outside(value, size, lanes)) == {
        number: number > size - lanes for number in range(1 << BITS)}


@pytest.mark.parametrize("limit", range(6))
def test_below_a_small_limit(limit):
    assert values_of(signed(BITS), lambda value: below(value, limit)) == {
        number: number < limit for number in range(-(1 << BITS - 1), 1 << BITS - 1)}
