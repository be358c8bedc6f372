"""The march on memories that are intact and on memories that are not, and whose ports stall."""

import random

import cocotb
from lepton_hdl.memory.bist import March

from tests.bench.stalls import STALLS
from tests.cocotb_harness import run_cocotb
from tests.hdl.memory.march_bench import BITS, CONFIG, DEPTH, Aliased, Coupled, Memory, Stuck, opened


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(pattern=STALLS)
async def intact_memories_pass(dut, pattern):
    """At every rate of stalls, and after a defective one."""
    bench = await opened(dut)
    assert not await bench.march(Memory(), pattern)
    assert await bench.march(Stuck(0, 0, 1), pattern)
    assert not await bench.march(Memory(), pattern)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def every_stuck_bit_is_found(dut):
    """Each bit of the first and last words, a bit of every other, stuck at 0 and at 1."""
    bench = await opened(dut)
    cells = [(address, bit) for address in (0, DEPTH - 1) for bit in range(BITS)]
    cells += [(address, random.randrange(BITS)) for address in range(1, DEPTH - 1)]
    for address, bit in cells:
        for value in (0, 1):
            assert await bench.march(Stuck(address, bit, value)), (address, bit, value)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def faults_of_the_decoder_are_found(dut):
    """Two addresses that reach one cell, in either order; a write that disturbs its neighbour."""
    bench = await opened(dut)
    for first, second in ((0, 1), (1, 0), (3, 7), (22, 6), (DEPTH - 1, 0)):
        assert await bench.march(Aliased(first, second)), (first, second)
        assert await bench.march(Coupled(first, second)), (first, second)


def test_march():
    run_cocotb(March(CONFIG, DEPTH), "march", __name__)
