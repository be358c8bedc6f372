"""A module's graph without operators that change a tensor in place, and without those that do nothing.

`y.relu_()` changes what every later use of `y` reads. Here each such operator becomes the one that makes a new value,
and later uses of what it changed read that value; the rest of the front end knows values that never change.
"""

import copy
import warnings

import torch
from torch.fx import GraphModule, Node

from lepton.graph import GraphError

aten = torch.ops.aten

_SAME = (aten.alias, aten.detach, aten.lift_fresh, aten.lift_fresh_copy, aten.clone, aten.contiguous, aten.positive,
         aten.dropout, aten.feature_dropout, aten.alpha_dropout, aten.feature_alpha_dropout)
_DROPOUTS = _SAME[-4:]
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

    Raises GraphError for a change in place that later operators see through another view of the same memory.
    """
    same = [node for node in module.graph.nodes if _same(node, gradients)]
    if not same and not any(_changed(node) is not None or node.target is _NORMALIZATION or _packet(node) in _ASSERTIONS
               for node in module.graph.nodes):
        return module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own, about how it copies its trees
        graph = copy.deepcopy(module.graph)
    for node in list(graph.nodes):
        if node.target is _NORMALIZATION:
            _named_normally(node)
        elif _packet(node) in _ASSERTIONS and not node.users:
            graph.erase_node(node)
        elif _changed(node) is not None:
            _renewed(node)
    for node in list(graph.nodes):
        if _same(node, gradients):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    made = GraphModule(module, graph)
    made.meta.update(module.meta)
    return made


def replaced(node: Node) -> bool:
    """Is the node one of those that `functional` removes or replaces?"""
    return (_packet(node) in (*_SAME, *_CONVERSIONS, *_ASSERTIONS, aten.detach)
            or node.target is _NORMALIZATION or _changed(node) is not None)


def _packet(node: Node):
    return getattr(node.target, "overloadpacket", None) if node.op == "call_function" else None


def _changed(node: Node) -> Node | None:
    """The operand that the node changes in place."""
    schema = getattr(node.target, "_schema", None) if node.op == "call_function" else None
    if schema is None or not schema.is_mutable:
        return None
    for position, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write and position < len(node.args):
            return node.args[position] if isinstance(node.args[position], Node) else None
    return None


def _same(node: Node, gradients: bool) -> bool:
    """Is the result of the node its first operand?"""
    packet = _packet(node)
    if packet is aten.detach:
        return not gradients
    if packet in _DROPOUTS:
        training = node.args[2] if len(node.args) > 2 else node.kwargs.get("train", True)
        return not training
    if packet in _CONVERSIONS:
        before, after = (n.meta.get("val") for n in (node.args[0], node))
        return isinstance(after, torch.Tensor) and isinstance(before, torch.Tensor) and before.dtype == after.dtype
    return packet in _SAME


def _renewed(node: Node) -> None:
    """Makes the node give a new value, which later uses of the changed one read."""
    changed = _changed(node)
    name = node.target._schema.name.removeprefix("aten::")
    twin = getattr(getattr(aten, name.removesuffix("_"), None), node.target._overloadname, None)
    if not name.endswith("_") or twin is None or twin._schema.is_mutable:
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


def _named_normally(node: Node) -> None:
    """`batch_norm` in place of the first of the three results."""
    x, weight, bias, mean, variance, momentum, eps = node.args
    for user in list(node.users):
        user.target = aten.batch_norm.default
        user.args = (x, weight, bias, mean, variance, False, momentum, eps, False)
    node.graph.erase_node(node)


def _after(node: Node) -> set[Node]:
    found, node = set(), node.next
    while node.op != "root":
        found.add(node)
        node = node.next
    return found


def _views(node: Node) -> list[Node]:
    """The nodes that share memory with `node`, itself included."""
    while _is_view(node):
        node = node.args[0]
    found = [node]
    for one in found:
        found += [user for user in one.users if _is_view(user) and user.args[0] is one]
    return found


def _is_view(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None) if node.op == "call_function" else None
    if schema is None or not node.args or not isinstance(node.args[0], Node):
        return False
    aliases = schema.returns and schema.returns[0].alias_info is not None and not schema.is_mutable
    return bool(aliases) or _packet(node) in _VIEWS
