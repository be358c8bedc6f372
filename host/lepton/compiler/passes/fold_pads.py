"""A Pad of rows and columns with the zero point becomes the padding of the convolutions that read it."""

from dataclasses import replace

from ...graph import Conv2D, DepthwiseConv2D, Graph, Node, Pad
from .rewrite import readers, with_nodes


def _foldable(graph: Graph, node: Node, users: list[Node]) -> bool:
    op, x = node.op, graph.tensors[node.inputs[0]]
    return (isinstance(op, Pad) and op.mode == "constant" and len(op.widths) == 4
            and op.widths[0] == op.widths[3] == (0, 0) and x.data is None and x.quantization is not None
            and op.value == int(x.quantization.zero_point.reshape(-1)[0]) and node.outputs[0] not in graph.outputs
            and bool(users) and all(isinstance(u.op, Conv2D | DepthwiseConv2D) for u in users))


def fold_pads(graph: Graph) -> Graph:
    users = readers(graph)
    pads: dict[str, tuple[str, tuple]] = {}  # result of a Pad that disappears -> what it pads, by how much
    nodes = []
    for node in graph.nodes:
        if _foldable(graph, node, users.get(node.outputs[0], [])):
            pads[node.outputs[0]] = node.inputs[0], node.op.widths[1:3]
            continue
        if isinstance(node.op, Conv2D | DepthwiseConv2D) and node.inputs[0] in pads:
            source, widths = pads[node.inputs[0]]
            padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(node.op.padding, widths, strict=True))
            node = replace(node, op=replace(node.op, padding=padding), inputs=[source, *node.inputs[1:]])
        nodes.append(node)
    return with_nodes(graph, nodes)
