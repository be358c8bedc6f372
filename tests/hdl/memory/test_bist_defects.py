"""The march on defects that show late or only between neighbours: each of its comparisons, and its background."""

import random

import cocotb
from lepton_hdl.memory.bist import March

from tests.cocotb_harness import run_cocotb
from tests.hdl.memory.march_bench import BITS, CONFIG, DEPTH, Memory, march, start


class Recording(Memory):
    """Counts what is read and written; read number `wrong` has one bit flipped."""

    def __init__(self, wrong: int | None = None):
        super().__init__()
        self.wrong, self.bit = wrong, random.randrange(BITS)
        self.reads: list[int] = []
        self.writes: list[tuple[int, int]] = []

    def read(self, address: int) -> int:
        self.reads.append(address)
        return super().read(address) ^ (1 << self.bit if len(self.reads) - 1 == self.wrong else 0)

    def write(self, address: int, word: int) -> None:
        self.writes.append((address, word))
        super().write(address, word)


class Slow(Memory):
    """The bits in `mask` of word `address` can be set once, but then no longer change to `value`."""

    def __init__(self, address: int, mask: int, value: int):
        super().__init__()
        self.address, self.mask, self.value, self.written = address, mask, value, False

    def write(self, address: int, word: int) -> None:
        if address == self.address and self.written:
            stays = self.mask & (word if self.value else ~word)
            word = word & ~stays | self.words[address] & stays
        self.written |= address == self.address
        super().write(address, word)


class Bridged(Memory):
    """Bit `low` of each word and the next one are one wire, which reads as `join` of both."""

    def __init__(self, join, low: int):
        super().__init__()
        self.join, self.low = join, low

    def read(self, address: int) -> int:
        word, pair = super().read(address), 3 << self.low
        both = self.join(word >> self.low & 1, word >> self.low + 1 & 1)
        return word & ~pair | pair * both


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def every_single_comparison_counts(dut):
    """A word that is read wrong once, at any of the march's reads, the very last among them."""
    pins = await start(dut)
    sound = Recording()
    assert not await march(pins, sound, 0.3)
    assert sound.reads == [*range(DEPTH), *reversed(range(DEPTH))]
    for number in range(len(sound.reads)):
        memory = Recording(number)
        assert await march(pins, memory, 0.3 * (number % 2)), number
        assert len(memory.reads) == len(sound.reads)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def neighbours_hold_opposite_bits(dut):
    """Every word is written three times; bits differ from their neighbours in the word and in the words beside it."""
    pins = await start(dut)
    memory = Recording()
    assert not await march(pins, memory, 0.2)
    up, down = list(range(DEPTH)), list(reversed(range(DEPTH)))
    assert [address for address, _ in memory.writes] == up + up + down
    ones = (1 << BITS) - 1
    first, second, third = (dict(memory.writes[i * DEPTH:(i + 1) * DEPTH]) for i in range(3))
    for address in range(DEPTH):
        word = first[address]
        assert word ^ word >> 1 | 1 << BITS - 1 == ones, "neighbouring bits are equal"
        assert second[address] == word ^ ones and third[address] == word
        assert address == 0 or word == first[address - 1] ^ ones, "neighbouring words are equal"


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def bits_that_change_only_once_are_found(dut):
    """The march reads after one of a bit's two transitions; of a whole word, bits of both kinds. Also in the word that
    is compared last."""
    pins = await start(dut)
    for address in (0, 1, DEPTH - 1, random.randrange(2, DEPTH - 1)):
        one = 1 << random.randrange(BITS)
        assert any([await march(pins, Slow(address, one, value), 0.1) for value in (0, 1)]), address
        for value in (0, 1):
            assert await march(pins, Slow(address, (1 << BITS) - 1, value), 0.1), (address, value)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def bridges_between_neighbouring_bits_are_found(dut):
    pins = await start(dut)
    for join in (lambda a, b: a & b, lambda a, b: a | b):
        for low in (0, BITS - 2, random.randrange(BITS - 1)):
            assert await march(pins, Bridged(join, low))


def test_march_defects():
    run_cocotb(March(CONFIG, DEPTH), "march", __name__)
