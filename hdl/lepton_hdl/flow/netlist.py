"""The chip after synthesis: gates and flip-flops as Verilog, for simulation."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from lepton.arch import ChipConfig

from ..chip import Chip
from ..views import View
from . import memories
from .blocks import joined
from .verilog import TOP, boot_rom, elaborate
from .yosys import yosys

Progress = Callable[[str], None]


def netlist(config: ChipConfig, progress: Progress = lambda text: None) -> str:
    """Verilog of a chip's gates: what `lepton chip area --liberty` maps to cells of a library, before it does.

    The blocks are written for gates and keep their hierarchy; memories are the behavioural models of `lepton chip
    verilog`. Raises `FlowError` where Yosys is missing or fails.
    """
    progress("elaborating")
    blocks, platform = elaborate(Chip(config, boot_rom(config)), View.GATES)
    wrappers = "".join(memories.wrapper(shape) for shape in platform.memories)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "chip.il").write_text(joined(blocks))
        (folder / "memories.v").write_text(wrappers)
        yosys(["read_rtlil chip.il", "read_verilog -lib memories.v", f"synth -top {TOP}",
               # Registers and memories begin with what the simulator says.
               "attrmap -remove init", "write_verilog -noattr netlist.v"], folder, progress)
        return (folder / "netlist.v").read_text() + wrappers
