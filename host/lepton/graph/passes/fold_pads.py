"""A Pad of rows and columns with the zero point becomes the padding of the convolutions that read it.

Front ends use it too: what a file writes as a padding and a convolution is one operator of the network.
"""

from dataclasses import replace

from .. import Graph, Node, Pad, Padding, Transpose
from .rewrite import match, readers, with_nodes

Pads = dict[str, tuple[Node, Padding]]  # result of a Pad -> its node, and the border that it adds


def fold_pads(graph: Graph) -> Graph:
    """Every convolution that reads the result of such Pads reads what they pad, with a wider padding; a Pad that
    nothing else needs disappears."""
    graph = _transposes_first(graph)
    pads: Pads = {}
    for node in graph.nodes:
        border = _border(graph, node)
        if border is not None:
            pads[node.outputs[0]] = (node, border)
    nodes = [_wider(node, pads) for node in graph.nodes]
    tensors = dict(graph.tensors)
    for name in reversed(pads):  # the last of a chain first
        if name not in graph.outputs and not any(name in node.inputs for node in nodes):
            nodes.remove(pads[name][0])
            del tensors[name]
    return with_nodes(graph, nodes, tensors)


def _border(graph: Graph, node: Node) -> Padding | None:
    """The rows and columns of zero points that the node adds; None where it does anything else."""
    pad = match(node, Pad)
    if pad is None or pad.op.mode != "constant" or len(pad.op.widths) != 4:
        return None
    batch, rows, columns, channels = pad.op.widths
    x = graph.tensors[node.inputs[0]]
    if batch != (0, 0) or channels != (0, 0) or x.data is not None or x.quantization is None:
        return None
    return (rows, columns) if pad.op.value == x.zero_point else None


def _wider(node: Node, pads: Pads) -> Node:
    """The node, reading what the Pads before it read; itself where its operator has no padding."""
    op = node.op
    source = node.inputs[0]
    while source in pads:
        pad, border = pads[source]
        wider = op.padded(border)
        if wider is None:
            return node
        op = wider
        source = pad.inputs[0]
    return node if source == node.inputs[0] else replace(node, op=op, inputs=[source, *node.inputs[1:]])


def _transposes_first(graph: Graph) -> Graph:
    """A Pad that is only transposed afterwards pads the transposed tensor instead, next to the convolution."""
    users = readers(graph)
    nodes: list[Node] = []
    tensors = dict(graph.tensors)
    done: set[int] = set()  # Transposes that have moved
    for node in graph.nodes:
        after = users.get(node.outputs[0], [])
        if id(node) in done:
            continue
        pad = match(node, Pad)
        transpose = match(after[0], Transpose) if len(after) == 1 else None
        if pad is None or transpose is None or node.outputs[0] in graph.outputs:
            nodes.append(node)
            continue
        order = transpose.op.order
        x = tensors[node.inputs[0]]
        between = replace(tensors[node.outputs[0]], shape=tuple(x.shape[axis] for axis in order))
        tensors[between.name] = between
        widths = tuple(pad.op.widths[axis] for axis in order)
        nodes.append(replace(transpose.node, inputs=[x.name], outputs=[between.name]))
        nodes.append(replace(node, inputs=[between.name], outputs=list(transpose.node.outputs),
                             op=replace(pad.op, widths=widths)))
        done.add(id(transpose.node))
    return with_nodes(graph, nodes, tensors)
