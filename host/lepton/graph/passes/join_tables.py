"""Two tables in a row are one, where nobody else reads what lies between them."""

from dataclasses import replace

import numpy as np

from .. import Graph, Table
from .rewrite import readers, with_nodes


def join_tables(graph: Graph) -> Graph:
    users = readers(graph)
    tables: dict[str, int] = {}  # result of a table -> its place in `nodes`
    nodes = []
    for node in graph.nodes:
        at = tables.get(node.inputs[0]) if isinstance(node.op, Table) else None
        if at is not None and len(users[node.inputs[0]]) == 1 and node.inputs[0] not in graph.outputs:
            first, second = (np.frombuffer(n.op.values, np.int8) for n in (nodes[at], node))
            values = second[first.astype(np.int16) + 128].tobytes()
            node = replace(node, op=Table(values), inputs=nodes[at].inputs)
            nodes[at] = None
        if isinstance(node.op, Table):
            tables[node.outputs[0]] = len(nodes)
        nodes.append(node)
    return with_nodes(graph, [node for node in nodes if node is not None])
