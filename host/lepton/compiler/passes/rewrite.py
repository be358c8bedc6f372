"""What passes have in common: who reads a tensor, and a copy of a graph with other nodes."""

from dataclasses import replace

from ...graph import Graph, Node


def readers(graph: Graph) -> dict[str, list[Node]]:
    """Tensor -> the nodes that read it, once for each operand."""
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in filter(None, node.inputs):
            found.setdefault(name, []).append(node)
    return found


def with_nodes(graph: Graph, nodes: list[Node], tensors: dict | None = None) -> Graph:
    """A graph with other nodes, which shares the tensors."""
    return replace(graph, nodes=nodes, tensors=dict(graph.tensors if tensors is None else tensors))
