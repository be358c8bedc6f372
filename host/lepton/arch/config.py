"""What can vary between chips, and the presets that are tested."""

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any


class ConfigError(ValueError):
    """The combination of parameters cannot be built; the text says why."""


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True)
class ChipConfig:
    """Parameters of one chip.

    A *word* is `lanes` bytes: one pixel of `lanes` channels in the scratchpad,
    or one column of a weight tile in the weight memory. `columns` must equal
    `lanes`, because a finished row of `columns` outputs is a word of the next
    layer's input.
    """

    name: str
    lanes: int
    columns: int
    scratchpad_kib: int
    weight_kib: int
    accumulator_rows: int
    bus_bytes: int = 16
    scratchpad_banks: int = 4
    outstanding: int = 16  # read bursts in flight; write bursts likewise
    semaphores: int = 16
    layer_slots: int = 256  # per-layer counter snapshots
    window_columns: int = 256  # widest image of a depthwise walk; 0: no window unit
    row_lanes: int = 4  # channels that the ROWS engine takes in a cycle; 0: no ROWS engine
    controller: bool = False  # a processor that serves several clients; the host drives the chip directly without it
    clock_mhz: int = 100  # the clock that latency figures are stated at
    clock_origin: str = ""  # what shows that the chip reaches it, as "placed and routed on ULX3S"; "": it is assumed

    def __post_init__(self) -> None:
        for name, low, high in (("lanes", 4, 64), ("bus_bytes", 4, 64), ("scratchpad_banks", 2, 16),
                                ("accumulator_rows", 16, 65536), ("scratchpad_kib", 1, 4096),
                                ("weight_kib", 1, 4096), ("outstanding", 1, 64), ("layer_slots", 1, 256)):
            value = getattr(self, name)
            if not (low <= value <= high and _power_of_two(value)):
                raise ConfigError(f"{name} must be a power of two in {low}..{high}, not {value!r}")
        if self.window_columns and not (8 <= self.window_columns <= 4096 and _power_of_two(self.window_columns)):
            raise ConfigError(
                f"window_columns must be 0 (no window unit) or a power of two in 8..4096, not {self.window_columns!r}")
        if self.row_lanes and not (self.row_lanes <= min(8, self.lanes) and _power_of_two(self.row_lanes)):
            raise ConfigError(f"row_lanes must be 0 (no ROWS engine) or a power of two in 1..8 and at most lanes "
                              f"({self.lanes}), not {self.row_lanes!r}")
        if self.columns != self.lanes:
            raise ConfigError(
                f"columns must equal lanes ({self.lanes}), not {self.columns!r}: "
                "a row of outputs is a word of the next input")
        if self.semaphores != 16:
            raise ConfigError(f"semaphores must be 16, the width of the wait and post masks, not {self.semaphores!r}")
        if not 1 <= self.clock_mhz <= 10_000:
            raise ConfigError(f"clock_mhz must be an integer in 1..10000, not {self.clock_mhz!r}")
        if not self.clock_origin.isprintable():
            raise ConfigError(f"clock_origin must be one line of printable text, not {self.clock_origin!r}")
        if self.controller and self.layer_slots != 256:
            raise ConfigError(f"layer_slots must be 256 with a controller, not {self.layer_slots!r}: "
                              "its firmware reads the snapshots of all layers")
        if self.weight_words > 65536:
            raise ConfigError(
                f"weight_kib must be at most {64 * self.lanes} for {self.lanes} lanes, not {self.weight_kib}: "
                "commands address weight words with 16 bits")

    @property
    def scratchpad_bytes(self) -> int:
        return self.scratchpad_kib * 1024

    @property
    def scratchpad_words(self) -> int:
        return self.scratchpad_bytes // self.lanes

    @property
    def weight_bytes(self) -> int:
        return self.weight_kib * 1024

    @property
    def weight_words(self) -> int:
        return self.weight_bytes // self.lanes

    @property
    def macs_per_cycle(self) -> int:
        return self.lanes * self.columns

    @property
    def clock(self) -> str:
        """The clock that times are stated at, with its origin."""
        if not self.clock_origin:
            return f"an assumed {self.clock_mhz} MHz"
        return f"{self.clock_mhz} MHz, {self.clock_origin}"

    @property
    def hash(self) -> str:
        """Hex digest of everything a compiled program depends on."""
        values = asdict(self)
        del values["name"], values["clock_mhz"], values["clock_origin"], values["controller"]
        return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:16]

    def with_(self, **changes: Any) -> "ChipConfig":
        """A copy with some parameters changed, checked like the original."""
        return replace(self, **changes)


PRESETS = {
    c.name: c for c in (
        ChipConfig("tiny", lanes=4, columns=4, scratchpad_kib=32, weight_kib=16, accumulator_rows=256,
                   row_lanes=1),
        ChipConfig("small", lanes=8, columns=8, scratchpad_kib=64, weight_kib=32, accumulator_rows=512,
                   row_lanes=2),
        ChipConfig("base", lanes=16, columns=16, scratchpad_kib=256, weight_kib=128, accumulator_rows=1024),
        ChipConfig("large", lanes=32, columns=32, scratchpad_kib=512, weight_kib=512, accumulator_rows=1024),
    )
}
