"""`lepton chip build`: a bitstream for a board."""

from argparse import Namespace
from pathlib import Path

from ..arch import ChipConfig, ConfigError
from ..arch.config_file import config_text
from .chip_output import print_json, reporting
from .console import facts, grouped
from .files import FileError, write_text_atomically

_TITLES = {"luts": "LUTs", "flip_flops": "flip-flops", "dsps": "DSPs", "block_rams": "block RAMs"}


def run(arguments: Namespace) -> int:
    """Synthesize, place and route a board with the chip, and say what it takes and how fast its clock may be."""
    folder = Path(arguments.output or f"build/{arguments.board}-{arguments.config.name}")
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder}: is a file; name a folder with -o")
    if arguments.config.controller:
        raise ConfigError("a chip with a controller stops clocks with logic, which an FPGA must not; build one with "
                          "controller = false")
    with reporting(arguments, f"building for {arguments.board}") as (console, say):
        from lepton_hdl.flow.bitstream import build
        from lepton_hdl.flow.board import board_top
        top, platform, baud = board_top(arguments.board, arguments.config, arguments.clock * 1e6)
        made = build(top, platform, arguments.clock, folder, arguments.seed, say)
    timed = placed(arguments.config, arguments.board, made.asked_mhz)
    described = folder / f"{timed.name}.toml"
    write_text_atomically(described, config_text(timed))
    if arguments.json:
        print_json({"board": arguments.board, "config": arguments.config.name, "bitstream": str(made.bitstream),
                    "config_file": str(described), "baud": baud, "asked_mhz": made.asked_mhz,
                    "reached_mhz": made.reached_mhz, "used": made.used, "available": made.available, "path": made.path})
        return 0
    console.print(facts([
        ("written", str(made.bitstream)),
        ("times", f"--config {described} states them at {timed.clock}"),
        ("clock", f"{made.asked_mhz:g} MHz asked for, {made.reached_mhz:.1f} MHz reached, placed and routed; longest "
                  f"path {made.logic_ns:.1f} ns of logic and {made.wires_ns:.1f} ns of wires"),
        ("serial port", f"{grouped(baud)} baud"),
        *((_TITLES[name], f"{grouped(made.used[name])} of {grouped(made.available[name])} "
                          f"({100 * made.used[name] / made.available[name]:.0f} %)") for name in _TITLES),
    ]))
    return 0


def placed(config: ChipConfig, board: str, clock_mhz: float) -> ChipConfig:
    """The chip with the clock that it has on a board, in whole MHz: times are not shown shorter than they are."""
    return config.with_(name=f"{config.name}-{board}", clock_mhz=int(clock_mhz),
                        clock_origin=f"placed and routed on {board.upper()}")
