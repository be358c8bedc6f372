"""Helpers of the passes: matches of operators and of chains of them, free names, a copy of a graph with other nodes."""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from .. import Graph, Node, Op, Tensor

Operator = TypeVar("Operator", bound=Op)


@dataclass(frozen=True)
class Match(Generic[Operator]):
    """A node whose operator is of the type that was looked for."""

    node: Node
    op: Operator

    @property
    def source(self) -> str:
        """The first operand."""
        return self.node.inputs[0]


def match(node: Node | None, *types: type[Operator]) -> Match[Operator] | None:
    """The node as a match if its operator is of one of the types; None otherwise."""
    return Match(node, node.op) if node is not None and isinstance(node.op, types) else None


class Chains:
    """Follows the tensors of a graph back to the operators that make them.

    A pass states a chain from its end: `chains.made(name, MatMul)` is the match of the operator behind `name`.
    """

    def __init__(self, graph: Graph):
        self._producers = {name: node for node in graph.nodes for name in node.outputs}
        self._readers = readers(graph)
        self._outputs = frozenset(graph.outputs)

    def made(self, name: str, *types: type[Operator]) -> Match[Operator] | None:
        """The operator that makes a tensor, if it is of one of the types."""
        return match(self._producers.get(name), *types)

    def made_for_one(self, name: str, *types: type[Operator]) -> Match[Operator] | None:
        """The same where the tensor has a single reader and is no output of the graph, so that both can be fused."""
        single = len(self._readers.get(name, ())) == 1 and name not in self._outputs
        return self.made(name, *types) if single else None

    def before(self, name: str, *types: type[Operator]) -> tuple[str, list[Node]]:
        """The tensor before all operators of these types that end in `name`, and their nodes in execution order."""
        nodes: list[Node] = []
        while (found := self.made(name, *types)) is not None:
            nodes.insert(0, found.node)
            name = found.source
        return name, nodes


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
