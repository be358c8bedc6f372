"""Values that are not int8, on the host, as PyTorch computes them.

Operators that the graph describes itself are in the table, `operators`; all others are `Aten`, with PyTorch's own
arguments.
"""

import json
import operator

import numpy as np
import torch
from torch.fx import Node

from lepton.graph import Aten, GraphError
from lepton.graph.builder import Value
from lepton.graph.numerics.aten import FUNCTIONS
from lepton.graph.numerics.aten_pools import FIRST_ONLY
from lepton.graph.numerics.aten_reductions import SEVERAL

from .context import ImportContext, dtype_of, name_of_dtype
from .hosts import HostOperator
from .moves import host_move
from .nodes import described, name_of
from .operators import known

_TYPES = ("float32", "int32", "int64", "bool")  # of values on the host


def readable(node: Node) -> bool:
    """Whether the host has an operator for the node, were its operands not int8."""
    return known(node).host is not None or _by_name(node)


def _by_name(node: Node) -> bool:
    return name_of(node) in FUNCTIONS or name_of(node) in FIRST_ONLY


def float_value(context: ImportContext, node: Node) -> Value:
    """Emits an operator for the host, or a constant; its result. Raises GraphError where there is none."""
    constant = context.execution.parameter(node)
    if constant is not None:
        return context.constant(node.name, _array(constant))
    if node.op != "call_function":
        raise GraphError(f"{described(node)}: {node.op} is not supported")
    source, number = _result_of(node)
    made = context.execution.made[node]
    if not isinstance(made, torch.Tensor) or name_of_dtype(made) not in _TYPES:
        raise GraphError(f"{described(node)}: values must be of type {', '.join(_TYPES)}, not "
                         f"{getattr(made, 'dtype', type(made).__name__)}; leave it out of the module that is compiled")
    value = _standard(context, node) or host_move(context, node)
    if value is not None:
        return value
    if _by_name(source):
        return _aten(context, node, source, number)
    culprit = node.args[0] if node.target is operator.getitem and isinstance(node.args[0], Node) else node
    raise GraphError(f"{described(culprit)}: operator {culprit.target} is supported neither in int8 nor on the host; "
                     "replace it, or leave it out of the module that is compiled")


def _result_of(node: Node) -> tuple[Node, int | None]:
    """The operator that computes the value, and which of its several results it is."""
    source = node.args[0] if node.target is operator.getitem else None
    number = node.args[1] if source is not None else None
    if not isinstance(source, Node) or not isinstance(number, int):
        return node, None
    if name_of(source) in FIRST_ONLY and number != 0:
        raise GraphError(f"{described(source)}: only the largest values are supported, not their places")
    return (source, number) if name_of(source) in (*SEVERAL, *FIRST_ONLY) else (node, None)


def _array(constant: torch.Tensor) -> np.ndarray:
    """Of a type that the host has: other floats become float32, other whole numbers int64."""
    if name_of_dtype(constant) in _TYPES:
        return constant.numpy()
    return (constant.float() if constant.is_floating_point() else constant.long()).numpy()


def _standard(context: ImportContext, node: Node) -> Value | None:
    """An operator that the graph describes itself, on float32 only; None for others."""
    host = known(node).host
    if host is None:
        return None
    arguments = context.arguments(node)
    if host.converts:
        return context.host(host.operator(arguments), [context.value(arguments.operand())], node)
    scaled = arguments.has("alpha") and arguments.number("alpha") != 1
    if arguments.result.dtype != torch.float32 or scaled or (
            arguments.has("rounding_mode") and arguments.given("rounding_mode") is not None):
        return None
    values = _operands(context, node, host)
    if values is None:
        return None
    if not host.images:
        return context.host(host.operator(arguments), values, node)
    output = context.declare(node.name, arguments.shape, np.dtype(np.float32))
    context.at(node)
    return context.images.emit(host.operator(arguments), values, output, node.name)


def _operands(context: ImportContext, node: Node, host: HostOperator) -> list[Value] | None:
    """The operands as float32; None where one is computed and has another type, or has too few dimensions."""
    if host.operands == 1:
        source = context.arguments(node).operand()
        if context.arguments(source).result.dtype != torch.float32:
            return None
        return [context.value(source)]
    found = [_real(context, node, argument) for argument in node.args[:host.operands]]
    values = [value for value in found if value is not None and value.rank >= host.least_rank]
    return values if len(values) == len(found) else None


def _real(context: ImportContext, node: Node, argument: object) -> Value | None:
    constant = context.execution.parameter(argument)
    if constant is not None:
        return context.constant(f"{node.name}/constant", constant.float().numpy())
    if not isinstance(argument, Node):
        return None
    value = context.value(argument)
    return value if value.dtype == np.float32 else None


def _aten(context: ImportContext, node: Node, source: Node, number: int | None) -> Value:
    """The operator `source` by its name; `number` says which of its results the node is."""
    operands: list[Value] = []

    def encoded(argument: object) -> object:
        if isinstance(argument, list | tuple):
            return [encoded(one) for one in argument]
        if isinstance(argument, Node):
            made = context.execution.made[argument]
            if not isinstance(made, torch.Tensor):
                return made
            operands.append(context.value(argument))
            return {"operand": len(operands) - 1}
        if argument is None or isinstance(argument, bool | int | float | str):
            return argument
        raise GraphError(f"{described(source)}: the argument {argument!r} is not supported")

    options = {name: value for name, value in source.kwargs.items()
               if not isinstance(value, torch.dtype | torch.device | torch.layout)}
    arguments = json.dumps([[encoded(a) for a in source.args], {n: encoded(a) for n, a in options.items()}])
    made = context.execution.tensor(node)
    op = Aten(str(source.target).removeprefix("aten."), tuple(made.shape), dtype_of(made).name, arguments, number)
    return context.host(op, operands, node)
