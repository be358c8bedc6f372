"""Operators between dequantize and quantize that become one integer operator.

ONNX Runtime has no integer kernel for some of them (transposed convolutions, convolutions with a ReLU that its
quantizer would have folded, additions of an int8 and a uint8 value) and computes in float32. Sums and products of two
values are the same here, to the bit: the graph's operator is told that the framework computes it in float32. Layers
with weights have exact sums instead of rounded ones, so that a result may differ where a float sum is near the border
of two steps.

Where no QuantizeLinear follows, or an operand is not an 8-bit value, the operator is computed in float32 on the host.
"""

from collections.abc import Sequence

import numpy as np

from lepton.graph import FULL, Add, Mean, Mul, Quantization, Sub
from lepton.graph.builder import Value

from .convolutions import convolution, of_all_groups, transposed
from .node import OnnxNode
from .operands import Int8Result, Int8Weights, as_int8, from_image, image, with_shape
from .products import GemmOptions, constant_product, product, rows
from .state import ImportState
from .values import BYTES, UINT8, Constant, OnnxValue, Pending, QuantizedConstant, Tabulated, dequantized

NOT_QUANTIZED = ("works on float32 values; quantize the network first, for instance with calibration data "
                 "(`lepton compile --calibration`); what ONNX Runtime's quantizer leaves in float in the QOperator "
                 "format, it quantizes in the QDQ format")
IN_FLOAT = ("ONNX Runtime computes it in float32; results can be one step off where a sum lies on the border of two")
Coded = QuantizedConstant | Tabulated  # a float value that 8-bit codes stand for
_INT32 = np.iinfo(np.int32)
# Of a bias, in steps of the output: moves a result across a border in 1 of 64 cases at most (docs/onnx.md has measured
# figures).
LARGEST_ROUNDING = 1 / 64
# Of a bias's stated scale and the product of the scales, both rounded to float32 a few times: 2**-24 each.
_SAME_SCALE = 1e-6
BINARY: dict[str, type[Add] | type[Sub] | type[Mul]] = {"Add": Add, "Sub": Sub, "Mul": Mul}
_MOST_AXES = 4  # of the weights of an integer layer; volumes are computed in float
# The axis of a layer's weights that has its output channels; of a Gemm with transposed weights.
_OUTPUTS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0, "MatMul": -1}


class _NoInteger(Exception):
    """No integer layer gives what the float one does."""


def wait(node: OnnxNode) -> None:
    """A float layer: waits for the QuantizeLinear that may follow. Raises GraphError where nothing is quantized."""
    if not node.state.quantized:
        raise node.error(NOT_QUANTIZED)
    node.set(Pending(node.proto, tuple(node.values())))


def wait_for_quantize(node: OnnxNode) -> bool:
    """The same for a sum, a difference or a product of two values; False where it has to be computed in float."""
    operands = node.values()
    coded = _with_codes(operands)
    if len(coded) != 2 or len(operands) != 2 or not all(map(_has_one_scale, coded)):
        return False
    node.set(Pending(node.proto, tuple(operands)))
    return True


def _has_one_scale(value: Coded) -> bool:
    """Whether it is 8-bit values with one scale: the graph's Add, Sub and Mul have no others."""
    if isinstance(value, Tabulated):
        return True
    scale = value.quantization.scale
    return value.codes.dtype in BYTES and scale.size == 1 and scale[0] > 0


def _with_codes(values: Sequence[OnnxValue | None]) -> list[Coded]:
    """Those that are dequantized from integers, and functions whose results the int8 tensor's scale has."""
    return [value for value in values if isinstance(value, QuantizedConstant)
            or (isinstance(value, Tabulated) and _has_codes(value))]


def _has_codes(value: Tabulated) -> bool:
    if not value.real:
        return False
    return bool(value.origin) or np.array_equal(dequantized(value.quantization)[_nearest(value)], value.table)


def _nearest(value: Tabulated) -> np.ndarray:
    """The places of the value's results among the reals that its int8 tensor stands for."""
    return np.clip(np.searchsorted(dequantized(value.quantization), value.table), 0, 255)


def _codes_of(state: ImportState, value: Coded) -> Value:
    """The int8 tensor that a value is dequantized from: one with a table in front for a function."""
    if isinstance(value, QuantizedConstant):
        return state.constant_codes(value)
    if value.origin:  # an activation's table, whose codes no tensor has yet
        return state.codes(value.origin)
    if np.array_equal(value.table, dequantized(value.quantization)):
        return value.tensor
    return state.tabulated(value.tensor, (_nearest(value) - 128).astype(np.int8))


def finish(quantize: OnnxNode, value: Pending) -> bool:
    """Emits a pending operator, now that `quantize` says what it is quantized to.

    False where it has to be computed in float: an operand is not what an 8-bit value stands for, or no integer layer
    has its weights, its bias or its options.
    """
    state = quantize.state
    node = OnnxNode(state, value.node)
    zero = quantize.optional(2, "the zero point")
    count = 1 if node.kind == "ReduceMean" else 2
    operands = _with_codes(value.inputs[:count])
    if len(operands) != count or not _integer_options(node, value):
        return False
    with state.at(value.node):
        try:
            y = _emit(node, value, operands, quantize.name, quantize.output_quantization)
        except _NoInteger:  # no operator reads what it has added to the graph
            return False
        quantize.set_codes(y, UINT8 if zero is None else zero.dtype)
        if node.kind not in BINARY:
            state.graph.notes.append(f"{state.builder.where}: {IN_FLOAT}")
    return True


def _integer_options(node: OnnxNode, value: Pending) -> bool:
    """Whether integer layers have the operator's options, and its weights where the network computes them."""
    if node.kind not in _OUTPUTS:
        return True
    options = GemmOptions.of(node)
    if not options.integer:
        return False
    if isinstance(value.inputs[1], QuantizedConstant) or node.kind == "MatMul":
        return True
    return node.kind == "Gemm" and options.alpha == 1 and not node.input(2)


def _emit(node: OnnxNode, value: Pending, operands: list[Coded], name: str, q: Quantization) -> Value:
    """The integer operator on `operands`; name and quantization are those of the result."""
    state = node.state
    low, high = value.bounds
    result = Int8Result(name, q, (_code(low, q), _code(high, q)))
    x = _codes_of(state, operands[0])
    if node.kind in BINARY:
        other = _codes_of(state, operands[1])
        return state.emit(BINARY[node.kind](clamp=result.clamp, in_float=True), [x, other], name, q)
    if node.kind == "ReduceMean":
        y = from_image(state.emit(Mean(), [image(x)], name, q), 4)
        return y if node.flag("keepdims", 1) else with_shape(y, y.shape[:2])
    options = GemmOptions.of(node)
    x = options.left(x)
    factor = operands[1]
    if not isinstance(factor, QuantizedConstant):
        b = _codes_of(state, factor)
        return product(x, b.transpose((1, 0)) if options.transposed_b else b, result)
    addend = value.inputs[2] if len(value.inputs) > 2 else None
    axis = 1 if node.kind == "Gemm" and not options.transposed_b else _OUTPUTS[node.kind]
    data, weights_q = _weights(node, factor, axis)
    if node.kind == "Gemm":
        data = options.right(options.signed(node, data, weights_q))
        weights_q = options.scaled(weights_q, x.parameters.scale)
        addend = _times(addend, options.beta)
    elif node.kind == "ConvTranspose":
        weights_q = of_all_groups(node, weights_q)
    weights = Int8Weights(data, weights_q, _bias(addend, x, weights_q, q))
    if node.kind == "Conv":
        return convolution(node, x, weights, result)
    if node.kind == "ConvTranspose":
        return transposed(node, x, weights, result)
    return rows(x, weights, result) if node.kind == "Gemm" else constant_product(x, weights, result)


def _weights(node: OnnxNode, value: QuantizedConstant, axis: int) -> tuple[np.ndarray, Quantization]:
    """Constant weights as int8 (`as_int8`); _NoInteger where integer layers have no such weights."""
    stated = value.quantization
    if value.codes.dtype not in BYTES or value.codes.ndim > _MOST_AXES or (
            stated.scale.size > 1 and stated.axis != axis % value.codes.ndim):
        raise _NoInteger
    shift = 128 if value.codes.dtype == UINT8 else 0  # `stated` is as int8, the file's codes are as they are
    zero = (stated.zero_point + shift).astype(value.codes.dtype)
    return as_int8(node.builder, value.codes, stated.scale, zero, axis)


def _times(value: OnnxValue | None, factor: float) -> OnnxValue | None:
    if factor == 1 or not isinstance(value, Constant):
        return value
    return Constant(value.array * value.array.dtype.type(factor), loaded=value.loaded)


def _code(bound: float, q: Quantization) -> int:
    """The int8 value that a real bound is quantized to."""
    # QuantizeLinear: saturate(rint(x / scale) + zero_point), in float32
    return int(np.clip(np.rint(np.float32(bound) / q.scale[0]) + q.zero_point[0], *FULL))


def _bias(value: OnnxValue | None, x: Value, weights: Quantization, output: Quantization) -> np.ndarray | None:
    """The bias as int32 at the scale of the sums; _NoInteger where rounding it could be seen in the output."""
    if value is None:
        return None
    if not isinstance(value, Constant):
        raise _NoInteger
    outputs = weights.scale.size if weights.scale.size > 1 else value.array.size
    if value.array.size not in (1, outputs) or value.array.shape[-1:] not in ((), (value.array.size,)):
        raise _NoInteger  # such as one for each row
    scale = x.parameters.scale.astype(np.float64) * weights.scale
    if isinstance(value, QuantizedConstant) and value.codes.dtype == np.int32 and not np.any(
            value.quantization.zero_point):
        stated = value.quantization.scale
        as_sums = np.isclose(stated, scale, rtol=_SAME_SCALE, atol=0)
        empty = ~as_sums & (stated == 0)  # a pruned channel: the scale of its weights stands for nothing
        if np.all(as_sums | empty):
            return np.where(empty, 0, value.codes).astype(np.int32).ravel()
    exact = value.array.astype(np.float64).ravel() / scale
    bias = np.rint(exact)
    if np.any(np.abs(bias - exact) * scale > LARGEST_ROUNDING * float(output.scale[0])):
        raise _NoInteger
    if not np.all(np.isfinite(bias)) or np.any((bias < _INT32.min) | (bias > _INT32.max)):
        raise _NoInteger
    return bias.astype(np.int32)
