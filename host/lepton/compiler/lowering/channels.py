"""Concatenations, slices and paddings of channels: views where nobody minds, copies where somebody does."""

from dataclasses import replace

import numpy as np

from ...arch import Rounding, TensorOpcode
from ...graph import Concat
from .. import quantize
from ..layers import ChipLayer, Image, Part
from ..segments import ChipNode, Segment
from ..views import View, side_by_side
from .context import Context
from .dot import make_tiles


def join(context: Context, segment: Segment) -> None:
    """Places for the operands of concatenations, where the layers that make them can write them at once."""
    made = {chip.output for chip in segment.chip if not chip.moves}
    for chip in segment.chip:
        if not isinstance(chip.node.op, Concat):
            continue
        for name, part in zip(chip.reads(), _parts(context, chip)[1], strict=True):
            same_shape = context.shape(name) == context.shape(chip.output)[:2] + context.shape(name)[2:]
            if name in made and name not in context.wanted and name not in context.views and same_shape:
                context.views[name] = part


def _parts(context: Context, node: ChipNode) -> tuple[View, list[View]]:
    height, width, _ = context.shape(node.output)
    image = Image(f"{node.output}@parts", 0, height, width, context.lanes, width * context.lanes)
    return side_by_side(image, [context.shape(name)[2] for name in node.reads()])


def move(context: Context, node: ChipNode, index: int) -> list[ChipLayer]:
    """Concat: copies of the operands that do not lie in their places yet. Slice: a view. What is needed outside
    gets a buffer of its own."""
    op, layers = node.node.op, []
    if isinstance(op, Concat):
        view, parts = _parts(context, node)
        for name, part in zip(node.reads(), parts, strict=True):
            if context.views.get(name) is not part and not _lies(context, name, part):
                layers.append(select(context, name, context.view(name), part.image, index + len(layers)))
    else:
        end = op.end[-1] if op.end[-1] >= 0 else None
        view = context.view(node.source).part(slice(op.begin[-1], end, op.step[-1]))
    context.views[node.output] = view
    if node.output in context.wanted:
        layers.append(gather(context, node.output, index + len(layers)))
    return layers


def _lies(context: Context, name: str, part: View) -> bool:
    view = context.views.get(name)
    return view is not None and view.image == part.image and np.array_equal(view.lanes, part.lanes)


def gather(context: Context, tensor: str, index: int) -> ChipLayer:
    """A layer that gives a tensor a buffer of its own."""
    return select(context, tensor, context.views.pop(tensor), context.new_image(tensor, context.shape(tensor)), index)


def select(context: Context, tensor: str, view: View, output: Image, index: int) -> ChipLayer:
    """Channels of `view` to the lanes of `output`: a copy, or sums with weights 0 and 1."""
    shape = (1, output.height, output.width, len(view.lanes))
    source = replace(view.image, height=output.height, width=output.width, row_bytes=output.width * context.lanes)
    common = {"kernel": (1, 1), "stride": (1, 1), "dilation": (1, 1), "origin": (0, 0), "column_bytes": context.lanes,
              "checks_columns": True, "out_zero": 0, "out_min": -128, "out_max": 127, "input_shape": shape,
              "output_shape": shape, "rounding": Rounding.FLOAT if context.floats else Rounding.DOUBLE,
              "parts": [Part((0, output.height), (0, output.width))]}
    if view.plain:
        return ChipLayer(index, tensor, "Copy", TensorOpcode.MAX, source, output, pad=-128,
                         params=[context.identity()], **common)
    ones = np.ones((len(view.lanes), 1, 1, 1), np.int8)
    tiles, first = make_tiles(context.lanes, ones, np.arange(len(ones)), view.lanes)
    return ChipLayer(index, tensor, "Select", TensorOpcode.DOT, source, output, pad=0,
                     params=[context.identity()] * len(tiles), weights=tiles, first_block=first, **common)


def pad(context: Context, node: ChipNode, index: int) -> ChipLayer:
    """A Pad that adds channels (and perhaps pixels): channels move by weights 0 and 1, new ones are the bias alone."""
    op, lanes = node.node.op, context.lanes
    source, output = (context.shape(name) for name in (node.source, node.output))
    count, before, value = source[2], op.widths[-1][0], int(op.value)
    old = np.arange(output[2]) - before  # the channel that was there, outside of 0..count for new ones
    new = (old < 0) | (old >= count)
    tiles, first = make_tiles(lanes, (~new).astype(np.int8).reshape(-1, 1, 1, 1), np.clip(old, 0, count - 1),
                              context.lanes_of(node.source, count))
    bias, ones = new * value, np.full(len(new), 1 << 30)
    records = [quantize.pack_parameters(bias[o:o + lanes], ones[o:o + lanes], (1, 0), lanes)
               for o in range(0, len(new), lanes)]
    origin = (op.widths[-3][0], op.widths[-2][0]) if len(op.widths) > 2 else (0, 0)
    return ChipLayer(
        index, node.name, "Pad", TensorOpcode.DOT, context.image(node.source, source),
        context.image(node.output, output), kernel=(1, 1), stride=(1, 1), dilation=(1, 1), origin=origin,
        column_bytes=lanes, checks_columns=True, pad=value, params=records, out_zero=0, out_min=-128, out_max=127,
        weights=tiles, first_block=first, parts=[Part((0, output[0]), (0, output[1]))], input_shape=(1, *source),
        output_shape=(1, *output))
