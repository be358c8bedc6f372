"""The rules of all families, by operator, and `refusal`: why the chip does not take a node."""

import numpy as np

from ...graph import Graph, GraphError, Node, Op, Reshape
from ..images import image_shape
from ..rule import Rule
from . import channels, dot, lanewise, phases, products, residual, resizes, rows

RULES: dict[type[Op], Rule] = {**dot.RULES, **phases.RULES, **lanewise.RULES, **residual.RULES, **channels.RULES,
                               **products.RULES, **resizes.RULES, **rows.RULES}


def refusal(graph: Graph, node: Node) -> str | None:
    """Why the chip cannot compute a node; None where it can. The graph must have passed the verifier."""
    rule = RULES.get(type(node.op))
    if rule is None:
        return "the chip has no operation for it"
    tensors = [graph.tensors[name] for name in [*node.inputs, *node.outputs] if name]
    for tensor in tensors:
        if tensor.data is None and np.dtype(tensor.dtype) != np.int8:
            return f"{tensor.name!r} is {np.dtype(tensor.dtype)}"
        if tensor.data is None and not isinstance(node.op, Reshape):  # a Reshape has no layer
            try:
                image_shape(tuple(tensor.shape), node.label)
            except GraphError:
                return f"shape {tuple(map(int, tensor.shape))} is not one image"
    return rule.refuse(graph, node, node.op)
