"""The memories that a chip is simulated with and that the compiler predicts cycles for: bandwidth, latency, refresh."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryTiming:
    """How fast a memory is. Latencies are in cycles of the chip and at least 1.

    `bytes_per_cycle`: peak bandwidth, for reads and again for writes. A beat costs the width of the bus, whatever part
    of it is used.
    `read_latency`: a burst whose address is taken in cycle t has its first data in cycle t + read_latency, if bandwidth
    and bursts before it allow.
    `write_latency`: from the last data of a burst to its response.
    `outstanding`: bursts taken and not finished, each way.
    `refresh_cycles` at the end of every `refresh_interval` move no data.
    """

    name: str
    bytes_per_cycle: int = 16
    read_latency: int = 64
    write_latency: int = 64
    outstanding: int = 16
    refresh_interval: int = 1024
    refresh_cycles: int = 32

    @property
    def refresh(self) -> float:
        """Cycles of memory for each in which it moves data."""
        return self.refresh_interval / (self.refresh_interval - self.refresh_cycles) if self.refresh_cycles else 1.0


# Design D8: the profile of every published figure. D8 gives no latency for write responses; as long
# as reads take is on the careful side.
DEFAULT = MemoryTiming("default")
IDEAL = MemoryTiming("ideal", bytes_per_cycle=64, read_latency=1, write_latency=1, outstanding=64, refresh_interval=0,
                     refresh_cycles=0)
SLOW = MemoryTiming("slow", bytes_per_cycle=4, read_latency=200, write_latency=200, outstanding=4)

# Memories of real boards, by arithmetic from their data sheets; nothing has been measured. Reads and writes share such
# a memory's pins, which the model does not know: it gives each of them the whole bandwidth.
#
# ULX3S: 16-bit SDRAM at the chip's clock through `lepton_hdl.boards.sdram`: 2 bytes a cycle. Row closed and opened, CAS
# latency 2, registers of the pins 2, a word of 8 halves, registers on the way 4: 18 cycles at up to 47 MHz, where tRP
# and tRCD (21 ns) are a cycle each. A refresh each 7.8 us (312 cycles at 40 MHz) takes tRP and tRFC and opens a row.
ULX3S = MemoryTiming("ulx3s", bytes_per_cycle=2, read_latency=18, write_latency=10, outstanding=4,
                     refresh_interval=312, refresh_cycles=5)
# 16-bit DDR3-800 with a chip at 100 MHz: 800 M transfers of 2 bytes, 16 bytes a cycle. tRP + tRCD + CL are 15 cycles of
# 2.5 ns, with those of controller and PHY about 200 ns. A refresh each 7.8 us takes tRFC = 160 ns (JESD79-3, 2 Gbit).
DDR3 = MemoryTiming("ddr3", bytes_per_cycle=16, read_latency=20, write_latency=16, refresh_interval=780,
                    refresh_cycles=16)
# 16-bit LPDDR4-3200 with a chip at 100 MHz: 64 bytes a cycle, more than a bus takes. About 250 ns with controller and
# PHY. A refresh each 3.9 us takes tRFCab = 280 ns (JESD209-4, 8 Gbit a channel).
LPDDR4 = MemoryTiming("lpddr4", bytes_per_cycle=64, read_latency=25, write_latency=20, refresh_interval=390,
                      refresh_cycles=28)

MEMORIES = {memory.name: memory for memory in (DEFAULT, IDEAL, SLOW, ULX3S, DDR3, LPDDR4)}
