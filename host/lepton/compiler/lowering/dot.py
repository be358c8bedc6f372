"""Convolutions and fully connected layers: weight tiles by output block, parameter records, and the walk."""

import numpy as np

from ...arch import TensorOpcode
from ...graph import Conv2D, DepthwiseConv2D, FullyConnected, Graph, GraphError, Node
from ...graph.numerics.fixedpoint import quantize_multiplier
from ...graph.numerics.requantize import sum_scales
from ...graph.ops.weights import centred
from .. import quantize, rounding
from ..chip_node import ChipNode
from ..layers import ChipLayer, Part
from ..operands import image_of, takes_rows, written_image
from ..rule import Phase, Rule
from . import folded, windows
from .context import Context, zero_of
from .limits import scales, window


def refuse_convolution(graph: Graph, node: Node, op: Conv2D | DepthwiseConv2D) -> str | None:
    _, height, width, _ = graph.tensors[node.inputs[1]].shape
    image = image_of(graph, node.inputs[0])
    return window(image, (height, width), op.stride, op.dilation, op.padding) or scales(graph, node, op.unsigned)


def refuse_dense(graph: Graph, node: Node, op: FullyConnected) -> str | None:
    try:
        image = written_image(graph, node)
    except GraphError as error:
        return str(error)
    return window(image, (1, 1)) or scales(graph, node, op.unsigned)


def lower(context: Context, node: ChipNode, index: int, phase: Phase,
          op: Conv2D | DepthwiseConv2D | FullyConnected) -> ChipLayer:
    """The layer of a Conv2D, DepthwiseConv2D or FullyConnected."""
    tensors, lanes = context.graph.tensors, context.lanes
    weights = tensors[node.node.inputs[1]]
    height, width, channels = node.image
    stride, dilation, padding = (1, 1), (1, 1), ((0, 0), (0, 0))
    data = chip_weights(weights)
    if isinstance(op, FullyConnected):
        rows = takes_rows(context.graph, node.node)
        values = data.reshape(-1, *((1, 1) if rows else (height, width)), channels)
    elif isinstance(op, Conv2D):
        values, stride, dilation, padding = data, op.stride, op.dilation, op.padding
    else:
        values = data[0].transpose(2, 0, 1)[..., None]
        stride, dilation, padding = op.stride, op.dilation, op.padding
    outputs, kernel_y, kernel_x, per_group = values.shape
    # the first input channel that each output channel reads
    if isinstance(op, DepthwiseConv2D):
        starts = np.arange(outputs) // op.multiplier
    else:
        starts = np.arange(outputs) // (outputs // getattr(op, "groups", 1)) * per_group
    out_shape = node.written
    source, output = tensors[node.node.inputs[0]], tensors[node.node.outputs[0]]
    passes = folded.passes(context, node, values, dilation)
    window = None if passes is not None else windows.window(context, node, values, stride, dilation, padding, out_shape)
    opcode = TensorOpcode.DOT
    if window is not None:
        image, opcode = context.read(node.source), TensorOpcode.WINDOW
        tiles, first = windows.tiles(values, window, lanes), list(range(image.blocks))
        kernel, origin, column_bytes = (len(tiles[0][0]), 1), (padding[0][0], padding[1][0]), lanes
        dilation = (window.rows, 1)
    elif passes is None:
        image = context.read(node.source)
        tiles, first = make_tiles(lanes, values, starts, context.lanes_of(node.source))
        kernel, origin, column_bytes = (kernel_y, kernel_x), (padding[0][0], padding[1][0]), lanes * dilation[1]
    else:
        image = folded.rows(context, node, index, stride, padding[1][0], out_shape[1], passes, zero_of(source))
        tiles, first = folded.tiles(values, passes, lanes), [0] * -(-outputs // lanes)
        kernel, origin, column_bytes = (kernel_y, passes), (padding[0][0], 0), lanes
    layer = ChipLayer(
        index, node.name, type(op).__name__, opcode, image, context.write(node),
        kernel, stride, dilation, origin, column_bytes, passes is None, zero_of(source),
        [], zero_of(output), *op.clamp, weights=tiles, first_block=first)
    set_parameters(context, layer, node, values, weights)
    layer.parts = [Part((0, out_shape[0]), (0, out_shape[1]))]
    layer.window, layer.arrives = window, node.source.tensor in context.outside
    layer.macs = out_shape[0] * out_shape[1] * values.size
    layer.weight_bytes = values.size
    layer.input_shape, layer.output_shape = tuple(source.shape), tuple(output.shape)
    return layer


def chip_weights(weights) -> np.ndarray:
    """A layer's weights less their zero points: int8, or int16 where they need more bits."""
    values = centred(weights)
    return values.astype(np.int8) if values.min(initial=0) >= -128 and values.max(initial=0) <= 127 else values


def set_parameters(context: Context, layer: ChipLayer, node: ChipNode, values: np.ndarray, weights) -> None:
    """Parameter records per output block; short ones where all channels have the same scale.

    The zero point of the input is in the bias: sum(w*(x - z)) = sum(w*x) - z*sum(w).
    """
    tensors, lanes = context.graph.tensors, context.lanes
    source, output = tensors[node.node.inputs[0]], tensors[node.node.outputs[0]]
    outputs = len(values)
    bias = np.zeros(outputs, np.int64)
    if len(node.node.inputs) > 2 and node.node.inputs[2]:
        bias += np.asarray(tensors[node.node.inputs[2]].data).reshape(-1)
    bias -= zero_of(source) * values.reshape(outputs, -1).sum(axis=1, dtype=np.int64)
    scales = np.broadcast_to(sum_scales(context.graph.arithmetic, source, weights, output, not node.node.op.unsigned),
                             outputs)
    pairs = [quantize.float_multiplier(s) if context.floats else quantize_multiplier(float(s)) for s in scales]
    if max(shift for _, shift in pairs) > 31:
        raise GraphError(f"{node.node.label}: the scale of input times weights must be less than 2**31 times "
                         "that of the output")
    multiplier, shift = np.array(pairs, np.int64).T
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    if context.floats:
        quantize.check_float_range(bias, values, shift)
    elif isinstance(node.node.op, FullyConnected):
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


def make_tiles(lanes: int, values: np.ndarray, starts: np.ndarray,
               place: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """Tiles of every output block over the input blocks that its channels read, and the first of those.

    values: (outputs, kernel y, kernel x, channels of a group); starts: the first channel that each output reads;
    channel c is in lane place[c].
    """
    outputs, kernel_y, kernel_x, per_group = values.shape
    tiles, first = [], []
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


RULES = {
    Conv2D: Rule(refuse_convolution, lower, any_lanes=True),
    DepthwiseConv2D: Rule(refuse_convolution, lower),  # a column of the array works on the lane that it stands on
    FullyConnected: Rule(refuse_dense, lower, any_lanes=True),
}
