"""Makes a table of a function of one int8 value that is computed in float, between a Dequantize and a Quantize."""

from dataclasses import replace

import numpy as np

from .. import Graph, Node, Table, Tensor
from ..interpret import compute
from .rewrite import with_nodes

_BYTES = np.arange(-128, 128).astype(np.int8)


def tabulate_floats(graph: Graph) -> Graph:
    """Every Quantize to int8 whose result depends on one int8 value and numbers becomes a Table of it.

    The table is what the host's kernels make of the 256 values, so that the result stays the same byte for byte.
    Operators that nothing reads any more are left for `remove_unused`.
    """
    producers = {node.outputs[0]: node for node in graph.nodes}
    return with_nodes(graph, [_tabulated(graph, node, producers) or node for node in graph.nodes])


def _tabulated(graph: Graph, node: Node, producers: dict[str, Node]) -> Node | None:
    output = graph.tensors[node.outputs[0]]
    if not node.op.quantizes or not _per_tensor_int8(output):
        return None
    steps = _steps(graph, node, producers)
    sources = {step.inputs[0] for step in steps or () if step.op.dequantizes}
    if steps is None or len(sources) != 1:
        return None
    (source,) = sources
    if tuple(graph.tensors[source].shape) != tuple(output.shape) or not _per_tensor_int8(graph.tensors[source]):
        return None
    values = {source: _BYTES}
    for step in steps:
        operands = [graph.tensors[name] for name in step.inputs]
        given = [values[t.name] if t.data is None else t.data.reshape(-1)[:1] for t in operands]
        made = replace(graph.tensors[step.outputs[0]], shape=_BYTES.shape)
        values[made.name] = compute(step.op, graph.arithmetic, operands, given, made)
    return replace(node, op=Table(values[output.name].tobytes()), inputs=[source])


def _steps(graph: Graph, last: Node, producers: dict[str, Node]) -> list[Node] | None:
    """The nodes from Dequantizes to `last`, in order; None where other than elementwise ones are among them."""
    wanted = [last]
    found = {id(last): last}
    while wanted:
        node = wanted.pop()
        for name in () if node.op.dequantizes else node.inputs:
            tensor = graph.tensors[name]
            before = producers.get(name)
            if tensor.data is not None and tensor.data.size == 1:
                continue
            if before is None or not (np.float32 in before.op.tabulates or before.op.dequantizes) or (
                    np.dtype(tensor.dtype) != np.float32 or tensor.shape != graph.tensors[last.outputs[0]].shape):
                return None
            if id(before) not in found:
                found[id(before)] = before
                wanted.append(before)
    return [node for node in graph.nodes if id(node) in found]


def _per_tensor_int8(tensor: Tensor) -> bool:
    q = tensor.quantization
    return np.dtype(tensor.dtype) == np.int8 and tensor.data is None and q is not None and q.scale.size == 1
