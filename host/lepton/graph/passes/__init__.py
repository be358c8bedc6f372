"""Rewrites of the graph: each takes a graph and returns another one that computes the same.

Front ends apply some of them, the compiler others; `--print-after NAME` shows the graph after a pass. The verifier runs
after each pass that changes something, or else once at the end. The graph that is given does not change; a pass that
finds nothing returns it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..core import Graph
from ..verify import verify
from .channels_last import channels_last
from .collapse_moves import collapse_moves
from .edge_types import edge_types
from .fold_constants import fold_constants
from .fold_pads import fold_pads
from .head_products import head_products
from .int8_edges import int8_edges
from .int8_states import int8_states
from .integer_products import integer_products
from .integer_rows import integer_rows
from .integer_writes import integer_writes
from .join_tables import join_tables
from .one_image import one_image
from .remove_unused import remove_unused
from .tables_first import tables_first
from .tabulate import tabulate
from .tabulate_floats import tabulate_floats

Observer = Callable[[str, Graph], None]

PASSES: dict[str, Callable[[Graph], Graph]] = {
    "channels-last": channels_last,
    "collapse-moves": collapse_moves,
    "int8-edges": int8_edges,
    "int8-states": int8_states,
    "fold-constants": fold_constants,
    "fold-pads": fold_pads,
    "tabulate": tabulate,
    "tabulate-floats": tabulate_floats,
    "integer-products": integer_products,
    "integer-rows": integer_rows,
    "integer-writes": integer_writes,
    "tables-first": tables_first,
    "join-tables": join_tables,
    "one-image": one_image,
    "head-products": head_products,
    "remove-unused": remove_unused,
}
# What the compiler applies, in this order.
COMPILER = ("fold-constants", "fold-pads", "tabulate", "tabulate-floats", "remove-unused", "tables-first",
            "join-tables", "one-image", "head-products", "remove-unused")

_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


@contextmanager
def observed(observer: Observer | None) -> Iterator[None]:
    """Inside, `observer` is called with the name and the result of every pass, those of front ends included. None
    leaves the present observer."""
    token = _observer.set(observer or _observer.get())
    try:
        yield
    finally:
        _observer.reset(token)


def apply(graph: Graph, *names: str) -> Graph:
    """`graph` after the passes of these names, in their order; verified, also where none of them changes it.

    Raises what they raise, and `GraphError` where the verifier does.
    """
    observer = _observer.get()
    verified = False
    for name in names:
        rewritten = PASSES[name](graph)
        if rewritten is not graph:
            graph = verify(rewritten)
            verified = True
        if observer is not None:
            observer(name, graph)
    return graph if verified else verify(graph)


__all__ = ["COMPILER", "PASSES", "Observer", "apply", "edge_types", "observed"]
