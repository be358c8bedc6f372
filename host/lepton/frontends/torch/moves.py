"""Moves of int8 values, which keep their scale and zero point, and of values of the host."""

import operator
from collections.abc import Sequence

from torch.fx import Node

from lepton.graph.builder import Value

from .context import ImportContext
from .nodes import Arguments
from .operators import Kind, known
from .qdq import on_one_grid


def is_move(node: Node) -> bool:
    """Whether the node can be a move of int8 values."""
    line = known(node)
    return (line.step is not None or line.join is not None or line.kind is Kind.EXTREMUM
            or node.target is operator.getitem)


def int8_move(context: ImportContext, node: Node) -> Value | None:
    """Emits a move of int8 values; None where the node is none, or its operands are not int8 on one grid."""
    line = known(node)
    if line.kind is Kind.EXTREMUM and line.host is not None:
        arguments = context.arguments(node)
        values = context.operands(node.args[:2])
        if values is None or not on_one_grid(*(value.tensor for value in values)):
            return None
        return context.host(line.host.operator(arguments), values, node)
    sources = _sources(node)
    values = context.operands(sources) if sources else None
    if values is None or not on_one_grid(*(value.tensor for value in values)):
        return None
    return _emitted(context, node, values)


def host_move(context: ImportContext, node: Node) -> Value | None:
    """Emits a move of values of the host; None for other operators."""
    sources = _sources(node)
    return _emitted(context, node, [context.value(source) for source in sources]) if sources else None


def _sources(node: Node) -> list[Node]:
    """The nodes whose values the node moves; none for other operators."""
    line = known(node)
    arguments = Arguments(node)
    if line.step is not None:
        return [arguments.operand()]
    if line.join is not None:
        return arguments.nodes("tensors")
    split = _split_of(node)
    return [] if split is None else [Arguments(split).operand()]


def _split_of(node: Node) -> Node | None:
    """The split that the node takes a part of."""
    split = node.args[0] if node.target is operator.getitem else None
    return split if isinstance(split, Node) and known(split).part is not None else None


def _emitted(context: ImportContext, node: Node, values: Sequence[Value]) -> Value:
    line = known(node)
    context.execution.tensor(node)  # must have elements
    context.at(node)
    if line.step is not None:
        return line.step(values[0], context.arguments(node))
    if line.join is not None:
        return line.join(values, context.arguments(node))
    split = _split_of(node)
    part = None if split is None else known(split).part
    number = node.args[1]
    assert split is not None and part is not None and isinstance(number, int), node
    return part(values[0], context.arguments(split), number)
