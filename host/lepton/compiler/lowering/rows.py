"""Functions of all channels of a pixel, in the ROWS engine: softmax and layer normalization."""

from math import frexp

import numpy as np

from ...arch import RowsOpcode
from ...arch.rows import EXPONENTIALS, NORM_WORDS, ROW_LENGTH
from ...graph import Arithmetic, Graph, GraphError, LayerNorm, Node, Op, Softmax
from ...graph.ops.softmax import fixed_exponentials, quotient_factor
from ..chip_node import ChipNode
from ..images import image_of
from ..layers import ChipLayer, RowFunction
from ..rule import Phase, Rule
from .context import Context, scale_of
from .lanewise import read_and_write
from .limits import constants, window

_ABOVE_HALF = 2.0**-28  # more than the relative error of the command's reciprocal (2**-29)
_FIXED_SHIFT = 23  # of a result with the scale 1/256, as TFLite's: 31 fraction bits less 8


def refuse_softmax(graph: Graph, node: Node, op: Softmax) -> str | None:
    shape = graph.tensors[node.inputs[0]].shape
    if op.axis % len(shape) != len(shape) - 1:
        return f"a softmax along axis {op.axis}, which is not that of the channels"
    if shape[-1] > ROW_LENGTH:
        return f"a softmax over {shape[-1]} channels; the chip takes up to {ROW_LENGTH}"
    if _is_last(graph, node):
        return "only the host reads its result"
    return constants(graph, node) or window(image_of(graph, node.inputs[0]))


def _is_last(graph: Graph, node: Node) -> bool:
    """Whether no other operator of the graph reads the result."""
    output = node.outputs[0]
    return not any(output in other.inputs for other in graph.nodes)


def softmax(context: Context, node: ChipNode, index: int, phase: Phase, op: Softmax) -> ChipLayer:
    layer = _row_layer(context, node, index, phase, op)
    source, output = (context.graph.tensors[name] for name in (node.node.inputs[0], node.node.outputs[0]))
    layer.out_zero = output.zero_point
    multiplier = 0
    shift = _FIXED_SHIFT
    if context.graph.arithmetic is Arithmetic.FIXED:
        table = fixed_exponentials(scale_of(source), op.beta)
    else:
        steps = np.arange(EXPONENTIALS) * (scale_of(source) * op.beta)
        table = np.minimum(np.rint(np.exp(-steps) * 2.0**31), 2**31 - 1).astype(np.int64)
        factor = quotient_factor(scale_of(output), context.graph.arithmetic)
        multiplier, shift = _factor(factor * (1 + _ABOVE_HALF) if _rounds_up(factor) else factor)
    layer.rows = RowFunction(RowsOpcode.SOFTMAX, {"length": node.image[2], "out_mult": multiplier, "out_shift": shift},
                             table.astype("<u4").tobytes(), "table_addr")
    layer.opcode = RowsOpcode.SOFTMAX
    return layer


def refuse_norm(graph: Graph, node: Node, op: LayerNorm) -> str | None:
    channels = graph.tensors[node.inputs[0]].shape[-1]
    if channels > ROW_LENGTH:
        return f"a normalization over {channels} channels; the chip takes up to {ROW_LENGTH}"
    if graph.tensors[node.inputs[0]].data is not None:
        return "its input is constant"
    return window(image_of(graph, node.inputs[0]))


def norm(context: Context, node: ChipNode, index: int, phase: Phase, op: LayerNorm) -> ChipLayer:
    layer = _row_layer(context, node, index, phase, op)
    graph = context.graph
    output = graph.result(node.node)
    parameters = op.parameters(graph.operands(node.node), output)
    layer.out_zero = output.zero_point
    channels = node.image[2]
    planes = np.zeros((layer.output.blocks * context.lanes, NORM_WORDS), np.uint8)
    planes[:channels, :3] = parameters.factor.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
    planes[:channels, 3:] = parameters.bias.astype("<i4").view(np.uint8).reshape(-1, 4)
    records = planes.reshape(-1, context.lanes, NORM_WORDS).transpose(0, 2, 1)
    layer.rows = RowFunction(RowsOpcode.NORM, {
        "length": channels, "count": channels, "center": op.center, "epsilon": parameters.epsilon,
        "in_zero": graph.tensors[node.node.inputs[0]].zero_point, "out_shift": parameters.shift,
    }, records.tobytes(), "params_addr")
    layer.opcode = RowsOpcode.NORM
    return layer


def _row_layer(context: Context, node: ChipNode, index: int, phase: Phase, op: Op) -> ChipLayer:
    """A layer that reads and writes whole pixels."""
    if not context.config.row_lanes:
        raise GraphError(f"chip {context.config.name!r} has no ROWS engine (row_lanes is 0)")
    layer = read_and_write(context, node, index, phase, op)
    layer.params = []
    return layer


def _rounds_up(factor: float) -> bool:
    """Whether a half that equal maxima give is rounded up.

    ONNX Runtime's factor is an integer, f * 2**n with an odd f. If 2**(n+1) equal maxima have all of the sum, each gets
    the quotient f / 2, which is rounded to the even one of two integers. The command would take the lower one, as its
    reciprocal is a little below the right one.
    """
    integer = int(factor)
    return integer == factor and integer > 0 and (integer // (integer & -integer)) % 4 == 3


def _factor(value: float) -> tuple[int, int]:
    """(out_mult, out_shift) that multiply an exponential's share of the sum by `value`. Raises `GraphError`."""
    if value <= 0:
        raise GraphError("the output's scale must be at most 1")
    fraction, exponent = frexp(value)
    multiplier = round(fraction * 2**31)
    shift = 31 - exponent
    if fraction == 0.5:  # a power of two needs no multiplier
        multiplier = 0
        shift += 1
    if multiplier == 2**31:  # rounded up to a power of two
        multiplier = 0
    if not 0 <= shift <= 31:
        raise GraphError(f"the output's scale must be from 2**-31 to 1, not {1 / value}")
    return multiplier, shift


RULES: dict[type[Op], Rule] = {
    Softmax: Rule(refuse_softmax, softmax, tail=False),
    LayerNorm: Rule(refuse_norm, norm, tail=False),
}
