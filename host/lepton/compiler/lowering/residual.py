"""Sums, differences and products in the tail: the layer's own value and a residual, rounded as the framework does."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...arch import Rounding
from ...graph import Add, Graph, GraphError, Mul, Node, Op, Sub, Tensor
from ...graph.interpret import compute
from ...graph.numerics.requantize import add_parameters
from .. import residual_fit
from ..chip_node import ChipNode
from ..images import image_of, repeated_image
from ..layers import ChipLayer
from ..rule import Fusion, Rule
from .channels import repeated
from .context import Context, scale_of
from .lanewise import read_and_write
from .limits import window

_BYTES = np.arange(-128, 128).astype(np.int8)
Scales = tuple[float, float, float]  # of the layer's own value, of the residual, of the output
Zeros = tuple[int, int, int]


def refuse(graph: Graph, node: Node, op: Add | Sub | Mul) -> str | None:
    """Why the tail cannot compute it. One operand must have the shape of the result, the other the same, or one row,
    column or channel for all."""
    try:
        a, b = (repeated_image(graph, node, i) for i in (0, 1))
    except GraphError as error:
        return str(error)
    constant = [graph.tensors[name].data is not None for name in node.inputs]
    result = image_of(graph, node.outputs[0])
    if result not in (a, b):
        return f"neither operand, {a} and {b} as (height, width, channels), has the result's shape {result}"
    if all(constant):
        return "both operands are constant"
    if result not in [image for image, known in zip((a, b), constant, strict=True) if not known]:
        return "the computed operand is repeated over the constant one"
    return window(result)


def add(context: Context, layer: ChipLayer, node: ChipNode, op: Add) -> None:
    """Let `layer` add the residual that is fused into `node`."""
    scales, zeros = _read(context, layer, node)
    if context.floats:
        layer.add = _fitted(context, node, scales, zeros, (1, 1))
        return
    try:
        layer.add = add_parameters(*scales)
    except GraphError as error:
        raise GraphError(f"{node.in_tail()[0].label}: {error}") from error
    layer.add |= {"add": 1, "add_zero_a": zeros[0], "add_zero_b": zeros[1], "add_zero_o": zeros[2],
                  "add_min": op.clamp[0], "add_max": op.clamp[1]}


def subtract(context: Context, layer: ChipLayer, node: ChipNode, op: Sub) -> None:
    """Let `layer` subtract the residual that is fused into `node`, or be subtracted from it."""
    scales, zeros = _read(context, layer, node)
    layer.add = _fitted(context, node, scales, zeros, (1, -1) if node.own_first else (-1, 1))


def multiply(context: Context, layer: ChipLayer, node: ChipNode, op: Mul) -> None:
    """Let `layer` multiply by the residual that is fused into `node`."""
    scales, zeros = _read(context, layer, node)
    ratio = float(np.float32(scales[0]) * np.float32(scales[1]) / np.float32(scales[2]))
    layer.add = _required(context, node, scales, zeros, lambda table: residual_fit.fit_product(
        table, ratio, zeros, Rounding.FLOAT if context.floats else Rounding.DOUBLE))


def _read(context: Context, layer: ChipLayer, node: ChipNode) -> tuple[Scales, Zeros]:
    """Give the layer its residual; (scales, zero points) of own value, residual and output."""
    tensors = context.graph.tensors
    fused, operand = node.in_tail()
    own = tensors[node.own]
    residual = tensors[node.other]
    output = tensors[fused.outputs[0]]
    rows = _rows(context, layer, node)
    channels = node.written[2]
    if operand.image[2] < channels and not operand.constant:  # `Lowering` has made a copy with all channels
        layer.residual = context.new_image(repeated(context, operand, channels), (*rows, channels))
    else:
        layer.residual = context.read(operand, rows)
    if fused is not node.node:
        layer.op += f"+{type(fused.op).__name__}"
        layer.output_shape = tuple(output.shape)
    return ((scale_of(own), scale_of(residual), scale_of(output)),
            (own.zero_point, residual.zero_point, output.zero_point))


def _rows(context: Context, layer: ChipLayer, node: ChipNode) -> tuple[int, int]:
    """Height and width in which the layer reads its residual. Raises `GraphError` where it splits pixels into other
    rows than a residual that is repeated over some of them."""
    fused, operand = node.in_tail()
    own = layer.output.height, layer.output.width
    height, width, _ = operand.image
    if height * width == own[0] * own[1]:
        return own
    if height * width > 1 and own != image_of(context.graph, fused.outputs[0])[:2]:
        raise GraphError(f"{fused.label}: the layer has {own[0]} x {own[1]} pixels where its operand of {height} x "
                         f"{width} is repeated")
    return height, width


def _fitted(context: Context, node: ChipNode, scales: Scales, zeros: Zeros, signs: tuple[int, int]) -> dict[str, int]:
    """Fields that give the framework's result for every pair of bytes. `signs`: of own value and residual."""
    if context.floats:
        ratios = (signs[0] * scales[0] / scales[2], signs[1] * scales[1] / scales[2])
        return _required(context, node, scales, zeros, lambda table: residual_fit.fit_float(table, ratios, zeros))
    return _required(context, node, scales, zeros, lambda table: residual_fit.fit_fixed(table, scales, zeros, signs))


def _required(context: Context, node: ChipNode, scales: Scales, zeros: Zeros,
              fit: Callable[[np.ndarray], dict[str, int] | None]) -> dict[str, int]:
    """What `fit` finds for the framework's results; computed once for equal nodes, as in recurrent layers."""
    fused, _ = node.in_tail()
    key = fused.op, scales, zeros, node.own_first
    if key not in context.fitted:
        context.fitted[key] = fit(_results(context, node))
    fields = context.fitted[key]
    if fields is None:
        raise GraphError(f"{fused.label}: no integers give the results that the framework gives")
    return fields


def _results(context: Context, node: ChipNode) -> np.ndarray:
    """int8 (256, 256), [own value + 128, residual + 128]: the host's kernel on every pair, in the graph's order."""
    tensors = context.graph.tensors
    fused, _ = node.in_tail()
    names = [node.own, node.other]
    values = [_BYTES[:, None], _BYTES[None, :]]
    operands = [replace(tensors[name], shape=value.shape, data=None)
                for name, value in zip(names if node.own_first else names[::-1], values, strict=True)]
    output = tensors[fused.outputs[0]]
    every = Tensor(output.name, (256, 256), output.dtype, output.quantization)
    table = compute(fused.op, context.graph.arithmetic, operands, values, every)
    return table if node.own_first else table.T


RULES: dict[type[Op], Rule] = {
    Add: Rule(refuse, read_and_write, fusion=Fusion.RESIDUAL, fuse=add),
    Sub: Rule(refuse, read_and_write, fusion=Fusion.RESIDUAL, fuse=subtract),
    Mul: Rule(refuse, read_and_write, fusion=Fusion.RESIDUAL, fuse=multiply),
}
