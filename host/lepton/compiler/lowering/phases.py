"""Transposed convolutions: a layer for each phase, the position of an output pixel relative to its input pixel."""


import numpy as np

from ...arch import TensorOpcode
from ...graph import Graph, Node, Op, TransposeConv2D
from ..chip_node import ChipNode
from ..image import Image, Steps
from ..images import image_of
from ..layers import ChipLayer, Part
from ..rule import Phase, Rule
from .context import Context
from .dot import chip_weights, make_tiles, set_parameters
from .limits import scales, window

# Along each axis. Every phase is a layer that walks over the whole input: networks upsample by 2 or 4.
_MOST_PHASES = 8


def transposed_steps(graph: Graph, node: Node, op: TransposeConv2D) -> tuple[int, int] | None:
    """Output pixels for each input pixel, (y, x); fewer where the output is smaller."""
    return min(op.stride[0], op.size[0]), min(op.stride[1], op.size[1])


def refuse_transposed(graph: Graph, node: Node, op: TransposeConv2D) -> str | None:
    if max(op.stride) > _MOST_PHASES:
        return f"stride {op.stride} is above {_MOST_PHASES}"
    _, height, width, _ = graph.tensors[node.inputs[1]].shape
    return window(image_of(graph, node.inputs[0]), (height, width)) or scales(graph, node, op.unsigned)


def _image(context: Context, node: ChipNode, phase: tuple[int, int], op: TransposeConv2D) -> Image:
    """The output pixels of a phase."""
    image = context.write(node)
    rows, columns = (Steps(first, step, -(-(extent - first) // step)) for first, step, extent
                     in zip(phase, op.stride, (image.height, image.width), strict=True))
    return image.every(rows, columns)


def transposed(context: Context, node: ChipNode, index: int, phase: Phase, op: TransposeConv2D) -> ChipLayer:
    """A convolution over the taps that meet the output pixels of one phase. Output row s*y + p takes kernel row k
    where s divides p + top - k, times input row y + (p + top - k) / s: kernel rows from last to first."""
    tensors = context.graph.tensors
    assert phase is not None
    values = chip_weights(tensors[node.node.inputs[1]])
    origin = []
    for axis in (0, 1):
        step = op.stride[axis]
        before = phase[axis] + op.padding[axis][0]
        taps = [k for k in reversed(range(values.shape[1 + axis])) if (before - k) % step == 0]
        if taps:
            values = values.take(taps, 1 + axis)
            origin.append((taps[0] - before) // step)
        else:  # no tap meets these pixels: they are the bias alone
            values = np.zeros_like(values.take([0], 1 + axis))
            origin.append(0)
    source = tensors[node.node.inputs[0]]
    output = tensors[node.node.outputs[0]]
    outputs, *kernel, _ = values.shape
    tiles, first = make_tiles(context.lanes, values, np.zeros(outputs, np.int64), context.lanes_of(node.source))
    image = context.read(node.source)
    target = _image(context, node, phase, op)
    layer = ChipLayer(
        index, node.name, "TransposeConv2D", TensorOpcode.DOT, image, target, (kernel[0], kernel[1]), (1, 1), (1, 1),
        (origin[0], origin[1]), context.lanes, True, source.zero_point, [], output.zero_point,
        *op.clamp, weights=tiles, first_block=first, parts=[Part((0, target.height), (0, target.width))],
        macs=target.height * target.width * values.size, weight_bytes=values.size,
        input_shape=tuple(source.shape), output_shape=tuple(output.shape))
    set_parameters(context, layer, node, values)
    return layer


RULES: dict[type[Op], Rule] = {
    TransposeConv2D: Rule(refuse_transposed, transposed, phases=transposed_steps, any_lanes=True),
}
