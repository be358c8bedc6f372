"""Arithmetic and functions element by element, at run time: in ONNX's own data type on the host.

Each function here is the rule of an operator (`node.Rule`), which `tabulate.elementwise` makes a converter of, or makes
a rule or converter.
"""

from collections.abc import Callable

import numpy as np
import onnx

from lepton.graph import Cast, Div, Function, IntegerDivision, Maximum, Minimum, Op
from lepton.graph.builder import Value
from lepton.graph.composites import clamp, leaky_relu

from .node import Converter, OnnxNode, Rule
from .tabulate import as_table, elementwise, set_table
from .values import FLOAT32, INT8, Pending

_CASTS = {np.dtype(t) for t in (np.float32, np.int32, np.int64, np.uint8, np.bool_)}  # at run time, besides int8


def unary(kind: str) -> Rule:
    """A function of one operand; `kind` as in the graph's `Unary`."""
    return lambda node: node.host().unary(kind)


def binary(op: type[Op]) -> Rule:
    """An operator of two operands or more, applied from left to right."""
    def rule(node: OnnxNode) -> Value:
        result = node.host(0)
        for position in range(1, len(node)):
            result = result.apply(op(), node.host(position))
        return result
    return rule


def extreme(op: type[Maximum] | type[Minimum]) -> Converter:
    """Max and Min. 8-bit values are compared by their codes: with equal scales these have the order of the reals."""
    def of_bytes(node: OnnxNode) -> None:
        dtype = node.value().dtype
        result = node.codes(0)
        q = result.parameters
        for position in range(1, len(node)):
            result = node.emit(op(), result, node.codes(position, q), q=q)
        node.set_codes(result, dtype)
    return elementwise(binary(op), of_bytes)


def cast(node: OnnxNode) -> None:
    result = as_table(node)
    if result is not None:
        set_table(node, result)
        return
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.given["to"]))
    if dtype == INT8:
        node.set_codes(node.emit(Cast("int8"), node.host(), q=node.state.quantization(node.name)), INT8)
        return
    if dtype not in _CASTS:
        raise node.error(f"a cast from {node.computed().dtype} to {dtype} is not supported")
    node.set_host(node.host().apply(Cast(dtype.name)))


def activation(rule: Rule, bounds: Callable[[OnnxNode], tuple[float, float]]) -> Converter:
    """An activation that clamps; after a layer it becomes part of the layer."""
    at_run_time = elementwise(rule)

    def convert(node: OnnxNode) -> None:
        value = node.value()
        if isinstance(value, Pending):
            node.set(value.clipped(*bounds(node)))
        else:
            at_run_time(node)
    return convert


def bounds(node: OnnxNode) -> tuple[float, float]:
    """The bounds of a Clip, which are attributes before opset 11."""
    lower = node.number(1, "the lower bound")
    upper = node.number(2, "the upper bound")
    low = node.given.get("min", -np.inf) if lower is None else lower
    high = node.given.get("max", np.inf) if upper is None else upper
    if np.isnan(low) or np.isnan(high):
        raise node.error(f"bounds must be numbers, not {low} and {high}")
    return low, high


def division(node: OnnxNode) -> Value:
    """Integers are divided towards zero."""
    a, b = node.hosts()
    return a.apply(Div() if a.dtype == FLOAT32 else IntegerDivision("quotient"), b)


def modulo(node: OnnxNode) -> Value:
    """fmod 1: the sign of the result is the dividend's, as in C; 0: the divisor's, as in Python."""
    a, b = node.hosts()
    fmod = node.flag("fmod")
    if a.dtype != FLOAT32:
        return a.apply(IntegerDivision("remainder" if fmod else "modulo"), b)
    if not fmod:
        raise node.error("fmod must be 1 for floats, as in ONNX Runtime")
    return a.apply(Function("Mod", (("fmod", 1),)), b)


def clip(node: OnnxNode) -> Value:
    x = node.host()
    return clamp(x, *bounds(node))


def leaky(node: OnnxNode) -> Value:
    return leaky_relu(node.host(), node.given.get("alpha", 0.01))  # the default of LeakyRelu-6


def prelu(node: OnnxNode) -> Value:
    """The slope may be computed."""
    return leaky_relu(node.host(0), node.host(1))


def total(node: OnnxNode) -> Value:
    """The sum of any number of tensors, from left to right."""
    first, *others = node.hosts()
    for other in others:
        first = first + other
    return first


def mean(node: OnnxNode) -> Value:
    """The mean of any number of tensors: their sum times 1 / their number."""
    return total(node) * (1 / len(node))


def power(node: OnnxNode) -> Value:
    """An exponent of integers is taken as float32, as ONNX Runtime computes it."""
    x, exponent = node.hosts()
    if x.dtype != FLOAT32:
        raise node.error("only float32 values can be raised to a power")
    return x.apply(Function("Pow"), exponent if exponent.dtype == FLOAT32 else exponent.apply(Cast("float32")))


def function(node: OnnxNode) -> Value:
    """Operators that the graph has as ONNX has them."""
    return function_named(node, node.kind)


def function_named(node: OnnxNode, operator: str) -> Value:
    """The same under another name of ONNX."""
    operands = [node.host(position) if node.input(position) else None for position in range(len(node))]
    given = [value for value in operands if value is not None]
    if any(value.dtype != FLOAT32 for value in given):
        raise node.error(f"operands must be float32, not {', '.join(str(value.dtype) for value in given)}")
    node.only_first_output()
    # Sorted, so that equal functions are equal operators; lists and tensors are not among these operators' attributes.
    kept = tuple(sorted((name, value) for name, value in node.given.items() if isinstance(value, int | float | str)))
    return node.state.emit(Function(operator, kept), operands)
