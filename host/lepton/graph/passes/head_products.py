"""Products of two computed int8 tensors read their operands without the moves (reshapes, transposes) before them.

Attention splits channels into heads, transposes, multiplies, and concatenates the heads' channels. Where a head's
elements are a range of channels of consecutive pixels of a tensor, the product reads them there (`HeadProduct`). Where
pixels and channels are exchanged, one transpose of the tensor stays.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np

from .. import HeadProduct, MatMul, Node, Op, Reshape, Slice, Tensor, Transpose
from ..core import Graph
from ..operands import Pair
from .collapse_moves import LARGEST, places_of
from .rewrite import Match, match, readers, unique, with_nodes

Origins = tuple[Pair, ...]  # (pixel, channel) of the first element of each head


def head_products(graph: Graph) -> Graph:
    """Replaces every `MatMul` of two computed int8 tensors; moves that nothing else reads become unused."""
    if not any(_suitable(graph, node) for node in graph.nodes):
        return graph
    return _HeadProducts(graph).run()


def _suitable(graph: Graph, node: Node) -> Match[MatMul] | None:
    """The node if it is a product of two computed int8 tensors whose elements `collapse_moves` follows."""
    product = match(node, MatMul)
    operands = [graph.tensors[name] for name in node.inputs if name]
    fits = len(operands) == 2 and all(
        t.data is None and np.dtype(t.dtype) == np.int8 and prod(t.shape) <= LARGEST for t in operands)
    return product if fits else None


class _HeadProducts:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.tensors = dict(graph.tensors)
        self.producers = {node.outputs[0]: node for node in graph.nodes}
        self.readers = readers(graph)
        self.nodes: list[Node] = []
        self.transposed: dict[tuple[str, int, Pair], str] = {}  # (root, pixels of a part, channels) -> its transpose

    def run(self) -> Graph:
        # What a product writes in place of the last of the moves behind it is there where the product was.
        replaced: set[str] = set()
        for node in self.graph.nodes:
            if node.outputs[0] in replaced:
                continue
            found = _suitable(self.graph, node)
            made = None if found is None else self.product(found.node, found.op)
            if made is None:
                self.nodes.append(node)
            else:
                replaced.update(made)
        return with_nodes(self.graph, self.nodes, self.tensors)

    def product(self, node: Node, op: MatMul) -> list[str] | None:
        """The tensors that a product now makes in place of nodes behind it; None where it stays as it is."""
        a, b, result = (self.graph.tensors[name] for name in (*node.inputs, node.outputs[0]))
        rows, columns = map(int, result.shape[-2:])
        depth = int(a.shape[-1])
        batch = tuple(map(int, result.shape[:-2]))
        left = self.operand(a, np.broadcast_to(_numbers(a), (*batch, rows, depth)).reshape(-1, rows, depth))
        right = self.operand(b, np.broadcast_to(_numbers(b), (*batch, depth, columns)).reshape(
            -1, depth, columns).transpose(0, 2, 1))
        if left is None or right is None:
            return None
        target, origins, replaced = self.target(result, rows, columns)
        shape = tuple(map(int, target.shape))
        name = target.name
        if len(shape) != 3 and not (len(shape) == 4 and shape[0] == 1):
            shape = (prod(shape[:-2]), *shape[-2:])  # one image
            name = self.new(f"{name}.heads", shape, target)
        made = HeadProduct(rows, columns, depth, left[1], right[1], origins, shape, op.clamp)
        self.nodes.append(Node(made, [left[0], right[0]], [name], node.name))
        if name != target.name:
            self.nodes.append(Node(Reshape(tuple(map(int, target.shape))), [name], [target.name], node.name))
        return replaced

    # operands

    def operand(self, tensor: Tensor, places: np.ndarray) -> tuple[str, Origins] | None:
        """The tensor that has the operand's elements, and where in it those of each head begin.

        places: (heads, vectors, length), of each element among those of `tensor`; the vectors are multiplied.
        """
        found: tuple[str, Origins] | None = None
        crossed: tuple[Tensor, Origins] | None = None
        for root, moved in self.roots(tensor, places):
            origins = _origins(moved, int(root.shape[-1]))
            if origins is not None:
                found = root.name, origins
            origins = _origins(moved.transpose(0, 2, 1), int(root.shape[-1]))
            if origins is not None and all(pixel % places.shape[2] == 0 for pixel, _ in origins):
                crossed = root, origins
        if found is not None:
            shape = tuple(map(int, self.tensors[found[0]].shape))
            if len(shape) > 3 and (len(shape) > 4 or shape[0] != 1):  # not one image
                shape = (prod(shape[:-2]), *shape[-2:])
            return self.reshaped(found[0], shape, self.tensors[found[0]]), found[1]
        return None if crossed is None else self.exchanged(*crossed, places.shape[2], places.shape[1])

    def roots(self, tensor: Tensor, places: np.ndarray) -> Iterator[tuple[Tensor, np.ndarray]]:
        """The tensor and those that it is moved from, with the places of the elements in each."""
        while True:
            if len(tensor.shape) > 1:
                yield tensor, places
            producer = self.producers.get(tensor.name)
            before = None if producer is None else places_of(self.graph, producer)
            if producer is None or before is None or np.dtype(self.graph.tensors[producer.inputs[0]].dtype) != np.int8:
                return
            tensor = self.graph.tensors[producer.inputs[0]]
            places = before[places]

    def exchanged(self, root: Tensor, origins: Origins, pixels: int, channels: int) -> tuple[str, Origins] | None:
        """The transpose of a tensor, image by image of `pixels` pixels, and where the heads are in it."""
        count = prod(root.shape[:-1])
        if count % pixels:
            return None
        low = min(channel for _, channel in origins)
        high = max(channel for _, channel in origins) + channels
        key = root.name, pixels, (low, high)
        if key not in self.transposed:
            images = count // pixels
            name = self.reshaped(root.name, (images, pixels, int(root.shape[-1])), root)
            if high - low < root.shape[-1]:
                name = self.moved(Slice((0, 0, low), (images, pixels, high), (1, 1, 1)), name,
                                  (images, pixels, high - low), root)
            self.transposed[key] = self.moved(Transpose((0, 2, 1)), name, (images, high - low, pixels), root)
        return self.transposed[key], tuple((pixel // pixels * (high - low) + channel - low, 0)
                                           for pixel, channel in origins)

    def reshaped(self, name: str, shape: tuple[int, ...], like: Tensor) -> str:
        same = tuple(map(int, self.tensors[name].shape)) == shape
        return name if same else self.moved(Reshape(shape), name, shape, like)

    def moved(self, op: Op, name: str, shape: tuple[int, ...], like: Tensor) -> str:
        made = self.new(f"{name}.moved", shape, like)
        self.nodes.append(Node(op, [name], [made], made))
        return made

    def new(self, name: str, shape: tuple[int, ...], like: Tensor) -> str:
        name = unique(name, self.tensors)
        self.tensors[name] = replace(like, name=name, shape=shape, data=None)
        return name

    # the result

    def target(self, result: Tensor, rows: int, columns: int) -> tuple[Tensor, Origins, list[str]]:
        """The last of the moves behind a product that its heads can be written to, where in it, and the tensors up to
        there that are made no more."""
        places = np.arange(prod(result.shape))  # of the result's elements, in the order of the tensor's
        best = result, _in_order(result, rows), [result.name]
        passed = [result.name]
        tensor = result
        while True:
            users = self.readers.get(tensor.name, [])
            if len(users) != 1 or tensor.name in self.graph.outputs:
                return best
            moved = places_of(self.graph, users[0]) if users[0].op.reorders else None
            if moved is None:
                return best
            places = places[moved]
            tensor = self.graph.tensors[users[0].outputs[0]]
            passed = [*passed, tensor.name]
            inverse = np.empty(len(places), np.int64)
            inverse[places] = np.arange(len(places))
            origins = _origins(inverse.reshape(-1, rows, columns), int(tensor.shape[-1])) if tensor.shape else None
            if origins is not None and len(tensor.shape) > 1:
                best = tensor, origins, passed


def _numbers(tensor: Tensor) -> np.ndarray:
    return np.arange(prod(tensor.shape)).reshape(tensor.shape)


def _in_order(result: Tensor, rows: int) -> Origins:
    return tuple((head * rows, 0) for head in range(prod(result.shape[:-2])))


def _origins(places: np.ndarray, channels: int) -> Origins | None:
    """Where the heads of (heads, vectors, length) begin if each vector is of neighbouring channels of a pixel, and
    vectors are of neighbouring pixels; None where they are not."""
    first = places[:, 0, 0]
    _, vectors, length = places.shape
    expected = first[:, None, None] + np.arange(vectors)[:, None] * channels + np.arange(length)
    if (first % channels + length > channels).any() or not np.array_equal(places, expected):
        return None
    return tuple((int(place) // channels, int(place) % channels) for place in first)
