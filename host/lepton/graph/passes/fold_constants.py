"""Computes operators on constants alone when the network is compiled."""

import numpy as np

from .. import Graph, OperandList, Tensor
from ..interpret import compute, operands
from .rewrite import with_nodes

_MOST_BYTES = 1 << 24  # larger results are computed at run time, to keep compiled files small


def fold_constants(graph: Graph) -> Graph:
    nodes = []
    tensors = dict(graph.tensors)
    for node in graph.nodes:
        inputs = OperandList(tensors[name] if name else None for name in node.inputs)
        output = tensors[node.outputs[0]]
        size = int(np.prod(output.shape, dtype=np.int64)) * np.dtype(output.dtype).itemsize
        if (output.name in graph.outputs or size > _MOST_BYTES
                or any(t.data is None for t in inputs.given)):
            nodes.append(node)
            continue
        data = compute(node.op, graph.arithmetic, inputs, operands(inputs, {}), output)
        tensors[output.name] = Tensor(output.name, output.shape, output.dtype, output.quantization, data)
    return with_nodes(graph, nodes, tensors)
