"""The one description of the chip (design D2), in plain Python.

Everything that has to agree about the chip imports it from here: the Amaranth
layouts that decode commands in hardware, the driver and compiler that encode
them, the golden model that executes them, and the generated reference pages.

- `config`: what can vary between chips (`ChipConfig`, `PRESETS`)
- `record`: how a record of bit fields is declared, packed and unpacked
- `commands`: what the engines execute; `rows`: those of the ROWS engine
- `repeat`: commands that stand for several
- `registers`: what the host sees over AXI4-Lite
- `errors`: why a job stops
"""

from .commands import Dma, DmaOpcode, Engine, Region, Rounding, Space, Stream, Tensor, TensorOpcode
from .config import PRESETS, ChipConfig, ConfigError
from .errors import ErrorCode
from .registers import COUNTERS, REGISTERS, Register
from .rows import Rows, RowsOpcode

__all__ = [
    "COUNTERS", "PRESETS", "REGISTERS", "ChipConfig", "ConfigError", "Dma", "DmaOpcode", "Engine",
    "ErrorCode", "Region", "Register", "Rounding", "Rows", "RowsOpcode", "Space", "Stream", "Tensor", "TensorOpcode",
]
