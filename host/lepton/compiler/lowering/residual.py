"""Additions and subtractions in the tail: the layer's own value and a residual, as the framework rounds them."""

import numpy as np

from ...graph import Add, GraphError, Sub, Tensor
from ...graph.interpret import compute
from ...graph.numerics.requantize import add_parameters
from .. import residual_fit
from ..chip_node import ChipNode
from ..layers import ChipLayer
from .context import Context, scale_of, zero_of

_BYTES = np.arange(-128, 128).astype(np.int8)


def add(context: Context, layer: ChipLayer, node: ChipNode) -> None:
    """Let `layer` add (or subtract) the residual that is fused into `node`."""
    tensors = context.graph.tensors
    fused, operand = node.addition()
    assert isinstance(fused.op, Add | Sub)
    output, residual = tensors[fused.outputs[0]], tensors[node.other]
    layer.residual = context.read(operand, (layer.output.height, layer.output.width))
    operands = tensors[node.own], residual, output
    scales, zeros = tuple(map(scale_of, operands)), tuple(map(zero_of, operands))
    if context.floats or isinstance(fused.op, Sub):
        layer.add = _fitted(context, node, scales, zeros)
    else:
        try:
            layer.add = add_parameters(*scales)
        except GraphError as error:
            raise GraphError(f"{fused.label}: {error}") from error
        layer.add |= {"add": 1, "add_zero_a": zeros[0], "add_zero_b": zeros[1], "add_zero_o": zeros[2],
                      "add_min": fused.op.clamp[0], "add_max": fused.op.clamp[1]}
    if not isinstance(node.node.op, Add | Sub):
        layer.op += f"+{type(fused.op).__name__}"
        layer.output_shape = tuple(output.shape)


def _fitted(context: Context, node: ChipNode, scales: tuple, zeros: tuple) -> dict[str, int]:
    """Fields that give the framework's result for every pair of bytes."""
    fused, first = node.addition()[0], node.own_first
    table = _results(context, node, first)
    signs = (1, -1) if isinstance(fused.op, Sub) else (1, 1)
    signs = signs if first else signs[::-1]
    if context.floats:
        ratios = tuple(sign * scale / scales[2] for sign, scale in zip(signs, scales[:2], strict=True))
        fields = residual_fit.fit_float(table, ratios, zeros)
    else:
        fields = residual_fit.fit_fixed(table, scales, zeros, signs)
    if fields is None:
        raise GraphError(f"{fused.label}: no integers give the results that the framework gives")
    return fields


def _results(context: Context, node: ChipNode, first: bool) -> np.ndarray:
    """int8 (256, 256), [own value + 128, residual + 128]: the host's kernel on every pair, in the graph's order."""
    tensors, fused = context.graph.tensors, node.addition()[0]
    names = [node.own, node.other]
    operands = [tensors[name] for name in (names if first else names[::-1])]
    values = [_BYTES[:, None], _BYTES[None, :]]
    output = tensors[fused.outputs[0]]
    every = Tensor(output.name, (256, 256), output.dtype, output.quantization)
    table = compute(fused.op, context.graph.arithmetic, operands, values, every)
    return table if first else table.T
