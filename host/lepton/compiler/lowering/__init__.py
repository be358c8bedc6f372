"""Operators to `ChipLayer`s: weight tiles, parameter records and walks (design D4).

    context   what all of these modules share: the graph, the chip, and where activations lie
    dot       convolutions and fully connected layers
    folded    the first of them on few channels, kernel columns in lanes
    windows   depthwise convolutions in the window unit
    phases    larger images: one layer for each place of an output pixel among those of an input pixel
    lanewise  pools, means, tables, paddings and cuts: lane by lane
    averages  what divides a sum as the framework does
    channels  concatenations, slices and paddings of channels: other lanes for the same bytes
    residual  additions and subtractions in the tail
"""

import numpy as np

from ...arch import ChipConfig, Rounding
from ...graph import (
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    GraphError,
    Pad,
    Resize,
    Table,
    TransposeConv2D,
)
from ..layers import ChipLayer
from ..partition import NotOnChip, phase_steps
from ..segments import ChipJob, ChipNode
from . import channels, dot, lanewise, phases, residual
from .context import Context


class Lowering:
    """Lowers the nodes of one segment, in order; `context.inputs` collects the layouts of tensors from outside."""

    def __init__(self, graph: Graph, config: ChipConfig, segment: ChipJob):
        self.context = Context(graph, config, segment)
        self.packed: set[str] = set()  # tensors that have been written to memory without unused lanes
        channels.join(self.context, segment)

    def layers(self, node: ChipNode, index: int) -> list[ChipLayer]:
        """The chip's work for a node: usually one layer, none for what only renames lanes, more where channels have
        to be moved first. `index` is that of the first. Raises `GraphError` where a command cannot express it."""
        context = self.context
        weighted = isinstance(node.node.op, Conv2D | FullyConnected | TransposeConv2D)
        made = []
        for operand in node.operands():
            if operand.packed and operand.tensor not in context.outside and operand.tensor not in self.packed:
                made.append(channels.pack(context, operand, index + len(made)))
                self.packed.add(operand.tensor)
        for operand in node.operands():
            view = None if operand.packed else context.views.get(operand.tensor)
            if view is not None and not view.plain and not (weighted and operand is node.source):
                made.append(channels.gather(context, operand.tensor, operand.image, index + len(made)))
        if node.moves:
            return made + channels.move(context, node, index + len(made))
        places = [None]
        if isinstance(node.node.op, Resize | TransposeConv2D):
            places = list(np.ndindex(*phase_steps(context.graph, node.node)))
        return made + [self._layer(node, index + i, place) for i, place in enumerate(places, len(made))]

    def _layer(self, node: ChipNode, index: int, phase: tuple[int, int] | None) -> ChipLayer:
        op, context = node.node.op, self.context
        if isinstance(op, Resize):
            layer = phases.nearest(context, node, index, phase)
        elif isinstance(op, TransposeConv2D):
            layer = phases.transposed(context, node, index, phase)
        elif isinstance(op, Conv2D | DepthwiseConv2D | FullyConnected):
            layer = dot.dot(context, node, index)
        elif isinstance(op, Pad) and any(op.widths[-1]):
            layer = channels.pad(context, node, index)
        else:
            layer = lanewise.lanewise(context, node, index)
        if context.floats:
            layer.rounding = Rounding.FLOAT
        if node.table is not None:
            layer.table = node.table.op.values
            layer.op += "+Table"
            layer.output_shape = tuple(context.graph.tensors[node.table.outputs[0]].shape)
        elif isinstance(op, Table):
            layer.table = op.values
        if node.residual is not None:
            try:
                residual.add(context, layer, node)
            except GraphError as error:  # the sum alone is at fault, not the layer that it was fused into
                raise NotOnChip((node.fused, str(error))) from error
        return layer


__all__ = ["Context", "Lowering"]
