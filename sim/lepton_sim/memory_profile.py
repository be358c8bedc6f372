"""How the board's memory behaves: bandwidth, latency, stalls and faults."""

import ctypes
from dataclasses import asdict, dataclass, replace
from enum import IntEnum

from lepton.arch.memory import MEMORIES, MemoryTiming


class FaultKind(IntEnum):
    """What a faulty range of memory answers."""

    SLVERR = 2
    DECERR = 3
    HANG = 4  # nothing, ever; everything behind waits, as memory answers in order
    LATE = 5  # `delay` cycles later than it would; everything behind waits
    SHORT = 6  # a read's last beat is missing: RLAST comes a beat early (not for bursts of one beat)
    LONG = 7  # a read has a beat too many: RLAST comes a beat late


@dataclass(frozen=True)
class Fault:
    """Bursts that touch bytes `first` to `last` (inclusive) fail as `kind` on reads, writes or both.

    `delay`: cycles, for LATE. Raises `ValueError` for a range or a delay that cannot be.
    """

    first: int
    last: int
    kind: FaultKind
    on_read: bool = True
    on_write: bool = True
    delay: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.delay < 1 << 32:
            raise ValueError(f"the delay of a fault must be in 0..{(1 << 32) - 1} cycles, not {self.delay}")
        if not 0 <= self.first <= self.last < 1 << 64:
            raise ValueError(f"a fault must cover first <= last within 64 bits, not {self.first:#x}..{self.last:#x}")


@dataclass(frozen=True)
class MemoryProfile(MemoryTiming):
    """Behaviour of the memory controller: its timing, and what makes it irregular.

    `latency_jitter`: cycles by which a latency may be longer, by chance.
    `stall_*`: chance, a cycle, that the channel stalls although it could go on
    (0 to 1); `stall_host` delays each part of a register access likewise.
    """

    latency_jitter: int = 0
    stall_ar: float = 0
    stall_aw: float = 0
    stall_w: float = 0
    stall_r: float = 0
    stall_b: float = 0
    stall_host: float = 0
    seed: int = 1

    def __post_init__(self):
        for name, low, high in (("bytes_per_cycle", 1, 4096), ("read_latency", 1, 1 << 20),
                                ("write_latency", 1, 1 << 20), ("latency_jitter", 0, 1 << 20), ("outstanding", 1, 256),
                                ("refresh_interval", 0, 1 << 30), ("refresh_cycles", 0, 1 << 30),
                                ("seed", 0, (1 << 64) - 2)):
            value = getattr(self, name)
            if not (isinstance(value, int) and low <= value <= high):
                raise ValueError(f"{name} must be an integer in {low}..{high}, not {value!r}")
        if self.refresh_cycles and self.refresh_cycles >= self.refresh_interval:
            raise ValueError(f"refresh_cycles must be below refresh_interval ({self.refresh_interval}), "
                             f"not {self.refresh_cycles}: no data would ever move")
        for name in _STALLS:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be a chance in 0 <= p < 1, not {getattr(self, name)!r}")

    def with_(self, **changes) -> "MemoryProfile":
        """A copy with some values changed, checked like the original."""
        return replace(self, **changes)


_STALLS = ("stall_ar", "stall_aw", "stall_w", "stall_r", "stall_b", "stall_host")

# The memories that predictions are made for, without anything irregular.
DEFAULT, IDEAL, SLOW, ULX3S, DDR3, LPDDR4 = (MemoryProfile(**asdict(timing)) for timing in MEMORIES.values())


def RANDOM(seed: int = 1) -> MemoryProfile:
    """Random stalls on every channel and random latencies, the same for the same seed."""
    return MemoryProfile("random", read_latency=8, write_latency=4, latency_jitter=60, outstanding=8,
                         refresh_interval=300, refresh_cycles=10, stall_ar=0.4, stall_aw=0.4, stall_w=0.3, stall_r=0.3,
                         stall_b=0.4, stall_host=0.4, seed=seed)


def profile(memory: "str | MemoryProfile", seed: int = 1) -> MemoryProfile:
    """A profile from its name or itself. Raises `ValueError`, which lists the names."""
    if isinstance(memory, MemoryProfile):
        return memory
    presets = {preset.name: preset for preset in (DEFAULT, IDEAL, SLOW, ULX3S, DDR3, LPDDR4, RANDOM(seed))}
    if memory not in presets:
        raise ValueError(f"memory must be one of {', '.join(presets)} or a MemoryProfile, not {memory!r}")
    return presets[memory]


class CProfile(ctypes.Structure):
    """`lepton::Profile` of harness/profile.h."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in (
            "bytes_per_cycle", "read_latency", "write_latency", "latency_jitter", "outstanding", "refresh_interval",
            "refresh_cycles", *_STALLS)),
        ("seed", ctypes.c_uint64),
    )

    @classmethod
    def from_profile(cls, values: MemoryProfile) -> "CProfile":
        fields = {field[0]: getattr(values, field[0]) for field in cls._fields_}
        # A chance below 1 must not round to always: nothing would ever move.
        return cls(**fields | {name: min(65535, round(fields[name] * 65536)) for name in _STALLS})


class CFault(ctypes.Structure):
    """`lepton::Fault` of harness/profile.h."""

    _fields_ = (("first", ctypes.c_uint64), ("last", ctypes.c_uint64), ("kind", ctypes.c_uint32),
                ("on_read", ctypes.c_uint32), ("on_write", ctypes.c_uint32), ("delay", ctypes.c_uint32))

    @classmethod
    def from_fault(cls, fault: Fault) -> "CFault":
        return cls(fault.first, fault.last, fault.kind, fault.on_read, fault.on_write, fault.delay)
