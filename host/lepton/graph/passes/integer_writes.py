"""Values that are set in a copy of a tensor, as in a key/value cache, stay int8 where all have one quantization."""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from .. import Aten, Dequantize, Graph, Node, Quantize
from ..ops.conditions import same_reals
from .rewrite import Chains, match, with_nodes

# ATen operators of which each element of the result is one of the operands' (numerics.aten_writes).
_WRITES = ("index_copy", "index_put", "scatter", "slice_scatter", "select_scatter")


def integer_writes(graph: Graph) -> Graph:
    """Every Quantize of such an operator on dequantized values of the same scale and zero point becomes the operator on
    int8 values."""
    chains = Chains(graph)

    def written(last: Node) -> Node | None:
        write = chains.made(last.inputs[0], Aten) if match(last, Quantize) else None
        if write is None or write.op.name not in _WRITES or not _only_sets(write.op):
            return None
        inputs = []
        for name in write.node.inputs:
            if np.dtype(graph.tensors[name].dtype) != np.float32:  # places, masks
                inputs.append(name)
                continue
            read = chains.made(name, Dequantize)
            codes = None if read is None else graph.tensors[read.source]
            if codes is None or np.dtype(codes.dtype) != np.int8 or not same_reals(codes, graph.result(last)):
                return None
            inputs.append(codes.name)
        return Node(replace(write.op, dtype="int8"), inputs, list(last.outputs), write.node.name)

    return with_nodes(graph, [written(node) or node for node in graph.nodes])


def _only_sets(op: Aten) -> bool:
    """Whether no value is combined with another one, and none is a number of the operator."""
    positional, named = json.loads(op.arguments)
    numbers: list[Any] = [*positional, *named.values()]
    return "reduce" not in named and "accumulate" not in named and not any(
        isinstance(value, bool | float) for value in numbers)
