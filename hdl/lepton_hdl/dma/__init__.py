"""DMA (design D6): two engines that move rows, two ports that speak AXI4.

    control ──► LoadEngine  ── segments ──► ReadPort  ──► AR, R
                            ◄── beats ────
    control ──► StoreEngine ── segments, beats ──► WritePort ──► AW, W, B
                            ◄── responses ───────   (through WriteShare)

- `walk`: a command becomes rows; `rows`: each row is checked before it happens
- `units`: how beats and words are cut; `realign`: bytes move to other byte lanes on their way
- `load`, `store`: the engines
- `read_port`, `write_port`: segments become bursts; `watchdog`: memory that does not answer, or answers wrongly
- `write_share`: several clients of the write port
- `queue`: the small FIFO between stages
"""

from .load import LoadEngine
from .read_port import ReadPort
from .store import StoreEngine
from .write_port import WritePort
from .write_share import WriteShare

__all__ = ["LoadEngine", "ReadPort", "StoreEngine", "WritePort", "WriteShare"]
