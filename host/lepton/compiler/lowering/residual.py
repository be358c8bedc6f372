"""Additions and subtractions in the tail: the layer's own value and a residual, as the framework rounds them."""

from dataclasses import replace

import numpy as np

from ...graph import Add, Graph, GraphError, Node, Op, Sub, Tensor
from ...graph.interpret import compute
from ...graph.numerics.requantize import add_parameters
from .. import residual_fit
from ..chip_node import ChipNode
from ..layers import ChipLayer
from ..rule import Fusion, Rule
from .context import Context, scale_of
from .lanewise import read_and_write, refuse_lanewise

_BYTES = np.arange(-128, 128).astype(np.int8)
Scales = tuple[float, float, float]  # of the layer's own value, of the residual, of the output
Zeros = tuple[int, int, int]


def refuse_sum(graph: Graph, node: Node, op: Add | Sub) -> str | None:
    a, b = (tuple(graph.tensors[name].shape) for name in node.inputs)
    if a != b:
        return f"shapes {a} and {b} differ"
    return refuse_lanewise(graph, node, op)


def add(context: Context, layer: ChipLayer, node: ChipNode, op: Add) -> None:
    """Let `layer` add the residual that is fused into `node`."""
    scales, zeros = _read(context, layer, node)
    if context.floats:
        layer.add = _fitted(context, node, scales, zeros, (1, 1))
        return
    try:
        layer.add = add_parameters(*scales)
    except GraphError as error:
        raise GraphError(f"{node.addition()[0].label}: {error}") from error
    layer.add |= {"add": 1, "add_zero_a": zeros[0], "add_zero_b": zeros[1], "add_zero_o": zeros[2],
                  "add_min": op.clamp[0], "add_max": op.clamp[1]}


def subtract(context: Context, layer: ChipLayer, node: ChipNode, op: Sub) -> None:
    """Let `layer` subtract the residual that is fused into `node`, or be subtracted from it."""
    scales, zeros = _read(context, layer, node)
    layer.add = _fitted(context, node, scales, zeros, (1, -1) if node.own_first else (-1, 1))


def _read(context: Context, layer: ChipLayer, node: ChipNode) -> tuple[Scales, Zeros]:
    """Give the layer its residual; (scales, zero points) of own value, residual and output."""
    tensors = context.graph.tensors
    fused, operand = node.addition()
    own = tensors[node.own]
    residual = tensors[node.other]
    output = tensors[fused.outputs[0]]
    layer.residual = context.read(operand, (layer.output.height, layer.output.width))
    if fused is not node.node:
        layer.op += f"+{type(fused.op).__name__}"
        layer.output_shape = tuple(output.shape)
    return ((scale_of(own), scale_of(residual), scale_of(output)),
            (own.zero_point, residual.zero_point, output.zero_point))


def _fitted(context: Context, node: ChipNode, scales: Scales, zeros: Zeros, signs: tuple[int, int]) -> dict[str, int]:
    """Fields that give the framework's result for every pair of bytes. `signs`: of own value and residual."""
    table = _results(context, node)
    if context.floats:
        ratios = (signs[0] * scales[0] / scales[2], signs[1] * scales[1] / scales[2])
        fields = residual_fit.fit_float(table, ratios, zeros)
    else:
        fields = residual_fit.fit_fixed(table, scales, zeros, signs)
    if fields is None:
        raise GraphError(f"{node.addition()[0].label}: no integers give the results that the framework gives")
    return fields


def _results(context: Context, node: ChipNode) -> np.ndarray:
    """int8 (256, 256), [own value + 128, residual + 128]: the host's kernel on every pair, in the graph's order."""
    tensors = context.graph.tensors
    fused, _ = node.addition()
    names = [node.own, node.other]
    values = [_BYTES[:, None], _BYTES[None, :]]
    operands = [replace(tensors[name], shape=value.shape, data=None)
                for name, value in zip(names if node.own_first else names[::-1], values, strict=True)]
    output = tensors[fused.outputs[0]]
    every = Tensor(output.name, (256, 256), output.dtype, output.quantization)
    table = compute(fused.op, context.graph.arithmetic, operands, values, every)
    return table if node.own_first else table.T


RULES: dict[type[Op], Rule] = {
    Add: Rule(refuse_sum, read_and_write, fusion=Fusion.RESIDUAL, fuse=add),
    Sub: Rule(refuse_sum, read_and_write, fusion=Fusion.RESIDUAL, fuse=subtract),
}
