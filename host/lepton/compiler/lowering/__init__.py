"""Operators to `ChipLayer`s: weight tiles, parameter records and walks (design D4).

    rules     all of them, by operator; each family has its own: why the chip refuses a node, its layers, its fusion
    limits    limits of the commands that several rules share
    context   what all of these modules share: the graph, the chip, and where activations are
    dot       convolutions and fully connected layers
    folded    the first of them on few channels, kernel columns in lanes
    windows   depthwise convolutions in the window unit
    phases    transposed convolutions: one layer for each place of an output pixel among those of an input pixel
    stencils  images that are made of few pixels of another along each axis
    resizes   the operators that are that: resizes, pads that repeat pixels, picked rows and columns
    products  products of two activations, and transposes
    lanewise  pools, means and tables: lane by lane
    rows      softmax: functions of all channels of a pixel
    averages  what divides a sum as the framework does
    channels  concatenations, slices and paddings of channels: other lanes for the same bytes
    residual  additions, subtractions and products of two tensors in the tail
"""

import numpy as np

from ...arch import ChipConfig, Rounding
from ...graph import Graph, GraphError, Node
from ..chip_node import ChipJob, ChipNode
from ..layers import ChipLayer
from ..rule import NotOnChip, Phase
from . import channels
from .context import Context
from .rules import RULES


class Lowering:
    """Lowers the nodes of one segment, in order; `context.inputs` collects the layouts of tensors from outside."""

    def __init__(self, graph: Graph, config: ChipConfig, segment: ChipJob):
        self.context = Context(graph, config, segment)
        self.packed: set[str] = set()  # tensors that have been written to memory without unused lanes
        channels.place_operands(self.context, segment)

    def layers(self, node: ChipNode, index: int) -> list[ChipLayer]:
        """The chip's work for a node: usually one layer, none for what only renames lanes, more where channels have
        to be moved first. `index` is that of the first. Raises `GraphError` where a command cannot express it."""
        made = self._prepared(node, index)
        if node.rule.move is not None and node.moves:
            return made + node.rule.move(self.context, node, index + len(made), node.node.op)
        phases: list[Phase] = [None] if node.phases is None else list(np.ndindex(*node.phases))
        return made + [self._layer(node, index + len(made), phase) for phase in phases]

    def _prepared(self, node: ChipNode, index: int) -> list[ChipLayer]:
        """Layers that bring operands into a form that the node can read."""
        context = self.context
        made: list[ChipLayer] = []
        for operand in node.operands():
            if operand.packed and operand.tensor not in context.outside and operand.tensor not in self.packed:
                made.append(channels.pack(context, operand, index + len(made)))
                self.packed.add(operand.tensor)
        for operand in node.operands():
            view = None if operand.packed else context.views.get(operand.tensor)
            if view is not None and not view.plain and not (node.rule.any_lanes and operand is node.source):
                made.append(channels.gather(context, operand.tensor, operand.image, index + len(made)))
        if node.residual is not None and node.residual.image[2] < node.written[2] and not node.residual.constant:
            made.append(channels.repeat(context, node.residual, node.written[2], index + len(made)))
        return made

    def _layer(self, node: ChipNode, index: int, phase: Phase) -> ChipLayer:
        context = self.context
        assert node.rule.lower is not None, "operators without layers are no chip nodes"
        layer = node.rule.lower(context, node, index, phase, node.node.op)
        if context.floats and layer.rounding is Rounding.DOUBLE:
            layer.rounding = Rounding.FLOAT
        if node.table is not None:
            self._fuse(layer, node, node.table)
        if node.fused is not None:
            try:
                self._fuse(layer, node, node.fused)
            except GraphError as error:  # the sum alone is at fault, not the layer that it was fused into
                raise NotOnChip((node.fused, str(error))) from error
        return layer

    def _fuse(self, layer: ChipLayer, node: ChipNode, fused: Node) -> None:
        rule = RULES[type(fused.op)]
        assert rule.fuse is not None, "only operators with a fusion are fused"
        rule.fuse(self.context, layer, node, fused.op)


__all__ = ["Context", "Lowering"]
