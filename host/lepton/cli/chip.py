"""`lepton chip`: the chip's blocks, its Verilog, its area, and bitstreams for boards."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .chip_output import print_json, reporting
from .console import columns, facts, grouped
from .files import FileError

if TYPE_CHECKING:
    from lepton_hdl.flow.blocks import Block
    from lepton_hdl.flow.verilog import Sources

def run(arguments: Namespace) -> int:
    """One action of `lepton chip`. With --json progress goes to stderr, and stdout holds one JSON object."""
    if arguments.action == "info":
        return _info(arguments)
    if arguments.action == "verilog":
        return _verilog(arguments)
    if arguments.action == "area":
        from .chip_area import run as area
        return area(arguments)
    from .chip_build import run as build
    return build(arguments)


def _info(arguments: Namespace) -> int:
    with reporting(arguments, "elaborating the chip") as (console, _):
        from lepton_hdl.flow.verilog import chip_blocks
        blocks, memories = chip_blocks(arguments.config)
    words = sorted(memories.items(), key=lambda item: -item[0].bits * item[1])
    if arguments.json:
        print_json({
            "config": asdict(arguments.config),
            "memories": [{"name": shape.name, "count": count, "depth": shape.depth, "width": shape.width,
                          "bits": shape.bits * count} for shape, count in words],
            "blocks": [{"name": block.name, "count": len(block.places), "source": block.source,
                        "multipliers": multipliers(block)} for block in blocks],
        })
        return 0
    console.print()
    table = columns("memory", "words", "bits a word", "number", "bits")
    for shape, count in words:
        table.add_row(shape.name, grouped(shape.depth), str(shape.width), str(count), grouped(shape.bits * count))
    table.add_section()
    table.add_row("all", "", "", str(sum(memories.values())), grouped(sum(s.bits * n for s, n in words)), style="bold")
    console.print(table)
    console.print()
    console.print(_block_table(blocks))
    return 0


def multipliers(block: "Block") -> dict[str, int]:
    """How many products one such block computes in a cycle, by the widths of their operands in bits."""
    found: dict[str, int] = {}
    for a, b in block.products():
        found[f"{a}x{b}"] = found.get(f"{a}x{b}", 0) + 1
    return found


def _block_table(blocks: list["Block"]) -> object:
    table = columns("block", "number", "multipliers of each", "made from", left=4)
    own = [block for block in blocks if not block.is_memory]
    for block in own:
        products = ", ".join(f"{n} of {widths}" for widths, n in multipliers(block).items())
        table.add_row(block.name, str(len(block.places)), products, block.source)
    return table


def _verilog(arguments: Namespace) -> int:
    folder = Path(arguments.output)
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder}: is a file; name a folder for the Verilog")
    with reporting(arguments, "writing Verilog") as (console, say):
        from lepton_hdl.flow.verilog import TOP, sources, write
        made: Sources = sources(arguments.config, say)
        try:
            write(made, folder)
        except OSError as error:
            raise FileError(f"{folder}: cannot be written: {error.strerror}") from error
    bits = sum(shape.bits * count for shape, count in made.memories.items())
    if arguments.json:
        print_json({"config": asdict(arguments.config), "folder": str(folder), "top": TOP, "files": list(made.files),
                    "memory_bits": bits})
        return 0
    console.print(facts([
        ("written", f"{folder}: {len(made.files)} Verilog files, {TOP}.f (file list), {TOP}.core (FuseSoC)"),
        ("top", TOP),
        ("memories", f"{len(made.memories)} wrappers lepton_memory_*.v, {grouped(bits)} bits; define "
                     "LEPTON_MEMORY_MACROS to put your own macros into them"),
    ]))
    return 0
