"""Removes operators whose results are not read, and tensors that belong to no operator."""

from .. import Graph
from .rewrite import with_nodes


def remove_unused(graph: Graph) -> Graph:
    needed = set(graph.outputs)
    nodes = []
    for node in reversed(graph.nodes):
        if node.outputs[0] in needed:
            nodes.append(node)
            needed.update(filter(None, node.inputs))
    needed.update(graph.inputs)
    return with_nodes(graph, nodes[::-1], {n: t for n, t in graph.tensors.items() if n in needed})
