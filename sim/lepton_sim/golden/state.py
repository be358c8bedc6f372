"""What commands work on: the chip's memories, and the log of what they touch."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from lepton.arch import ChipConfig, Space
from lepton.arch.commands import TABLE_BYTES
from lepton.arch.rows import EXPONENTIALS


class AccessLog(Protocol):
    """What a command touches, for the race checker; on chip in words of K bytes, in memory in bytes."""

    def read(self, memory: str, index: np.ndarray) -> None:
        """`index`: int64, any shape, duplicates allowed; `memory` is "scratchpad", "weights" or "memory"."""

    def write(self, memory: str, index: np.ndarray) -> None:
        """As `read`."""

    def accumulate(self, first: int, count: int, starts: bool, ends: bool) -> None:
        """Accumulator rows of a walk; `starts`: they start anew, `ends`: undefined afterwards."""

    def look_up(self, loads: bool) -> None:
        """Results go through the table, which the command itself brings if `loads`."""

    def look_up_exponential(self, loads: bool) -> None:
        """As `look_up`, in the table of exponentials."""

    def overlap(self, address: int) -> None:
        """A walk reads, at a later pixel, the scratchpad byte that an earlier one wrote."""


@dataclass
class ChipState:
    """The chip's memories: `scratchpad` and `weights` are uint8 bytes, `accumulators` int32 of shape (rows, K), `table`
    TABLE_BYTES int8, `exponentials` EXPONENTIALS uint32."""

    config: ChipConfig
    scratchpad: np.ndarray
    weights: np.ndarray
    accumulators: np.ndarray
    table: np.ndarray
    exponentials: np.ndarray

    @classmethod
    def blank(cls, config: ChipConfig) -> "ChipState":
        """A chip whose memories are all zero."""
        return cls(config, np.zeros(config.scratchpad_bytes, np.uint8), np.zeros(config.weight_bytes, np.uint8),
                   np.zeros((config.accumulator_rows, config.lanes), np.int32), np.zeros(TABLE_BYTES, np.int8),
                   np.zeros(EXPONENTIALS, np.uint32))

    def copy(self) -> "ChipState":
        """A chip in the same state."""
        return ChipState(self.config, self.scratchpad.copy(), self.weights.copy(), self.accumulators.copy(),
                    self.table.copy(), self.exponentials.copy())

    def local(self, space: int) -> np.ndarray:
        """The on-chip memory that a transfer names."""
        return self.scratchpad if space == Space.SCRATCHPAD else self.weights
