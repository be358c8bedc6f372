"""Functions of one int8 value, as tables that PyTorch itself computes."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch.fx import Node

from lepton.graph import Table, Tensor
from lepton.graph.builder import Value

from .context import ImportContext
from .execution import Execution
from .nodes import overload_of
from .operators import POINTWISE, Kind, kind
from .qdq import requantized

Allowed = Callable[[Node, torch.Tensor], bool]  # whether an operator and one of its constants may be in a chain


@dataclass(frozen=True)
class Chain:
    """Operators that lead from one int8 value to a float.

    nodes: in order of execution. roots: the values that they start from, all dequantized from `value`.
    """

    nodes: list[Node]
    roots: list[Node]
    value: Value


def table(context: ImportContext, quantize: Node, output: Tensor, label: str) -> Value | None:
    """Emits a Table if the value to be quantized is a function of one int8 value; None otherwise.

    PyTorch itself computes the 256 results.
    """
    source = context.arguments(quantize).operand()
    chain = chain_of(context, source, POINTWISE, lambda node, constant: constant.numel() == 1)
    if chain is None or chain.value.shape != output.shape:
        return None
    x = chain.value.tensor
    steps = torch.arange(-128, 128, dtype=torch.int8)
    reals = (steps.to(torch.int32) - x.zero_point).to(torch.float32) * float(x.scale)
    results = evaluate(context.execution, chain, dict.fromkeys(chain.roots, reals))
    values = requantized(context.execution, quantize, results)
    return context.at(source, label).emit(Table(values.numpy().tobytes()), [chain.value], output=output)


def chain_of(context: ImportContext, node: Node, kinds: Collection[Kind], allowed: Allowed) -> Chain | None:
    """The operators of these kinds that lead from one int8 value to `node`; None where other operators, several values
    or none lead there."""
    nodes: list[Node] = []
    roots: list[Node] = []

    def collected(node: Node) -> bool:
        if node in nodes or node in roots:
            return True
        if context.operand(node) is not None:
            roots.append(node)
            return True
        if kind(node) not in kinds:
            return False
        for argument in (*node.args, *node.kwargs.values()):
            if isinstance(argument, Node):
                constant = context.execution.parameter(argument)
                if not (collected(argument) if constant is None else allowed(node, constant)):
                    return False
        nodes.append(node)
        return True

    if not collected(node) or not nodes:
        return None
    values = {value.name: value for value in context.operands(roots) or ()}
    return Chain(nodes, roots, values.popitem()[1]) if len(values) == 1 else None


def evaluate(execution: Execution, chain: Chain, values: dict[Node, torch.Tensor], lines: bool = False) -> torch.Tensor:
    """What PyTorch makes of `values` of the chain's roots; with `lines` in float64 and without the clamps."""
    results = dict(values)

    def evaluated(node: Node, argument: object) -> object:
        if not isinstance(argument, Node):
            return argument
        value = results.get(argument)
        if value is None:
            value = execution.parameter(argument)
            assert value is not None, argument
            if value.numel() == 1 and kind(node) is not Kind.NORMALIZATION:
                value = value.reshape(())
        if lines and value.is_floating_point():
            value = value.double()
        return value.clone()  # some operators work in place

    with torch.no_grad():
        for node in chain.nodes:
            overload = overload_of(node)
            assert overload is not None, node
            arguments = [evaluated(node, argument) for argument in node.args]
            named = {name: evaluated(node, argument) for name, argument in node.kwargs.items()}
            if lines and kind(node) is Kind.CLAMP:
                first = arguments[0]
                assert isinstance(first, torch.Tensor), node
                results[node] = first
            else:
                results[node] = overload(*arguments, **named)
    return results[chain.nodes[-1]]
