"""Operators that work element by element, and those between float and int8.

What depends on one int8 tensor only is computed here, by ONNX Runtime, for the 256 values that an element can have.
The rest stays float and runs on the host.
"""

from dataclasses import replace

import numpy as np
import onnx

from lepton.graph import (
    Add,
    Cast,
    Compare,
    Div,
    Function,
    GraphError,
    IntegerDivision,
    Logic,
    Maximum,
    Minimum,
    Mul,
    Op,
    Prelu,
    Quantize,
    Select,
    Sub,
    Unary,
)

from .importer import INT8, Importer, attributes, checked_axis, same
from .layers import finish, pending_binary
from .quantities import quantization, stated
from .values import BYTES, Computed, Constant, Joined, Pending, Value

FLOAT32 = np.dtype(np.float32)
UNARY = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Erf": "erf", "Exp": "exp", "Log": "log",
         "Sqrt": "sqrt", "Neg": "neg", "Abs": "abs", "Floor": "floor", "Ceil": "ceil", "Round": "round",
         "Reciprocal": "reciprocal", "Not": "not", "Sign": "sign"}
BINARY = {"Add": Add, "Sub": Sub, "Mul": Mul, "Max": Maximum, "Min": Minimum}
# Only as functions of one int8 tensor; there is no such operator for the host.
TABLE_ONLY = ("BitwiseNot",)


def as_table(importer: Importer, node: onnx.NodeProto) -> Value | None:
    """The node's result where it is a function of single elements of one int8 tensor, else None."""
    operands = [importer.operand(node, i) for i in range(len(node.input))]
    joined = next((value for value in operands if isinstance(value, Joined)), None)
    if joined is None:
        return _as_table(importer, node, operands)
    parts = [_as_table(importer, node, [part if value is joined else value for value in operands])
             for part in joined.parts]
    return None if None in parts else replace(joined, parts=tuple(parts))


def _as_table(importer: Importer, node: onnx.NodeProto, operands: list[Value | None]) -> Computed | None:
    bases = [value for value in operands if isinstance(value, Computed)]
    if node.op_type == "Div" and any(value.dtype != FLOAT32 for value in operands):
        return None  # a division of integers by 0 ends the process
    if not bases or any(value.table is None or value.tensor != bases[0].tensor or value.shape != bases[0].shape
                        for value in bases):
        return None
    shape, columns = bases[0].shape, []
    for value in operands:
        if value is None:
            columns.append(None)
        elif isinstance(value, Computed):
            columns.append(value.table)
        elif isinstance(value, Constant) and value.array.size == 1 and len(value.shape) <= max(len(shape), 1):
            columns.append(value.array.reshape(()))  # of any rank; a scalar does as well
        else:
            return None
    table = importer.evaluate(node, columns)
    return bases[0].of(table) if table.shape == (256,) else None


def elementwise(importer: Importer, node: onnx.NodeProto):
    """Any operator that works element by element."""
    name = node.output[0]
    if node.op_type in ("Relu", "Clip") and isinstance(importer.value(node.input[0]), Pending):
        importer.values[name] = importer.value(node.input[0]).clipped(*_bounds(importer, node))
        return
    result = as_table(importer, node)
    if result is not None:
        importer.values[name] = result
        if result.dtype in BYTES and (importer.readers[name] > 1 or isinstance(result, Joined)):
            importer.codes(name)
    elif pending_binary(importer, node):
        return
    elif importer.computed(node.input[0]).dtype in BYTES and node.op_type != "Cast":
        _extremes(importer, node)
    elif node.op_type == "Cast" and attributes(node)["to"] == onnx.TensorProto.INT8:
        x = importer.emit(Cast("int8"), [importer.host(node.input[0])], name, importer.quantization(name))
        importer.set_codes(name, x, INT8)
    elif node.op_type in _HOST:
        importer.set_host(name, _HOST[node.op_type](importer, node))
    else:
        raise GraphError(f"{importer.where}: supported only as a function of one 8-bit tensor and constants of one "
                         "element")


def quantize(importer: Importer, node: onnx.NodeProto):
    name, value = node.output[0], importer.value(node.input[0])
    if isinstance(value, Pending):
        if finish(importer, node, value):
            return
        value = importer.settled(node.input[0])
    if isinstance(value, Joined) or (isinstance(value, Computed) and value.table is not None):
        elementwise(importer, node)
        return
    q = importer.quantities[name]
    zero = importer.constant(node, 2, "the zero point")
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    if value.dtype != FLOAT32 or dtype not in BYTES:
        raise GraphError(f"{importer.where}: from {value.dtype} to {dtype} is not supported, only from float32 to int8 "
                         "or uint8")
    # uint8 less 128 is int8 with the zero point less 128: the same rounding, the same saturation.
    importer.set_codes(name, importer.emit(Quantize(), [importer.host(node.input[0])], name, q), dtype)


def dequantize(importer: Importer, node: onnx.NodeProto):
    name, value = node.output[0], importer.value(node.input[0])
    if isinstance(value, Constant):
        scale = importer.constant(node, 1, "the scale").ravel()
        zero = importer.constant(node, 2, "the zero point")
        zero = np.zeros(scale.size, value.dtype) if zero is None else zero.ravel()
        axis = None
        if scale.size > 1:
            axis = checked_axis(importer, attributes(node).get("axis", 1), value.array.ndim)
        if value.array.dtype not in (*BYTES, np.int32) or attributes(node).get("block_size", 0):
            raise GraphError(f"{importer.where}: constants must be int8, uint8 or int32 with one scale or one per "
                             f"channel, not {value.dtype}")
        if zero.size != scale.size or (axis is not None and value.shape[axis] != scale.size):
            raise GraphError(f"{importer.where}: {scale.size} scales and {zero.size} zero points do not fit a tensor "
                             f"of shape {value.shape}")
        q = quantization(scale, zero, importer.where, axis, constant=True)
        importer.values[name] = Constant(importer.evaluate(node), value.array, q)
        return
    if not isinstance(value, Computed) or value.table is None:
        raise GraphError(f"{importer.where}: only int8 and uint8 values can be dequantized, not {value.dtype}")
    constants = {n: onnx.numpy_helper.from_array(v.array, n) for n, v in importer.values.items()
                 if n in node.input and isinstance(v, Constant)}
    q = stated(node, (1, 2), constants, value.dtype == np.uint8)
    if value.plain:
        importer.codes(node.input[0], q)
    result = as_table(importer, node)
    if same(q, importer.quantization(node.input[0])):
        result = replace(result, origin=node.input[0])
    importer.values[name] = result


# On the host, in float

def _bounds(importer: Importer, node: onnx.NodeProto) -> tuple[float, float]:
    if node.op_type == "Relu":
        return 0.0, np.inf
    given = attributes(node)
    low, high = importer.constant(node, 1, "the lower bound"), importer.constant(node, 2, "the upper bound")
    low = given.get("min", -np.inf) if low is None else low.item()
    high = given.get("max", np.inf) if high is None else high.item()
    if np.isnan(low) or np.isnan(high):
        raise GraphError(f"{importer.where}: bounds must be numbers, not {low} and {high}")
    return low, high


def apply(importer: Importer, op: Op, *inputs: str) -> str:
    """Emits an operator that works element by element; returns its result."""
    return importer.emit(op, list(inputs))


def number(importer: Importer, value: float, like: str) -> str:
    dtype = importer.graph.tensors[like].dtype
    return importer.constant_tensor(f"{importer.label}.number", np.array(value, dtype))


def _unary(importer: Importer, node: onnx.NodeProto) -> str:
    value = importer.computed(node.input[0])
    if node.op_type == "Cast":
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(attributes(node)["to"]))
        if dtype not in (np.float32, np.int32, np.int64, np.uint8, np.bool_):
            raise GraphError(f"{importer.where}: a cast from {value.dtype} to {dtype} is not supported")
        return apply(importer, Cast(str(dtype)), importer.host(node.input[0]))
    return apply(importer, Unary(UNARY[node.op_type]), importer.host(node.input[0]))


def _binary(importer: Importer, node: onnx.NodeProto) -> str:
    result = importer.host(node.input[0])
    for name in node.input[1:]:
        result = apply(importer, BINARY[node.op_type](), result, importer.host(name))
    return result


def _extremes(importer: Importer, node: onnx.NodeProto):
    """Max and Min of several 8-bit tensors, which compares codes: those of equal scales stand for the same reals."""
    if node.op_type in COMPARISONS:
        first = importer.codes(node.input[0])
        second = importer.codes(node.input[1], importer.graph.tensors[first].quantization)
        op = Compare(COMPARISONS[node.op_type])
        importer.set_host(node.output[0], apply(importer, op, first, second))
        return
    if node.op_type not in ("Max", "Min"):
        raise GraphError(f"{importer.where}: arithmetic with plain 8-bit integers is not supported, only with "
                         "quantized ones")
    dtype, result = importer.value(node.input[0]).dtype, importer.codes(node.input[0])
    q = importer.graph.tensors[result].quantization
    for name in node.input[1:]:
        other = importer.codes(name, q)
        result = importer.emit(BINARY[node.op_type](), [result, other], node.output[0], q)
    importer.set_codes(node.output[0], result, dtype)


def _div(importer: Importer, node: onnx.NodeProto) -> str:
    a, b = (importer.host(name) for name in node.input)
    if importer.graph.tensors[a].dtype != FLOAT32:
        return apply(importer, IntegerDivision("quotient"), a, b)
    return apply(importer, Div(), a, b)


def _clip(importer: Importer, node: onnx.NodeProto) -> str:
    x = importer.host(node.input[0])
    low, high = _bounds(importer, node)
    return clamped(importer, x, low, high)


def clamped(importer: Importer, x: str, low: float, high: float) -> str:
    if low > -np.inf:
        x = apply(importer, Maximum(), x, number(importer, low, x))
    if high < np.inf:
        x = apply(importer, Minimum(), x, number(importer, high, x))
    return x


def _two_slopes(importer: Importer, x: str, negative: str) -> str:
    """relu(x) + `negative`, which is 0 where x is above 0: one of the two is 0, so that the sum is exact."""
    return apply(importer, Add(), apply(importer, Unary("relu"), x), negative)


def _below_zero(importer: Importer, x: str) -> str:
    return apply(importer, Minimum(), x, number(importer, 0, x))


def _leaky_relu(importer: Importer, node: onnx.NodeProto) -> str:
    x = importer.host(node.input[0])
    if node.op_type == "LeakyRelu":
        return apply(importer, Prelu(), x, number(importer, attributes(node).get("alpha", 0.01), x))
    if isinstance(importer.value(node.input[1]), Constant):
        return apply(importer, Prelu(), x, importer.host(node.input[1]))
    return _two_slopes(importer, x, apply(importer, Mul(), _below_zero(importer, x), importer.host(node.input[1])))


def _hard_sigmoid(importer: Importer, node: onnx.NodeProto) -> str:
    x, given = importer.host(node.input[0]), attributes(node)
    swish = node.op_type == "HardSwish"
    alpha, beta = (1 / 6, 0.5) if swish else (given.get("alpha", 0.2), given.get("beta", 0.5))
    line = apply(importer, Mul(), x, number(importer, alpha, x))
    gate = clamped(importer, apply(importer, Add(), line, number(importer, beta, x)), 0, 1)
    return apply(importer, Mul(), x, gate) if swish else gate


def function(importer: Importer, node: onnx.NodeProto) -> str:
    """Operators that the graph has as ONNX has them."""
    given = attributes(node)
    names = [importer.host(name) if name else "" for name in node.input]
    tensors = [importer.graph.tensors[name] if name else None for name in names]
    if any(t is not None and t.dtype != FLOAT32 for t in tensors):
        raise GraphError(f"{importer.where}: operands must be float32, not "
                         f"{', '.join(str(t.dtype) for t in tensors if t is not None)}")
    if any(importer.readers[name] for name in node.output[1:]):
        raise GraphError(f"{importer.where}: only first outputs are supported, not the statistics beside them")
    kept = tuple(sorted((name, value) for name, value in given.items() if isinstance(value, int | float | str)))
    return importer.emit(Function(node.op_type, kept), names)


def _power(importer: Importer, node: onnx.NodeProto) -> str:
    """An exponent of integers is taken as float32, as ONNX Runtime computes it."""
    x, exponent = (importer.host(name) for name in node.input)
    if importer.graph.tensors[exponent].dtype != importer.graph.tensors[x].dtype == FLOAT32:
        exponent = apply(importer, Cast("float32"), exponent)
    if importer.graph.tensors[x].dtype != FLOAT32:
        raise GraphError(f"{importer.where}: only float32 values can be raised to a power")
    return apply(importer, Function("Pow"), x, exponent)


def _compare(importer: Importer, node: onnx.NodeProto) -> str:
    return apply(importer, Compare(COMPARISONS[node.op_type]), *(importer.host(n) for n in node.input))


def _is_nan(importer: Importer, node: onnx.NodeProto) -> str:
    x = importer.host(node.input[0])
    return apply(importer, Compare("not_equal"), x, x)


def _is_infinite(importer: Importer, node: onnx.NodeProto) -> str:
    x, given = importer.host(node.input[0]), attributes(node)
    low, high = bool(given.get("detect_negative", 1)), bool(given.get("detect_positive", 1))
    if low and high:
        x = apply(importer, Unary("abs"), x)
    limit = np.inf if high else -np.inf if low else np.nan  # which equals nothing
    return apply(importer, Compare("equal"), x, number(importer, limit, x))


def _modulo(importer: Importer, node: onnx.NodeProto) -> str:
    a, b = (importer.host(name) for name in node.input)
    if importer.graph.tensors[a].dtype == FLOAT32 and not attributes(node).get("fmod", 0):
        raise GraphError(f"{importer.where}: fmod must be 1 for floats, as in ONNX Runtime")
    if importer.graph.tensors[a].dtype == FLOAT32:
        return apply(importer, Function("Mod", (("fmod", 1),)), a, b)
    return apply(importer, IntegerDivision("remainder" if attributes(node).get("fmod", 0) else "modulo"), a, b)


def _logic(importer: Importer, node: onnx.NodeProto) -> str:
    return apply(importer, Logic(node.op_type.lower()), *(importer.host(name) for name in node.input))


def where(importer: Importer, node: onnx.NodeProto):
    """Of 8-bit values, too, which get the scale of the first one."""
    name = node.output[0]
    result = as_table(importer, node)
    if result is not None:
        importer.values[name] = result
        return
    a, b = (importer.computed(operand) for operand in node.input[1:])
    if a.dtype not in BYTES or a.table is None:
        operands = [importer.host(operand) for operand in node.input]
        importer.set_host(name, apply(importer, Select(), *operands))
        return
    first = importer.codes(node.input[1])
    q = importer.graph.tensors[first].quantization
    condition, second = importer.host(node.input[0]), importer.codes(node.input[2], q)
    importer.set_codes(name, importer.emit(Select(), [condition, first, second], name, q), b.dtype)


def _several(importer: Importer, node: onnx.NodeProto) -> str:
    """Sum and Mean of any number of tensors."""
    first, *others = (importer.host(name) for name in node.input)
    for other in others:
        first = apply(importer, Add(), first, other)
    if node.op_type == "Mean":
        first = apply(importer, Mul(), first, number(importer, 1 / len(node.input), first))
    return first


COMPARISONS = {"Equal": "equal", "Less": "less", "Greater": "greater", "LessOrEqual": "less_equal",
               "GreaterOrEqual": "greater_equal"}
_FUNCTIONS = ("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BiasGelu", "Celu", "Cos", "Cosh", "Elu", "FastGelu",
              "Gelu", "Mish", "QuickGelu", "Selu", "Shrink", "Sin", "Sinh", "Softplus", "Softsign", "Tan",
              "ThresholdedRelu")
_HOST = {**dict.fromkeys([*UNARY, "Cast"], _unary), **dict.fromkeys(BINARY, _binary),
         **dict.fromkeys(_FUNCTIONS, function),
         **dict.fromkeys(COMPARISONS, _compare), **dict.fromkeys(("And", "Or", "Xor"), _logic),
         **dict.fromkeys(("Sum", "Mean"), _several), "Div": _div, "Clip": _clip, "LeakyRelu": _leaky_relu,
         "PRelu": _leaky_relu, "HardSigmoid": _hard_sigmoid, "HardSwish": _hard_sigmoid, "Pow": _power,
         "IsNaN": _is_nan, "IsInf": _is_infinite, "Mod": _modulo}


def qlinear_binary(importer: Importer, node: onnx.NodeProto):
    """com.microsoft QLinearAdd and QLinearMul."""
    name = node.output[0]
    _bind_constants(importer, node)
    result = as_table(importer, node)
    if result is not None:
        importer.values[name] = result
        if importer.readers[name] > 1:
            importer.codes(name)
        return
    unsigned = importer.value(node.input[0]).dtype == np.uint8
    op = Add(unsigned=unsigned) if node.op_type == "QLinearAdd" else Mul(unsigned=unsigned)
    inputs = [importer.codes(node.input[i], _of_operand(importer, node, i)) for i in (0, 3)]
    dtype = importer.value(node.input[0]).dtype
    importer.set_codes(name, importer.emit(op, inputs, name, importer.quantities[name]), dtype)


def _of_operand(importer: Importer, node: onnx.NodeProto, position: int):
    zero = importer.constant(node, position + 2, "the zero point")
    value = importer.value(node.input[position])
    zero = np.zeros(1, value.dtype) if zero is None else zero.ravel()
    return quantization(importer.constant(node, position + 1, "the scale").ravel(), zero, importer.where)


def _bind_constants(importer: Importer, node: onnx.NodeProto):
    """Constant operands get the quantization that the node states for them."""
    for i in (0, 3):
        value = importer.value(node.input[i])
        if isinstance(value, Constant) and value.dtype in BYTES and node.input[i] not in importer.quantities:
            importer.quantities[node.input[i]] = _of_operand(importer, node, i)


CONVERTERS = {
    **dict.fromkeys((*_HOST, *TABLE_ONLY, "QLinearSigmoid", "QLinearLeakyRelu"), elementwise),
    "QuantizeLinear": quantize, "DequantizeLinear": dequantize, "QLinearAdd": qlinear_binary,
    "QLinearMul": qlinear_binary, "Where": where,
}
