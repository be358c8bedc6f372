"""What the actions of `lepton chip` print alike: the configuration, progress, and JSON."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from ..arch import ChipConfig
from .console import facts, grouped, make_console, working

Say = Callable[[str], None]


def config_facts(config: ChipConfig) -> list[tuple[str, str]]:
    """Names and values of the configuration, for `facts`."""
    return [
        ("chip", f"{config.name}: {config.lanes}x{config.columns} int8 multipliers in the array, "
                 f"{config.macs_per_cycle} MACs a cycle"),
        ("memories", f"scratchpad {config.scratchpad_kib} KiB in {config.scratchpad_banks} banks, weights "
                     f"{config.weight_kib} KiB, {grouped(config.accumulator_rows)} accumulator rows"),
        ("bus", f"AXI4, {config.bus_bytes} bytes a cycle, {config.outstanding} bursts outstanding each way"),
        ("window unit", f"images of up to {config.window_columns} columns" if config.window_columns else "none"),
        ("controller", "yes" if config.controller else "no"),
    ]


@contextmanager
def reporting(arguments: Namespace, what: str) -> Iterator[tuple[Console, Say]]:
    """A console, and a function that tells how far the work is; with --json both write to stderr."""
    console = make_console(stderr=arguments.json)
    console.print(facts(config_facts(arguments.config)))
    console.file.flush()
    with working(console, what) as say:
        yield console, say


def print_json(value: object) -> None:
    """One JSON object on stdout."""
    json.dump(value, sys.stdout, indent=2)
    print()
