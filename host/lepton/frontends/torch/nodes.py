"""Attributes of a torch.fx node: its operator's schema, its arguments by the schema's names, its module."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch._ops import OpOverload, OpOverloadPacket
from torch.fx import Node

from lepton.graph import GraphError

T = TypeVar("T")


def overload_of(node: Node) -> OpOverload | None:
    """The operator of PyTorch that the node calls; None for inputs, parameters and Python's own functions."""
    return node.target if node.op == "call_function" and isinstance(node.target, OpOverload) else None


def packet_of(node: Node) -> OpOverloadPacket | None:
    """The same operator with any signature: `aten.add` for `aten.add.Tensor`."""
    overload = overload_of(node)
    return None if overload is None else overload.overloadpacket


def name_of(node: Node) -> str:
    """The operator's name without namespace and signature: "gelu" for `aten.gelu.default`."""
    return str(node.target).removeprefix("aten.").partition(".")[0]


def module_of(node: Node) -> str:
    """The path of the module that the node belongs to; empty for the outermost."""
    stack = node.meta.get("nn_module_stack")
    return str(next(reversed(stack.values()))[0]) if stack else ""


def described(node: Node) -> str:
    """How errors name the node: its name, its operator and its module."""
    path = module_of(node)
    return f"{node.name} ({node.target}{f' of {path}' if path else ''})"


def called(like: Node, target: OpOverload, *operands: object) -> Node:
    """A new node where nodes are inserted at present; it belongs to the module of `like`."""
    made = like.graph.call_function(target, operands)  # type: ignore[arg-type]  # torch.fx names fewer types than it takes
    values = [operand.meta["val"] if isinstance(operand, Node) else operand for operand in operands]
    made.meta = dict(like.meta) | {"val": target(*values)}
    return made


def results_of(output: Node) -> list[object]:
    """What a graph's output node returns: nodes, mostly."""
    given = output.args[0]
    return list(given) if isinstance(given, list | tuple) else [given]


class Arguments:
    """The arguments of a node by the names in its operator's schema; those left out have the schema's defaults.

    made: the values of nodes, as running the module gave them; without it, what torch.export noted in `node.meta`
        (tensors without data). An argument that is a node with a number as its value stands for the number.

    Each method raises GraphError, with the node, the argument and its value, where the value is of another type.
    """

    def __init__(self, node: Node, made: Mapping[Node, object] | None = None):
        self.node = node
        self._made = made
        overload = overload_of(node)
        self._schema = [] if overload is None else overload._schema.arguments

    def has(self, name: str) -> bool:
        """Whether the operator takes an argument of this name; signatures of one operator differ in that."""
        return any(argument.name == name for argument in self._schema)

    def value_of(self, node: Node) -> object:
        """What `node` makes: a tensor, a number, or a list of tensors."""
        return node.meta.get("val") if self._made is None else self._made.get(node)

    @property
    def result(self) -> torch.Tensor:
        """What the node makes, a tensor."""
        return self.tensor_of(self.node)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return tuple(map(int, self.result.shape))

    @property
    def results(self) -> list[torch.Tensor]:
        """What the node makes, several tensors."""
        values = self.value_of(self.node)
        tensors = [value for value in values if isinstance(value, torch.Tensor)] if isinstance(
            values, list | tuple) else []
        if not isinstance(values, list | tuple) or len(tensors) != len(values):
            raise GraphError(f"{described(self.node)}: its results must be tensors, not {values!r}")
        return tensors

    def tensor_of(self, node: Node) -> torch.Tensor:
        value = self.value_of(node)
        if not isinstance(value, torch.Tensor):
            raise GraphError(f"{described(self.node)}: {node.name!r} must be a tensor, not {value!r}")
        return value

    def given(self, name: str) -> object:
        """The argument as it is; a node that makes a number is replaced by the number."""
        for position, argument in enumerate(self._schema):
            if argument.name == name:
                if position < len(self.node.args):
                    return self._number_of(self.node.args[position])
                return self._number_of(self.node.kwargs.get(name, argument.default_value))
        raise GraphError(f"{described(self.node)}: the operator has no argument {name!r}")

    def operand(self, position: int = 0) -> Node:
        """The node whose value is the argument at `position`."""
        value = self.node.args[position] if position < len(self.node.args) else None
        return self._typed(f"number {position}", value, Node, "a value that is computed")

    def optional_node(self, name: str) -> Node | None:
        value = self.given(name)
        return None if value is None else self._typed(name, value, Node, "a value that is computed")

    def nodes(self, name: str) -> list[Node]:
        """The nodes of an argument that is a list of values."""
        values = self._typed(name, self.given(name), (list, tuple), "a list of values")
        return [self._typed(name, value, Node, "a list of values") for value in values]

    def integer(self, name: str) -> int:
        return self._typed(name, self.given(name), int, "a whole number")

    def optional_integer(self, name: str) -> int | None:
        return None if self.given(name) is None else self.integer(name)

    def integers(self, name: str) -> tuple[int, ...]:
        """Whole numbers; one number stands for a list of one, None for an empty list."""
        value = self.given(name)
        listed = [] if value is None else value if isinstance(value, list | tuple) else [value]
        return tuple(self._typed(name, self._number_of(one), int, "whole numbers") for one in listed)

    def number(self, name: str) -> float:
        return float(self._typed(name, self.given(name), (int, float), "a number"))

    def optional_number(self, name: str) -> float | None:
        return None if self.given(name) is None else self.number(name)

    def numbers(self, name: str) -> tuple[float, ...]:
        """Numbers; None stands for none."""
        values = self.given(name)
        listed = [] if values is None else self._typed(name, values, (list, tuple), "numbers")
        return tuple(float(self._typed(name, self._number_of(one), (int, float), "numbers")) for one in listed)

    def flag(self, name: str) -> bool:
        return self._typed(name, self.given(name), bool, "True or False")

    def text(self, name: str) -> str:
        return self._typed(name, self.given(name), str, "a text")

    def _number_of(self, argument: object) -> object:
        value = self.value_of(argument) if isinstance(argument, Node) else argument
        return value if isinstance(value, int | float) else argument

    def _typed(self, name: str, value: object, kind: type[T] | tuple[type[T], ...], what: str) -> T:
        if not isinstance(value, kind):
            raise GraphError(f"{described(self.node)}: the argument {name} must be {what}, not {value!r}")
        return value
