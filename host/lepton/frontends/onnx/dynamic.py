"""Dynamic quantization, as ONNX Runtime's `quantize_dynamic` writes it: scales that are computed, on the host."""

import numpy as np

from lepton.graph import DynamicQuantize, IntegerConv, IntegerMatMul, Quantization
from lepton.graph.builder import Value

from .node import OnnxNode
from .products import integer_to_float, matrix_product
from .values import BYTES, CODES, UINT8, Computed, Constant, Tabulated, int8_codes
from .windows import sliding

# Of codes whose scale is a value of its own.
_STEP = Quantization(np.ones(1, np.float32), np.zeros(1, np.int32))


def quantize(node: OnnxNode) -> None:
    """DynamicQuantizeLinear: uint8 codes, their scale, their zero point."""
    for position, (name, result) in enumerate(zip(node.proto.output, ("codes", "scale", "zero_point"), strict=False)):
        if not name:
            continue
        q = None if result == "scale" else _STEP
        made = node.state.emit(DynamicQuantize(result), [node.host()], name, q)
        node.set(Computed(made) if q is None else Tabulated(made, CODES[UINT8]), position)


def dequantize(node: OnnxNode) -> None:
    """DequantizeLinear with a scale or a zero point that the network computes: of single numbers."""
    scale = node.host(1)
    if scale.rank and scale.shape != (1,):
        raise node.error("a computed scale must be a single number")
    reals = _centred(node, 0, 2).cast(np.float32) * scale.reshape(())
    node.set_host(reals)


def _centred(node: OnnxNode, position: int, of_zero: int) -> Value:
    """The differences of 8-bit values from their zero point, int32."""
    codes = node.codes(position).cast(np.int32)
    return codes - _zero(node, of_zero, position).reshape(()).cast(np.int32)


def _zero(node: OnnxNode, position: int, of: int) -> Value:
    """The int8 zero point of operand `of`; 0 where it is left out."""
    dtype = node.settled(of).dtype
    if dtype not in BYTES:
        raise node.error(f"operand {of} must be int8 or uint8, not {dtype}")
    if not node.input(position):
        return node.builder.constant(int8_codes(np.zeros((), dtype)), f"{node.name}.zero")
    value = node.settled(position)
    if value.dtype != dtype:
        raise node.error(f"the zero point of operand {of} must be {dtype} like the operand, not {value.dtype}")
    if isinstance(value, Constant):
        return node.builder.constant(int8_codes(value.array), f"{node.name}.zero")
    return node.codes(position)


def _sums(node: OnnxNode, a: Value, b: Value, a_zero: Value, b_zero: Value) -> Value:
    def multiply(left: Value, right: Value) -> Value:
        return node.builder.emit(IntegerMatMul(), [left, right, a_zero, b_zero])
    return matrix_product(a, b, multiply)


def matmul(node: OnnxNode) -> None:
    """MatMulInteger: a, b, their zero points; int32 sums."""
    node.set_host(_sums(node, node.codes(0), node.codes(1), _zero(node, 2, 0), _zero(node, 3, 1)))


def conv(node: OnnxNode) -> None:
    """ConvInteger: x, weights, their zero points; int32 sums."""
    x = node.codes(0)
    weights = node.codes(1)
    if x.rank < 3 or weights.rank != x.rank:
        raise node.error(f"weights of shape {tuple(weights.shape)} do not fit the input {tuple(x.shape)}")
    w = sliding(node, weights.shape[2:], x.shape[2:])
    op = IntegerConv(w.stride, w.dilation, w.padding, node.given.get("group", 1))
    node.set_host(node.emit(op, x, weights, _zero(node, 2, 0), _zero(node, 3, 1)))


def matmul_to_float(node: OnnxNode) -> None:
    """com.microsoft MatMulIntegerToFloat: a, b, their scales, their zero points, a float bias or none."""
    if isinstance(node.value(2), Constant):
        integer_to_float(node)
        return
    sums = _sums(node, node.codes(0), node.codes(1), _zero(node, 4, 0), _zero(node, 5, 1))
    _to_float(node, sums, node.host(2), node.host(3), 6)


def dynamic_matmul(node: OnnxNode) -> None:
    """com.microsoft DynamicQuantizeMatMul: float a, b, its scale, its zero point, a float bias or none."""
    a = node.host()
    codes, zero = (node.builder.emit(DynamicQuantize(result), [a], quantization=_STEP)
                   for result in ("codes", "zero_point"))
    scale = node.builder.emit(DynamicQuantize("scale"), [a])
    sums = _sums(node, codes, node.codes(1), zero, _zero(node, 3, 1))
    _to_float(node, sums, scale, node.host(2), 4)


def _to_float(node: OnnxNode, sums: Value, a_scale: Value, b_scale: Value, of_bias: int) -> None:
    """The sums times both scales, plus the bias: in the order of ONNX Runtime's dynamic_quantize_matmul.cc."""
    result = sums.cast(np.float32) * (a_scale.reshape(()) * b_scale)
    node.set_host(result + node.host(of_bias) if node.input(of_bias) else result)
