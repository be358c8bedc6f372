"""Is the graph well formed? Otherwise `GraphError` says what is not.

Every operator has a contract here: how many operands, and what shapes, types and quantizations go together. Whether
chip or host computes it is decided later (`partition`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ... import graph
from ...graph import Graph, GraphError, Node
from . import elementwise, layers, moving
from .check import Check, image_shape, label


@dataclass(frozen=True)
class Contract:
    """Operands, at least and at most; `check` raises `GraphError`. Optional operands are the last."""

    least: int
    most: int
    check: Callable[[Check], None]


_MANY = 1 << 16
CONTRACTS = {
    graph.Conv2D: Contract(2, 3, layers.conv),
    graph.DepthwiseConv2D: Contract(2, 3, layers.depthwise),
    graph.TransposeConv2D: Contract(2, 3, layers.transpose_conv),
    graph.FullyConnected: Contract(2, 3, layers.fully_connected),
    graph.MatMul: Contract(2, 2, layers.matmul),
    graph.MaxPool2D: Contract(1, 1, layers.max_pool),
    graph.AveragePool2D: Contract(1, 1, layers.average_pool),
    graph.Mean: Contract(1, 1, layers.mean),
    graph.Reduce: Contract(1, 1, elementwise.reduce),
    graph.Table: Contract(1, 1, elementwise.table),
    graph.Add: Contract(2, 2, elementwise.addition),
    graph.Sub: Contract(2, 2, elementwise.addition),
    graph.Mul: Contract(2, 2, elementwise.arithmetic),
    graph.Maximum: Contract(2, 2, elementwise.extreme),
    graph.Minimum: Contract(2, 2, elementwise.extreme), graph.Div: Contract(2, 2, elementwise.division),
    graph.Prelu: Contract(2, 2, elementwise.prelu),
    graph.Unary: Contract(1, 1, elementwise.unary),
    graph.Softmax: Contract(1, 1, elementwise.softmax),
    graph.Quantize: Contract(1, 1, elementwise.quantize),
    graph.Dequantize: Contract(1, 1, elementwise.dequantize),
    graph.Recenter: Contract(1, 1, elementwise.recenter),
    graph.Reshape: Contract(1, 1, moving.reshape),
    graph.Transpose: Contract(1, 1, moving.transpose),
    graph.Concat: Contract(1, _MANY, moving.concat),
    graph.Slice: Contract(1, 1, moving.take_slice),
    graph.Pad: Contract(1, 1, moving.pad),
    graph.Gather: Contract(2, 2, moving.gather),
    graph.Resize: Contract(1, 1, moving.resize),
}


def verify(network: Graph) -> Graph:
    """`network` itself; raises `GraphError` for the first thing that is wrong."""
    where = f"graph {network.name!r}"
    for name in [*network.inputs, *network.outputs]:
        if name not in network.tensors:
            raise GraphError(f"{where}: tensor {name!r} is not in the graph")
    if not network.inputs or not network.outputs:
        raise GraphError(f"{where}: must have at least one input and one output")
    for name in network.inputs:
        _input(network, name, where)
    defined = set(network.inputs)
    for node in network.nodes:
        verify_node(network, node, defined)
        defined.add(node.outputs[0])
    for name in network.outputs:
        if name not in defined:
            raise GraphError(f"{where}: nothing produces output {name!r}")
    return network


def _input(network: Graph, name: str, where: str) -> None:
    tensor = network.tensors[name]
    if tensor.data is not None:
        raise GraphError(f"{where}: input {name!r} must not be a constant")
    if any(int(n) < 1 for n in tensor.shape):
        raise GraphError(f"{where}: input {name!r} must have dimensions of at least 1, not shape {tensor.shape}")
    q = tensor.quantization
    if np.dtype(tensor.dtype) == np.int8 and (q is None or q.scale.size != 1 or q.zero_point.size != 1):
        raise GraphError(f"{where}: {name!r} must have one scale and one zero point")


def verify_node(network: Graph, node: Node, defined: set[str]) -> None:
    """Does `node` keep its operator's contract? `defined` names what has a value before it. Raises `GraphError`."""
    contract = CONTRACTS.get(type(node.op))
    if contract is None:
        raise GraphError(f"{label(node)}: operator {type(node.op).__name__} is not supported; "
                         f"supported are {', '.join(c.__name__ for c in CONTRACTS)}")
    where = label(node)
    for name in [*filter(None, node.inputs), *node.outputs]:
        if name not in network.tensors:
            raise GraphError(f"{where}: tensor {name!r} is not in the graph")
    given = len(node.inputs)
    if not contract.least <= given <= contract.most or len(node.outputs) != 1:
        most = "" if contract.most == contract.least else f" to {contract.most}"
        raise GraphError(f"{where}: must have {contract.least}{most} inputs and 1 output, "
                         f"not {given} and {len(node.outputs)}")
    for index, name in enumerate(node.inputs):
        if not name and index >= contract.least:
            continue
        if not name:
            raise GraphError(f"{where}: operand {index} is missing")
        tensor = network.tensors[name]
        if tensor.data is not None and tuple(tensor.data.shape) != tuple(tensor.shape):
            raise GraphError(f"{where}: constant {name!r} has shape {tensor.data.shape}, not {tuple(tensor.shape)}")
        if tensor.data is None and name not in defined and index != 1:
            raise GraphError(f"{where}: input {name!r} is used before anything produces it")
    output = network.tensors[node.outputs[0]]
    if output.name in defined or output.data is not None:
        raise GraphError(f"{where}: {output.name!r} is produced twice, or is a constant")
    if any(int(n) < 0 for n in output.shape):
        raise GraphError(f"{where}: {output.name!r} must not have the negative dimension in {tuple(output.shape)}")
    contract.check(Check(network, node, [network.tensors[n] if n else None for n in node.inputs], output))
    for name in filter(None, node.inputs):
        if network.tensors[name].data is None and name not in defined:
            raise GraphError(f"{where}: input {name!r} is used before anything produces it")


__all__ = ["CONTRACTS", "Check", "Contract", "image_shape", "label", "verify", "verify_node"]
