"""A module's graph without operators that change a tensor in place, and without those that do nothing.

`y.relu_()` changes what every later use of `y` reads. Here each such operator becomes the one that makes a new value,
and later uses of what it changed read that value; the rest of the front end knows values that never change.
"""

import copy
import warnings
from collections.abc import Mapping

import torch
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node

from lepton.graph import GraphError

from .nodes import Arguments, overload_of, packet_of

aten = torch.ops.aten

_DROPOUTS = (aten.dropout, aten.feature_dropout, aten.alpha_dropout, aten.feature_alpha_dropout)
_SAME = (aten.alias, aten.detach, aten.lift_fresh, aten.lift_fresh_copy, aten.clone, aten.contiguous, aten.positive,
         *_DROPOUTS)
_CONVERSIONS = (aten.to, aten._to_copy, aten.type_as)  # nothing is to be done where the data type stays
# Operators without a result that matters: they stop the program where something does not hold.
_ASSERTIONS = (aten._assert_async, aten._assert_tensor_metadata, aten._assert_scalar, aten.sym_constrain_range,
               aten.sym_constrain_range_for_size)
_NORMALIZATION = aten._native_batch_norm_legit_no_training.default  # what decompositions make of `batch_norm`
# May give the same memory or a copy, which their schema does not say.
_VIEWS = (aten.reshape, aten.flatten, aten.contiguous, aten.to, aten.unflatten, aten.reshape_as)


def functional(module: GraphModule, gradients: bool = False) -> GraphModule:
    """`module` itself where nothing is to be done, or another module with the same parameters.

    gradients: keep `detach`, which does nothing but stop gradients.

    Raises GraphError for a change in place that later operators see through another view of the same memory, and for
    results that depend on a buffer which the module changes.
    """
    if not any(_does_nothing(node, gradients) or _changed(node) is not None or node.target is _NORMALIZATION
               or packet_of(node) in _ASSERTIONS for node in module.graph.nodes):
        return module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own, about how it copies its trees
        graph = copy.deepcopy(module.graph)
    state = {}
    for node in list(graph.nodes):
        if node.target is _NORMALIZATION:
            _name_normally(node)
        elif packet_of(node) in _ASSERTIONS and not node.users:
            graph.erase_node(node)
        elif (changed := _changed(node)) is not None:
            base = _views(changed)[0]
            if base.op == "get_attr":
                state[str(base.target)] = node
            _renew(node, changed)
    _refuse_state(graph, state)
    for node in list(graph.nodes):
        if _does_nothing(node, gradients):
            node.replace_all_uses_with(Arguments(node).operand())
            graph.erase_node(node)
    made = GraphModule(module, graph)
    made.meta.update(module.meta)
    return made


def _refuse_state(graph: Graph, state: Mapping[str, Node]) -> None:
    """Raises GraphError where results depend on a buffer of `state`, whose values are the nodes that change it."""
    output = next(node for node in graph.nodes if node.op == "output")
    read = {output}
    pending = [output]
    while pending:
        new = set(pending.pop().all_input_nodes) - read
        read |= new
        pending += new
    for node in read:
        if node.op == "get_attr" and node.target in state:
            raise GraphError(f"the module changes its buffer {node.target!r} ({state[node.target].name}), on which "
                             "later results depend; networks with state are not supported: make the state an input and "
                             "an output of the module")


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
    """Whether the graph has changes in place that `functional` refuses."""
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
