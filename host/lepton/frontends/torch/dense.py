"""Dense layers that are written as products of matrices, as Keras writes them, become linear layers."""

import torch
from torch.fx import GraphModule, Node

_PRODUCTS = (torch.ops.aten.matmul.default, torch.ops.aten.mm.default)


def with_linear_layers(module: GraphModule) -> GraphModule:
    """Every product of a value and a weight matrix, with the bias that is added to it, becomes one linear layer.

    The module changes in place. The sums are the same, in the order of a linear layer.
    """
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.target in _PRODUCTS:
            weight = constant(module, node.args[1], 2)
            if weight is not None and isinstance(node.args[0], Node):
                _replace(module, node, weight)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _replace(module: GraphModule, product: Node, weight: torch.Tensor) -> None:
    name = f"{product.name}_weight"
    module.register_buffer(name, weight.detach().t().contiguous())
    last = product
    bias: Node | None = None
    users = list(product.users)
    if len(users) == 1 and users[0].target is torch.ops.aten.add.Tensor and users[0].kwargs.get("alpha", 1) == 1:
        others = [argument for argument in users[0].args if argument is not product]
        added = constant(module, others[0], 1) if len(others) == 1 else None
        if added is not None and isinstance(others[0], Node) and len(added) == weight.shape[1]:
            last = users[0]
            bias = others[0]
    with module.graph.inserting_before(last):
        transposed = module.graph.get_attr(name)
        operands = (product.args[0], transposed) if bias is None else (product.args[0], transposed, bias)
        made = module.graph.call_function(torch.ops.aten.linear.default, operands)
    made.meta = dict(last.meta)
    last.replace_all_uses_with(made)


def constant(module: GraphModule, node: object, dimensions: int | None = None) -> torch.Tensor | None:
    """The float tensor of a node that is a parameter or buffer, with this number of dimensions if one is given; None
    for others."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value: object = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return None
    return value if dimensions in (None, value.dim()) else None
