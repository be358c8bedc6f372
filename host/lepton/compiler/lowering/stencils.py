"""Images whose pixels are weighted sums of few pixels of another image; the weights are products of one for each axis.

Output positions with the same weights, at equal distances, which read input positions at equal distances, are a run. A
layer computes the pixels of one run of rows and one run of columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...arch import Rounding, TensorOpcode
from ...graph import Bilinear, Graph, Node, Op
from ...graph.numerics.fixedpoint import split_shift
from ...graph.ops.bilinear import interpolation_scale
from ...graph.ops.interpolation import Taps
from .. import quantize
from ..chip_node import ChipNode
from ..image import Steps
from ..images import image_of
from ..layers import ChipLayer, Part
from ..rule import Phase
from . import windows
from .context import Context
from .dot import make_tiles
from .lanewise import read_and_write
from .limits import BYTE, window

# Layers of one node. A layer takes some 100 cycles however small it is, in which the host moves about as many words.
_MOST_LAYERS = 144
# Of the weight of a pixel, in int8 addends, each of which takes passes of its own. 8 times as many rows and columns
# take 2, with 15 * 15 of 256 as the largest weight.
_MOST_ADDENDS = 8
_LARGEST_STEP = 16  # between the output positions of a run

Axes = tuple[list[Taps], list[Taps]]  # what each output row and each output column is made of
AxesOf = Callable[[Graph, Node, Any], Axes]


@dataclass(frozen=True)
class Run:
    """Output positions `made`, each by `weights` from the input positions from `read` on."""

    made: Steps
    read: Steps
    weights: tuple[int, ...]


@lru_cache(maxsize=64)  # each of a node's layers asks
def runs(taps: tuple[Taps, ...]) -> list[Run]:
    """Runs that cover all output positions: each the longest that begins at the first position without a run."""
    left = dict(enumerate(taps))
    found: list[Run] = []
    while left:
        at = min(left)
        step = max(range(1, _LARGEST_STEP + 1), key=lambda step: _length(left, at, step))
        count = _length(left, at, step)
        one = left[at]
        move = left[at + step].first - one.first if count > 1 else 1
        found.append(Run(Steps(at, step, count), Steps(one.first, move, count), one.weights))
        for place in range(at, at + step * count, step):
            del left[place]
    return found


def _length(left: dict[int, Taps], at: int, step: int) -> int:
    """Positions of the run from `at` on."""
    first = left[at]
    second = left.get(at + step)
    if second is None or second.weights != first.weights or not 1 <= second.first - first.first <= BYTE:
        return 1
    move = second.first - first.first
    count = 2
    while left.get(at + count * step) == Taps(first.first + count * move, first.weights):
        count += 1
    return count


def refuse(graph: Graph, node: Node, axes: Axes) -> str | None:
    """Why the chip cannot compute such an image; None where it can."""
    too_large = window(image_of(graph, node.inputs[0])) or window(image_of(graph, node.outputs[0]))
    if too_large is not None:
        return too_large
    rows, columns = axes
    count = len(runs(tuple(rows))) * len(runs(tuple(columns)))
    if count > _MOST_LAYERS:
        return f"its rows and columns have too many different weights: they take {count} layers, above {_MOST_LAYERS}"
    largest = max(max(t.weights) for t in rows) * max(max(t.weights) for t in columns)
    if largest > 127 * _MOST_ADDENDS:
        return f"the weight of a pixel is {largest}; the chip takes up to {127 * _MOST_ADDENDS} here"
    return None


def counts(axes_of: AxesOf) -> Callable[[Graph, Node, Any], tuple[int, int] | None]:
    """The numbers of runs of rows and of columns: the phases of a rule."""
    def count(graph: Graph, node: Node, op: Op) -> tuple[int, int] | None:
        rows, columns = axes_of(graph, node, op)
        return len(runs(tuple(rows))), len(runs(tuple(columns)))
    return count


def lower(axes_of: AxesOf) -> Callable[[Context, ChipNode, int, Phase, Any], ChipLayer]:
    """Returns the function that lowers one run of rows and one of columns to a layer."""
    def layer(context: Context, node: ChipNode, index: int, phase: Phase, op: Op) -> ChipLayer:
        assert phase is not None, "it is made of phases"
        rows, columns = (runs(tuple(taps))[i] for taps, i in
                         zip(axes_of(context.graph, node.node, op), phase, strict=True))
        made = read_and_write(context, node, index, phase, op)
        made.output = made.output.every(rows.made, columns.made)
        made.stride = rows.read.step, columns.read.step
        made.origin = -rows.read.first, -columns.read.first
        made.parts = [Part((0, rows.made.count), (0, columns.made.count))]
        weights = np.multiply.outer(rows.weights, columns.weights)
        if weights.size > 1 or isinstance(op, Bilinear):
            _weigh(context, made, node, op, weights)
        return made
    return layer


def _weigh(context: Context, layer: ChipLayer, node: ChipNode, op: Op, weights: np.ndarray) -> None:
    """Make a layer the sums of `weights` (rows, columns) times the pixels of a channel, divided by their sum."""
    channels_there = node.image[2]
    kind = np.int8 if weights.max() <= 127 else np.int16
    values = np.broadcast_to(weights.astype(kind)[None, :, :, None], (channels_there, *weights.shape, 1))
    layer.kernel = (weights.shape[0], weights.shape[1])
    layer.weight_bytes = values.size
    layer.pad = 0
    layer.first_block = list(range(layer.output.blocks))
    shape = windows.window(context, layer.kernel, layer.source.width, layer.output.width, layer.stride, layer.origin[1])
    if weights.size > 1 and shape is not None:
        layer.opcode = TensorOpcode.WINDOW
        layer.window = shape
        layer.weights = windows.tiles(values, shape, context.lanes)
        layer.kernel = len(layer.weights[0][0]), 1
        layer.dilation = shape.rows, 1
    else:
        layer.opcode = TensorOpcode.DOT
        place = np.arange(channels_there)
        layer.weights, layer.first_block = make_tiles(context.lanes, values, place, place)
    _divide(context, layer, node, op, int(weights.sum()))


def _divide(context: Context, layer: ChipLayer, node: ChipNode, op: Op, total: int) -> None:
    """Let a layer divide its sums by `total` and round as the host's kernel does."""
    bias = 0
    multiplier = 1 << 30
    left = 1
    right = total.bit_length() - 1  # `total` is a power of two, see `Weights`
    if isinstance(op, Bilinear):
        source, output = (context.graph.tensors[name] for name in (node.node.inputs[0], node.node.outputs[0]))
        multiplier, shift = quantize.float_multiplier(np.float32(interpolation_scale(source, output, total)))
        left, right = split_shift(shift)
        bias = -source.zero_point * total
        quantize.check_float_range(np.array([bias]), np.full((1, 1), total), np.array([shift]))
        layer.out_zero = output.zero_point
        layer.out_min, layer.out_max = op.clamp
    elif context.floats:
        layer.rounding = Rounding.SINGLE  # floor(x / total) is x / total less a half, rounded with halves up
        bias = -(total // 2)
    channels_there = node.image[2]
    biases = np.full(channels_there, bias, np.int64)
    blocks = [biases[o:o + context.lanes] for o in range(0, channels_there, context.lanes)]
    if quantize.fits_uniform(biases):
        layer.params = [quantize.pack_uniform(block, context.lanes) for block in blocks]
        layer.uniform = {"uniform": 1, "add_mult_a": multiplier, "add_shift_a": left, "add_shift_b": right}
    else:
        layer.params = [quantize.pack_parameters(block, np.full(len(block), multiplier), (left, right), context.lanes)
                        for block in blocks]
