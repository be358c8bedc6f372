"""Commands of the DMA: random ones, and the model of what they do (the pseudo-code of `Dma`)."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from lepton.arch import ChipConfig, Dma, DmaOpcode

Fields = dict[str, int]
"""All fields of a command by name."""


@dataclass(frozen=True)
class Word:
    """A word that LOAD or FILL writes on chip."""

    space: int
    address: int  # in words
    data: bytes


@dataclass(frozen=True)
class Region:
    """A run of bytes in memory that a job may use."""

    base: int
    size: int


def command(opcode: DmaOpcode, **fields: int) -> Fields:
    """All fields of a command; counts are 1 unless given."""
    values = {f.name: 0 for f in Dma.fields} | {"count1": 1, "count2": 1, "count3": 1, "row_bytes": 1}
    assert fields.keys() <= values.keys(), fields
    return values | {"opcode": int(opcode)} | fields


def rows(fields: Fields) -> Iterator[tuple[int, int]]:
    """(offset in the region, byte address on chip) of every row: the pseudo-code of `Dma`."""
    for numbers in product(*(range(fields[f"count{level}"]) for level in (3, 2, 1))):
        offset = fields["offset"]
        local = fields["local"]
        for level, number in zip((3, 2, 1), numbers, strict=True):
            offset += number * fields[f"mem_step{level}"]
            local += number * fields[f"local_step{level}"]
        yield offset % 2**32, local % 2**32


def loaded(config: ChipConfig, fields: Fields, region: bytes, count: int | None = None) -> list[Word]:
    """The words that LOAD or FILL writes, in order; of its first `count` rows (default: of all)."""
    lanes = config.lanes
    length = fields["row_bytes"]
    fill = bytes([fields["fill"] & 0xFF])
    words: list[Word] = []
    for offset, local in list(rows(fields))[:count]:
        row = b"" if fields["opcode"] == DmaOpcode.FILL else region[offset:offset + length]
        row = row.ljust(-(-length // lanes) * lanes, fill)
        words += [Word(fields["space"], (local + at) // lanes, row[at:at + lanes]) for at in range(0, len(row), lanes)]
    return words


def store(fields: Fields, memory: bytearray, start: int, scratchpad: bytes, count: int | None = None) -> None:
    """Do a STORE, or its first `count` rows; the region begins at byte `start` of `memory`."""
    length = fields["row_bytes"]
    for offset, local in list(rows(fields))[:count]:
        memory[start + offset:start + offset + length] = scratchpad[local:local + length]


def _span(counts: Sequence[int], steps: Sequence[int]) -> tuple[int, int]:
    """The lowest and the highest offset of a walk."""
    ends = [(count - 1) * step for count, step in zip(counts, steps, strict=True)]
    return sum(min(0, end) for end in ends), sum(max(0, end) for end in ends)


def _overlaps(counts: Sequence[int], steps: Sequence[int], length: int) -> bool:
    """Whether rows of this length touch the same bytes."""
    starts = sorted(sum(n * step for n, step in zip(numbers, steps, strict=True))
                    for numbers in product(*(range(count) for count in counts)))
    return any(second - first < length for first, second in pairwise(starts))


def random_walk(config: ChipConfig, opcode: DmaOpcode, region_bytes: int, budget: int = 3000) -> Fields:
    """A legal command of about `budget` bytes at most, of any shape, with steps of both signs."""
    lanes = config.lanes
    space = random.choice([0, 0, 1]) if opcode != DmaOpcode.STORE else 0
    local_size = config.weight_bytes if space else config.scratchpad_bytes
    row_bytes = random.choice([1, random.randint(1, 40), random.randint(1, 40) * lanes, random.randint(1, 600)])
    words = -(-row_bytes // lanes)
    counts: list[int] = []
    for _ in range(3):
        counts.append(random.randint(1, max(1, min(6, budget // (row_bytes * math.prod(counts))))))
    while True:
        mem = [random.choice([row_bytes, random.randint(-700, 700), random.randint(-3000, 3000)]) for _ in range(3)]
        local = [random.choice([words, random.randint(-60, 60), random.randint(-200, 200)]) * lanes for _ in range(3)]
        if opcode == DmaOpcode.STORE and _overlaps(counts, mem, row_bytes):  # beats would merge in any order
            continue
        mem_low, mem_high = _span(counts, mem)
        local_low, local_high = _span(counts, local)
        mem_room = region_bytes - row_bytes - (mem_high - mem_low)
        local_room = local_size // lanes - words - (local_high - local_low) // lanes
        if mem_room >= 0 and local_room >= 0:
            break
    return command(
        opcode, space=space, region=random.randrange(4), fill=random.randint(-128, 127), layer=random.randrange(65536),
        post=random.randrange(65536), row_bytes=row_bytes, offset=random.randint(0, mem_room) - mem_low,
        local=random.randint(0, local_room) * lanes - local_low,
        **{f"count{i + 1}": n for i, n in enumerate(counts)},
        **{f"mem_step{i + 1}": step for i, step in enumerate(mem)},
        **{f"local_step{i + 1}": step for i, step in enumerate(local)})
