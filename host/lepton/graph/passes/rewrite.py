"""Helpers of the passes: the readers of a tensor, free names, a copy of a graph with other nodes."""

from collections.abc import Container
from dataclasses import replace

from .. import Graph, Node, Tensor


def readers(graph: Graph) -> dict[str, list[Node]]:
    """Tensor -> the nodes that read it, once for each operand."""
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in filter(None, node.inputs):
            found.setdefault(name, []).append(node)
    return found


def unique(name: str, taken: Container[str]) -> str:
    """`name`, followed by a number where it is taken."""
    number = 1
    candidate = name
    while candidate in taken:
        candidate = f"{name}.{number}"
        number += 1
    return candidate


def with_nodes(graph: Graph, nodes: list[Node], tensors: dict[str, Tensor] | None = None) -> Graph:
    """A graph with other nodes, which shares the tensors; `graph` itself if nodes and tensors are the same objects."""
    # Nodes and tensors compare by identity.
    if nodes == graph.nodes and (tensors is None or tensors == graph.tensors):
        return graph
    return replace(graph, nodes=nodes, tensors=dict(graph.tensors if tensors is None else tensors))
