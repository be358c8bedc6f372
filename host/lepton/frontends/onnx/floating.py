"""Layers that nothing quantizes, or whose operands are not 8-bit values: in float32 on the host."""

from lepton.graph import FloatConv, FloatConvTranspose, FloatGemm, MatMul, MatMulNBits
from lepton.graph.builder import Value
from lepton.graph.composites import clamp

from .elementwise import binary
from .layers import BINARY
from .node import OnnxNode, Rule
from .products import GemmOptions
from .state import ImportState
from .values import FLOAT32, Constant, Pending
from .windows import sliding, transposed_window


def _operands(node: OnnxNode) -> list[Value]:
    """The tensors of a layer's operands; a bias that is left out is not among them."""
    operands = [node.host(position) for position in range(len(node)) if node.input(position)]
    for operand in operands:
        if operand.dtype != FLOAT32:
            raise node.error(f"operands must be float32, not {operand.dtype}")
    return operands


def _loaded(node: OnnxNode) -> tuple[int, ...]:
    """The positions of the weights and the bias that are constant for ONNX Runtime."""
    values = {position: node.value(position) for position in range(1, len(node)) if node.input(position)}
    return tuple(position for position, value in values.items() if isinstance(value, Constant) and value.loaded)


def _layer(node: OnnxNode) -> list[Value]:
    """The operands of a convolution: images and weights with the same number of dimensions."""
    x, weights, *bias = _operands(node)
    if x.rank < 3 or weights.rank != x.rank:
        raise node.error(f"weights of shape {tuple(weights.shape)} do not fit the input {tuple(x.shape)}")
    return [x, weights, *bias]


def _conv(node: OnnxNode) -> Value:
    operands = _layer(node)
    x, weights = operands[:2]
    w = sliding(node, weights.shape[2:], x.shape[2:])
    op = FloatConv(w.stride, w.dilation, w.padding, node.given.get("group", 1), _loaded(node))
    return node.state.emit(op, operands)


def _conv_transpose(node: OnnxNode) -> Value:
    operands = _layer(node)
    x, weights = operands[:2]
    w = transposed_window(node, weights.shape[2:], x.shape[2:])
    before = tuple(first for first, _ in w.padding)  # the size says what is cut off behind
    op = FloatConvTranspose(w.size, w.stride, w.dilation, before, node.given.get("group", 1), _loaded(node))
    return node.state.emit(op, operands)


def _matmul(node: OnnxNode) -> Value:
    a, b = _operands(node)
    return a.apply(MatMul(loaded=_loaded(node)), b)


def _gemm(node: OnnxNode) -> Value:
    options = GemmOptions.of(node)
    op = FloatGemm(options.alpha, options.beta, options.transposed_a, options.transposed_b, _loaded(node))
    return node.state.emit(op, _operands(node))


def matmul_bits(node: OnnxNode) -> None:
    """com.microsoft MatMulNBits, what ONNX Runtime makes of float32 values times quantized weights."""
    given = {"bits": 4} | {name: int(node.given[name]) for name in ("K", "N", "bits", "block_size", "accuracy_level")
             if name in node.given}
    operands = [node.host(position) if node.input(position) else None for position in range(len(node))]
    node.set_host(node.emit(MatMulNBits(**given), *operands))


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
