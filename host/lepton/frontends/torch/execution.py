"""The module run once on examples: the value of every node, and which values are constants."""

import warnings

import torch
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg

from lepton.graph import GraphError

from .nodes import Arguments, described, overload_of, packet_of

aten = torch.ops.aten

# Operators that look at the shape of their first operand only: of the same shapes they make the same values.
_OF_SHAPES = (aten.zeros_like, aten.ones_like, aten.full_like, aten.new_zeros, aten.new_ones, aten.new_full,
              aten.sym_size, aten.fill, aten.zero)


class Recorder(Interpreter):
    """Runs a module and keeps what every node makes."""

    def __init__(self, module: GraphModule):
        super().__init__(module)
        self.made: dict[Node, object] = {}

    def run_node(self, n: Node) -> object:
        value = super().run_node(n)
        self.made[n] = value
        return value


class Execution:
    """What a module's nodes make of `examples`, its inputs.

    made: the values. constants: the nodes that no input reaches, which make the same for all inputs.

    Raises GraphError for random values that have readers, and passes on exceptions of the module.
    """

    def __init__(self, module: GraphModule, examples: tuple[torch.Tensor, ...]):
        self.module = module
        for node in module.graph.nodes:
            if _is_random(node):
                raise GraphError(f"{described(node)}: its result is random; take it out, or make it a constant")
        recorder = Recorder(module)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of torch about the module's operators
            recorder.run(*examples)
        self.made = recorder.made
        self.constants = _independent(module)

    def arguments(self, node: Node) -> Arguments:
        return Arguments(node, self.made)

    def tensor(self, node: Node) -> torch.Tensor:
        """The tensor that the node makes. Raises GraphError where it makes something else, or no elements."""
        value = self.arguments(node).result
        if not value.numel():
            raise GraphError(f"{node.name!r} of shape {tuple(map(int, value.shape))} has no elements; leave it out of "
                             "the module")
        return value

    def parameter(self, argument: object) -> torch.Tensor | None:
        """The value of a constant tensor or of a number; None for what is computed."""
        if isinstance(argument, int | float):
            return torch.tensor(float(argument))
        value = self.made[argument] if isinstance(argument, Node) and argument in self.constants else None
        return value.detach() if isinstance(value, torch.Tensor) else None

    def resolved(self, argument: object) -> object:
        """The value of an argument: a node's is what it made."""
        return self.made[argument] if isinstance(argument, Node) else argument


def _independent(module: GraphModule) -> set[Node]:
    found: set[Node] = set()
    for node in module.graph.nodes:
        if node.op == "get_attr" or (node.op == "call_function" and all(n in found for n in _values_read(node))):
            found.add(node)
    return found


def _values_read(node: Node) -> list[Node]:
    """The nodes whose values, not only their shapes, decide the result."""
    if packet_of(node) not in _OF_SHAPES:
        return node.all_input_nodes
    found: list[Node] = []
    map_arg((node.args[1:], dict(node.kwargs)), found.append)
    return found


def _is_random(node: Node) -> bool:
    """Whether the node's result, which something reads, changes from run to run."""
    overload = overload_of(node)
    if overload is None or torch.Tag.nondeterministic_seeded not in overload.tags or not node.users:
        return False
    if overload is aten.scaled_dot_product_attention.default:
        return bool(Arguments(node).given("dropout_p"))
    return True
