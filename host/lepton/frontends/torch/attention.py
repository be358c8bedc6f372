"""scaled_dot_product_attention as the products and the softmax that it consists of, so that each can be int8."""

import math

import torch
from torch.fx import GraphModule, Node

from .nodes import Arguments

aten = torch.ops.aten


def with_attention_products(module: GraphModule) -> GraphModule:
    """Every attention without dropout, and without groups of queries that share keys, becomes its definition
    (torch.nn.functional.scaled_dot_product_attention): softmax(query @ key^T * scale + mask) @ value.

    The module changes in place. PyTorch's own kernel adds in another order; results differ in the last bits.
    """
    changed = False
    for node in list(module.graph.nodes):
        if node.target is aten.scaled_dot_product_attention.default and _is_plain(node):
            _expand(module, node)
            changed = True
    if changed:
        module.recompile()
    return module


def _is_plain(node: Node) -> bool:
    given = Arguments(node).given
    mask = given("attn_mask")
    floats = mask is None or (isinstance(mask, Node) and mask.meta["val"].dtype == torch.float32)
    return floats and not (given("dropout_p") or given("is_causal") or given("enable_gqa"))


def _expand(module: GraphModule, node: Node) -> None:
    graph = module.graph
    arguments = Arguments(node)
    query, key, value = (arguments.operand(i) for i in range(3))
    scale = arguments.given("scale")
    factor = 1 / math.sqrt(query.meta["val"].shape[-1]) if scale is None else float(str(scale))

    def call(target: object, *operands: object) -> Node:
        made = graph.call_function(target, operands)  # type: ignore[arg-type]  # operators are callable
        values = [operand.meta["val"] if isinstance(operand, Node) else operand for operand in operands]
        made.meta = dict(node.meta) | {"val": target(*values)}  # type: ignore[operator]
        return made

    with graph.inserting_before(node):
        scores = call(aten.mul.Tensor, call(aten.matmul.default, query, call(aten.transpose.int, key, -2, -1)), factor)
        mask = arguments.given("attn_mask")
        if mask is not None:
            scores = call(aten.add.Tensor, scores, mask)
        result = call(aten.matmul.default, call(aten.softmax.int, scores, -1), value)
    node.replace_all_uses_with(result)
    graph.erase_node(node)  # dead code elimination keeps it, since it could be random
