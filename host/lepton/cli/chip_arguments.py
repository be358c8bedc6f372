"""The arguments of `lepton chip`."""

import argparse
from collections.abc import Callable
from typing import Any


def add_parser(commands: Any, config: Callable[[str], Any], config_help: str) -> None:
    """Add `chip` and its actions to the subparsers of `lepton`. `config` converts the value of --config."""
    chip = commands.add_parser("chip", help="the chip itself: its blocks and its Verilog")
    actions = chip.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str, default: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=text)
        parser.add_argument("--config", type=config, default=default, metavar="CHIP", help=config_help)
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
        return parser

    action("info", "show the configuration, memories, multipliers and blocks", "base")

    verilog = action("verilog", "write readable Verilog, a file for each block", "base")
    verilog.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for the files")
