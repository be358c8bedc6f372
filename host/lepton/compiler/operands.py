"""The image of each operand of an operator, and the origin of its bytes.

A tensor on the chip is a row of pixels, blocked by channels (`layouts.Blocked`).
The memory does not determine how pixels are split into rows and columns; each operator has its own view. So a
Reshape that keeps the channels costs nothing, and both its sides may be read at once. A Reshape that changes the
channels costs nothing either where the host changes the tensor's layout anyway (`Operand.tensor` is then the host's
array); between two layers on the chip the tensor is written to memory pixel by pixel without padding and read again
(`packed`).
"""

from dataclasses import replace
from math import prod

import numpy as np

from ..arch.commands import Tensor as TensorCommand
from ..graph import Graph, Node, Transpose
from .images import Alias, ImageShape, Operand, image_of, repeated_image
from .lowering.rules import RULES

_SAME = bytes(range(256))  # the byte map that changes nothing
LONGEST_WINDOW = TensorCommand.find("kernel_x").maximum  # rows or columns of a kernel


def renames(node: Node) -> bool:
    """True for an operator that keeps every byte, so that only shape or quantization change."""
    return node.op.byte_map() == _SAME


def recodes(graph: Graph, node: Node) -> bool:
    """True for an operator between int8 and uint8: other bytes for the same real numbers."""
    types = {np.dtype(graph.tensors[name].dtype) for name in (node.inputs[0], node.outputs[0])}
    return node.op.byte_map() is not None and len(types) > 1


def keeps_values(graph: Graph, node: Node) -> bool:
    """True for an operator whose result is the operand's bytes, or those moved by 128."""
    return renames(node) or recodes(graph, node)


def maps_values(graph: Graph, node: Node) -> bool:
    """True for an operator that gives every byte another value: a look-up in a table."""
    return node.op.byte_map() is not None and not keeps_values(graph, node)


class Operands:
    """The operands of a graph's nodes. `on_host` has the ids of the nodes that the host computes."""

    def __init__(self, graph: Graph, on_host: set[int], lanes: int):
        self.graph = graph
        self.on_host = on_host
        self.lanes = lanes
        self.producers = {node.outputs[0]: node for node in graph.nodes}
        self._read_by_host = self._host_reads()
        self.outside = self._outside()

    def _host_reads(self) -> set[str]:
        """What host operators and the caller read, and what those tensors are other shapes of."""
        found = set(self.graph.outputs)
        for node in reversed(self.graph.nodes):
            if node.outputs[0] in found if keeps_values(self.graph, node) else id(node) in self.on_host:
                found.update(filter(None, node.inputs))
        return found

    def _outside(self) -> set[str]:
        """Tensors that are the host's before any job reads them."""
        found = set(self.graph.inputs)
        for node in self.graph.nodes:
            output = node.outputs[0]
            computed = id(node) in self.on_host and not renames(node)
            looked_up = maps_values(self.graph, node) and output not in self._read_by_host
            if computed or (node.inputs[0] in found and (renames(node) or looked_up)):
                found.add(output)
        return found

    def is_read_by_host(self, name: str) -> bool:
        """Whether a host operator or the caller reads a tensor, or another shape of it."""
        return name in self._read_by_host

    def at_the_edge(self, node: Node) -> bool:
        """Whether the host looks the values of `node` up while it changes the tensor's layout."""
        return maps_values(self.graph, node) and node.outputs[0] in self.outside and id(node) not in self.on_host

    def operand(self, node: Node, index: int) -> Operand:
        """Operand `index` of a node that the chip computes."""
        rule = RULES[type(node.op)]
        name = node.inputs[index]
        if self.graph.tensors[name].data is not None:
            return Operand(name, repeated_image(self.graph, node, index), name, constant=True)
        image = rule.read_image(self.graph, node, node.op, index)
        units = rule.units(self.graph, node)
        if name in self.outside:
            return self._from_host(name, (1, 1, prod(image)) if units else image)
        if units:
            return self._flat(name, units)
        return self._from_chip(name, image)

    def _from_host(self, name: str, image: ImageShape) -> Operand:
        """The first tensor of the chain of byte maps that makes `name`, and the table that they come to."""
        values = name
        table: bytes | None = None
        while (producer := self.producers.get(name)) is not None and producer.inputs[0] in self.outside:
            step = None
            if recodes(self.graph, producer) or self.at_the_edge(producer):
                step = producer.op.byte_map()
            elif not renames(producer):
                break
            name = producer.inputs[0]
            if step is not None:
                table = step if table is None else bytes(table[byte] for byte in step)
            elif table is None:
                values = name
        return Operand(name, image, values, table)

    def _root(self, name: str) -> str:
        """The tensor that `name` is another shape of."""
        while renames(producer := self.producers[name]):
            name = producer.inputs[0]
        return name

    def _from_chip(self, name: str, image: ImageShape) -> Operand:
        root = self._root(name)
        return Operand(root, image, root, packed=image_of(self.graph, root)[2] != image[2])

    def _flat(self, name: str, units: int) -> Operand:
        """What an operator with `units` outputs over a whole tensor reads: the image, or its packed elements.

        A pixel takes as many passes as it has blocks, for each block of outputs. Packing costs about a pass for each
        pixel and block, and saves the unused lanes of a pixel's last block.
        """
        root = self._root(name)
        image = height, width, channels = image_of(self.graph, root)
        size = height * width * channels
        output_blocks = -(-units // self.lanes)
        passes = height * width * -(-channels // self.lanes)
        packed_passes = -(-size // self.lanes)
        if max(height, width) <= LONGEST_WINDOW and passes * output_blocks <= packed_passes * output_blocks + passes:
            return Operand(root, image, root)
        return Operand(root, (1, 1, size), root, packed=True)

    def alias(self, name: str) -> Alias | None:
        """How the host gets a tensor that is one of the chip's in another shape or number format; None for others."""
        found = Alias(name, name)
        while True:
            producer = self.producers.get(found.tensor)
            if producer is None:
                return None
            if recodes(self.graph, producer):
                # The second change of format undoes the first.
                found = replace(found, table=producer.op.byte_map() if found.table is None else None)
            elif found.tensor in self.outside:
                return None
            elif not renames(producer):
                return None if id(producer) in self.on_host else found
            found = replace(found, tensor=producer.inputs[0])


def transposes_at_edges(graph: Graph, on_host: set[int]) -> dict[int, str]:
    """The ids of Transposes that the host takes, and why: it has the operand, or it reads the result and changes its
    layout anyway."""
    found: dict[int, str] = {}
    while True:
        operands = Operands(graph, on_host | set(found), 1)
        more = {}
        for node in graph.nodes:
            if isinstance(node.op, Transpose) and id(node) not in on_host | set(found):
                if node.inputs[0] in operands.outside:
                    more[id(node)] = "the host has its operand"
                elif operands.is_read_by_host(node.outputs[0]):
                    more[id(node)] = "the host reads its result"
        if not more:
            return found
        found |= more


def between_host_operators(graph: Graph, on_host: set[int]) -> list[Node]:
    """Tables whose operand the host has computed and whose result it reads: the chip would take a job for each."""
    found: list[Node] = []
    while True:
        taken = on_host | {id(node) for node in found}
        operands = Operands(graph, taken, 1)
        made = {n.outputs[0] for n in graph.nodes if id(n) in taken and not keeps_values(graph, n)}
        for node in graph.nodes:
            if keeps_values(graph, node) and node.inputs[0] in made:
                made.add(node.outputs[0])
        more = [n for n in graph.nodes if maps_values(graph, n) and id(n) not in taken
                and n.inputs[0] in made and operands.is_read_by_host(n.outputs[0])]
        if not more:
            return found
        found += more
