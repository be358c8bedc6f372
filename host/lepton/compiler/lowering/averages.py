"""Averages as SUM layers: parameter records that divide a sum as the framework does, one for each number of pixels."""

import numpy as np

from ...arch import Rounding, TensorOpcode
from ...graph import AveragePool2D, GraphError, Tensor
from ...graph.numerics.fixedpoint import split_shift
from ...graph.numerics.requantize import float_average_scale, mean_multiplier
from .. import quantize
from ..averaging import float_averages, unsigned_average
from ..chip_node import ChipNode
from ..layers import ChipLayer, Part
from .context import Context, scale_of


def mean(context: Context, layer: ChipLayer, source: Tensor, output: Tensor) -> None:
    """Make `layer` the mean over its kernel, all rows or columns, or both."""
    count = layer.kernel[0] * layer.kernel[1]
    if context.floats:
        scale = float_average_scale(context.graph.arithmetic, scale_of(source), scale_of(output), count)
        multiplier, shift = quantize.float_multiplier(scale)
        quantize.check_float_range(np.array([-source.zero_point * count]), np.ones((1, count)), np.array([shift]))
    else:
        multiplier, shift = mean_multiplier(scale_of(source), scale_of(output), count)
    layer.opcode = TensorOpcode.SUM
    layer.pad = 0
    layer.out_zero = output.zero_point
    layer.params = [context.uniform(-source.zero_point * count, multiplier, *split_shift(shift))]


def pool(context: Context, layer: ChipLayer, node: ChipNode, op: AveragePool2D) -> None:
    """Make `layer` averages over windows: one part for each rectangle of output pixels whose windows hold equally many
    pixels of the image."""
    source, output = (context.graph.tensors[name] for name in (node.node.inputs[0], node.node.outputs[0]))
    layer.opcode = TensorOpcode.SUM
    layer.pad = 0
    if op.count_padding:
        layer.pad = source.zero_point  # the real number 0, which counts like any other pixel
        parts = [((part.rows, part.columns), op.kernel[0] * op.kernel[1]) for part in layer.parts]
    else:
        spans = [_equal_counts(part, node.image[axis], op.kernel[axis], op.stride[axis], op.padding[axis][0])
                 for axis, part in enumerate((layer.output.height, layer.output.width))]
        parts = [((rows, columns), y * x) for rows, y in spans[0] for columns, x in spans[1]]
    layer.parts = [Part(*spans, i) for i, (spans, _) in enumerate(parts)]
    try:
        if context.floats:
            layer.out_zero, records = float_averages(
                (scale_of(source), source.zero_point), (scale_of(output), output.zero_point), [n for _, n in parts], op,
                context.graph.arithmetic)
            layer.params = [context.uniform(*record) for record in records]
        elif op.unsigned:
            layer.rounding = Rounding.SINGLE
            layer.out_zero = -128
            layer.params = [context.uniform(*unsigned_average(count)) for _, count in parts]
        else:
            layer.params = [context.uniform(0, *quantize.average_multiplier(count)) for _, count in parts]
    except GraphError as error:
        raise GraphError(f"{node.node.label}: {error}") from error


def _equal_counts(outputs: int, extent: int, kernel: int, stride: int,
                  before: int) -> list[tuple[tuple[int, int], int]]:
    """Runs of output positions [start, stop) along one axis with the number of image positions in their windows."""
    runs: list[tuple[tuple[int, int], int]] = []
    for o in range(outputs):
        first = o * stride - before
        count = max(min(first + kernel, extent) - max(first, 0), 0)
        if count == 0:
            raise GraphError("a window lies wholly in the padding; there is nothing to average")
        if runs and runs[-1][1] == count:
            runs[-1] = ((runs[-1][0][0], o + 1), count)
        else:
            runs.append(((o, o + 1), count))
    return runs
