"""`lepton compile`: compiles a network's file for a chip, and shows which operators run on the chip and on the host."""

from argparse import Namespace
from pathlib import Path

from ..arch.memory import MEMORIES
from ..graph import Graph
from .console import calibrating, facts, grouped, make_console, working
from .cpu_alone import measure
from .files import FileError, check_writable, write_atomically
from .host_work import operators
from .placement import cpu_facts, explain_table, host_table, placement_facts
from .tables import network_facts

_NOTES = 3  # notes shown; the others are counted


def run(arguments: Namespace) -> int:
    from ..compiler import compile_graph
    from ..frontends import load
    from ..graph.passes import PASSES, observed
    from ..graph.printer import graph_text
    from ..runtime.costs import measured
    unknown = set(arguments.print_after) - {*PASSES, "all"}
    if unknown:
        raise FileError(f"--print-after must be one of {', '.join(PASSES)}, or all, not {sorted(unknown)[0]}")
    console = make_console()
    source = Path(arguments.network)
    if not source.name:
        raise FileError(f"a network must be a file, not {arguments.network!r}")
    output = Path(arguments.output) if arguments.output else source.with_suffix(".lepton")
    check_writable(output)

    def observe(name: str, graph: Graph) -> None:
        wanted = arguments.print_ir if name == "import" else {name, "all"} & set(arguments.print_after)
        if wanted:
            console.print(f"after {name}:", style="bold")
            console.print(graph_text(graph), soft_wrap=True)

    with working(console, f"compiling {source} for {arguments.config.name}") as say:
        with observed(observe):
            graph = load(source, arguments.calibration, calibrating(say), dict(arguments.shape), dict(arguments.state))
        model = compile_graph(graph, arguments.config, input_type=arguments.input_type,
                              output_type=arguments.output_type, memory=MEMORIES[arguments.memory], observe=observe)
        write_atomically(output, model.save)
        costs = measured(model)
        cpu = measure(source, dict(arguments.shape))
    console.print(network_facts(model))
    console.print(facts(placement_facts(model, costs) + cpu_facts(model, costs, cpu)))
    if operators(costs):
        console.print(host_table(model, costs))
    for note in _shortened(graph.notes):
        console.print(f"note: {note}", style="yellow", soft_wrap=True)
    if arguments.explain:
        console.print(explain_table(model))
    console.print(facts([("written", f"{output}, {grouped(output.stat().st_size)} bytes, "
                                     f"for configuration {arguments.config.name} ({model.config_hash})")]))
    return 0


def _shortened(notes: list[str]) -> list[str]:
    return notes if len(notes) <= _NOTES else [*notes[:_NOTES], f"and {len(notes) - _NOTES} more notes of this kind"]
