"""Limits of the commands' fields that several rules check."""

import numpy as np

from ...arch.commands import Tensor as TensorCommand
from ...graph import Graph, Node
from ...graph.numerics.fixedpoint import quantize_multiplier
from ...graph.numerics.requantize import sum_scales
from ..images import ImageShape

Pair = tuple[int, int]

BYTE = TensorCommand.find("kernel_x").maximum  # stride and dilation have as many bits in a command
_SIGNED = TensorCommand.find("iy0").maximum  # rows and columns are counted from the padding on


def window(image: ImageShape, kernel: Pair = (1, 1), stride: Pair = (1, 1), dilation: Pair = (1, 1),
           padding: tuple[Pair, Pair] = ((0, 0), (0, 0))) -> str | None:
    """Why a walk over an image cannot be expressed; None where it can."""
    for what, pair in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        if max(pair) > BYTE:
            return f"{what} {tuple(map(int, pair))} is above {BYTE}"
    for size, pads in zip(image[:2], padding, strict=True):
        if size + sum(pads) > _SIGNED:
            return f"height and width with padding are at most {_SIGNED}, not {size + sum(pads)}"
    return None


def constants(graph: Graph, node: Node) -> str | None:
    """Why a node with a constant operand is the host's; None where all are computed."""
    if any(graph.tensors[name].data is not None for name in node.inputs):
        return "an operand of it is constant"
    return None


def scales(graph: Graph, node: Node, unsigned: bool) -> str | None:
    """Why the scales of a layer with weights cannot be expressed; None where they can."""
    x, weights, output = (graph.tensors[n] for n in (*node.inputs[:2], node.outputs[0]))
    if x.data is not None:
        return "its input is constant"
    factors = sum_scales(graph.arithmetic, x, weights, output, in_double=not unsigned)
    if quantize_multiplier(float(np.max(factors)))[1] > 31:
        return "the scale of input times weights is 2**31 times that of the output"
    return None
