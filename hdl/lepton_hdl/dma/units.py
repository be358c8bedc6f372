"""How beats of memory and words on chip are cut into common units."""

from dataclasses import dataclass

from amaranth.utils import bits_for, exact_log2
from lepton.arch import ChipConfig


@dataclass(frozen=True)
class Units:
    """A unit has `unit` bytes, as many as the narrower of beat and word; one of `per_beat` and `per_word` is 1.

    The shifts turn bytes into units, words and beats. `size_bits` counts the bytes of a row, which is at most as long
    as the larger on-chip memory that it may go to; `count_bits` counts its units.
    """

    unit: int
    per_beat: int
    per_word: int
    unit_shift: int
    word_shift: int
    bus_shift: int
    size_bits: int

    @classmethod
    def of(cls, config: ChipConfig, row_bytes: int) -> "Units":
        """The units of a chip, for rows of at most `row_bytes` bytes."""
        unit = min(config.bus_bytes, config.lanes)
        return cls(unit, config.bus_bytes // unit, config.lanes // unit, exact_log2(unit), exact_log2(config.lanes),
                   exact_log2(config.bus_bytes), bits_for(row_bytes))

    @property
    def count_bits(self) -> int:
        return self.size_bits - self.unit_shift
