"""Images of more pixels: a layer for each place of an output pixel among those of an input pixel."""

import numpy as np

from ...arch import TensorOpcode
from ..layers import ChipLayer, Image, Part
from ..partition import phase_steps
from ..segments import ChipNode
from ..views import ChannelView
from .channels import select
from .context import Context, zero_of
from .dot import chip_weights, make_tiles, set_parameters


def _image(context: Context, node: ChipNode, phase: tuple[int, int]) -> Image:
    return context.write(node).phase(phase_steps(context.graph, node.node), phase)


def nearest(context: Context, node: ChipNode, index: int, phase: tuple[int, int]) -> ChipLayer:
    """A Resize to nearest neighbours: every input pixel goes to the same place of its rectangle."""
    view = ChannelView(context.read(node.source), np.arange(node.image[2]))
    layer = select(context, node.name, view, _image(context, node, phase), index)
    layer.op = "Resize"
    layer.output_shape = tuple(context.graph.tensors[node.node.outputs[0]].shape)
    return layer


def transposed(context: Context, node: ChipNode, index: int, phase: tuple[int, int]) -> ChipLayer:
    """A convolution over the taps that meet the output pixels of one phase. Output row s*y + p takes kernel row k
    where s divides p + top - k, times input row y + (p + top - k) / s: kernel rows from last to first."""
    op, tensors = node.node.op, context.graph.tensors
    weights = tensors[node.node.inputs[1]]
    values = chip_weights(weights)
    origin = []
    for axis in (0, 1):
        step, before = op.stride[axis], phase[axis] + op.padding[axis][0]
        taps = [k for k in reversed(range(values.shape[1 + axis])) if (before - k) % step == 0]
        if taps:
            values = values.take(taps, 1 + axis)
            origin.append((taps[0] - before) // step)
        else:  # no tap meets these pixels: they are the bias alone
            values = np.zeros_like(values.take([0], 1 + axis))
            origin.append(0)
    source, output = tensors[node.node.inputs[0]], tensors[node.node.outputs[0]]
    outputs, *kernel, _ = values.shape
    tiles, first = make_tiles(context.lanes, values, np.zeros(outputs, np.int64),
                              context.lanes_of(node.source))
    image, target = context.read(node.source), _image(context, node, phase)
    layer = ChipLayer(
        index, node.name, "TransposeConv2D", TensorOpcode.DOT, image, target, tuple(kernel), (1, 1), (1, 1),
        tuple(origin), context.lanes, True, zero_of(source), [], zero_of(output),
        *op.clamp, weights=tiles, first_block=first, parts=[Part((0, target.height), (0, target.width))],
        macs=target.height * target.width * values.size, weight_bytes=values.size,
        input_shape=tuple(source.shape), output_shape=tuple(output.shape))
    set_parameters(context, layer, node, values, weights)
    return layer
