"""A Pad of rows and columns with the zero point becomes the padding of the convolutions that read it.

Front ends use it too: what a file writes as a padding and a convolution is one operator of the network.
"""

from dataclasses import replace

from .. import Conv2D, DepthwiseConv2D, Graph, Node, Pad, Transpose
from .rewrite import readers, with_nodes

_MOST = 65535  # rows or columns of padding; far beyond any network, keeps arithmetic small


def fold_pads(graph: Graph) -> Graph:
    """Every convolution that reads the result of such Pads reads what they pad, wider; a Pad that nothing else needs
    disappears."""
    graph = _transposes_first(graph)
    pads = {node.outputs[0]: node for node in graph.nodes if _is_border(graph, node)}
    nodes = [_wider(node, pads) if isinstance(node.op, Conv2D | DepthwiseConv2D) else node for node in graph.nodes]
    tensors = dict(graph.tensors)
    for name in reversed(pads):  # the last of a chain first
        if name not in graph.outputs and not any(name in node.inputs for node in nodes):
            nodes.remove(pads[name])
            del tensors[name]
    return with_nodes(graph, nodes, tensors)


def _is_border(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, Pad):
        return False
    op, x = node.op, graph.tensors[node.inputs[0]]
    return (op.mode == "constant" and len(op.widths) == 4
            and op.widths[0] == op.widths[3] == (0, 0) and x.data is None and x.quantization is not None
            and op.value == int(x.quantization.zero_point.reshape(-1)[0]))


def _wider(node: Node, pads: dict[str, Node]) -> Node:
    source, padding = node.inputs[0], node.op.padding
    while source in pads:
        more = pads[source].op.widths[1:3]
        padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(padding, more, strict=True))
        source = pads[source].inputs[0]
    if source == node.inputs[0] or max(map(max, padding)) > _MOST:
        return node
    return replace(node, op=replace(node.op, padding=padding), inputs=[source, *node.inputs[1:]])


def _transposes_first(graph: Graph) -> Graph:
    """A Pad that is only transposed afterwards pads the transposed tensor instead, next to the convolution."""
    users, nodes, tensors = readers(graph), [], dict(graph.tensors)
    done: set[int] = set()  # Transposes that have moved
    for node in graph.nodes:
        after = users.get(node.outputs[0], []) if isinstance(node.op, Pad) else []
        if len(after) != 1 or not isinstance(after[0].op, Transpose) or node.outputs[0] in graph.outputs:
            if id(node) not in done:
                nodes.append(node)
            continue
        transpose, x, between = after[0], tensors[node.inputs[0]], tensors[node.outputs[0]]
        order = transpose.op.order
        tensors[between.name] = replace(between, shape=tuple(x.shape[axis] for axis in order))
        nodes.append(replace(transpose, inputs=[x.name], outputs=[between.name]))
        nodes.append(replace(node, inputs=[between.name], outputs=list(transpose.outputs),
                             op=replace(node.op, widths=tuple(node.op.widths[axis] for axis in order))))
        done.add(id(transpose))
    return with_nodes(graph, nodes, tensors)
