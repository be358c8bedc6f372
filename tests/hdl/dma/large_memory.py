"""The set-up of walks through much memory: regions at odd addresses, and the engine under test."""

from lepton.arch import ChipConfig

from tests.cocotb_harness import parameters
from tests.hdl.dma.bench import CONFIGS
from tests.hdl.dma.commands import Region

SIZE = 0x10000  # bytes of every region
BASE = 0x1_0000_0000  # above 4 GiB, so that the upper half of an address counts
MEMORY = 0x60000  # bytes from BASE on
# The third region begins in the middle of a 4 KiB page, the last one in the middle of a word.
REGIONS = [Region(BASE, SIZE), Region(BASE + 0x1_0000, SIZE), Region(BASE + 0x2_0FF0, SIZE),
           Region(BASE + 0x4_0003, SIZE)]
LATENCY = 64  # cycles of memory


def configuration() -> ChipConfig:
    """Of the engine under test."""
    return CONFIGS[parameters()["config"]]
