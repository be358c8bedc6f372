"""Images of more pixels: a layer for each place of an output pixel among those of an input pixel."""

from dataclasses import replace

import numpy as np

from ...arch import TensorOpcode
from ...graph import Call, Graph, Node, Op, OperandList, Resize, Tensor, TransposeConv2D
from ..chip_node import ChipNode
from ..images import image_of
from ..layers import ChipLayer, Image, Part
from ..rule import Phase, Rule
from ..views import ChannelView
from .channels import select
from .context import Context
from .dot import chip_weights, make_tiles, set_parameters
from .limits import constants, scales, window

# Along each axis. Every phase is a layer that walks over the whole input: networks upsample by 2 or 4, and from 8 on
# the 64 layers of one node would take a quarter of a job's counters.
_MOST_PHASES = 8


def resize_steps(graph: Graph, node: Node, op: Resize) -> tuple[int, int]:
    """Output pixels for each input pixel, (y, x)."""
    source, output = (image_of(graph, name) for name in (node.inputs[0], node.outputs[0]))
    return output[0] // source[0], output[1] // source[1]


def transposed_steps(graph: Graph, node: Node, op: TransposeConv2D) -> tuple[int, int]:
    """Output pixels for each input pixel, (y, x)."""
    return op.stride


def refuse_resize(graph: Graph, node: Node, op: Resize) -> str | None:
    """Nearest neighbours where every input pixel becomes a rectangle of output pixels."""
    source, output = (graph.tensors[name] for name in (node.inputs[0], node.outputs[0]))
    if op.mode != "nearest":
        return f"the chip has no {op.mode} interpolation"
    steps = resize_steps(graph, node, op)
    for axis, step in enumerate(steps):
        size = source.shape[1 + axis]
        if not 1 <= step <= _MOST_PHASES or output.shape[1 + axis] != size * step:
            return f"height and width of the output are not 1 to {_MOST_PHASES} times those of the input"
        rows = np.arange(size, dtype=np.int32)
        # what the host's kernel does with the numbers of rows or columns themselves
        place = Tensor("places", (1, size, 1, 1), np.dtype(np.int32), None)
        one = replace(op, size=(size * step, 1),
                      scales=None if op.scales is None else (op.scales[axis], 1.0))
        result = Tensor("resized", (1, size * step, 1, 1), np.dtype(np.int32), None)
        numbers = rows.reshape(1, size, 1, 1)
        places = one.compute(Call(graph.arithmetic, OperandList([place]), result, OperandList([numbers])))
        if not np.array_equal(places.reshape(-1), np.repeat(rows, step)):
            return "it does not repeat every input pixel equally often"
    return constants(graph, node)


def refuse_transposed(graph: Graph, node: Node, op: TransposeConv2D) -> str | None:
    output = image_of(graph, node.outputs[0])
    if max(op.stride) > _MOST_PHASES:
        return f"stride {op.stride} is above {_MOST_PHASES}"
    if output[0] % op.stride[0] or output[1] % op.stride[1]:
        return f"height and width of the output are no multiples of stride {op.stride}"
    _, height, width, _ = graph.tensors[node.inputs[1]].shape
    return window(image_of(graph, node.inputs[0]), (height, width)) or scales(graph, node, op.unsigned)


def _image(context: Context, node: ChipNode, phase: Phase) -> Image:
    assert phase is not None and node.rule.phases is not None
    return context.write(node).phase(node.rule.phases(context.graph, node.node, node.node.op), phase)


def nearest(context: Context, node: ChipNode, index: int, phase: Phase, op: Resize) -> ChipLayer:
    """A Resize to nearest neighbours: every input pixel goes to the same place of its rectangle."""
    view = ChannelView(context.read(node.source), np.arange(node.image[2]))
    layer = select(context, node.name, view, _image(context, node, phase), index)
    layer.op = "Resize"
    layer.output_shape = tuple(context.graph.tensors[node.node.outputs[0]].shape)
    return layer


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
    target = _image(context, node, phase)
    layer = ChipLayer(
        index, node.name, "TransposeConv2D", TensorOpcode.DOT, image, target, (kernel[0], kernel[1]), (1, 1), (1, 1),
        (origin[0], origin[1]), context.lanes, True, source.zero_point, [], output.zero_point,
        *op.clamp, weights=tiles, first_block=first, parts=[Part((0, target.height), (0, target.width))],
        macs=target.height * target.width * values.size, weight_bytes=values.size,
        input_shape=tuple(source.shape), output_shape=tuple(output.shape))
    set_parameters(context, layer, node, values)
    return layer


RULES: dict[type[Op], Rule] = {
    Resize: Rule(refuse_resize, nearest, phases=resize_steps),
    TransposeConv2D: Rule(refuse_transposed, transposed, phases=transposed_steps, any_lanes=True),
}
