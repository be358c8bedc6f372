"""Pools, means, maxima over the image and tables: each lane by itself, with maximum or sum in place of products."""

import numpy as np

from ...arch import Rounding, TensorOpcode
from ...graph import Arithmetic, AveragePool2D, Graph, MaxPool2D, Mean, Node, Op, Reduce, Table
from ..chip_node import ChipNode
from ..images import ImageShape, image_of
from ..layers import ChipLayer, Part
from ..rule import Fusion, Phase, Rule
from . import averages
from .context import Context
from .limits import constants, window


def refuse_pool(graph: Graph, node: Node, op: MaxPool2D | AveragePool2D) -> str | None:
    if op.dilation != (1, 1):
        return f"a pool with dilation {op.dilation}"
    return constants(graph, node) or window(image_of(graph, node.inputs[0]), op.kernel, op.stride, (1, 1), op.padding)


def refuse_average(graph: Graph, node: Node, op: AveragePool2D) -> str | None:
    if op.count_padding and np.any(op.padding) and graph.arithmetic is Arithmetic.FIXED:
        return "padded pixels count in the average"
    return refuse_pool(graph, node, op)


def refuse_mean(graph: Graph, node: Node, op: Mean) -> str | None:
    image = image_of(graph, node.inputs[0])
    return constants(graph, node) or window(image, image[:2])


def refuse_reduce(graph: Graph, node: Node, op: Reduce) -> str | None:
    """Why the chip cannot reduce; it takes maxima and means over rows, columns or both."""
    if op.kind not in ("max", "mean"):
        return f"the chip has no {op.kind} over rows and columns"
    axes = _image_axes(graph, node, op)
    if axes is None:
        return f"it reduces the axes {op.axes}; the chip reduces rows and columns"
    return constants(graph, node) or window(image_of(graph, node.inputs[0]), reduced_kernel(graph, node, op))


def _image_axes(graph: Graph, node: Node, op: Reduce) -> set[int] | None:
    """The axes of the image that are reduced, of (height, width, channels); None where others are."""
    rank = len(graph.tensors[node.inputs[0]].shape)
    axes = {axis % rank + 3 - rank for axis in op.axes}
    return axes if axes and axes <= {0, 1} else None


def reduced_kernel(graph: Graph, node: Node, op: Reduce) -> tuple[int, int]:
    height, width, _ = image_of(graph, node.inputs[0])
    axes = _image_axes(graph, node, op) or set()
    return height if 0 in axes else 1, width if 1 in axes else 1


def reduced_image(graph: Graph, node: Node, op: Reduce) -> ImageShape:
    """The image of the result with the reduced axes kept."""
    height, width, channels = image_of(graph, node.inputs[0])
    kernel = reduced_kernel(graph, node, op)
    return height // kernel[0], width // kernel[1], channels


def reduce(context: Context, node: ChipNode, index: int, phase: Phase, op: Reduce) -> ChipLayer:
    layer = read_and_write(context, node, index, phase, op)
    layer.kernel = reduced_kernel(context.graph, node.node, op)
    if op.kind == "mean":
        tensors = context.graph.tensors
        averages.mean(context, layer, tensors[node.node.inputs[0]], tensors[node.node.outputs[0]])
    return layer


def refuse_lanewise(graph: Graph, node: Node, op: Op) -> str | None:
    return constants(graph, node) or window(image_of(graph, node.inputs[0]))


def read_and_write(context: Context, node: ChipNode, index: int, phase: Phase, op: Op) -> ChipLayer:
    """The layer of an operator without weights; one that only reads and writes is a maximum over one pixel."""
    tensors = context.graph.tensors
    height, width, _ = node.written
    return ChipLayer(
        index, node.name, type(op).__name__, TensorOpcode.MAX, context.read(node.source),
        context.write(node), kernel=(1, 1), stride=(1, 1), dilation=(1, 1), origin=(0, 0),
        column_bytes=context.lanes, checks_columns=True, pad=-128, params=[context.identity()], out_zero=0,
        out_min=-128, out_max=127, rounding=Rounding.DOUBLE, parts=[Part((0, height), (0, width))],
        input_shape=tuple(tensors[node.read].shape),
        output_shape=tuple(tensors[node.node.outputs[0]].shape))


def max_pool(context: Context, node: ChipNode, index: int, phase: Phase, op: MaxPool2D | AveragePool2D) -> ChipLayer:
    layer = read_and_write(context, node, index, phase, op)
    layer.kernel = op.kernel
    layer.stride = op.stride
    layer.origin = op.padding[0][0], op.padding[1][0]
    layer.out_min, layer.out_max = op.clamp
    return layer


def average_pool(context: Context, node: ChipNode, index: int, phase: Phase, op: AveragePool2D) -> ChipLayer:
    layer = max_pool(context, node, index, phase, op)
    averages.pool(context, layer, node, op)
    return layer


def mean(context: Context, node: ChipNode, index: int, phase: Phase, op: Mean) -> ChipLayer:
    tensors = context.graph.tensors
    layer = read_and_write(context, node, index, phase, op)
    layer.kernel = node.image[:2]
    averages.mean(context, layer, tensors[node.node.inputs[0]], tensors[node.node.outputs[0]])
    return layer


def table(context: Context, node: ChipNode, index: int, phase: Phase, op: Table) -> ChipLayer:
    layer = read_and_write(context, node, index, phase, op)
    layer.table = op.values
    return layer


def look_up(context: Context, layer: ChipLayer, node: ChipNode, op: Table) -> None:
    """Send the results of a layer through the table that is fused into `node`."""
    layer.table = op.values
    layer.op += "+Table"
    layer.output_shape = context.shape(node.own)


RULES: dict[type[Op], Rule] = {
    MaxPool2D: Rule(refuse_pool, max_pool),
    AveragePool2D: Rule(refuse_average, average_pool),
    Mean: Rule(refuse_mean, mean),
    Reduce: Rule(refuse_reduce, reduce, written_image=reduced_image),
    Table: Rule(refuse_lanewise, table, fusion=Fusion.TABLE, fuse=look_up),
}
