"""`lepton chip area`: what synthesis makes of each block, as a table, JSON and a picture."""

from argparse import Namespace
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .chip_output import print_json, reporting
from .console import columns, grouped
from .files import check_writable, write_text_atomically

if TYPE_CHECKING:
    from lepton_hdl.flow.area import BlockArea, ChipArea

_SHOWN = 25  # blocks in the table and the picture; the others are one row
_FPGA_FIGURES = {"luts": "LUTs", "flip_flops": "flip-flops", "dsps": "DSPs", "block_rams": "block RAMs"}
_CELL_FIGURES = {"area": "area", "flip_flops": "flip-flops", "memory_bits": "memory bits"}
_FPGA_NOTE = ("Each block by itself, as often as it is there; placing the whole may take less. LUTs: with four inputs, "
              "those of carry chains and small memories included.")
_CELL_NOTE = ("area in the library's unit, without wires. longest ps: gates from register to register, pin or memory, "
              "without the registers' own times. Memories with a clocked read port and at least 2048 bits are macros: "
              "they count in bits and have no area here. All others are flip-flops.")
_BAR_LEFT = 230  # of the picture, in pixels
_BAR_WIDTH = 480
_ROW_HEIGHT = 20
_COLOR = "#2b6cb0"


def run(arguments: Namespace) -> int:
    """Synthesize the chip's blocks and show what they take."""
    if arguments.svg:
        check_writable(arguments.svg)
    with reporting(arguments, "synthesis") as (console, say):
        from lepton_hdl.flow.area import cell_area, chip_of, fpga_area
        chip = chip_of(arguments.config)
        name = arguments.config.name
        if arguments.liberty:
            found = cell_area(chip, name, Path(arguments.liberty), say)
        else:
            found = fpga_area(chip, name, arguments.target, say)
    figures = _CELL_FIGURES if arguments.liberty else _FPGA_FIGURES
    if arguments.svg:
        write_text_atomically(arguments.svg, picture(found, next(iter(figures))))
    if arguments.json:
        print_json({"config": found.config, "target": found.target, "path_ps": found.path_ps,
                    "total": {name: found.total(name) for name in figures},
                    "blocks": [asdict(block) for block in found.blocks]})
        return 0
    console.print()
    _show(console, found, figures)
    if arguments.svg:
        console.print(f"picture: {arguments.svg}")
    return 0


def _show(console: Console, found: "ChipArea", figures: dict[str, str]) -> None:
    cells = "area" in figures
    table = columns("block", "number", *figures.values(), *(["longest ps"] if cells else []))
    for block in found.blocks[:_SHOWN]:
        table.add_row(block.name, str(block.count), *(_figure(getattr(block, name) * block.count) for name in figures),
                      *([_path(block)] if cells else []))
    rest = found.blocks[_SHOWN:]
    if rest:
        table.add_row(f"{len(rest)} smaller ones", "",
                      *(_figure(sum(getattr(block, name) * block.count for block in rest)) for name in figures),
                      *([""] if cells else []))
    table.add_section()
    longest = [f"{found.path_ps:.0f}" if found.path_ps is not None else "-"] if cells else []
    table.add_row(f"{found.config} on {found.target}", "", *(_figure(found.total(name)) for name in figures), *longest,
                  style="bold")
    console.print(table)
    console.print(Text(_CELL_NOTE if cells else _FPGA_NOTE, style="dim"))
    other: dict[str, int] = {}
    for block in found.blocks:
        for cell, number in block.other.items():
            other[cell] = other.get(cell, 0) + number * block.count
    if other:
        console.print("not counted: " + ", ".join(f"{number} {cell}" for cell, number in sorted(other.items())),
                      style="yellow", soft_wrap=True)


def _figure(value: float) -> str:
    return grouped(round(value))


def _path(block: "BlockArea") -> str:
    return "-" if block.path_ps is None else f"{block.path_ps:.0f}"


def picture(found: "ChipArea", figure: str) -> str:
    """An SVG document: a bar for each of the largest blocks, as long as its share of `figure` in the whole chip."""
    total = found.total(figure) or 1
    rows = [(block.name, block.count, getattr(block, figure) * block.count) for block in found.blocks[:_SHOWN]]
    rest = sum(getattr(block, figure) * block.count for block in found.blocks[_SHOWN:])
    if rest:
        rows.append(("all others", 1, rest))
    largest = max((value for _, _, value in rows), default=1) or 1
    height = 60 + _ROW_HEIGHT * len(rows)
    title = f"{found.config} on {found.target}: {_figure(total)} {figure.replace('_', ' ')}"
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{height}" font-family="sans-serif" '
             'font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="16" y="28" font-size="16" font-weight="bold">{escape(title)}</text>']
    for i, (name, count, value) in enumerate(rows):
        y = 46 + _ROW_HEIGHT * i
        width = _BAR_WIDTH * value / largest
        label = f"{count} x {name}" if count > 1 else name
        lines += [
            f'<text x="{_BAR_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{_BAR_LEFT}" y="{y + 2}" width="{width:.1f}" height="{_ROW_HEIGHT - 5}" fill="{_COLOR}"/>',
            f'<text x="{_BAR_LEFT + width + 6:.1f}" y="{y + 13}" fill="#555">{_figure(value)} '
            f"({100 * value / total:.1f} %)</text>"]
    return "\n".join([*lines, "</svg>"]) + "\n"
