"""Convolutions and fully connected layers: weight tiles by output block, parameter records, and the walk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arch import TensorOpcode
from ...graph import Conv2D, DepthwiseConv2D, FullyConnected, Graph, GraphError, Node, Op, Tensor
from ...graph.numerics.fixedpoint import quantize_multiplier
from ...graph.numerics.requantize import sum_scales
from ...graph.ops.weights import centred
from .. import quantize, rounding
from ..chip_node import ChipNode
from ..image import Image
from ..images import ImageShape, image_of
from ..layers import ChipLayer, Part, WindowWalk
from ..rule import Phase, Rule
from . import folded, windows
from .context import Context
from .limits import Pair, scales, window


@dataclass(frozen=True, eq=False)
class Products:
    """The operands of a layer with weights, in the same form for all operators.

    values: (outputs, kernel y, kernel x, input channels that an output reads). starts: the first of those channels, by
    output. stride, dilation, padding: (y, x) of the window.
    """

    values: np.ndarray
    starts: np.ndarray
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))


@dataclass(frozen=True, eq=False)
class WeightedWalk:
    """How the chip walks over the source: fields of `ChipLayer`, and its weight tiles."""

    source: Image
    tiles: list[np.ndarray]
    first_block: list[int]
    kernel: Pair
    dilation: Pair
    origin: Pair
    column_bytes: int
    opcode: TensorOpcode = TensorOpcode.DOT
    checks_columns: bool = True
    window: WindowWalk | None = None


def refuse_convolution(graph: Graph, node: Node, op: Conv2D | DepthwiseConv2D) -> str | None:
    _, height, width, _ = graph.tensors[node.inputs[1]].shape
    image = image_of(graph, node.inputs[0])
    return window(image, (height, width), op.stride, op.dilation, op.padding) or scales(graph, node, op.unsigned)


def refuse_dense(graph: Graph, node: Node, op: FullyConnected) -> str | None:
    try:
        image = dense_result(graph, node, op)
    except GraphError as error:
        return str(error)
    return window(image, (1, 1)) or scales(graph, node, op.unsigned)


def takes_rows(graph: Graph, node: Node) -> bool:
    """True where a fully connected layer takes the last axis of its input, row by row; False for all of it at once."""
    return int(np.prod(graph.tensors[node.inputs[0]].shape)) != graph.tensors[node.inputs[1]].shape[1]


def dense_units(graph: Graph, node: Node) -> int:
    """Output channels of a fully connected layer over all of its input; 0 for one that takes rows."""
    return 0 if takes_rows(graph, node) else graph.tensors[node.inputs[1]].shape[0]


def dense_result(graph: Graph, node: Node, op: FullyConnected) -> ImageShape:
    """The image that a fully connected layer writes."""
    image = image_of(graph, node.outputs[0])
    if image[2] != graph.tensors[node.inputs[1]].shape[0]:
        raise GraphError(f"{node.label}: the last axis of {tuple(graph.tensors[node.outputs[0]].shape)} is not that "
                         "of the units")
    return image


def dense_operand(graph: Graph, node: Node, op: FullyConnected, index: int) -> ImageShape:
    """The image that a fully connected layer sees. Rows are independent, so the rows of the output can be its rows."""
    image = image_of(graph, node.inputs[index])
    return (*dense_result(graph, node, op)[:2], image[2]) if takes_rows(graph, node) else image


def convolution(context: Context, node: ChipNode, index: int, phase: Phase, op: Conv2D) -> ChipLayer:
    values = chip_weights(_weights(context, node))
    outputs, _, _, per_group = values.shape
    starts = np.arange(outputs) // (outputs // op.groups) * per_group
    products = Products(values, starts, op.stride, op.dilation, op.padding)
    walk = _folded(context, node, index, products) or _plain(context, node, products)
    return _layer(context, node, index, op, products, walk)


def depthwise(context: Context, node: ChipNode, index: int, phase: Phase, op: DepthwiseConv2D) -> ChipLayer:
    values = chip_weights(_weights(context, node))[0].transpose(2, 0, 1)[..., None]
    products = Products(values, np.arange(len(values)) // op.multiplier, op.stride, op.dilation, op.padding)
    walk = _folded(context, node, index, products)
    if walk is None and op.multiplier == 1:
        walk = _windowed(context, node, products)
    return _layer(context, node, index, op, products, walk or _plain(context, node, products))


def dense(context: Context, node: ChipNode, index: int, phase: Phase, op: FullyConnected) -> ChipLayer:
    height, width, channels = node.image
    kernel = (1, 1) if takes_rows(context.graph, node.node) else (height, width)
    values = chip_weights(_weights(context, node)).reshape(-1, *kernel, channels)
    products = Products(values, np.zeros(len(values), np.int64))
    return _layer(context, node, index, op, products, _plain(context, node, products), double_scales=True)


def _weights(context: Context, node: ChipNode) -> Tensor:
    return context.graph.tensors[node.node.inputs[1]]


def _plain(context: Context, node: ChipNode, products: Products) -> WeightedWalk:
    """A pass for each kernel element and block of input channels."""
    source = context.read(node.source)
    tiles, first = make_tiles(context.lanes, products.values, products.starts, context.lanes_of(node.source))
    _, kernel_y, kernel_x, _ = products.values.shape
    (top, _), (left, _) = products.padding
    return WeightedWalk(source, tiles, first, (kernel_y, kernel_x), products.dilation, (top, left),
                        context.lanes * products.dilation[1])


def _folded(context: Context, node: ChipNode, index: int, products: Products) -> WeightedWalk | None:
    """Kernel columns of few channels in the lanes of one pass; None where that cannot be or saves nothing."""
    values = products.values
    count = folded.passes(context, node, values, products.dilation)
    if count is None:
        return None
    (top, _), (left, _) = products.padding
    source = folded.rows(context, node, index, products.stride, left, count)
    tiles = folded.tiles(values, count, context.lanes)
    return WeightedWalk(source, tiles, [0] * len(tiles), (values.shape[1], count), products.dilation, (top, 0),
                        context.lanes, checks_columns=False)


def _windowed(context: Context, node: ChipNode, products: Products) -> WeightedWalk | None:
    """A pass of the window unit for each group of kernel rows; None where it cannot."""
    _, *kernel, _ = products.values.shape
    (top, _), (left, _) = products.padding
    if tuple(products.dilation) != (1, 1):
        return None
    shape = windows.window(context, (kernel[0], kernel[1]), node.image[1], node.written[1], products.stride, left)
    if shape is None:
        return None
    source = context.read(node.source)
    tiles = windows.tiles(products.values, shape, context.lanes)
    return WeightedWalk(source, tiles, list(range(source.blocks)), (len(tiles[0][0]), 1), (shape.rows, 1), (top, left),
                        context.lanes, TensorOpcode.WINDOW, window=shape)


def _layer(context: Context, node: ChipNode, index: int, op: Op, products: Products, walk: WeightedWalk,
           double_scales: bool = False) -> ChipLayer:
    tensors = context.graph.tensors
    source = tensors[node.node.inputs[0]]
    output = tensors[node.node.outputs[0]]
    height, width, _ = node.written
    layer = ChipLayer(
        index, node.name, type(op).__name__, walk.opcode, walk.source, context.write(node),
        walk.kernel, products.stride, walk.dilation, walk.origin, walk.column_bytes, walk.checks_columns,
        source.zero_point, [], output.zero_point, *op.clamp, weights=walk.tiles, first_block=walk.first_block,
        window=walk.window, arrives=node.source.tensor in context.outside, parts=[Part((0, height), (0, width))],
        macs=height * width * products.values.size, weight_bytes=products.values.size,
        input_shape=tuple(source.shape), output_shape=tuple(output.shape))
    set_parameters(context, layer, node, products.values, double_scales)
    return layer


def chip_weights(weights: Tensor) -> np.ndarray:
    """A layer's weights less their zero points: int8, or int16 where they need more bits."""
    values = centred(weights)
    return values.astype(np.int8) if values.min(initial=0) >= -128 and values.max(initial=0) <= 127 else values


def set_parameters(context: Context, layer: ChipLayer, node: ChipNode, values: np.ndarray,
                   double_scales: bool = False) -> None:
    """Parameter records per output block; short ones where all channels have the same scale.

    values: (outputs, ...), the weights. double_scales: with TFLite's arithmetic, sums are multiplied by their scale in
    double and rounded once, as LiteRT does for fully connected layers.
    The zero point of the input is in the bias: sum(w*(x - z)) = sum(w*x) - z*sum(w).
    """
    tensors = context.graph.tensors
    lanes = context.lanes
    source, weights = (tensors[name] for name in node.node.inputs[:2])
    output = tensors[node.node.outputs[0]]
    outputs = len(values)
    bias = _bias(context, node, outputs)
    bias -= source.zero_point * values.reshape(outputs, -1).sum(axis=1, dtype=np.int64)
    scales = np.broadcast_to(sum_scales(context.graph.arithmetic, source, weights, output, not node.node.op.unsigned),
                             outputs)
    pairs = [quantize.float_multiplier(s) if context.floats else quantize_multiplier(float(s)) for s in scales]
    if max(shift for _, shift in pairs) > 31:
        raise GraphError(f"{node.node.label}: the scale of input times weights must be less than 2**31 times "
                         "that of the output")
    multiplier, shift = np.array(pairs, np.int64).T
    left = np.maximum(shift, 0)
    right = np.maximum(-shift, 0)
    if context.floats:
        quantize.check_float_range(bias, values, shift)
    elif double_scales:
        layer.rounding, multiplier, left, right = rounding.fully_connected(scales, quantize.reach(bias, values),
                                                                           node.node.label)
    blocks = [slice(o, o + lanes) for o in range(0, outputs, lanes)]
    alike = all(len(np.unique(array)) == 1 for array in (multiplier, left, right))
    if alike and node.residual is None and quantize.fits_uniform(bias):
        layer.params = [quantize.pack_uniform(bias[block], lanes) for block in blocks]
        layer.uniform = {"uniform": 1, "add_mult_a": int(multiplier[0]), "add_shift_a": int(left[0]),
                         "add_shift_b": int(right[0])}
    else:
        layer.params = [quantize.pack_parameters(bias[b], multiplier[b], (left[b], right[b]), lanes) for b in blocks]


def _bias(context: Context, node: ChipNode, outputs: int) -> np.ndarray:
    """int64 (outputs,): the layer's bias, 0 without one."""
    bias = np.zeros(outputs, np.int64)
    if len(node.node.inputs) > 2 and node.node.inputs[2]:
        bias += np.asarray(context.graph.tensors[node.node.inputs[2]].data).reshape(-1)
    return bias


def make_tiles(lanes: int, values: np.ndarray, starts: Sequence[int] | np.ndarray,
               place: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """Tiles of every output block over the input blocks that its channels read, and the first of those.

    values: (outputs, kernel y, kernel x, channels of a group); starts: the first channel that each output reads;
    channel c is in lane place[c].
    """
    outputs, kernel_y, kernel_x, per_group = values.shape
    tiles: list[np.ndarray] = []
    first: list[int] = []
    for o in range(0, outputs, lanes):
        read = [place[start:start + per_group] for start in starts[o:o + lanes]]
        low = min(int(r.min()) for r in read) // lanes
        high = max(int(r.max()) for r in read) // lanes + 1
        dense = np.zeros((lanes, kernel_y, kernel_x, (high - low) * lanes), values.dtype)
        for n, where in enumerate(read):
            dense[n][:, :, where - low * lanes] = values[o + n]
        blocked = dense.reshape(lanes, kernel_y, kernel_x, high - low, lanes)
        tiles.append(np.ascontiguousarray(blocked.transpose(3, 1, 2, 0, 4)))
        first.append(low)
    return tiles, first


RULES: dict[type[Op], Rule] = {
    Conv2D: Rule(refuse_convolution, convolution, any_lanes=True),
    # A column of the array works on the lane that it stands on.
    DepthwiseConv2D: Rule(refuse_convolution, depthwise),
    FullyConnected: Rule(refuse_dense, dense, any_lanes=True, read_image=dense_operand, written_image=dense_result,
                         units=dense_units),
}
