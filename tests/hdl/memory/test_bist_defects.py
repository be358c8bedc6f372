"""The march on defects that show late or only between neighbours: each of its comparisons, and its background."""

import random
from itertools import pairwise

import cocotb
from lepton_hdl.memory.bist import March

from tests.bench.stalls import NONE, SOME
from tests.cocotb_harness import run_cocotb
from tests.hdl.memory.march_bench import (
    BITS,
    CONFIG,
    DEPTH,
    ONES,
    Bridged,
    Memory,
    Slow,
    WrongRead,
    background,
    opened,
)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def every_single_comparison_counts(dut):
    """A word that is read wrong once, at any of the march's reads, the very last among them."""
    bench = await opened(dut)
    for number in range(2 * DEPTH):
        assert await bench.march(WrongRead(number), SOME if number % 2 else NONE), number
    assert not await bench.march(WrongRead(2 * DEPTH)), "there are more reads than those of the march"


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def bits_that_change_only_once_are_found(dut):
    """The march reads after one of a bit's two transitions; of a whole word, bits of both kinds. Also in the word that
    is compared last."""
    bench = await opened(dut)
    for address in (0, 1, DEPTH - 1, random.randrange(2, DEPTH - 1)):
        one = 1 << random.randrange(BITS)
        found = [await bench.march(Slow(address, one, value), SOME) for value in (0, 1)]
        assert any(found), address
        for value in (0, 1):
            assert await bench.march(Slow(address, ONES, value), SOME), (address, value)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def bridges_between_neighbouring_bits_are_found(dut):
    bench = await opened(dut)
    for join in (int.__and__, int.__or__):
        for low in (0, BITS - 2, random.randrange(BITS - 1)):
            assert await bench.march(Bridged(join, low))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def memory_holds_the_background_at_the_end(dut):
    bench = await opened(dut)
    memory = Memory()
    assert not await bench.march(memory, SOME)
    assert memory.words == [background(address) for address in range(DEPTH)]


def test_the_background_alternates():
    """The model itself: bits differ from their neighbours in the word and in the words before and behind it."""
    for word in map(background, range(DEPTH)):
        assert word ^ word >> 1 | 1 << BITS - 1 == ONES
    for before, word in pairwise(map(background, range(DEPTH))):
        assert word == before ^ ONES


def test_march_defects():
    run_cocotb(March(CONFIG, DEPTH), "march", __name__)
