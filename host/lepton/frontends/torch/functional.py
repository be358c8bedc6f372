"""A module's graph without operators that change a tensor in place, and without those that do nothing.

`y.relu_()` changes what every later use of `y` reads. Here each such operator becomes the one that makes a new value,
and later uses of what it changed read that value; the rest of the front end knows values that never change.
"""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node
from torch.fx.graph import CodeGen

from lepton.graph import GraphError

from .nodes import Arguments, overload_of, packet_of, results_of

aten = torch.ops.aten

_DROPOUTS = (aten.dropout, aten.feature_dropout, aten.alpha_dropout, aten.feature_alpha_dropout)
_SAME = (aten.alias, aten.detach, aten.lift_fresh, aten.lift_fresh_copy, aten.clone, aten.contiguous, aten.positive,
         *_DROPOUTS)
_CONVERSIONS = (aten.to, aten._to_copy, aten.type_as)  # without effect where the data type stays the same
# Operators without a result that matters: they stop the program where something does not hold.
_ASSERTIONS = (aten._assert_async, aten._assert_tensor_metadata, aten._assert_scalar, aten.sym_constrain_range,
               aten.sym_constrain_range_for_size)
_NORMALIZATION = aten._native_batch_norm_legit_no_training.default  # what decompositions make of `batch_norm`
# May give the same memory or a copy, which their schema does not say.
_VIEWS = (aten.reshape, aten.flatten, aten.contiguous, aten.to, aten.unflatten, aten.reshape_as)


STATES = "lepton_states"  # in `GraphModule.meta`: the list of the `ModuleState`s that `functional` has found


@dataclass(frozen=True)
class ModuleState:
    """A buffer that the module changes, as an input and an output of the graph: the last ones, in the order of STATES.
    """

    name: str
    initial: torch.Tensor


def states_of(module: GraphModule) -> list[ModuleState]:
    """The states of a module that `functional` made, or that was made of one."""
    found: list[ModuleState] = module.meta.get(STATES, [])
    return found


def functional(module: GraphModule, gradients: bool = False, states: bool = False) -> GraphModule:
    """`module` itself where nothing is to be done, or another module with the same parameters.

    gradients: keep `detach`, which does nothing but stop gradients.
    states: make inputs and outputs of the buffers that the module changes and on which later results depend.

    Raises GraphError for a change in place that later operators see through another view of the same memory, and,
    without `states`, for results that depend on a buffer which the module changes.
    """
    if not any(_does_nothing(node, gradients) or _changed(node) is not None or node.target is _NORMALIZATION
               or packet_of(node) in _ASSERTIONS for node in module.graph.nodes):
        return module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own, about how it copies its trees
        graph = copy.deepcopy(module.graph)
    changes: dict[str, Node] = {}
    holds: dict[Node, str] = {}  # of what makes a buffer's value the buffer, which a later change changes again
    for node in list(graph.nodes):
        if node.target is _NORMALIZATION:
            _name_normally(node)
        elif packet_of(node) in _ASSERTIONS and not node.users:
            graph.erase_node(node)
        elif (changed := _changed(node)) is not None:
            base = _views(changed)[0]
            buffer = str(base.target) if base.op == "get_attr" else holds.get(base)
            if buffer is not None:
                changes[buffer] = node
                holds[node] = buffer
            _renew(node, changed)
    kept = _read_again(graph, changes)
    if kept and not states:
        raise GraphError(f"the module changes its buffer {kept[0]!r} ({changes[kept[0]].name}), on which later results "
                         "depend; networks with state cannot be trained here: make the state an input and an output of "
                         "the module")
    found = [_lifted(module, graph, name, changes[name]) for name in kept]
    for node in list(graph.nodes):
        if _does_nothing(node, gradients):
            node.replace_all_uses_with(Arguments(node).operand())
            graph.erase_node(node)
    made = GraphModule(module, graph)
    made.meta.update(module.meta)
    if found:
        made.meta[STATES] = [*states_of(module), *found]
    return made


def _read_again(graph: Graph, changes: Mapping[str, Node]) -> list[str]:
    """Of the buffers of `changes`, whose new values are the nodes, those on which a result of the same or a later
    execution depends."""
    output = next(node for node in graph.nodes if node.op == "output")
    kept: list[str] = []
    read = {output}
    pending = [output]
    while pending:
        node = pending.pop()
        new = set(node.all_input_nodes)
        if node.op == "get_attr" and (name := str(node.target)) in changes and name not in kept:
            kept.append(name)
            new.add(changes[name])
        pending += new - read
        read |= new
    return [name for name in changes if name in kept]


def _lifted(module: GraphModule, graph: Graph, name: str, change: Node) -> ModuleState:
    """Makes the buffer an input of the graph, and its new value an output."""
    nodes = list(graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    if not inputs:
        raise GraphError("the module has no inputs")
    reads = [node for node in nodes if node.op == "get_attr" and node.target == name]
    with graph.inserting_after(inputs[-1]):
        source = graph.placeholder(name)
    source.meta = dict(reads[0].meta)
    prefix, _, attribute = name.rpartition(".")
    initial: torch.Tensor = getattr(module.get_submodule(prefix), attribute).detach().clone()
    results = [*results_of(nodes[-1]), _new_value(change, initial)]
    nodes[-1].args = (results,)
    graph.set_codegen(CodeGen())  # the structure of inputs and outputs is another one
    for read in reads:
        read.replace_all_uses_with(source)
        graph.erase_node(read)
    return ModuleState(name, initial)


def _new_value(change: Node, buffer: torch.Tensor) -> Node:
    """What the node makes, without the copy to the buffer that functionalization puts at the end."""
    source = change.args[1] if change.target is aten.copy.default else None
    value = Arguments(source).value_of(source) if isinstance(source, Node) else None
    same = isinstance(value, torch.Tensor) and value.shape == buffer.shape and value.dtype == buffer.dtype
    return source if isinstance(source, Node) and same else change


def replaced(node: Node) -> bool:
    """Whether `functional` removes the node, or puts another in its place."""
    return (packet_of(node) in (*_SAME, *_CONVERSIONS, *_ASSERTIONS)
            or node.target is _NORMALIZATION or _changed(node) is not None)


def _changed(node: Node) -> Node | None:
    """The operand that the node changes in place."""
    overload = overload_of(node)
    if overload is None or not overload._schema.is_mutable:
        return None
    for operand, argument in zip(node.args, overload._schema.arguments, strict=False):  # defaults may be left out
        if argument.alias_info is not None and argument.alias_info.is_write:
            return operand if isinstance(operand, Node) else None
    return None


def _does_nothing(node: Node, gradients: bool) -> bool:
    """Whether the result of the node is its first operand."""
    packet = packet_of(node)
    if packet is aten.detach:
        return not gradients
    if packet in _DROPOUTS:
        return not Arguments(node).flag("train")
    if packet in _CONVERSIONS:
        arguments = Arguments(node)
        after = arguments.value_of(node)
        before = arguments.value_of(arguments.operand())
        return isinstance(after, torch.Tensor) and isinstance(before, torch.Tensor) and before.dtype == after.dtype
    return packet in _SAME


def _renew(node: Node, changed: Node) -> None:
    """Makes the node give a new value, which later uses of `changed` read."""
    twin = _twin(node)
    if twin is None:
        raise GraphError(f"{node.name} ({node.target}): this change in place is not supported; write it as an "
                         "expression that makes a new tensor")
    later = _after(node)
    for other in _views(changed):
        users = [user.name for user in other.users if user in later]
        if other is not changed and users:
            raise GraphError(f"{node.name} ({node.target}) changes {changed.name!r} in place, which {users[0]!r} reads "
                             f"through {other.name!r}; write it as an expression that makes a new tensor")
    changed.replace_all_uses_with(node, delete_user_cb=later.__contains__)
    node.target = twin


def seen_through_views(graph: Graph) -> bool:
    """Whether the graph has changes in place that `functional` refuses: those seen through another view."""
    for node in graph.nodes:
        changed = _changed(node)
        if changed is None:
            continue
        later = _after(node)
        if _twin(node) is None or any(user in later for other in _views(changed) if other is not changed
                                      for user in other.users):
            return True
    return False


def _twin(node: Node) -> OpOverload | None:
    """The operator that makes a new value instead: `relu` for `relu_`."""
    overload = overload_of(node)
    name = "" if overload is None else overload._schema.name.removeprefix("aten::")
    if overload is None or not name.endswith("_"):
        return None
    twin = getattr(getattr(aten, name.removesuffix("_"), None), overload._overloadname, None)
    return twin if isinstance(twin, OpOverload) and not twin._schema.is_mutable else None


def _name_normally(node: Node) -> None:
    """`batch_norm` in place of the first of the three results."""
    x, weight, bias, mean, variance, momentum, eps = node.args
    for user in list(node.users):
        user.target = aten.batch_norm.default
        user.args = (x, weight, bias, mean, variance, False, momentum, eps, False)
    node.graph.erase_node(node)


def _after(node: Node) -> set[Node]:
    """The nodes behind `node`."""
    found: set[Node] = set()
    node = node.next
    while node.op != "root":
        found.add(node)
        node = node.next
    return found


def _views(node: Node) -> list[Node]:
    """The nodes that share memory with `node`, itself included."""
    source = _viewed(node)
    while source is not None:
        node = source
        source = _viewed(node)
    found = [node]
    for one in found:
        found += [user for user in one.users if _viewed(user) is one]
    return found


def _viewed(node: Node) -> Node | None:
    """The node whose memory the result of `node` shares; None where it has its own."""
    overload = overload_of(node)
    source = node.args[0] if node.args else None
    if overload is None or not isinstance(source, Node):
        return None
    schema = overload._schema
    aliases = schema.returns and schema.returns[0].alias_info is not None and not schema.is_mutable
    return source if aliases or packet_of(node) in _VIEWS else None
