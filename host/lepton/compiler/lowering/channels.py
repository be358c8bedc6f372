"""Concatenations, slices, permutations and paddings of channels, and tensors with other channels.

Operators that multiply by weights read channels from any lanes; for others, channels are copied to their own lanes.
"""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ...arch import Rounding, TensorOpcode
from ...graph import Concat, Gather, Graph, Node, Op, Pad, Reshape, Slice
from .. import quantize
from ..chip_node import ChipJob, ChipNode
from ..image import Image
from ..images import ImageShape, Operand, image_of
from ..layers import ChipLayer, Part
from ..rule import Phase, Rule
from ..views import ChannelView, in_line, side_by_side
from .context import Context
from .dot import make_tiles
from .lanewise import read_and_write
from .limits import BYTE, constants, window


def place_operands(context: Context, segment: ChipJob) -> None:
    """Places for the operands of concatenations, so that the layers that make them write them there."""
    made = {chip.output for chip in segment.chip if not chip.moves}
    for chip in segment.chip:
        if chip.rule.operand_places is None:
            continue
        for operand, part in zip(chip.operands(), chip.rule.operand_places(context, chip), strict=True):
            name = operand.tensor
            if name in made and name not in context.wanted and name not in context.views and not operand.packed:
                context.views[name] = part


def concatenated(context: Context, node: ChipNode) -> tuple[ChannelView, list[ChannelView]]:
    """The view of a concatenation's result, and those of its operands in it."""
    height, width, channels = node.written
    image = Image(context.name(node.output, "parts"), 0, height, width, context.lanes, width * context.lanes)
    images = [operand.image for operand in node.operands()]
    if images[0][:2] != (height, width):
        return in_line(image, [image[:2] for image in images], channels)
    return side_by_side(image, [image[2] for image in images])


def operand_places(context: Context, node: ChipNode) -> list[ChannelView]:
    return concatenated(context, node)[1]


def join(context: Context, node: ChipNode, index: int, op: Concat) -> list[ChipLayer]:
    """Layers that copy operands to their places where they are elsewhere."""
    layers: list[ChipLayer] = []
    view, parts = concatenated(context, node)
    for operand, part in zip(node.operands(), parts, strict=True):
        if operand.packed or not _is_at(context, operand.tensor, part):
            layers.append(select(context, operand.values, context.view(operand), part.image, index + len(layers)))
    return layers + _viewed(context, node, view, index + len(layers))


def take(context: Context, node: ChipNode, index: int, op: Slice) -> list[ChipLayer]:
    """A view of some channels, or of pixels that follow one another."""
    run = pixel_run(context.graph, node.node, op)
    if run is None:
        return _taken(context, node, index, op.index[-1])
    source = context.view(node.source)
    layers: list[ChipLayer] = []
    if source.image.channels or node.source.tensor in context.outside:  # loads bring whole tensors
        image = context.new_image(context.name(node.source.tensor, "pixels"), node.image)
        if image.name not in context.copied:  # one for all of the parts
            context.copied.add(image.name)
            layers.append(select(context, node.source.values, source, image, index))
        source = ChannelView(image, np.arange(node.image[2]))
    view = ChannelView(source.image.run(run, node.written[:2]), source.lanes)
    return layers + _viewed(context, node, view, index + len(layers))


def permute_channels(context: Context, node: ChipNode, index: int, op: Gather) -> list[ChipLayer]:
    """A view of channels in another order, as a channel shuffle makes; a buffer where a channel is there twice, since a
    layer has one weight for each lane."""
    places = _indices(context.graph, node.node) % node.source.image[2]
    layers = _taken(context, node, index, places)
    if len(np.unique(places)) < len(places) and node.output in context.views:
        layers.append(gather(context, node.output, node.written, index + len(layers)))
    return layers


def _indices(graph: Graph, node: Node) -> np.ndarray:
    """The constant indices of a Gather."""
    return np.asarray(graph.tensors[node.inputs[1]].data)


def _taken(context: Context, node: ChipNode, index: int, which: slice | np.ndarray) -> list[ChipLayer]:
    layers: list[ChipLayer] = []
    source = context.view(node.source)
    if source.image.channels:  # packed: a view cannot begin within a pixel
        image = context.new_image(context.name(node.source.tensor, node.source.image[2]), node.image)
        layers.append(select(context, node.source.values, source, image, index))
        source = ChannelView(image, source.lanes)
    return layers + _viewed(context, node, source.part(which), index + len(layers))


def _viewed(context: Context, node: ChipNode, view: ChannelView, index: int) -> list[ChipLayer]:
    """Make `view` the result of a node; a layer gives it a buffer of its own where it is needed outside."""
    context.views[node.output] = view
    return [gather(context, node.output, node.written, index)] if node.output in context.wanted else []


def _is_at(context: Context, name: str, part: ChannelView) -> bool:
    view = context.views.get(name)
    return view is not None and (view is part or (view.image == part.image and np.array_equal(view.lanes, part.lanes)))


def gather(context: Context, tensor: str, image: ImageShape, index: int) -> ChipLayer:
    """A layer that gives a tensor a buffer of its own."""
    return select(context, tensor, context.views.pop(tensor), context.new_image(tensor, image), index)


def repeat(context: Context, operand: Operand, channels: int, index: int) -> ChipLayer:
    """A layer that gives all of `channels` the one channel of an operand, in the buffer `repeated` names."""
    lanes = np.repeat(context.lanes_of(operand), channels)
    source = ChannelView(context.view(operand).image, lanes)
    image = context.new_image(repeated(context, operand, channels), (*operand.image[:2], channels))
    return select(context, operand.values, source, image, index)


def repeated(context: Context, operand: Operand, channels: int) -> str:
    return context.name(operand.tensor, "repeated", channels)


def pack(context: Context, operand: Operand, index: int) -> ChipLayer:
    """A layer that writes a tensor to memory without unused lanes, so that it can be read with other channels."""
    shape = image_of(context.graph, operand.tensor)
    output = replace(context.new_image(context.name(operand.tensor, "packed"), shape), channels=shape[2])
    own = replace(operand, image=shape, packed=False)
    return replace(select(context, operand.tensor, context.view(own), output, index), op="Reshape")


def select(context: Context, tensor: str, view: ChannelView, output: Image, index: int,
           kept: np.ndarray | None = None) -> ChipLayer:
    """Channels of `view` to the lanes of `output`: a copy, or sums with weights 0 and 1. Lanes for which `kept` is
    False become 0."""
    shape = (1, output.height, output.width, len(view.lanes))
    source = view.image.seen_as((output.height, output.width))
    common: dict[str, Any] = {
        "kernel": (1, 1), "stride": (1, 1), "dilation": (1, 1), "origin": (0, 0), "column_bytes": context.lanes,
        "checks_columns": True, "out_zero": 0, "out_min": -128, "out_max": 127, "input_shape": shape,
        "output_shape": shape, "rounding": Rounding.FLOAT if context.floats else Rounding.DOUBLE,
        "parts": [Part((0, output.height), (0, output.width))]}
    if view.plain and kept is None:
        return ChipLayer(index, tensor, "Copy", TensorOpcode.MAX, source, output, pad=-128,
                         params=[context.identity()], **common)
    ones = np.ones(len(view.lanes), np.int8) if kept is None else kept.astype(np.int8)
    tiles, first = make_tiles(context.lanes, ones.reshape(-1, 1, 1, 1), np.arange(len(ones)), view.lanes)
    return ChipLayer(index, tensor, "Select", TensorOpcode.DOT, source, output, pad=0,
                     params=[context.identity()] * len(tiles), weights=tiles, first_block=first, **common)


def pad_channels(context: Context, node: ChipNode, index: int, op: Pad) -> ChipLayer:
    """A Pad that adds channels (and perhaps pixels): channels move by weights 0 and 1, new ones are the bias alone."""
    lanes = context.lanes
    source = node.image
    output = node.written
    count = source[2]
    value = int(op.value)
    old = np.arange(output[2]) - op.widths[-1][0]  # the channel that was there, outside of 0..count for new ones
    new = (old < 0) | (old >= count)
    tiles, first = make_tiles(lanes, (~new).astype(np.int8).reshape(-1, 1, 1, 1), np.clip(old, 0, count - 1),
                              context.lanes_of(node.source))
    bias = new * value
    ones = np.full(len(new), 1 << 30)  # with a left shift of 1: a factor of 1
    records = [quantize.pack_parameters(bias[o:o + lanes], ones[o:o + lanes], (1, 0), lanes)
               for o in range(0, len(new), lanes)]
    return ChipLayer(
        index, node.name, "Pad", TensorOpcode.DOT, context.read(node.source), context.write(node), kernel=(1, 1),
        stride=(1, 1), dilation=(1, 1), origin=padded_before(op), column_bytes=lanes, checks_columns=True, pad=value,
        params=records, out_zero=0, out_min=-128, out_max=127, weights=tiles, first_block=first,
        parts=[Part((0, output[0]), (0, output[1]))], input_shape=(1, *source), output_shape=(1, *output))


def padded_before(op: Pad) -> tuple[int, int]:
    """Rows and columns that a Pad adds before an image."""
    (above, _), (left, _) = ((0, 0), (0, 0), *op.widths)[-3:-1]
    return above, left


def pad(context: Context, node: ChipNode, index: int, phase: Phase, op: Pad) -> ChipLayer:
    """A Pad of rows and columns alone reads beyond the image."""
    if any(op.widths[-1]):
        return pad_channels(context, node, index, op)
    layer = read_and_write(context, node, index, phase, op)
    layer.origin = padded_before(op)
    layer.pad = int(op.value)
    return layer


def cut(context: Context, node: ChipNode, index: int, phase: Phase, op: Slice) -> ChipLayer:
    """A Slice of rows and columns."""
    layer = read_and_write(context, node, index, phase, op)
    layer.origin = -op.begin[-3], -op.begin[-2]
    layer.stride = op.step[-3], op.step[-2]
    return layer


def refuse_concat(graph: Graph, node: Node, op: Concat) -> str | None:
    """Why the chip cannot concatenate; it joins channels, which only renames lanes, and consecutive pixels, which are
    written to their places."""
    shape = graph.tensors[node.outputs[0]].shape
    axis = op.axis % len(shape)
    if axis != len(shape) - 1 and not _in_line(shape, axis):
        return f"axis {op.axis} is neither the last, that of channels, nor the first with several pixels"
    return constants(graph, node)


def _in_line(shape: tuple[int, ...], axis: int) -> bool:
    """Whether places along an axis of a tensor of pixels follow one another: its images are one row, or few."""
    return len(shape) < 4 and axis < len(shape) - 1 and prod(shape[:axis]) == 1


def pixel_run(graph: Graph, node: Node, op: Slice) -> int | None:
    """The first of the pixels that a Slice takes, where they follow one another; None for others."""
    shape = tuple(map(int, graph.tensors[node.inputs[0]].shape))
    axes = _cut_axes(graph, node, op)
    if len(axes) != 1 or not _in_line(shape, axes[0]) or op.step[axes[0]] != 1:
        return None
    return op.begin[axes[0]] * prod(shape[axes[0] + 1:-1])


def _cut_axes(graph: Graph, node: Node, op: Slice) -> list[int]:
    """The axes of which a Slice leaves something out."""
    shape = graph.tensors[node.inputs[0]].shape
    return [i for i, axis in enumerate(zip(op.begin, op.end, op.step, shape, strict=True))
            if axis[:3] != (0, axis[3], 1)]


def _cuts_image(axes: list[int], rank: int) -> bool:
    """True for a Slice that takes pixels away. One of channels only renames lanes."""
    return rank == 4 and min(axes, default=-1) in (1, 2)


def slice_moves(graph: Graph, node: Node, op: Slice) -> bool:
    return not _cuts_image(_cut_axes(graph, node, op), len(op.begin))


def refuse_slice(graph: Graph, node: Node, op: Slice) -> str | None:
    axes = _cut_axes(graph, node, op)
    rank = len(op.begin)
    if 0 in graph.tensors[node.outputs[0]].shape:
        return "the result has no elements"
    if _cuts_image(axes, rank):
        if 3 in axes:
            return "it cuts both pixels and channels"
        if min(op.step[1:3]) < 1 or max(op.step[1:3]) > BYTE:
            return f"steps {op.step[1:3]} must be in 1..{BYTE}"
    elif any(axis != rank - 1 for axis in axes) and pixel_run(graph, node, op) is None:
        return "it cuts another axis than the channels, or the rows and columns, of one image"
    return constants(graph, node)


def refuse_pad(graph: Graph, node: Node, op: Pad) -> str | None:
    """Why the chip cannot pad with a constant."""
    rank = len(op.widths)
    if any(any(widths) for axis, widths in enumerate(op.widths) if axis < rank - 3) or (
            rank < 4 and any(any(widths) for widths in op.widths[:-1])):
        return "it pads another axis than the channels, rows and columns of one image"
    padding = (op.widths[1], op.widths[2]) if rank == 4 else ((0, 0), (0, 0))
    return constants(graph, node) or window(image_of(graph, node.inputs[0]), (1, 1), padding=padding)


def refuse_reshape(graph: Graph, node: Node, op: Reshape) -> str | None:
    return constants(graph, node)


def always(graph: Graph, node: Node, op: Op) -> bool:
    """True: the operator only says where channels are."""
    return True


RULES: dict[type[Op], Rule] = {
    Concat: Rule(refuse_concat, moves=always, move=join, operand_places=operand_places),
    Slice: Rule(refuse_slice, cut, moves=slice_moves, move=take),
    Reshape: Rule(refuse_reshape),
}
