"""Sums, softmax and normalizations of batches of matrices work on one image: the chip's operators take one each."""

from dataclasses import replace
from math import prod

import numpy as np

from .. import Add, Graph, LayerNorm, Mul, Node, Reshape, Softmax, Sub, Tensor
from .rewrite import unique, with_nodes


def one_image(graph: Graph) -> Graph:
    """Every such operator of int8 tensors of one shape (.., rows, channels) with several images sees the matrices of
    all images as those of one; constants are repeated where they have fewer."""
    tensors = dict(graph.tensors)
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += _as_one_image(node, tensors) if _suits(node, tensors) else [node]
    return with_nodes(graph, nodes, tensors)


def _suits(node: Node, tensors: dict[str, Tensor]) -> bool:
    output = tensors[node.outputs[0]]
    shape = tuple(output.shape)
    if len(shape) < 4 or prod(shape[:-3]) == 1 or np.dtype(output.dtype) != np.int8:
        return False
    if isinstance(node.op, Softmax) and node.op.axis % len(shape) != len(shape) - 1:
        return False
    operands = _operands(node)
    if not operands or any(tensors[name].quantization is None for name in operands):
        return False
    return all(_reaches(tensors[name], shape) and np.dtype(tensors[name].dtype) == np.int8 for name in operands)


def _reaches(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor has the shape, or is a constant that can be repeated to it."""
    extents = tuple(tensor.shape)
    return extents == shape or (tensor.data is not None and len(extents) <= len(shape) and all(
        extent in (1, whole) for extent, whole in zip(extents[::-1], shape[::-1], strict=False)))


def _operands(node: Node) -> list[str]:
    """The operands with the shape of the result."""
    if isinstance(node.op, Add | Sub | Mul):
        return list(node.inputs)
    return node.inputs[:1] if isinstance(node.op, Softmax | LayerNorm) else []


def _as_one_image(node: Node, tensors: dict[str, Tensor]) -> list[Node]:
    output = tensors[node.outputs[0]]
    shape = (prod(output.shape[:-2]), *map(int, output.shape[-2:]))

    def seen(like: Tensor) -> str:
        name = unique(f"{like.name}.image", tensors)
        data = None if like.data is None else np.broadcast_to(like.data, output.shape).reshape(shape)
        tensors[name] = replace(like, name=name, shape=shape, data=data)
        return name

    before: list[Node] = []
    inputs = list(node.inputs)
    names: dict[str, str] = {}
    for place, name in enumerate(_operands(node)):
        if name not in names:
            names[name] = seen(tensors[name])
            if tensors[name].data is None:
                before.append(Node(Reshape(shape), [name], [names[name]], node.name))
        inputs[place] = names[name]
    op = replace(node.op, axis=-1) if isinstance(node.op, Softmax) else node.op
    made = seen(output)
    return [*before, replace(node, op=op, inputs=inputs, outputs=[made]),
            Node(Reshape(tuple(map(int, output.shape))), [made], [output.name], node.name)]
