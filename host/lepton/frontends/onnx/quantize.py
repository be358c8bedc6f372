"""Between float32 and 8 bits: QuantizeLinear, DequantizeLinear, and ONNX Runtime's operators on two 8-bit tensors."""

from dataclasses import replace

import numpy as np
import onnx

from lepton.graph import Add, Mul, Quantize

from . import dynamic
from .layers import finish
from .node import Converter, OnnxNode
from .quantities import quantization, stated
from .tabulate import as_table, elementwise
from .values import BYTES, FLOAT32, UINT8, Constant, Joined, Pending, QuantizedConstant, Tabulated, same


def quantize(node: OnnxNode) -> None:
    value = node.value()
    if isinstance(value, Pending):
        if finish(node, value):
            return
        value = node.settled()
    if isinstance(value, Joined | Tabulated):
        elementwise(None)(node)
        return
    dtype = quantized_type(node)
    if value.dtype != FLOAT32 or dtype not in BYTES:
        raise node.error(f"from {value.dtype} to {dtype} is not supported, only from float32 to int8 or uint8")
    # uint8 less 128 is int8 with the zero point less 128: the same rounding, the same saturation.
    node.set_codes(node.emit(Quantize(), node.host(), q=node.output_quantization), dtype)


def quantized_type(node: OnnxNode) -> np.dtype:
    """That of a QuantizeLinear's result: the zero point's, else uint8 (ONNX operator specification)."""
    zero = node.optional(2, "the zero point")
    return UINT8 if zero is None else zero.dtype


def dequantize(node: OnnxNode) -> None:
    value = node.value()
    if isinstance(value, Constant):
        node.set(_dequantized_constant(node, value))
        return
    if not isinstance(value, Tabulated):
        raise node.error(f"only int8 and uint8 values can be dequantized, not {value.dtype}")
    constants = {name: onnx.numpy_helper.from_array(operand.array, name)
                 for name, operand in ((name, node.state.values.get(name)) for name in node.proto.input)
                 if isinstance(operand, Constant)}
    if not all(name in constants for name in node.proto.input[1:] if name):
        dynamic.dequantize(node)
        return
    q = stated(node.proto, (1, 2), constants, value.dtype == UINT8)
    if value.plain:  # the tensor gets the scale that its reader states, if it had none
        node.codes(0, q)
    result = as_table(node)
    if not isinstance(result, Tabulated):
        raise node.error("scale and zero point must be single numbers")
    node.set(replace(result, origin=node.input(0)) if same(q, node.state.quantization(node.input(0))) else result)


def _dequantized_constant(node: OnnxNode, value: Constant) -> QuantizedConstant:
    scale = node.constant(1, "the scale").ravel()
    stated_zero = node.optional(2, "the zero point")
    zero = np.zeros(scale.size, value.dtype) if stated_zero is None else stated_zero.ravel()
    # One scale for each element of an axis since opset 13, by default of axis 1 (DequantizeLinear-13).
    axis = node.axis(node.given.get("axis", 1), value.array.ndim) if scale.size > 1 else None
    if value.dtype not in (*BYTES, np.int32) or node.given.get("block_size", 0):
        raise node.error("constants must be int8, uint8 or int32 with one scale or one per channel, not "
                         f"{value.dtype}")
    if zero.size != scale.size or (axis is not None and value.shape[axis] != scale.size):
        raise node.error(f"{scale.size} scales and {zero.size} zero points do not fit a tensor of shape {value.shape}")
    q = quantization(scale, zero, node.builder.where, axis, constant=True)
    return QuantizedConstant(node.evaluate_constants(), value.array, q, loaded=False)


def on_codes(op: type[Add] | type[Mul]) -> Converter:
    """com.microsoft QLinearAdd and QLinearMul; inputs: value, scale and zero point of each, the result's."""
    # onnxruntime/contrib_ops/cpu/quantization/qlinear_binary_op.cc; the graph's Add and Mul compute as MLAS does there
    def convert(node: OnnxNode) -> None:
        for position in (0, 3):
            value = node.value(position)
            if isinstance(value, Constant) and value.dtype in BYTES:
                node.state.quantities.setdefault(node.input(position), node.quantization(position))
        result = as_table(node)
        if result is not None:
            node.set(result)
            if node.read_more_than_once():
                node.state.codes(node.name)
            return
        dtype = node.value().dtype
        a = node.codes(0, node.quantization(0))
        b = node.codes(3, node.quantization(3))
        node.set_codes(node.emit(op(unsigned=dtype == UINT8), a, b, q=node.output_quantization), dtype)
    return convert
