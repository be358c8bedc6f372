"""How the board's memory behaves: bandwidth, latency, stalls and faults."""

import ctypes
from dataclasses import dataclass, replace
from enum import IntEnum


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
class MemoryProfile:
    """Behaviour of the memory controller. Latencies are in cycles and at least 1.

    `bytes_per_cycle`: peak bandwidth, for reads and again for writes. A beat costs
    the width of the bus, whatever part of it is used.
    `read_latency`: a burst whose address is taken in cycle t has its first data in
    cycle t + read_latency, if bandwidth and bursts before it allow.
    `write_latency`: from the last data of a burst to its response.
    `outstanding`: bursts taken and not finished, each way.
    `refresh_cycles` at the end of every `refresh_interval` move no data.
    `stall_*`: chance, a cycle, that the channel stalls although it could go on
    (0 to 1); `stall_host` delays each part of a register access likewise.
    """

    name: str
    bytes_per_cycle: int = 16
    read_latency: int = 64
    write_latency: int = 64
    latency_jitter: int = 0
    outstanding: int = 16
    refresh_interval: int = 1024
    refresh_cycles: int = 32
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

# Design D8: the profile of every published figure. D8 gives no latency for write responses; as long
# as reads take is on the careful side.
DEFAULT = MemoryProfile("default")
IDEAL = MemoryProfile("ideal", bytes_per_cycle=64, read_latency=1, write_latency=1, outstanding=64, refresh_interval=0,
                      refresh_cycles=0)
SLOW = MemoryProfile("slow", bytes_per_cycle=4, read_latency=200, write_latency=200, outstanding=4)


# Memories of real boards, by arithmetic from their data sheets; nothing has been measured. Reads and writes share such
# a memory's pins, which the model does not know: it gives each of them the whole bandwidth.
#
# ULX3S: 16-bit SDRAM at the chip's clock through `lepton_hdl.boards.sdram`: 2 bytes a cycle. Row closed and opened, CAS
# latency 2, registers of the pins 2, a word of 8 halves, registers on the way 4: 18 cycles at up to 47 MHz, where tRP
# and tRCD (21 ns) are a cycle each. A refresh each 7.8 us (312 cycles at 40 MHz) takes tRP and tRFC and opens a row.
ULX3S = MemoryProfile("ulx3s", bytes_per_cycle=2, read_latency=18, write_latency=10, outstanding=4,
                      refresh_interval=312, refresh_cycles=5)
# 16-bit DDR3-800 with a chip at 100 MHz: 800 M transfers of 2 bytes, 16 bytes a cycle. tRP + tRCD + CL are 15 cycles of
# 2.5 ns, with those of controller and PHY about 200 ns. A refresh each 7.8 us takes tRFC = 160 ns (JESD79-3, 2 Gbit).
DDR3 = MemoryProfile("ddr3", bytes_per_cycle=16, read_latency=20, write_latency=16, refresh_interval=780,
                     refresh_cycles=16)
# 16-bit LPDDR4-3200 with a chip at 100 MHz: 64 bytes a cycle, more than a bus takes. About 250 ns with controller and
# PHY. A refresh each 3.9 us takes tRFCab = 280 ns (JESD209-4, 8 Gbit a channel).
LPDDR4 = MemoryProfile("lpddr4", bytes_per_cycle=64, read_latency=25, write_latency=20, refresh_interval=390,
                       refresh_cycles=28)


def RANDOM(seed: int = 1) -> MemoryProfile:
    """Random stalls on every channel and random latencies, the same for the same seed."""
    return MemoryProfile("random", read_latency=8, write_latency=4, latency_jitter=60, outstanding=8,
                         refresh_interval=300, refresh_cycles=10, stall_ar=0.4, stall_aw=0.4, stall_w=0.3, stall_r=0.3,
                         stall_b=0.4, stall_host=0.4, seed=seed)


def profile(memory: "str | MemoryProfile", seed: int = 1) -> MemoryProfile:
    """A profile from its name or itself. Raises `ValueError`, which lists the names."""
    if isinstance(memory, MemoryProfile):
        return memory
    presets = {"default": DEFAULT, "ideal": IDEAL, "slow": SLOW, "ulx3s": ULX3S, "ddr3": DDR3, "lpddr4": LPDDR4,
               "random": RANDOM(seed)}
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
