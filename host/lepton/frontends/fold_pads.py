"""Explicit padding before a convolution becomes the convolution's own."""

from dataclasses import replace

import numpy as np

from lepton.graph import Conv2D, DepthwiseConv2D, Graph, Node, Pad, Transpose

from .check import MAX_WINDOW


def fold_pads(graph: Graph) -> Graph:
    """Lets every convolution that reads the result of a Pad with zeros read what the Pad pads, wider.

    Only height and width of images, only the value that stands for 0. A Pad that nothing else needs disappears.
    Changes and returns `graph`.
    """
    _transpose_first(graph)
    pads = {node.outputs[0]: node for node in graph.nodes if _is_border(graph, node)}
    for node in graph.nodes:
        if isinstance(node.op, Conv2D | DepthwiseConv2D) and node.inputs[0] in pads:
            padding = node.op.padding
            source = node.inputs[0]
            while source in pads:
                before = pads[source].op.widths[1:3]
                padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(padding, before, strict=True))
                source = pads[source].inputs[0]
            if max(map(max, padding)) <= MAX_WINDOW:
                node.inputs[0], node.op = source, replace(node.op, padding=padding)
    for name, pad in reversed(pads.items()):  # the last of a chain first
        if name not in graph.outputs and not any(name in node.inputs for node in graph.nodes):
            graph.nodes.remove(pad)
            del graph.tensors[name]
    return graph


def _transpose_first(graph: Graph) -> None:
    """A Pad that is only transposed afterwards pads the transposed tensor instead, next to the convolution."""
    for i, pad in enumerate(graph.nodes):
        users = [node for node in graph.nodes if pad.outputs[0] in node.inputs]
        if not isinstance(pad.op, Pad) or len(users) != 1 or not isinstance(users[0].op, Transpose) or (
                pad.outputs[0] in graph.outputs):
            continue
        transpose, x = users[0], graph.tensors[pad.inputs[0]]
        order, between = transpose.op.order, graph.tensors[pad.outputs[0]]
        between.shape = tuple(x.shape[axis] for axis in order)
        transpose.inputs, transpose.outputs, pad.outputs = [x.name], [between.name], list(transpose.outputs)
        pad.inputs, pad.op = [between.name], replace(pad.op, widths=tuple(pad.op.widths[axis] for axis in order))
        graph.nodes.remove(transpose)
        graph.nodes.insert(i, transpose)


def _is_border(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, Pad) or node.op.mode != "constant":
        return False
    x, widths = graph.tensors[node.inputs[0]], node.op.widths
    return (len(widths) == 4 and widths[0] == widths[3] == (0, 0) and x.dtype == np.int8
            and x.quantization is not None and node.op.value == x.quantization.zero_point[0])
