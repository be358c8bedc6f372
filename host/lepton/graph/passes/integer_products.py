"""Products of two computed tensors in float32 between Dequantizes and a Quantize become products of int8."""

from dataclasses import replace

import numpy as np

from .. import Arithmetic, Dequantize, Div, Graph, GraphError, MatMul, Mul, Node, Quantization, Quantize, Table, Tensor
from ..ops.move import Move
from .rewrite import Chains, Match, match, unique, with_nodes

_SAME = bytes(value & 255 for value in range(-128, 128))  # the Table that changes no byte


def integer_products(graph: Graph) -> Graph:
    """Every Quantize of a MatMul of two dequantized tensors, each perhaps moved, and perhaps multiplied or divided by a
    number, becomes a MatMul of int8. The number becomes a part of the result's scale.

    Only with PyTorch's arithmetic. PyTorch rounds a float32 sum, this operator the exact integer sum, so results differ
    by 1 where the two sums are on different sides of a half.
    """
    if graph.arithmetic is not Arithmetic.TORCH:
        return graph
    return _IntegerProducts(graph).run()


class _IntegerProducts:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.tensors = dict(graph.tensors)
        self.chains = Chains(graph)

    def run(self) -> Graph:
        nodes: list[Node] = []
        for node in self.graph.nodes:
            last = match(node, Quantize)
            nodes += (None if last is None else self._product(last)) or [node]
        return with_nodes(self.graph, nodes, self.tensors)

    def _product(self, last: Match[Quantize]) -> list[Node] | None:
        """What replaces a Quantize; None where it is not of such a product."""
        factor = 1.0
        name = last.source
        while (scaled := self.chains.made_for_one(name, Div, Mul)) is not None:
            number = self._number(scaled.node)
            if number is None:
                return None
            factor = factor * number if match(scaled.node, Mul) else factor / number
            name = scaled.source
        product_of = self.chains.made_for_one(name, MatMul)
        output = self.tensors[last.node.outputs[0]]
        if product_of is None or output.quantization is None or not factor > 0:
            return None
        node = product_of.node
        made: list[Node] = []
        operands = [self._integers(name, made) for name in node.inputs]
        if not all(operands):
            return None
        product = output.name
        if factor != 1:
            scale = (output.quantization.scale / np.float32(factor)).astype(np.float32)
            product = self._new(output, output.name, Quantization(scale, output.quantization.zero_point))
        multiplied = Node(MatMul(), [name for name in operands if name], [product], node.name or last.node.name)
        try:
            check = replace(self.graph, tensors=self.tensors)
            multiplied.op.infer(check.operands(multiplied))
            multiplied.op.check(check.signature(multiplied))
        except GraphError:
            return None
        made.append(multiplied)
        return made if factor == 1 else [*made, Node(Table(_SAME), [product], list(last.node.outputs), last.node.name)]

    def _number(self, node: Node) -> float | None:
        """The constant number that a value is multiplied or divided by."""
        constant = self.tensors[node.inputs[1]].data
        return float(constant.reshape(-1)[0]) if constant is not None and constant.size == 1 else None

    def _integers(self, name: str, made: list[Node]) -> str:
        """The int8 tensor whose dequantized values a float operand has; its moves are appended to `made`."""
        name, moves = self.chains.before(name, Move)  # type: ignore[type-abstract]  # python/mypy#4717: only tested
        first = self.chains.made(name, Dequantize)
        if first is None:
            return ""
        source = first.source
        quantization = self.tensors[source].quantization
        if np.dtype(self.tensors[source].dtype) != np.int8 or self.tensors[source].data is not None:
            return ""
        for move in moves:
            moved = self._new(self.tensors[move.outputs[0]], move.outputs[0], quantization)
            made.append(Node(move.op, [source, *move.inputs[1:]], [moved], move.name))
            source = moved
        return source

    def _new(self, like: Tensor, name: str, quantization: Quantization | None) -> str:
        """A tensor of int8 with the shape of another."""
        name = unique(f"{name}.int8", self.tensors)
        self.tensors[name] = Tensor(name, tuple(like.shape), np.dtype(np.int8), quantization)
        return name
