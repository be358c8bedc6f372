"""Which image an operator sees in an operand and which it writes, and where the operand's bytes come from.

This is the only place that says so. A tensor on the chip is a row of pixels, blocked by channels (`layouts.Blocked`).
How the pixels are split into rows and columns is no property of the memory, each operator has its own view of it. So a
Reshape that keeps the channels costs nothing, and both its sides may be read at once. A Reshape that changes the
channels costs nothing either where the host lays the tensor out anyway (`Operand.tensor` is then the host's array);
between two layers on the chip the tensor is written to memory pixel by pixel without padding and read again (`packed`).
"""

from dataclasses import dataclass, replace

import numpy as np

from ..arch.commands import Tensor as TensorCommand
from ..graph import FullyConnected, Graph, GraphError, Node, Recenter, Reshape, Table
from .images import image_shape

ImageShape = tuple[int, int, int]  # (height, width, channels)
_SAME = np.arange(-128, 128).astype(np.int8).tobytes()  # values of a Table that changes nothing
_FLIP = bytes(range(128, 256)) + bytes(range(128))  # int8 to uint8 and back, as a table indexed by the unsigned byte
LONGEST_WINDOW = TensorCommand.find("kernel_x").maximum  # rows or columns of a kernel


@dataclass(frozen=True)
class Operand:
    """A tensor as an operator sees it.

    tensor: whose bytes are read: computed by the chip, or the host's. image: (height, width, channels) that the
    operator sees in them. values: the tensor of the graph whose values these are; it differs from `tensor` only where
    the host sends each byte through `table` (indexed by the unsigned byte) while it lays the tensor out. packed: the
    chip computes `tensor` with another number of channels.
    """

    tensor: str
    image: ImageShape
    values: str
    table: bytes | None = None
    packed: bool = False


@dataclass(frozen=True)
class Alias:
    """A tensor that the host reads, `tensor` of the chip with another shape, each byte through `table`."""

    name: str
    tensor: str
    table: bytes | None = None


def image_of(graph: Graph, name: str) -> ImageShape:
    """(height, width, channels) of a tensor of its own shape. Raises `GraphError` where it is not one image."""
    return image_shape(tuple(map(int, graph.tensors[name].shape)), f"tensor {name!r}")


def takes_rows(graph: Graph, node: Node) -> bool:
    """Does a fully connected layer take the last axis of its input, row by row, rather than all of it at once?"""
    return int(np.prod(graph.tensors[node.inputs[0]].shape)) != graph.tensors[node.inputs[1]].shape[1]


def written_image(graph: Graph, node: Node) -> ImageShape:
    """The image that an operator writes."""
    image = image_of(graph, node.outputs[0])
    if isinstance(node.op, FullyConnected) and image[2] != graph.tensors[node.inputs[1]].shape[0]:
        raise GraphError(f"{node.label}: the last axis of {tuple(graph.tensors[node.outputs[0]].shape)} is not that "
                         "of the units")
    return image


def seen_image(graph: Graph, node: Node, index: int = 0) -> ImageShape:
    """The image that an operator sees in operand `index`."""
    image = image_of(graph, node.inputs[index])
    if isinstance(node.op, FullyConnected) and takes_rows(graph, node):
        return (*written_image(graph, node)[:2], image[2])  # rows are independent: those of the output
    return image


def renames(node: Node) -> bool:
    """Does an operator leave every byte as it is, so that only shape or quantization change?"""
    return isinstance(node.op, Reshape) or (isinstance(node.op, Table) and node.op.values == _SAME)


class Operands:
    """The operands of a graph's nodes. `on_host` has the ids of the nodes that the host computes."""

    def __init__(self, graph: Graph, on_host: set[int], lanes: int):
        self.graph, self.on_host, self.lanes = graph, on_host, lanes
        self.producers = {node.outputs[0]: node for node in graph.nodes}
        self._read_by_host = self._host_reads()
        self.outside = self._outside()

    def _host_reads(self) -> set[str]:
        """What host operators and the caller read, and what those tensors are other shapes of."""
        found = set(self.graph.outputs)
        for node in reversed(self.graph.nodes):
            if node.outputs[0] in found if _moves_bytes(node) else id(node) in self.on_host:
                found.update(filter(None, node.inputs))
        return found

    def _outside(self) -> set[str]:
        """Tensors that are the host's before any job reads them."""
        found = set(self.graph.inputs)
        for node in self.graph.nodes:
            output = node.outputs[0]
            if renames(node) or (isinstance(node.op, Table) and output not in self._read_by_host):
                if node.inputs[0] in found:
                    found.add(output)
            elif id(node) in self.on_host:
                found.add(output)
        return found

    def is_read_by_host(self, name: str) -> bool:
        """Does a host operator or the caller read a tensor, or another shape of it?"""
        return name in self._read_by_host

    def at_the_edge(self, node: Node) -> bool:
        """Is it a Table that the host applies while it lays the tensor out?"""
        return (isinstance(node.op, Table) and node.outputs[0] in self.outside and not renames(node)
                and id(node) not in self.on_host)

    def operand(self, node: Node, index: int) -> Operand:
        """Operand `index` of a node that the chip computes."""
        name, image = node.inputs[index], seen_image(self.graph, node, index)
        whole = isinstance(node.op, FullyConnected) and not takes_rows(self.graph, node)
        if name in self.outside:
            return self._from_host(name, (1, 1, int(np.prod(image))) if whole else image)
        if whole:
            return self._flat(name, node)
        return self._from_chip(name, image)

    def _from_host(self, name: str, image: ImageShape) -> Operand:
        """The first tensor of the chain of Reshapes, Recenters and Tables that makes `name`, and what they do."""
        values, table = name, None
        while (producer := self.producers.get(name)) is not None and producer.inputs[0] in self.outside:
            step = None
            if isinstance(producer.op, Recenter):
                step = _FLIP
            elif isinstance(producer.op, Table) and self.at_the_edge(producer):
                step = np.roll(np.frombuffer(producer.op.values, np.uint8), 128).tobytes()
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

    def _flat(self, name: str, node: Node) -> Operand:
        """What a fully connected layer over all of a tensor reads: the image as it is, or without its unused lanes.

        A pixel takes as many passes as it has blocks. Packing costs about a pass for each pixel and block.
        """
        root = self._root(name)
        image = height, width, channels = image_of(self.graph, root)
        size = height * width * channels
        units = -(-graph_units(self.graph, node) // self.lanes)
        as_it_is = height * width * -(-channels // self.lanes)
        packed = -(-size // self.lanes)
        if max(height, width) <= LONGEST_WINDOW and as_it_is * units <= packed * units + as_it_is:
            return Operand(root, image, root)
        return Operand(root, (1, 1, size), root, packed=True)

    def alias(self, name: str) -> Alias | None:
        """How the host gets a tensor that is one of the chip's in another shape or number format; None for others."""
        found = Alias(name, name)
        while True:
            producer = self.producers.get(found.tensor)
            if producer is None or (found.tensor in self.outside and not isinstance(producer.op, Recenter)):
                return None
            if isinstance(producer.op, Recenter):
                found = replace(found, table=_FLIP if found.table is None else None)
            elif not renames(producer):
                return None if id(producer) in self.on_host else found
            found = replace(found, tensor=producer.inputs[0])


def _moves_bytes(node: Node) -> bool:
    """Is the result the operand's bytes, or those moved by 128?"""
    return renames(node) or isinstance(node.op, Recenter)


def between_host_operators(graph: Graph, on_host: set[int]) -> list[Node]:
    """Tables for the chip whose operand the host has computed and whose result it reads: a job for nothing else."""
    found: list[Node] = []
    while True:
        taken = on_host | {id(node) for node in found}
        operands = Operands(graph, taken, 1)
        made = {n.outputs[0] for n in graph.nodes if id(n) in taken and not _moves_bytes(n)}
        for node in graph.nodes:
            if _moves_bytes(node) and node.inputs[0] in made:
                made.add(node.outputs[0])
        more = [n for n in graph.nodes if isinstance(n.op, Table) and not renames(n) and id(n) not in taken
                and n.inputs[0] in made and operands.is_read_by_host(n.outputs[0])]
        if not more:
            return found
        found += more


def graph_units(graph: Graph, node: Node) -> int:
    """Output channels of a fully connected layer."""
    return graph.tensors[node.inputs[1]].shape[0]
