"""Concat, and ONNX Runtime's of values with scales of their own."""

from collections.abc import Sequence

import numpy as np
import onnx

from lepton.graph import Concat, Table
from lepton.graph.builder import Value

from .node import OnnxNode, source_of
from .quantities import quantization
from .values import BYTES, CODES, INT8, Constant, Joined, Tabulated, int8_codes, same


def concat(node: OnnxNode) -> None:
    """The same functions of int8 tensors are joined as those tensors, others when an operator reads them."""
    sources = [source_of(node, position) for position in range(len(node))]
    first = sources[0]
    axis = node.axis(node.given.get("axis", 0), len(first.shape))
    tabulated = [source for source in sources if isinstance(source, Tabulated)]
    if len(tabulated) < len(sources) and first.dtype not in BYTES:
        node.set_host(_joined(node, node.hosts(), axis))
    elif isinstance(first, Tabulated) and len(tabulated) == len(sources) and all(
            np.array_equal(s.table, first.table) and same(s.quantization, first.quantization) for s in tabulated):
        node.set(first.moved(_joined(node, [s.tensor for s in sources], axis)))
    elif first.dtype in BYTES:
        q = first.tensor.quantization
        node.set_codes(_joined(node, [node.codes(position, q) for position in range(len(node))], axis), first.dtype)
    else:
        node.set(Joined(tuple(tabulated), axis, _joined_shape(node, [s.shape for s in sources], axis)))


def _joined(node: OnnxNode, tensors: Sequence[Value], axis: int) -> Value:
    return node.emit(Concat(axis), *tensors)


def _joined_shape(node: OnnxNode, shapes: list[tuple[int, ...]], axis: int) -> tuple[int, ...]:
    first = shapes[0]
    if any((*s[:axis], *s[axis + 1:]) != (*first[:axis], *first[axis + 1:]) for s in shapes):
        raise node.error(f"tensors of shapes {shapes} cannot be joined along axis {axis}")
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1:])


def qlinear_concat(node: OnnxNode) -> None:
    """com.microsoft QLinearConcat: each input is brought to the result's scale by a table of its own.

    Inputs: the result's scale and zero point, then value, scale and zero point each.
    """
    scale = node.constant(0, "the output's quantization")
    zero = node.constant(1, "the output's quantization")
    tensors = [_requantized(node, position, scale, zero) for position in range(2, len(node), 3)]
    axis = node.axis(node.given.get("axis", 0), tensors[0].rank)
    node.set_codes(node.emit(Concat(axis), *tensors, q=node.output_quantization), zero.dtype)


def _requantized(node: OnnxNode, position: int, out_scale: np.ndarray, out_zero: np.ndarray) -> Value:
    """The int8 tensor of an input at the scale of the result."""
    q = node.output_quantization
    scale = node.constant(position + 1, "the inputs' quantization")
    zero = node.constant(position + 2, "the inputs' quantization")
    if isinstance(node.value(position), Constant):
        node.state.quantities.setdefault(node.input(position),
                                         quantization(scale.ravel(), zero.ravel(), node.builder.where))
    value = node.computed(position)
    node.state.values[node.input(position)] = value  # a constant becomes one tensor for all its readers
    if not isinstance(value, Tabulated):
        raise node.error(f"inputs must be int8 or uint8, not {value.dtype}")
    # onnxruntime/contrib_ops/cpu/quantization/qlinear_concat.cc: a table for each input
    one = onnx.helper.make_node("QLinearConcat", ["a", "b", "c", "d", "e"], ["y"], axis=0, domain="com.microsoft")
    codes = int8_codes(node.state.evaluate(one, [out_scale, out_zero, value.table, scale, zero]))
    if np.array_equal(codes, CODES[INT8]) and same(value.quantization, q):
        return value.tensor
    return node.state.emit(Table(codes.tobytes()), [value.tensor], f"{node.name}.part", q)
