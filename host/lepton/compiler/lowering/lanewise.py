"""Pools, means, tables, paddings and cuts: each lane by itself, with maximum or sum in place of products."""

from ...arch import Rounding, TensorOpcode
from ...graph import AveragePool2D, MaxPool2D, Mean, Pad, Slice
from ..layers import ChipLayer, Part
from ..segments import ChipNode
from . import averages
from .channels import padded_before
from .context import Context


def lanewise(context: Context, node: ChipNode, index: int) -> ChipLayer:
    """The layer of an operator without weights; one that only reads and writes is a maximum over one pixel."""
    op, tensors = node.node.op, context.graph.tensors
    source, output = tensors[node.node.inputs[0]], tensors[node.node.outputs[0]]
    out_shape = node.written
    layer = ChipLayer(
        index, node.name, type(op).__name__, TensorOpcode.MAX, context.read(node.source),
        context.write(node), kernel=(1, 1), stride=(1, 1), dilation=(1, 1), origin=(0, 0),
        column_bytes=context.lanes, checks_columns=True, pad=-128, params=[context.identity()], out_zero=0,
        out_min=-128, out_max=127, rounding=Rounding.DOUBLE, parts=[Part((0, out_shape[0]), (0, out_shape[1]))],
        input_shape=tuple(source.shape), output_shape=tuple(output.shape))
    if isinstance(op, MaxPool2D | AveragePool2D):
        layer.kernel, layer.stride = tuple(op.kernel), tuple(op.stride)
        layer.origin = op.padding[0][0], op.padding[1][0]
        layer.out_min, layer.out_max = op.clamp
    elif isinstance(op, Pad):
        layer.origin, layer.pad = padded_before(op), int(op.value)
    elif isinstance(op, Slice):
        layer.origin, layer.stride = (-op.begin[-3], -op.begin[-2]), (op.step[-3], op.step[-2])
    if isinstance(op, AveragePool2D):
        averages.pool(context, layer, node)
    elif isinstance(op, Mean):
        layer.kernel = node.image[:2]
        averages.mean(context, layer, source, output)
    return layer
