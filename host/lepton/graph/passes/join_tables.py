"""Joins two tables in a row to one, where nothing else reads the result of the first."""

from dataclasses import replace

import numpy as np

from .. import Graph, Node, Table
from .rewrite import match, readers, with_nodes


def join_tables(graph: Graph) -> Graph:
    """Every `Table` that is the only reader of another one's result becomes the table of both."""
    users = readers(graph)
    tables: dict[str, tuple[Node, Table]] = {}  # result of a table -> its node, as rewritten
    nodes: list[Node] = []
    for node in graph.nodes:
        table = match(node, Table)
        if table is not None:
            source = table.source
            op = table.op
            if source in tables and len(users[source]) == 1 and source not in graph.outputs:
                before, inner = tables[source]
                op = Table(_composed(inner.values, op.values))
                node = replace(node, op=op, inputs=before.inputs)
                nodes.remove(before)
            tables[node.outputs[0]] = (node, op)
        nodes.append(node)
    return with_nodes(graph, nodes)


def _composed(first: bytes, second: bytes) -> bytes:
    """The table of `second` of what `first` gives."""
    places = np.frombuffer(first, np.int8).astype(np.int16) + 128
    return np.frombuffer(second, np.int8)[places].tobytes()
