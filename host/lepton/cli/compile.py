"""`lepton compile`: from a quantized TFLite file to a program for a chip."""

from argparse import Namespace
from pathlib import Path

from ..arch import PRESETS
from .console import facts, grouped, make_console, working
from .files import write_atomically
from .tables import network_facts


def run(arguments: Namespace) -> int:
    from ..compiler import compile_graph
    from ..frontends import import_tflite
    console = make_console()
    source = Path(arguments.network)
    output = Path(arguments.output) if arguments.output else source.with_suffix(".lepton")
    with working(console, f"compiling {source} for {arguments.config}"):
        model = compile_graph(import_tflite(source), PRESETS[arguments.config])
        write_atomically(output, model.save)
    console.print(network_facts(model))
    console.print(facts([("written", f"{output}, {grouped(output.stat().st_size)} bytes, "
                                     f"for configuration {arguments.config} ({model.config_hash})")]))
    return 0
