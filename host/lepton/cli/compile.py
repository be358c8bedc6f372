"""`lepton compile`: from a network's file to a program for a chip, and what of it runs where."""

from argparse import Namespace
from pathlib import Path

from ..arch import PRESETS
from .console import facts, grouped, make_console, working
from .cpu_alone import measure
from .files import FileError, check_writable, write_atomically
from .host_work import operators
from .placement import cpu_facts, explain_table, host_table, placement_facts
from .tables import network_facts

_NOTES = 3  # shown at most


def run(arguments: Namespace) -> int:
    from ..compiler import compile_graph
    from ..frontends import load
    from ..graph.passes import PASSES, observed
    from ..graph.printer import graph_text
    from ..runtime.costs import measured
    unknown = set(arguments.print_after) - {*PASSES, "all"}
    if unknown:
        raise FileError(f"--print-after must name one of {', '.join(PASSES)} or all, not {sorted(unknown)[0]}")
    console = make_console()
    source = Path(arguments.network)
    if not source.name:
        raise FileError(f"a network must be a file, not {arguments.network!r}")
    output = Path(arguments.output) if arguments.output else source.with_suffix(".lepton")
    check_writable(output)

    def observe(name: str, graph) -> None:
        wanted = arguments.print_ir if name == "import" else {name, "all"} & set(arguments.print_after)
        if wanted:
            console.print(f"after {name}:", style="bold")
            console.print(graph_text(graph), soft_wrap=True)

    with working(console, f"compiling {source} for {arguments.config}") as say:
        with observed(observe):
            graph = load(source, arguments.calibration, _progress(say), dict(arguments.shape))
        model = compile_graph(graph, PRESETS[arguments.config], observe=observe)
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
                                     f"for configuration {arguments.config} ({model.config_hash})")]))
    return 0


def _shortened(notes: list[str]) -> list[str]:
    return notes if len(notes) <= _NOTES else [*notes[:_NOTES], f"the same holds for {len(notes) - _NOTES} more layers"]


def _progress(say):
    """Front ends call with the inputs done, and with how many there are where they know."""
    def report(done: int, total: int | None = None) -> None:
        say(f"calibration, {done}{f' of {total}' if total else ''} inputs")

    return report
