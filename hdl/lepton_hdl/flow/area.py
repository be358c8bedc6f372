"""What synthesis makes of each block of a chip: cells of an FPGA, or area and longest path in standard cells."""

import json
import os
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring
from lepton.arch import ChipConfig

from ..chip import Chip
from ..multipliers import ECP5_85
from ..views import View
from . import memories
from .block_ram import MACRO_BITS, SYNTHESIS, relaxed, with_block_rams
from .blocks import Block, joined, split
from .memories import MACROS, MemoryShape
from .verilog import TOP, boot_rom, elaborate
from .yosys import FlowError, yosys

Progress = Callable[[str], None]

# How many look-up tables of four inputs a cell takes, by family. Multiplexers between tables are free: they lie in the
# same slices. CCU2C is a carry chain of two tables (Lattice FPGA-TN-02205); a 16x4 memory takes two slices for its bits
# and one for its write port, of two tables each. Gowin's ALU is a table with carry, its 16x4 memory has four tables.
_LUTS = {
    "ecp5": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
    "gowin": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1, "RAM16SDP1": 1, "RAM16SDP2": 2, "RAM16SDP4": 4},
}
_FLIP_FLOP = {"ecp5": re.compile(r"TRELLIS_FF$"), "gowin": re.compile(r"DFF")}
_DSP = {"ecp5": re.compile(r"MULT18X18D$|ALU54B$"), "gowin": re.compile(r"MULT|PADD|ALU54")}
# Bits of a block memory: ECP5's have 18 Kibit (FPGA-TN-02204), Gowin's as well (UG285).
_BLOCK_RAM = {"ecp5": re.compile(r"DP16KD$|PDPW16KD$"), "gowin": re.compile(r"(?:SP|SDP|DP|SDPX9|SPX9|DPX9)B?$|pROM")}
# Cells that are no logic: pins, constants, records of the hierarchy.
_NO_LOGIC = re.compile(r"\$scopeinfo|VCC$|GND$|IBUF|OBUF|PFUMX$|L6MUX21$|MUX2_LUT\d$|INV$|TRELLIS_IO$")
_SYNTHESIS = {
    "ecp5": f"synth_ecp5 {SYNTHESIS} -noflatten -top",
    # GW2A: the family with the most multipliers that Yosys maps to.
    "gowin": f"synth_gowin -family gw2a {SYNTHESIS} -noflatten -noiopads -top",
}
# Of the 16.7 ns of a period of 60 MHz, the clock that `small` is to reach on an ECP5, wires take about half.
_GATES_NS = 8
# abc's script for a liberty file without `dc2` and `dretime`, with buffers and sizes, and the longest path at the end.
# `dc2` makes ripple carry of look-ahead adders, for 2 % of the area: the DMA's row checks took 1.52 ns with it and 0.77
# without. Without buffers one minimal gate drives a select line of 60 gates.
_ABC = "+strash;&get,-n;&fraig,-x;&put;scorr;strash;&get,-n;&dch,-f;&nf;&put;buffer,-c;topo;upsize;dnsize;stime,-p"
# Nangate45 and its like (DFF_X1, SDFFR_X2), sky130 (sky130_fd_sc_hd__dfxtp_1), others with DFF in the name.
_CELL_FLIP_FLOP = re.compile(r"S?DFF|.*__s?(?:df|edf)|.*DFF", re.IGNORECASE)
_DELAY = re.compile(r"ABC: .*Delay = +([\d.]+) ps")


@dataclass
class BlockArea:
    """What one block takes by itself, without the blocks in it. `count`: how many the chip has.

    FPGA: `luts`, `flip_flops`, `dsps`, `block_rams`. Standard cells: `area` (of the library's unit, mostly square
    micrometres), `flip_flops`, `path_ps` (longest path of gates, None without gates), `memory_bits` of memories that
    are macros and have no cells. `other`: cells that count as none of these, by kind.
    """

    name: str
    source: str
    count: int
    luts: int = 0
    flip_flops: int = 0
    dsps: int = 0
    block_rams: int = 0
    area: float = 0.0
    path_ps: float | None = None
    memory_bits: int = 0
    other: dict[str, int] = field(default_factory=dict)


@dataclass
class ChipArea:
    """The blocks of a chip, largest first. `target`: "ecp5", "gowin", or the name of the liberty file."""

    config: str
    target: str
    blocks: list[BlockArea]

    def total(self, name: str) -> float:
        """A figure of all blocks together, as often as each is there."""
        return sum(getattr(block, name) * block.count for block in self.blocks)

    @property
    def path_ps(self) -> float | None:
        """The longest path of any block."""
        return max((block.path_ps for block in self.blocks if block.path_ps is not None), default=None)


def chip_of(config: ChipConfig) -> wiring.Component:
    """The chip, with its boot ROM where it has a controller."""
    return Chip(config, boot_rom(config))


def fpga_area(component: wiring.Component, name: str, target: str,
              progress: Progress = lambda text: None) -> ChipArea:
    """Cells of each block of a component called `name`, for "ecp5" or "gowin".

    Each block counts by itself, in a process of its own: nothing is optimized across their borders.

    Raises `FlowError` where Yosys is missing or fails.
    """
    progress("elaborating")
    blocks = split(with_block_rams(rtlil.convert(component, name=TOP, platform=_Plain(target))), TOP)
    names = {block.name: block for block in blocks}

    def measure(block: Block) -> BlockArea:
        inner = block.cells() & set(names)
        text = joined([block]) + "".join(names[name].black_box() for name in sorted(inner))
        area = BlockArea(block.name, block.source, len(block.places))
        for cell, number in _fpga_cells(text, block.name, target).items():
            if cell not in inner:
                _count(area, target, cell, number)
        return area

    found = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for area in pool.map(measure, blocks):
            found.append(area)
            progress(f"{area.name} ({len(found)} of {len(blocks)})")
    return ChipArea(name, target, sorted(found, key=lambda area: -area.luts * area.count))


def _fpga_cells(text: str, top: str, target: str) -> dict[str, int]:
    """The cells of module `top` of RTLIL text, by kind."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "block.il").write_text(text)
        yosys(["read_rtlil block.il", relaxed(_GATES_NS), f"{_SYNTHESIS[target]} {top}",
               "tee -q -o stat.json stat -json"], folder)
        return _modules(folder / "stat.json")[top].get("num_cells_by_type", {})


def _count(area: BlockArea, target: str, cell: str, number: int) -> None:
    """Adds `number` cells of a kind to the figures of a block; a kind that nothing here knows is kept by its name."""
    if _NO_LOGIC.match(cell):
        return
    if cell in _LUTS[target]:
        area.luts += _LUTS[target][cell] * number
    elif _FLIP_FLOP[target].match(cell):
        area.flip_flops += number
    elif _DSP[target].match(cell):
        area.dsps += number
    elif _BLOCK_RAM[target].match(cell):
        area.block_rams += number
    else:
        area.other[cell] = area.other.get(cell, 0) + number


def cell_area(component: wiring.Component, name: str, liberty: Path,
              progress: Progress = lambda text: None) -> ChipArea:
    """Area and longest path of each block of a component in the standard cells of a liberty file, without wires.

    A path is one of gates between registers, pins and memories: the clock-to-output and setup times of these are not
    in it, nor are paths through two blocks. Memories with a clocked read port and at least 2048 bits are macros, which
    count in bits; all others become flip-flops, as blocks of their own. Raises `FlowError` where the file cannot be
    read, and where Yosys is missing or fails.
    """
    if not liberty.is_file():
        raise FlowError(f"{liberty}: there is no such file; give a liberty file (.lib) of standard cells")
    progress("elaborating")
    blocks, platform = elaborate(component, View.GATES)
    macros = [shape for shape in platform.memories if is_macro(shape)]
    small = [shape for shape in platform.memories if not is_macro(shape)]
    names = [*(block.name for block in blocks), *(shape.name for shape in small)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "chip.il").write_text(joined(blocks))
        (folder / "macros.v").write_text("".join(map(memories.wrapper, macros)))
        (folder / "small.v").write_text("".join(map(memories.wrapper, small)))
        path = f'"{liberty.resolve()}"'
        log = yosys(["read_rtlil chip.il", f"read_verilog -lib -D{MACROS} macros.v", "read_verilog small.v",
                     f"synth -noabc -top {TOP}",
                     f"dfflibmap -liberty {path}",
                     *(f"abc -liberty {path} -script {_ABC} {module}" for module in names), "opt_clean",
                     f"tee -q -o stat.json stat -json -liberty {path}"], folder, progress)
        modules = _modules(folder / "stat.json")
    delays = _delays(log)
    bits = {shape.name: shape.bits for shape in macros}
    counts = {block.name: (block.source, len(block.places)) for block in blocks}
    counts |= {shape.name: ("lepton_hdl/flow/memories.py", count) for shape, count in platform.memories.items()}
    found = []
    for module, (source, count) in counts.items():
        if module in bits:
            found.append(BlockArea(module, source, count, memory_bits=bits[module]))
            continue
        # Synthesis removes a block that nothing reads: it takes nothing.
        cells = modules.get(module, {}).get("num_cells_by_type", {})
        within = sum(n * modules[cell].get("area", 0.0) for cell, n in cells.items() if cell in modules)
        found.append(BlockArea(
            module, source, count, area=modules.get(module, {}).get("area", 0.0) - within, path_ps=delays.get(module),
            flip_flops=sum(n for cell, n in cells.items() if _CELL_FLIP_FLOP.match(cell)),
            other={cell: n for cell, n in cells.items() if cell.startswith("$")}))
    return ChipArea(name, liberty.name, sorted(found, key=lambda area: -area.area * area.count))


def is_macro(shape: MemoryShape) -> bool:
    """True for a memory that is a macro in standard cells; the others are built from flip-flops."""
    return shape.bits >= MACRO_BITS and all(read.clock is not None for read in shape.reads)


def _delays(log: str) -> dict[str, float]:
    """The longest path of each module, in picoseconds, from what abc prints for it."""
    delays: dict[str, float] = {}
    module = None
    for line in log.splitlines():
        if match := re.match(r"-- Running command `abc .* (\S+)' --", line):
            module = match[1]
        elif (match := _DELAY.search(line)) and module is not None:
            delays[module] = max(delays.get(module, 0.0), float(match[1]))
    return delays


def _modules(path: Path) -> dict:
    return {name.removeprefix("\\"): values for name, values in json.loads(path.read_text())["modules"].items()}


class _Plain:
    """A platform that keeps Amaranth's own memories, for mapping to those of an FPGA. ECP5's is that of the board."""

    def __init__(self, target: str):
        self.multipliers = ECP5_85 if target == "ecp5" else None

    def add_file(self, name: str, text: str) -> None:
        raise FlowError(f"the area of a chip with {name} is not counted: it brings its own Verilog; "
                        "leave out the controller")
