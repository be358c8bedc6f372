"""CRC32 (IEEE 802.3, as in zlib) of 32 bits a cycle."""

from functools import cache, reduce
from operator import xor

from amaranth.hdl import Cat, Const, Value

POLYNOMIAL = 0xEDB8_8320  # reflected


@cache
def _columns() -> tuple[int, ...]:
    """What each bit of (state XOR word) contributes to the state 32 bits later; the step is linear."""
    columns = []
    for bit in range(32):
        state = 1 << bit
        for _ in range(32):
            state = state >> 1 ^ (POLYNOMIAL if state & 1 else 0)
        columns.append(state)
    return tuple(columns)


def crc32_word(state: Value, word: Value) -> Value:
    """The state after one more little-endian word. It starts at all ones; the CRC is its complement."""
    mixed = state ^ word
    bits = (reduce(xor, [mixed[i] for i, column in enumerate(_columns()) if column >> bit & 1], Const(0, 1))
            for bit in range(32))
    return Cat(*bits)
