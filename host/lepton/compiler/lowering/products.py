"""Products of two computed tensors, and transposes of pixels and channels: the weights are an activation in memory.

In the blocked layout as many neighbouring pixels of a block of channels as the array has columns are a weight tile:
output channel n is pixel n. The layer that makes the tensor stores it, and it is loaded into the weight memory.

A transpose is the product of the unit matrix with the tensor: pixel m of the result is channel m of all pixels.
"""

from dataclasses import replace
from math import prod

import numpy as np

from ...arch import Rounding, TensorOpcode
from ...graph import Graph, HeadProduct, Node, Op, Tensor, Transpose
from ...graph.numerics.fixedpoint import quantize_multiplier, split_shift
from ...graph.numerics.requantize import sum_scales
from ...graph.operands import Pair
from .. import quantize
from ..chip_node import ChipNode
from ..image import Image
from ..images import ImageShape, Operand
from ..layers import Addend, ChipLayer, Part, TilesInMemory
from ..rule import Rule
from ..views import ChannelView, side_by_side
from .channels import always, gather, select
from .context import Context
from .limits import constants, scales, window

_INT32_MAX = 2**31 - 1


def refuse_product(graph: Graph, node: Node, op: HeadProduct) -> str | None:
    reason = constants(graph, node) or scales(graph, node, unsigned=False)
    if reason is None:
        pixels = [prod(graph.tensors[name].shape[:-1]) for name in (*node.inputs, *node.outputs)]
        reason = window((1, max(pixels), op.depth))
    return reason


def refuse_transpose(graph: Graph, node: Node, op: Transpose) -> str | None:
    """Why the chip cannot transpose; it exchanges the last axis with the one before it, image by image."""
    shape = tuple(map(int, graph.tensors[node.inputs[0]].shape))
    if _exchanged(shape, op) is None:
        return f"it permutes the axes of {shape} by {tuple(op.order)}; the chip exchanges the last with the one before"
    return constants(graph, node) or window((1, max(prod(shape[:-1]), prod(shape) // shape[-2]), 1))


def _exchanged(shape: tuple[int, ...], op: Transpose) -> tuple[int, int, int] | None:
    """(images, pixels, channels) of what a transpose reads; None where it does not exchange the last two axes."""
    rank = len(shape)
    if rank < 2 or tuple(op.order) != (*range(rank - 2), rank - 1, rank - 2):
        return None
    return prod(shape[:-2]), shape[-2], shape[-1]


def multiply(context: Context, node: ChipNode, index: int, op: HeadProduct) -> list[ChipLayer]:
    """A layer for each head, and before them those that move channels to blocks of their own."""
    tensors = context.graph.tensors
    a, b, output = (tensors[name] for name in (*node.node.inputs, node.node.outputs[0]))
    made: list[ChipLayer] = []
    left = _heads(context, node.source, op.a, op.depth, made, index)
    right = _heads(context, node.others[0], op.b, op.depth, made, index, clean=True)
    record, uniform = _record(context, op, a, b, output)
    addends = tuple(Addend(value, of_pad) for zero, of_pad in ((b.zero_point, False), (a.zero_point, True))
                    for value in _int8_addends(-zero))
    targets, view = _targets(context, node, op)
    for parts in zip(left, right, targets, op.a, op.b, op.out, strict=True):
        images = [image.pixels(pixel, count) for image, (pixel, _), count
                  in zip(parts[:3], parts[3:], (op.rows, op.columns, op.rows), strict=True)]
        source, tiles, target = images
        layer = _product(context, index + _after(made, index), node.name, source,
                         TilesInMemory(tiles, op.depth, addends), target, record)
        layer.op = "MatMul"
        layer.uniform = uniform
        layer.out_zero = output.zero_point
        layer.out_min, layer.out_max = op.clamp
        layer.macs = op.rows * op.columns * op.depth
        layer.input_shape = tuple(map(int, a.shape))
        layer.output_shape = tuple(map(int, output.shape))
        made.append(layer)
    if view is not None:
        context.views[node.output] = view
        if node.output in context.wanted:
            made.append(gather(context, node.output, node.written, made[-1].index + 1))
    return made


def _after(made: list[ChipLayer], index: int) -> int:
    """Indices that the layers before the products take, which share one."""
    return len([layer for layer in made if layer.computed is None])


def _heads(context: Context, operand: Operand, origins: tuple[Pair, ...], depth: int, made: list[ChipLayer],
           index: int, clean: bool = False) -> list[Image]:
    """For each head the blocks with its channels, from the first lane on, of all pixels in one row.

    clean: unused lanes must be 0. Layers that bring channels to their own blocks are added to `made`.
    """
    lanes = context.lanes
    view = context.view(operand)
    height, width, _ = operand.image
    pixels = height * width
    found: list[Image] = []
    for _, channel in origins:
        where = view.lanes[channel:channel + depth]
        start = int(where[0])
        zeros = depth % lanes == 0 or (operand.tensor in context.zeroed and len(view.lanes) == depth)
        if (view.image.channels or start % lanes or not np.array_equal(where, np.arange(start, start + depth))
                or (clean and not zeros)):
            return _moved_heads(context, operand, view, origins, depth, made, index)
        found.append(_as_row(view.image, pixels, lanes).part(start // lanes, -(-depth // lanes)))
    return found


def _moved_heads(context: Context, operand: Operand, view: ChannelView, origins: tuple[Pair, ...], depth: int,
                 made: list[ChipLayer], index: int) -> list[Image]:
    """`_heads` after a layer that moves the channels of every head to separate blocks, with 0 in unused lanes."""
    lanes = context.lanes
    height, width, _ = operand.image
    blocks = -(-depth // lanes)
    first = sorted({channel for _, channel in origins})
    name = context.name(operand.values, "heads", depth, tuple(first))
    image = context.new_image(name, (1, height * width, len(first) * blocks * lanes))
    if name not in context.moved:
        context.moved.add(name)
        place = np.arange(blocks * lanes)
        channels = np.concatenate([channel + np.minimum(place, depth - 1) for channel in first])
        kept = np.tile(place < depth, len(first))
        made.append(select(context, operand.tensor, ChannelView(view.image, view.lanes[channels]), image,
                           index + len(made), kept))
    return [image.part(first.index(channel) * blocks, blocks) for _, channel in origins]


def _as_row(image: Image, pixels: int, lanes: int) -> Image:
    return replace(image, height=1, width=pixels, row_bytes=pixels * lanes)


def _targets(context: Context, node: ChipNode, op: HeadProduct) -> tuple[list[Image], ChannelView | None]:
    """For each head the blocks that it writes, of all pixels in one row; and where channels are if not in order."""
    lanes = context.lanes
    height, width, channels = node.written
    if channels == op.columns or op.columns % lanes == 0:
        whole = _as_row(context.write(node), height * width, lanes)
        return [whole.part(channel // lanes, -(-op.columns // lanes)) for _, channel in op.out], None
    name = context.name(node.output, "heads")
    image = Image(name, 0, 1, height * width, lanes, height * width * lanes)
    view, parts = side_by_side(image, [op.columns] * (channels // op.columns))
    return [parts[channel // op.columns].image for _, channel in op.out], view


def _record(context: Context, op: HeadProduct, a: Tensor, b: Tensor,
            output: Tensor) -> tuple[list[bytes], dict[str, int]]:
    """The parameter records of all output blocks, and the fields of a uniform one."""
    factor = sum_scales(context.graph.arithmetic, a, b, output, in_double=False).reshape(-1)[0]
    bias = np.full(op.columns, op.depth * a.zero_point * b.zero_point, np.int64)
    if context.floats:
        multiplier, shift = quantize.float_multiplier(factor)
        quantize.check_float_range(np.zeros(1, np.int64), np.full((1, op.depth), _reach(a) * _reach(b) // 128 + 1),
                                   np.array([shift]))
    else:
        multiplier, shift = quantize_multiplier(float(factor))
    left, right = split_shift(shift)
    if op.columns % context.lanes == 0 and quantize.fits_uniform(bias):
        record = quantize.pack_uniform(bias[:context.lanes], context.lanes)
        return ([record] * (op.columns // context.lanes),
                {"uniform": 1, "add_mult_a": multiplier, "add_shift_a": left, "add_shift_b": right})
    return _records(context, bias, multiplier, (left, right)), {}


def _records(context: Context, bias: np.ndarray, multiplier: int, shifts: Pair) -> list[bytes]:
    """Records of channels with one factor: those of unused lanes give the zero point, whatever is in their tiles."""
    lanes = context.lanes
    return [quantize.pack_parameters(bias[o:o + lanes], np.full(len(bias[o:o + lanes]), multiplier), shifts, lanes)
            for o in range(0, len(bias), lanes)]


def _reach(tensor: Tensor) -> int:
    """The largest distance of an int8 value from the zero point."""
    return max(127 - tensor.zero_point, 128 + tensor.zero_point)


def _int8_addends(value: int) -> list[int]:
    """`value`, -127..128, as a sum of int8; none for 0."""
    if value == 0:
        return []
    return [value] if value < 128 else [64, value - 64]


def _product(context: Context, index: int, name: str, source: Image, tiles: TilesInMemory, target: Image,
             records: list[bytes]) -> ChipLayer:
    """The layer whose output channel n is the products of all pixels of `source` with pixel n of the tiles."""
    lanes = context.lanes
    shape = np.broadcast_to(np.int8(0), (tiles.image.blocks, 1, 1, lanes, lanes))
    blocks = -(-tiles.image.width // lanes)
    return ChipLayer(
        index, name, "", TensorOpcode.DOT, source, target, kernel=(1, 1), stride=(1, 1), dilation=(1, 1), origin=(0, 0),
        column_bytes=lanes, checks_columns=True, pad=0, params=records, out_zero=0, out_min=-128, out_max=127,
        rounding=Rounding.FLOAT if context.floats else Rounding.DOUBLE, weights=[shape] * blocks, computed=tiles,
        first_block=[0] * blocks, parts=[Part((0, 1), (0, target.width))])


def transpose(context: Context, node: ChipNode, index: int, op: Transpose) -> list[ChipLayer]:
    """A layer for each image and block of its channels, which are as many pixels of the result."""
    lanes = context.lanes
    shape = context.shape(node.node.inputs[0])
    exchanged = _exchanged(shape, op)
    assert exchanged is not None, "others are refused"
    images, pixels, channels = exchanged
    made: list[ChipLayer] = []
    source = _as_row(_in_blocks(context, node.source, made, index), images * pixels, lanes)
    index += len(made)
    target = _as_row(context.write(node), images * channels, lanes)
    unit = context.unit_matrix()
    records = _records(context, np.zeros(pixels, np.int64), 1 << 30, (1, 0))
    for image in range(images):
        for block in range(source.blocks):
            count = min(lanes, channels - block * lanes)
            tiles = source.part(block, 1).pixels(image * pixels, pixels)
            rows = target.pixels(image * channels + block * lanes, count)
            layer = _product(context, index, node.name, unit.pixels(0, count), TilesInMemory(tiles, lanes), rows,
                             records)
            layer.op = "Transpose"
            layer.input_shape = shape
            layer.output_shape = context.shape(node.output)
            made.append(layer)
    context.zeroed.add(node.output)
    return made


def _in_blocks(context: Context, operand: Operand, made: list[ChipLayer], index: int) -> Image:
    """An operand whose blocks are weight tiles. One that is packed is copied first: its pixels are no tiles. The layer
    that copies is added to `made`."""
    image = context.read(operand)
    if not image.channels:
        return image
    channels = operand.image[2]
    name = context.name(operand.tensor, "blocked", channels)
    blocked = context.new_image(name, operand.image)
    if name not in context.moved:
        context.moved.add(name)
        made.append(select(context, operand.tensor, ChannelView(image, np.arange(channels)), blocked, index))
    return blocked


def product_operand(graph: Graph, node: Node, op: Op, index: int) -> ImageShape:
    """All pixels in one row."""
    shape = graph.tensors[node.inputs[index]].shape
    return 1, prod(map(int, shape[:-1])), int(shape[-1])


def whole_row(graph: Graph, node: Node, op: Op) -> ImageShape:
    """All pixels of the result in one row."""
    shape = graph.tensors[node.outputs[0]].shape
    return 1, prod(map(int, shape[:-1])), int(shape[-1])


RULES: dict[type[Op], Rule] = {
    HeadProduct: Rule(refuse_product, any_lanes=True, moves=always, move=multiply, read_image=product_operand,
                      written_image=whole_row),
    Transpose: Rule(refuse_transpose, moves=always, move=transpose, read_image=product_operand,
                    written_image=whole_row),
}
