"""Masks of attention scores: every operator that hides scores from a softmax becomes a sum, which the chip computes."""

import math

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from .nodes import Arguments, called

aten = torch.ops.aten

SOFTMAX = (aten.softmax.int, aten._softmax.default)
# The largest value that hides a score wherever it replaces one: exponentials underflow in float32 from -104 on, and
# scores of trained networks are far from 900. Additive masks of published networks have -1e4 to -3.4e38.
_HIDES = -1000.0


def with_added_masks(module: GraphModule) -> None:
    """`masked_fill` and `where` that hide scores become additions of a mask, 0 or -inf; constant masks become buffers.

    The module changes in place.
    """
    for node in list(module.graph.nodes):
        if only_scored(node):
            _replace_filling(node)
    for node in list(module.graph.nodes):
        if adds(node) and only_scored(node):
            _keep_constants(module, node)


def adds(node: Node) -> bool:
    """Whether the node is a sum of two values."""
    return node.target is aten.add.Tensor and not node.kwargs


def only_scored(node: Node) -> bool:
    """Whether softmax along the last axis is all that reads a value."""
    return bool(node.users) and all(user.target in SOFTMAX and _along_last(user) for user in node.users)


def _along_last(node: Node) -> bool:
    rank = node.meta["val"].ndim
    return Arguments(node).integer("dim") % max(rank, 1) == rank - 1


def added(node: Node, hidden: Node, value: float) -> Node:
    """A mask to be added: `value` where the bool `hidden` is true, 0 elsewhere. `node`: before which it is emitted."""
    zeros = called(node, aten.zeros.default, list(hidden.meta["val"].shape))
    return called(node, aten.masked_fill.Scalar, zeros, hidden, value)


def _replace_filling(node: Node) -> None:
    filling = _filling(node)
    if filling is None:
        return
    scores, hidden, shows = filling
    if scores.meta["val"].shape != node.meta["val"].shape:
        return
    with node.graph.inserting_before(node):
        if shows:
            hidden = called(node, aten.logical_not.default, hidden)
        node.replace_all_uses_with(called(node, aten.add.Tensor, scores, added(node, hidden, -math.inf)))


def _filling(node: Node) -> tuple[Node, Node, bool] | None:
    """The scores of which `node` hides some, the bool tensor that decides, and whether it is true for those shown."""
    if node.target in (aten.masked_fill.Scalar, aten.masked_fill.Tensor):
        scores, hidden, value = node.args
        shows = False
    elif node.target in (aten.where.ScalarOther, aten.where.self):
        hidden, scores, value = node.args
        shows = True
    else:
        return None
    if isinstance(value, Node):
        values = constant_of(node.graph.owning_module, value)
        value = None if values is None or not values.numel() else float(values.max())
    if not (isinstance(scores, Node) and isinstance(hidden, Node) and isinstance(value, int | float)):
        return None
    return (scores, hidden, shows) if value <= _HIDES else None


def _keep_constants(module: GraphModule, node: Node) -> None:
    """The constant operand of a sum of scores becomes a buffer."""
    for position, operand in enumerate(node.args[:2]):
        if not isinstance(operand, Node) or operand.op == "get_attr":
            continue
        values = constant_of(module, operand)
        if values is not None:
            name = f"mask_of_{node.name}"
            while hasattr(module, name):
                name += "_"
            module.register_buffer(name, values)
            with node.graph.inserting_before(node):
                kept = node.graph.get_attr(name)
            kept.meta["val"] = values
            node.update_arg(position, kept)


def constant_of(module: GraphModule | None, node: Node) -> torch.Tensor | None:
    """The value of what is made of the module's parameters and buffers alone; None for what is computed."""
    if node.op == "get_attr" and module is not None:
        prefix, _, name = str(node.target).rpartition(".")
        value = getattr(module.get_submodule(prefix), name)
        return value.detach() if isinstance(value, torch.Tensor) else None
    if node.op != "call_function":
        return None
    values = {other: constant_of(module, other) for other in node.all_input_nodes}
    if any(value is None for value in values.values()) or not callable(node.target):
        return None
    arguments, options = map_arg((node.args, dict(node.kwargs)), values.__getitem__)
    with torch.no_grad():
        made = node.target(*arguments, **options)
    return made if isinstance(made, torch.Tensor) else None
