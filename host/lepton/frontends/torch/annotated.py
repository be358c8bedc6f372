"""Predicates of the quantizer on a module's nodes: what a node computes, and whether the result is int8 in any case."""

import operator

import torch
from torch.fx import GraphModule, Node

from .functional import states_of
from .masks import SOFTMAX
from .nodes import Arguments, results_of
from .operators import MATRIX_PRODUCTS, Kind, kind

aten = torch.ops.aten

_ROW_FUNCTIONS = (*SOFTMAX, aten.layer_norm.default, aten.rms_norm.default)
_SCALINGS = (aten.mul.Tensor, aten.div.Tensor, aten.mul.Scalar, aten.div.Scalar)


def float_states(model: GraphModule) -> list[tuple[Node, Node]]:
    """The input and the output of each float state that the module computes; one that keeps an input stays float."""
    count = len(states_of(model))
    if not count:
        return []
    nodes = list(model.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"][-count:]
    outputs = results_of(nodes[-1])[-count:]
    return [(a, b) for a, b in zip(inputs, outputs, strict=True) if isinstance(b, Node) and
            b.op != "placeholder" and is_float(a)]


def annotated(node: Node) -> bool:
    return "quantization_annotation" in node.meta and node.meta["quantization_annotation"]._annotated


def is_float(node: Node) -> bool:
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(v, torch.Tensor) and v.dtype == torch.float32 for v in value)
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def is_int8(node: Node) -> bool:
    """Whether the value is int8 without further annotation: inputs of the module can be; results are if their operator
    is annotated."""
    if node.op == "placeholder":
        return True
    if kind(node) is Kind.SPLIT or node.target is operator.getitem:
        return is_int8(Arguments(node).operand())
    return node.op == "call_function" and annotated(node)


def is_mean(node: Node) -> bool:
    """Whether the node is a mean of images over their pixels, or of int8 values over rows, columns or tokens."""
    if kind(node) is not Kind.MEAN:
        return False
    arguments = Arguments(node)
    if arguments.has("output_size"):
        return True
    rank = arguments.tensor_of(arguments.operand()).ndim
    axes = sorted(axis % rank for axis in arguments.integers("dim"))
    parts = {3: ([1],), 4: ([2], [3])}.get(rank, ())
    return (rank == 4 and axes == [2, 3]) or (axes in parts and is_int8(arguments.operand()))


def _is_constant(node: Node) -> bool:
    """Whether the value is made of the module's parameters and buffers alone."""
    return node.op == "get_attr" or (node.op == "call_function" and bool(node.all_input_nodes)
                                     and all(map(_is_constant, node.all_input_nodes)))


def is_product(node: Node) -> bool:
    """Whether the node multiplies int8 tensors, as gates do; one may be constant, with several elements."""
    factors = [factor for factor in node.args[:2] if isinstance(factor, Node) and is_float(factor)]
    if node.target is not aten.mul.Tensor or len(factors) < 2:
        return False
    known = [factor.op == "get_attr" and factor.meta["val"].numel() > 1 for factor in factors]
    return not all(known) and all(constant or (not _is_constant(factor) and is_int8(factor))
                                  for factor, constant in zip(factors, known, strict=True))


def multiplies_matrices(node: Node) -> bool:
    """Whether the node multiplies two computed int8 tensors, as attention does."""
    return node.target in MATRIX_PRODUCTS and all(
        isinstance(a, Node) and not _is_constant(a) and is_int8(a) for a in node.args[:2])


def moves(node: Node) -> bool:
    return kind(node) in (Kind.MOVE, Kind.SPLIT) or node.target is operator.getitem


def reduces_rows(node: Node) -> bool:
    """Whether the node is a softmax or a normalization of an int8 tensor along its last axis."""
    source = node.args[0] if node.args else None
    if node.target not in _ROW_FUNCTIONS or not isinstance(source, Node) or not is_int8(source):
        return False
    if node.target in SOFTMAX and _is_result(node):
        return False  # probabilities that the caller reads stay float32
    rank = source.meta["val"].ndim
    along = node.args[1]
    return len(along) == 1 if isinstance(along, list | tuple) else int(str(along)) % rank == rank - 1


def _is_result(node: Node) -> bool:
    """Whether only the caller reads a value, moved or not."""
    return all(user.op == "output" or (moves(user) and _is_result(user)) for user in node.users)


def scales_by_a_number(node: Node) -> bool:
    """Whether the node multiplies or divides its first operand by a number."""
    return node.target in _SCALINGS and len(node.args) == 2 and isinstance(node.args[1], int | float)


def quantizes_constants(node: Node) -> bool:
    """Whether constants of several elements are int8 operands; a scale for each channel is a layer's weights."""
    return kind(node) is Kind.SUM or (is_product(node) and not scales_channels(node))


def scales_channels(node: Node) -> bool:
    """Whether the node multiplies int8 values by a constant for each channel, or divides them by one."""
    if kind(node) is not Kind.PRODUCT or not all(isinstance(argument, Node) for argument in node.args[:2]):
        return False
    arguments = Arguments(node)
    factor = arguments.operand(1)
    values = arguments.value_of(factor)
    if not isinstance(values, torch.Tensor):  # a number that the module computes
        return False
    extents = values.shape
    rank = arguments.result.ndim
    along = [axis + rank - len(extents) for axis, extent in enumerate(extents) if extent > 1]
    channels = ([1], [2]) if rank == 3 else ([1],)
    return _is_constant(factor) and is_int8(arguments.operand(0)) and rank in (2, 3, 4) and along in channels


def only_user(node: Node, wanted: Kind, chain: list[Node]) -> Node:
    """The one user of `node` if it is of the kind, which then joins the chain; else `node`."""
    users = list(node.users)
    if len(users) == 1 and kind(users[0]) is wanted and users[0].args[0] is node:
        chain.append(users[0])
        return users[0]
    return node
