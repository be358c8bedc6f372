"""Chains of operators that only move elements, such as a channel shuffle, become the one operator they amount to."""

from dataclasses import replace
from math import prod

import numpy as np

from .. import Gather, Graph, Node, Op, Quantization, Reshape, Slice, Tensor
from ..interpret import compute
from .remove_unused import remove_unused
from .rewrite import readers, unique

LARGEST = 1 << 24  # elements; over more, a chain stays as it is: the pass keeps an int64 place for each, 128 MiB


def collapse_moves(graph: Graph) -> Graph:
    """Replaces chains of moves by a reshape, a slice or a gather along one axis, where one of these does the same.

    Operators whose results are not read any more are removed.
    """
    moved: dict[str, tuple[str, np.ndarray]] = {}  # tensor -> where its elements come from: tensor, places
    nodes: list[Node] = []
    tensors = dict(graph.tensors)
    users = readers(graph)
    for node in graph.nodes:
        places = places_of(graph, node)
        if places is None:
            nodes.append(node)
            continue
        root, before = moved.get(node.inputs[0], (node.inputs[0], None))
        places = places if before is None else before[places]
        name = node.outputs[0]
        moved[name] = (root, places)
        ends = name in graph.outputs or any(not _moves(graph, reader) for reader in users.get(name, ()))
        nodes.extend(_as_one(tensors, node, root, places) if ends else [node])
    return remove_unused(replace(graph, nodes=nodes, tensors=tensors))


def _moves(graph: Graph, node: Node) -> bool:
    """True where every element of the output is one of the first input, at a place that constants decide."""
    return node.op.rearranges and all(graph.tensors[name].data is not None for name in node.inputs[1:])


def places_of(graph: Graph, node: Node) -> np.ndarray | None:
    """For each element of the output, in order, its place in the input; None for what does not only move elements."""
    source = graph.tensors[node.inputs[0]]
    output = graph.tensors[node.outputs[0]]
    if not _moves(graph, node) or source.data is not None or prod(source.shape) > LARGEST:
        return None
    numbers = Tensor(source.name, source.shape, np.dtype(np.int64))
    values = [np.arange(prod(source.shape)).reshape(source.shape), *(graph.tensors[n].data for n in node.inputs[1:])]
    operands = [numbers, *(graph.tensors[n] for n in node.inputs[1:])]
    return compute(node.op, graph.arithmetic, operands, values, replace(output, dtype=numbers.dtype)).ravel()


def _as_one(tensors: dict[str, Tensor], node: Node, root: str, places: np.ndarray) -> list[Node]:
    source = tensors[root]
    output = tensors[node.outputs[0]]
    if np.array_equal(places, np.arange(prod(source.shape))):
        return [Node(Reshape(output.shape), [root], [output.name], node.name)]
    found = _one_axis(source.shape, places)
    if found is None:
        return [node]
    axis, picked = found
    shape = (*source.shape[:axis], len(picked), *source.shape[axis + 1:])
    direct = output.name if shape == output.shape else unique(f"{output.name}.m", tensors)
    inputs = [root]
    op = _slice(source.shape, axis, picked)
    if op is None:
        index = unique(f"{output.name}.indices", tensors)
        picked.flags.writeable = False
        tensors[index] = Tensor(index, picked.shape, picked.dtype, None, picked)
        inputs = [root, index]
        op = Gather(axis)
    nodes = [Node(op, inputs, [direct], node.name)]
    if direct != output.name:
        q: Quantization | None = output.quantization
        tensors[direct] = Tensor(direct, shape, output.dtype, q)
        nodes.append(Node(Reshape(output.shape), [direct], [output.name], node.name))
    return nodes


def _one_axis(shape: tuple[int, ...], places: np.ndarray) -> tuple[int, np.ndarray] | None:
    """(axis, indices) where the elements are those of the source with only one axis picked from."""
    all_places = np.arange(prod(shape)).reshape(shape)
    for axis in reversed(range(len(shape))):
        others = prod(shape) // shape[axis]
        if len(places) % others:
            continue
        after = prod(shape[axis + 1:])
        picked = (places[:len(places) // others * after:after] // after) % shape[axis]
        if np.array_equal(np.take(all_places, picked, axis).ravel(), places):
            return axis, picked
    return None


def _slice(shape: tuple[int, ...], axis: int, picked: np.ndarray) -> Op | None:
    """The slice that picks the same, None where there is none with a step above 0."""
    step = int(picked[1] - picked[0]) if len(picked) > 1 else 1
    if step < 1 or not np.array_equal(picked, picked[0] + step * np.arange(len(picked))):
        return None
    begin = [0] * len(shape)
    end = list(shape)
    steps = [1] * len(shape)
    begin[axis] = int(picked[0])
    end[axis] = int(picked[-1]) + 1
    steps[axis] = step
    return Slice(tuple(begin), tuple(end), tuple(steps))
