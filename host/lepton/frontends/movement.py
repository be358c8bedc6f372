"""Chains of operators that only move elements, such as a channel shuffle, become the one operator they amount to."""

from math import prod

import numpy as np

from lepton.graph import Gather, Graph, Node, Op, Quantization, Reshape, Slice, Tensor, Transpose

LARGEST = 1 << 24  # elements; a chain over more is left as it is


def collapse_movement(graph: Graph) -> Graph:
    """Replaces chains of movements by a reshape, a slice or a gather of one axis where one of them does the same.

    What nothing reads any more is dropped.
    """
    moved: dict[str, tuple[str, np.ndarray]] = {}  # tensor -> where its elements come from: tensor, places
    nodes: list[Node] = []
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for node in graph.nodes:
        places = _places(graph, node)
        if places is None:
            nodes.append(node)
            continue
        root, before = moved.get(node.inputs[0], (node.inputs[0], None))
        places = places if before is None else before[places]
        name = node.outputs[0]
        moved[name] = (root, places)
        ends = name in graph.outputs or any(not _moves(graph, reader) for reader in readers.get(name, ()))
        single = before is not None or not isinstance(node.op, Reshape)
        nodes.extend(_as_one(graph, node, root, places) if ends and single else [node])
    return _alive(graph, nodes)


def _moves(graph: Graph, node: Node) -> bool:
    if isinstance(node.op, Reshape | Transpose | Slice):
        return True
    return isinstance(node.op, Gather) and graph.tensors[node.inputs[1]].data is not None


def _places(graph: Graph, node: Node) -> np.ndarray | None:
    """For each element of the output, in order, its place in the input; None for what does not only move elements."""
    source = graph.tensors[node.inputs[0]]
    if not _moves(graph, node) or source.data is not None or prod(source.shape) > LARGEST:
        return None
    op, places = node.op, np.arange(prod(source.shape)).reshape(source.shape)
    if isinstance(op, Transpose):
        places = places.transpose(op.order)
    elif isinstance(op, Slice):
        places = places[tuple(slice(b, None if e < 0 else e, s)
                              for b, e, s in zip(op.begin, op.end, op.step, strict=True))]
    elif isinstance(op, Gather):
        places = np.take(places, graph.tensors[node.inputs[1]].data, op.axis)
    return places.ravel()


def _as_one(graph: Graph, node: Node, root: str, places: np.ndarray) -> list[Node]:
    source, output = graph.tensors[root], graph.tensors[node.outputs[0]]
    if np.array_equal(places, np.arange(prod(source.shape))):
        return [Node(Reshape(output.shape), [root], [output.name], node.name)]
    found = _one_axis(source.shape, places)
    if found is None:
        return [node]
    axis, picked = found
    shape = (*source.shape[:axis], len(picked), *source.shape[axis + 1:])
    direct = output.name if shape == output.shape else _fresh(graph, f"{output.name}.m")
    inputs, op = [root], _slice(source.shape, axis, picked)
    if op is None:
        index = _fresh(graph, f"{output.name}.indices")
        picked.flags.writeable = False
        graph.tensors[index] = Tensor(index, picked.shape, picked.dtype, None, picked)
        inputs, op = [root, index], Gather(axis)
    nodes = [Node(op, inputs, [direct], node.name)]
    if direct != output.name:
        q: Quantization | None = output.quantization
        graph.tensors[direct] = Tensor(direct, shape, output.dtype, q)
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
    begin, end, steps = [0] * len(shape), list(shape), [1] * len(shape)
    begin[axis], end[axis], steps[axis] = int(picked[0]), int(picked[-1]) + 1, step
    return Slice(tuple(begin), tuple(end), tuple(steps))


def _fresh(graph: Graph, name: str) -> str:
    number, candidate = 1, name
    while candidate in graph.tensors:
        candidate, number = f"{name}.{number}", number + 1
    return candidate


def _alive(graph: Graph, nodes: list[Node]) -> Graph:
    wanted, kept = set(graph.outputs), []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            kept.append(node)
            wanted.update(node.inputs)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in wanted or name in graph.inputs}
    return Graph(graph.name, tensors, kept[::-1], graph.inputs, graph.outputs, graph.arithmetic)
