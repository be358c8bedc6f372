"""Chips with memories that a test can fill word by word."""

from lepton.arch import ChipConfig

WEIGHTS = ChipConfig("weights", lanes=4, columns=4, scratchpad_kib=1, weight_kib=1, accumulator_rows=16)


def banked(banks: int) -> ChipConfig:
    """A scratchpad with this number of banks."""
    return ChipConfig(f"banks{banks}", lanes=4, columns=4, scratchpad_kib=1, weight_kib=1, accumulator_rows=16,
                      scratchpad_banks=banks)
