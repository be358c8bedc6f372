"""Comparisons with powers of two as tests for zero and ones: a third of the look-up tables of a carry chain."""

from amaranth.hdl import ValueLike
from amaranth.utils import exact_log2


def above_power(value, power: int) -> ValueLike:
    """Whether an unsigned value, wider than `power`, is above it; `power` is a power of two."""
    bit = exact_log2(power)
    return value[bit + 1:].any() | (value[bit] & value[:bit].any())


def word_outside(address, size: int, lanes: int) -> ValueLike:
    """Whether a word of `lanes` bytes at byte `address` leaves a memory of `size` bytes; both are powers of two."""
    first = exact_log2(lanes)
    end = exact_log2(size)
    return address[end:].any() | (address[first:end].all() & address[:first].any())


def below(value, limit: int) -> ValueLike:
    """Whether a signed value is below a small `limit` of 0 or more."""
    bits = limit.bit_length()
    return value[-1] | (~value[bits:].any() & (value[:bits] < limit)) if limit else value[-1]
