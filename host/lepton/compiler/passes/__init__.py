"""Passes: each takes a graph and gives one that computes the same, better suited to what follows.

The verifier runs after every pass. `observe` sees the graph after each, by the pass's name (`lepton compile
--print-after`).
"""

from collections.abc import Callable

from ...graph import Graph
from ...graph.verify import verify
from .fold_constants import fold_constants
from .fold_pads import fold_pads
from .join_tables import join_tables
from .remove_unused import remove_unused
from .tabulate import tabulate
from .tabulate_floats import tabulate_floats

PASSES: dict[str, Callable[[Graph], Graph]] = {
    "fold-constants": fold_constants,
    "fold-pads": fold_pads,
    "tabulate": tabulate,
    "tabulate-floats": tabulate_floats,
    "join-tables": join_tables,
    "remove-unused": remove_unused,
}


def run(graph: Graph, observe: Callable[[str, Graph], None] | None = None) -> Graph:
    """`graph` after all passes; it is left as it was."""
    for name, apply in PASSES.items():
        graph = verify(apply(graph))
        if observe is not None:
            observe(name, graph)
    return graph


__all__ = ["PASSES", "run"]
