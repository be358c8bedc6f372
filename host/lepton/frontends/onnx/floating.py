"""Layers that nothing quantizes, or whose operands are not 8-bit values: in float32 on the host."""

from lepton.graph import FloatConv, FloatConvTranspose
from lepton.graph.builder import Value
from lepton.graph.composites import clamp

from .elementwise import binary
from .layers import BINARY
from .node import OnnxNode, Rule
from .products import GemmOptions, matrix_product
from .state import ImportState
from .values import FLOAT32, Pending
from .windows import sliding, transposed_window


def _operands(node: OnnxNode) -> list[Value]:
    """The tensors of a layer's operands; a bias that is left out is not among them."""
    operands = [node.host(position) for position in range(len(node)) if node.input(position)]
    for operand in operands:
        if operand.dtype != FLOAT32:
            raise node.error(f"operands must be float32, not {operand.dtype}")
    return operands


def _layer(node: OnnxNode) -> list[Value]:
    """Those of a convolution: images and weights of as many dimensions."""
    x, weights, *bias = _operands(node)
    if x.rank < 3 or weights.rank != x.rank:
        raise node.error(f"weights of shape {tuple(weights.shape)} do not fit the input {tuple(x.shape)}")
    return [x, weights, *bias]


def _conv(node: OnnxNode) -> Value:
    operands = _layer(node)
    x, weights = operands[:2]
    w = sliding(node, weights.shape[2:], x.shape[2:])
    return node.state.emit(FloatConv(w.stride, w.dilation, w.padding, node.given.get("group", 1)), operands)


def _conv_transpose(node: OnnxNode) -> Value:
    operands = _layer(node)
    x, weights = operands[:2]
    w = transposed_window(node, weights.shape[2:], x.shape[2:])
    before = tuple(first for first, _ in w.padding)  # the size says what is cut off behind
    op = FloatConvTranspose(w.size, w.stride, w.dilation, before, node.given.get("group", 1))
    return node.state.emit(op, operands)


def _matmul(node: OnnxNode) -> Value:
    a, b = _operands(node)
    return matrix_product(a, b, Value.__matmul__)


def _gemm(node: OnnxNode) -> Value:
    a, b, *biases = _operands(node)
    options = GemmOptions.of(node)
    b = b.transpose((1, 0)) if options.transposed_b else b
    y = matrix_product(options.left(a), b, Value.__matmul__)
    y = y if options.alpha == 1 else y * options.alpha
    for bias in biases:
        y = y + (bias if options.beta == 1 else bias * options.beta)
    return y


def _mean(node: OnnxNode) -> Value:
    x = node.host()
    return x.reduce("mean", node.axes() or range(x.rank), node.flag("keepdims", 1))


_RULES: dict[str, Rule] = {
    **{kind: binary(op) for kind, op in BINARY.items()}, "ReduceMean": _mean, "Conv": _conv,
    "ConvTranspose": _conv_transpose, "Gemm": _gemm, "MatMul": _matmul,
}


def in_float(state: ImportState, value: Pending) -> Value:
    """The tensor of a pending value in float32, with the bounds of the activations behind it."""
    return clamp(_RULES[value.node.op_type](OnnxNode(state, value.node)), *value.bounds)
