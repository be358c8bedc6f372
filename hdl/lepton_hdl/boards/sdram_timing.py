"""Geometry and timing of SDRAM chips (SDR, 16 bits wide), from their data sheets."""

from dataclasses import dataclass
from math import ceil, floor


@dataclass(frozen=True)
class SdramChip:
    """One kind of SDRAM. Times in nanoseconds; the names are those of the data sheets (JEDEC 21-C, 3.11.5).

    `rcd`: ACTIVE to READ or WRITE. `rp`: PRECHARGE to ACTIVE. `ras`: ACTIVE to PRECHARGE. `rc`: ACTIVE to ACTIVE of
    the same bank. `rrd`: ACTIVE to ACTIVE of another bank. `rfc`: AUTO REFRESH to the next command. `wr`: last data
    written to PRECHARGE. `mrd`: LOAD MODE to the next command, in cycles. `refresh_ms`: every row is refreshed within
    that time. `power_up_us`: stable clock before the first command.
    """

    name: str
    bank_bits: int
    row_bits: int
    column_bits: int
    cas_latency: int
    rcd: float
    rp: float
    ras: float
    rc: float
    rrd: float
    rfc: float
    wr: float
    mrd: int = 2
    refresh_ms: float = 64
    power_up_us: float = 200

    @property
    def size(self) -> int:
        """Bytes of memory; a column holds two."""
        return 2 << (self.bank_bits + self.row_bits + self.column_bits)

    def cycles(self, clock_hz: float) -> "SdramCycles":
        """The times in cycles of a clock, rounded to the safe side."""
        def at_least(nanoseconds: float) -> int:
            return max(1, ceil(nanoseconds * 1e-9 * clock_hz - 1e-9))

        interval = self.refresh_ms * 1e-3 / (1 << self.row_bits)
        return SdramCycles(
            rcd=at_least(self.rcd), rp=at_least(self.rp), ras=at_least(self.ras), rc=at_least(self.rc),
            rrd=at_least(self.rrd), rfc=at_least(self.rfc), wr=max(2, at_least(self.wr)), mrd=self.mrd,
            refresh=floor(interval * clock_hz), power_up=at_least(self.power_up_us * 1e3))


@dataclass(frozen=True)
class SdramCycles:
    """`SdramChip`'s times in cycles; `refresh` is the mean interval of AUTO REFRESH commands."""

    rcd: int
    rp: int
    ras: int
    rc: int
    rrd: int
    rfc: int
    wr: int
    mrd: int
    refresh: int
    power_up: int


# The slowest figures of the parts that ULX3S boards carry: ISSI IS42S16160G-7, Alliance AS4C16M16SA-7,
# Micron MT48LC16M16A2-75. At up to 100 MHz all of them have CAS latency 2.
ULX3S_SDRAM = SdramChip("ULX3S", bank_bits=2, row_bits=13, column_bits=9, cas_latency=2,
                        rcd=21, rp=21, ras=44, rc=66, rrd=15, rfc=66, wr=15)
