"""Bilinear interpolation of int8 images."""

from torch.fx import Node

from lepton.graph import Bilinear, Pair, Tensor
from lepton.graph.builder import Value

from .context import ImportContext
from .windows import stated_scales


def bilinear(context: ImportContext, node: Node, output: Tensor, clamp: Pair) -> Value | None:
    """None where the module states other factors than those of the sizes, so that places are no fractions of these."""
    arguments = context.arguments(node)
    x = context.operand(arguments.operand())
    if x is None:
        return None
    height, width = arguments.shape[2:]
    corners = arguments.flag("align_corners")
    scales = stated_scales(arguments)
    if not corners and scales is not None and scales != (height / x.shape[2], width / x.shape[3]):
        return None
    context.at(node)
    return context.images.emit(Bilinear((height, width), corners, clamp), [x], output, context.label(node))
