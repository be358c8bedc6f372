"""Attention as the products, sums and softmax that it consists of, so that each can be int8."""

import math

import torch
from torch.fx import GraphModule, Node

from .masks import added, constant_of, with_added_masks
from .nodes import Arguments, called
from .operators import MATRIX_PRODUCTS, Kind, kind

aten = torch.ops.aten

_DIVISIONS = (aten.div.Tensor, aten.div.Scalar)
_FACTORS = (aten.mul.Tensor, aten.mul.Scalar, *_DIVISIONS)


def with_attention_products(module: GraphModule) -> GraphModule:
    """Every attention without dropout becomes its definition (torch.nn.functional.scaled_dot_product_attention):
    softmax(query @ key^T * scale + mask) @ value. Numbers that multiply an operand of a product multiply its result,
    and masks are added (`masks.with_added_masks`).

    The module changes in place. PyTorch's own kernel adds in another order; results differ in the last bits.
    """
    for node in list(module.graph.nodes):
        if node.target is aten.scaled_dot_product_attention.default and not Arguments(node).given("dropout_p"):
            _expand(node)
        elif node.target is aten.baddbmm.default:
            _split(node)
    for node in list(module.graph.nodes):
        if node.target in MATRIX_PRODUCTS:
            _multiply_behind(module, node)
    with_added_masks(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _expand(node: Node) -> None:
    arguments = Arguments(node)
    query, key, value = (arguments.operand(i) for i in range(3))
    scale = arguments.given("scale")
    factor = 1 / math.sqrt(query.meta["val"].shape[-1]) if scale is None else float(str(scale))
    mask = arguments.optional_node("attn_mask")
    with node.graph.inserting_before(node):
        if arguments.given("enable_gqa"):
            key, value = (_shared(node, operand, query.meta["val"].shape[-3]) for operand in (key, value))
        product = called(node, aten.matmul.default, query, called(node, aten.transpose.int, key, -2, -1))
        scores = called(node, aten.mul.Tensor, product, factor)
        if arguments.given("is_causal"):
            ones = called(node, aten.ones.default, list(scores.meta["val"].shape[-2:]))
            mask = called(node, aten.to.dtype, called(node, aten.tril.default, ones), torch.bool)
        if mask is not None:
            if mask.meta["val"].dtype == torch.bool:
                mask = added(node, called(node, aten.logical_not.default, mask), -math.inf)
            scores = called(node, aten.add.Tensor, scores, mask)
        result = called(node, aten.matmul.default, called(node, aten.softmax.int, scores, -1), value)
    node.replace_all_uses_with(result)
    node.graph.erase_node(node)  # dead code elimination keeps it, since it could be random


def _shared(node: Node, operand: Node, heads: int) -> Node:
    """Keys or values, each repeated for the queries that share it."""
    shape = list(operand.meta["val"].shape)
    if shape[-3] == heads:
        return operand
    repeated = [*shape[:-2], heads // shape[-3], *shape[-2:]]
    wide = called(node, aten.expand.default, called(node, aten.unsqueeze.default, operand, -3), repeated)
    return called(node, aten.reshape.default, wide, [*shape[:-3], heads, *shape[-2:]])


def _split(node: Node) -> None:
    """baddbmm(x, a, b) as x + a @ b."""
    arguments = Arguments(node)
    if arguments.number("beta") != 1 or arguments.number("alpha") != 1:
        return
    with node.graph.inserting_before(node):
        product = called(node, aten.bmm.default, arguments.operand(1), arguments.operand(2))
        node.replace_all_uses_with(called(node, aten.add.Tensor, product, arguments.operand(0)))


def _multiply_behind(module: GraphModule, node: Node) -> None:
    """Numbers that multiply or divide an operand, before it is moved or not, multiply the product."""
    factor = 1.0
    for operand in {operand for operand in node.args[:2] if isinstance(operand, Node)}:
        while (found := _scaled(module, operand)) is not None:
            scaling, source, number = found
            factor *= number ** node.args[:2].count(operand)
            if scaling is operand:
                node.replace_input_with(operand, source)
                operand = source
            else:
                scaling.replace_all_uses_with(source)
    if factor == 1.0:
        return
    users = list(node.users)
    with node.graph.inserting_after(node):
        behind = called(node, aten.mul.Tensor, node, factor)
    for user in users:
        user.replace_input_with(node, behind)


def _scaled(module: GraphModule, operand: Node) -> tuple[Node, Node, float] | None:
    """The node that multiplies an operand by a number, perhaps before moves with one reader: the node, its source, the
    number."""
    node = operand
    while kind(node) is Kind.MOVE and isinstance(node.args[0], Node) and len(node.args[0].users) == 1:
        node = node.args[0]
    if node.target not in _FACTORS or len(node.args) != 2 or node.kwargs:
        return None
    source, number = node.args
    if isinstance(number, Node):
        values = constant_of(module, number)
        number = values.item() if values is not None and values.ndim == 0 else None
    if not isinstance(source, Node) or not isinstance(number, int | float) or number == 0:
        return None
    return node, source, 1 / number if node.target in _DIVISIONS else number
