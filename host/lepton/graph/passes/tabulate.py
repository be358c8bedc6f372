"""Makes a table of an operator on one int8 and one constant number."""

from dataclasses import replace

import numpy as np

from .. import Graph, Node, Table, Tensor
from ..interpret import compute
from .rewrite import with_nodes

_BYTES = np.arange(-128, 128).astype(np.int8)


def tabulate(graph: Graph) -> Graph:
    return with_nodes(graph, [_tabulated(graph, node) or node for node in graph.nodes])


def _tabulated(graph: Graph, node: Node) -> Node | None:
    """The Table that computes what `node` does; None where it is no function of one int8."""
    if np.int8 not in node.op.tabulates:
        return None
    operands = graph.operands(node)
    output = graph.result(node)
    computed = [i for i, t in enumerate(operands) if t.data is None]
    if len(computed) != 1 or any(np.dtype(t.dtype) != np.int8 for t in (*operands, output)):
        return None
    x = operands[computed[0]]
    constant = operands[1 - computed[0]].data
    if tuple(x.shape) != tuple(output.shape) or constant is None or not constant.size or np.ptp(constant.astype(int)):
        return None
    values = [_BYTES if i in computed else constant.reshape(-1)[:1] for i in range(2)]
    every = Tensor(output.name, (256,), output.dtype, output.quantization)
    table = compute(node.op, graph.arithmetic, operands, values, every)
    return replace(node, op=Table(table.tobytes()), inputs=[x.name])
