"""Layers of the chip: convolutions, linear layers, sums, products, pools and means of int8 values."""

from collections.abc import Callable

import torch
from torch.fx import Node

from lepton.graph import FULL, Add, Mul, Pair, Sub, Tensor
from lepton.graph.builder import Value

from .context import ImportContext
from .nodes import Arguments, name_of
from .operators import Kind, kind
from .pools import mean, pool
from .resizes import bilinear
from .weighted import convolution, linear, transposed_convolution

aten = torch.ops.aten

Bounds = tuple[float | None, float | None]  # of a clamp; None is no bound
Reader = Callable[[ImportContext, Node, Tensor, Pair], Value | None]


def layer(context: ImportContext, quantize: Node, output: Tensor, label: str) -> Value | None:
    """Emits the int8 operator between the operands' dequantize nodes and `quantize`; None where there is none."""
    node = context.arguments(quantize).operand()
    bounds: Bounds = (None, None)
    while kind(node) is Kind.CLAMP:
        bounds = _narrowed(bounds, _bounds(context.arguments(node)))
        node = context.arguments(node).operand()
    reader = _LAYERS.get(kind(node))
    if reader is None:
        return None
    low = FULL[0] if bounds[0] is None else _step(bounds[0], output)
    high = FULL[1] if bounds[1] is None else _step(bounds[1], output)
    return reader(context, node, output, (low, high))


def _bounds(arguments: Arguments) -> Bounds:
    """The smallest and largest result of a clamp."""
    name = name_of(arguments.node)
    if name == "relu":
        return 0.0, None
    if name == "relu6":
        return 0.0, 6.0
    if name == "hardtanh":
        return arguments.number("min_val"), arguments.number("max_val")
    return (arguments.optional_number("min") if arguments.has("min") else None,
            arguments.optional_number("max") if arguments.has("max") else None)


def _narrowed(a: Bounds, b: Bounds) -> Bounds:
    """The bounds that both clamps leave."""
    lows = [low for low in (a[0], b[0]) if low is not None]
    highs = [high for high in (a[1], b[1]) if high is not None]
    return max(lows, default=None), min(highs, default=None)


def _step(bound: float, output: Tensor) -> int:
    """The int8 value of a real bound, as PyTorch quantizes it: times 1 / scale in float32, half to even
    (torch.ops.quantized_decomposed.quantize_per_tensor)."""
    value = float(torch.round(torch.tensor(bound, dtype=torch.float32) * (1.0 / float(output.scale))))
    return int(min(max(value + output.zero_point, FULL[0]), FULL[1]))


def _sum(context: ImportContext, node: Node, output: Tensor, clamp: Pair) -> Value | None:
    operands = context.operands(node.args[:2])
    if operands is None or context.arguments(node).number("alpha") != 1:
        return None
    op = Sub(clamp) if node.target is aten.sub.Tensor else Add(clamp)
    return context.at(node, context.label(node)).emit(op, operands, output=output)


def _product(context: ImportContext, node: Node, output: Tensor, clamp: Pair) -> Value | None:
    operands = context.operands(node.args[:2])
    if operands is None or node.target is not aten.mul.Tensor:
        return None
    return context.at(node, context.label(node)).emit(Mul(clamp), operands, output=output)


_LAYERS: dict[Kind, Reader] = {
    Kind.CONVOLUTION: convolution, Kind.TRANSPOSED: transposed_convolution, Kind.LINEAR: linear, Kind.SUM: _sum,
    Kind.PRODUCT: _product, Kind.POOL: pool, Kind.ADAPTIVE_POOL: mean, Kind.MEAN: mean,
    Kind.BILINEAR: bilinear,
}
