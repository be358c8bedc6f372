"""Resizes, pads that repeat pixels, and rows or columns in another order, as `stencils`."""

from collections.abc import Iterable

import numpy as np

from ...graph import Arithmetic, Bilinear, Gather, Graph, Node, Op, Pad, Resize
from ...graph.ops.interpolation import (
    Taps,
    Weights,
    cut_off_weights,
    float_weights,
    integer_weights,
    nearest_places,
    taps_of,
)
from ..chip_node import ChipNode
from ..images import image_of
from ..layers import ChipLayer
from ..rule import Phase, Rule
from . import channels, stencils
from .context import Context
from .limits import constants
from .stencils import Axes


def _picked(places: Iterable[int]) -> list[Taps]:
    return [Taps(int(place), (1,)) for place in places]


def bilinear_axes(graph: Graph, node: Node, op: Bilinear) -> Axes:
    height, width, _ = image_of(graph, node.inputs[0])
    return op.taps(0, height), op.taps(1, width)


def resize_axes(graph: Graph, node: Node, op: Resize) -> Axes:
    """The pixels that the host's kernel reads, by its weights of 10 bits, whose common factors are left out."""
    image = image_of(graph, node.inputs[0])
    fixed = graph.arithmetic is Arithmetic.FIXED
    if op.mode == "nearest":
        rows, columns = (_picked(nearest_places(op.grid, fixed, axis, image[axis])) for axis in (0, 1))
        return rows, columns
    weights = integer_weights(image, op.grid) if fixed else cut_off_weights(image, op.grid)
    return taps_of(weights, 0), taps_of(weights, 1)


def refuse_resize(graph: Graph, node: Node, op: Resize) -> str | None:
    if op.mode == "bilinear" and graph.arithmetic is Arithmetic.FIXED and op.unsigned:
        return "TFLite interpolates uint8 in float32"
    if op.mode == "bilinear" and graph.arithmetic is not Arithmetic.FIXED:
        image = image_of(graph, node.inputs[0])
        if not op.unsigned:
            return "fractions of negative results are cut off towards zero; the chip rounds down"
        if op.in_float and not _are_whole(float_weights(image, op.grid), cut_off_weights(image, op.grid)):
            return "ONNX Runtime interpolates in float32 with weights that take more than 10 bits"
    return constants(graph, node) or stencils.refuse(graph, node, resize_axes(graph, node, op))


def _are_whole(real: Weights, whole: Weights) -> bool:
    """Whether weights in float32 are those of 10 bits. Then float32 holds the sums of 8-bit values exactly, since
    `stencils.refuse` keeps all weights of a pixel together below 2**13."""
    return all(np.array_equal(a * 1024, b) for ours, theirs in ((real.low_weights, whole.low_weights),
                                                               (real.high_weights, whole.high_weights))
               for a, b in zip(ours, theirs, strict=True))


def pad_axes(graph: Graph, node: Node, op: Pad) -> Axes:
    """The pixels that a pad in another mode than "constant" repeats."""
    image = image_of(graph, node.inputs[0])
    widths = ((0, 0), (0, 0), *op.widths)[-3:-1]
    rows, columns = (_picked(np.pad(np.arange(extent), pair, op.mode))  # type: ignore[call-overload]  # see `Pad.infer`
                     for extent, pair in zip(image, widths, strict=False))
    return rows, columns


def refuse_pad(graph: Graph, node: Node, op: Pad) -> str | None:
    if op.mode == "constant":
        return channels.refuse_pad(graph, node, op)
    rank = len(op.widths)
    if any(any(widths) for axis, widths in enumerate(op.widths) if not rank - 3 <= axis < rank - 1):
        return f"it pads another axis than rows and columns of one image in mode {op.mode!r}"
    return constants(graph, node) or stencils.refuse(graph, node, pad_axes(graph, node, op))


def gather_axes(graph: Graph, node: Node, op: Gather) -> Axes:
    """The rows or columns that constant indices pick."""
    image = image_of(graph, node.inputs[0])
    axis = op.axis - len(graph.tensors[node.inputs[0]].shape) if op.axis >= 0 else op.axis
    indices = np.asarray(graph.tensors[node.inputs[1]].data)
    rows, columns = (_picked(indices % extent if axis == which else np.arange(extent))
                     for which, extent in ((-3, image[0]), (-2, image[1])))
    return rows, columns


def refuse_gather(graph: Graph, node: Node, op: Gather) -> str | None:
    """Why the chip cannot gather; it takes channels, rows or columns of one image at constant places."""
    data = graph.tensors[node.inputs[1]].data
    rank = len(graph.tensors[node.inputs[0]].shape)
    if data is None:
        return "its indices are computed"
    if graph.tensors[node.inputs[0]].data is not None:
        return "an operand of it is constant"
    if data.ndim != 1 or op.axis % rank < rank - 3:
        return (f"it takes along axis {op.axis} with indices of shape {data.shape}; the chip takes channels, rows or "
                "columns")
    return None if picks_channels(graph, node, op) else stencils.refuse(graph, node, gather_axes(graph, node, op))


def picks_channels(graph: Graph, node: Node, op: Gather) -> bool:
    """True for a Gather that only renames lanes."""
    return op.axis % len(graph.tensors[node.inputs[0]].shape) == len(graph.tensors[node.inputs[0]].shape) - 1


def refuse_bilinear(graph: Graph, node: Node, op: Bilinear) -> str | None:
    return constants(graph, node) or stencils.refuse(graph, node, bilinear_axes(graph, node, op))


def pad_phases(graph: Graph, node: Node, op: Pad) -> tuple[int, int] | None:
    return None if op.mode == "constant" else stencils.counts(pad_axes)(graph, node, op)


def pad(context: Context, node: ChipNode, index: int, phase: Phase, op: Pad) -> ChipLayer:
    lower = channels.pad if phase is None else stencils.lower(pad_axes)
    return lower(context, node, index, phase, op)


RULES: dict[type[Op], Rule] = {
    Resize: Rule(refuse_resize, stencils.lower(resize_axes), phases=stencils.counts(resize_axes)),
    Bilinear: Rule(refuse_bilinear, stencils.lower(bilinear_axes), phases=stencils.counts(bilinear_axes)),
    Pad: Rule(refuse_pad, pad, phases=pad_phases),
    Gather: Rule(refuse_gather, stencils.lower(gather_axes), phases=stencils.counts(gather_axes), moves=picks_channels,
                 move=channels.permute_channels),
}
