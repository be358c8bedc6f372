"""The arguments of `lepton chip`."""

import argparse
from collections.abc import Callable
from typing import Any

BOARDS = ("ulx3s",)
TARGETS = ("ecp5", "gowin")


def _megahertz(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 400:  # what the boards' PLLs can make is checked with the board
        raise argparse.ArgumentTypeError(f"must be a clock in MHz from 1 to 400, not {text!r}")
    return value


def add_parser(commands: Any, config: Callable[[str], Any], config_help: str) -> None:
    """Add `chip` and its actions to the subparsers of `lepton`. `config` converts the value of --config."""
    chip = commands.add_parser("chip", help="the chip itself: its blocks, Verilog, area, and bitstreams for boards")
    actions = chip.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str, default: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=text)
        parser.add_argument("--config", type=config, default=default, metavar="CHIP", help=config_help)
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
        return parser

    action("info", "show the configuration, memories, multipliers and blocks", "base")

    verilog = action("verilog", "write readable Verilog, a file for each block", "base")
    verilog.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for the files")

    area = action("area", "count what synthesis makes of each block", "base")
    area.add_argument("--target", choices=TARGETS, default="ecp5", help="family of FPGAs (default: %(default)s)")
    area.add_argument("--liberty", metavar="FILE.lib", help="count area and longest path with these standard cells "
                      "instead; memories are not counted as cells, but in bits")
    area.add_argument("--svg", metavar="FILE.svg", help="draw the shares of the blocks")

    build = action("build", "make a bitstream for a board", "tiny")
    build.add_argument("--board", choices=BOARDS, default="ulx3s", help="default: %(default)s")
    build.add_argument("--clock", type=_megahertz, default=25.0, metavar="MHZ",
                       help="clock of the chip; the build fails if it is not reached (default: %(default)g)")
    build.add_argument("-o", "--output", metavar="FOLDER", help="folder for the files (default: build/BOARD-CHIP)")
    build.add_argument("--seed", type=int, default=1, help="seed of placement (default: %(default)s)")
