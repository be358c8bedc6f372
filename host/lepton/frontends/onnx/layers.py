"""Operators between dequantize and quantize that become one integer operator.

ONNX Runtime has no integer kernel for some of them (transposed convolutions, convolutions with a ReLU that its
quantizer would have folded, additions of an int8 and a uint8 value) and computes in float32. Sums and products of two
values are the same here, to the bit: the graph's operator is told that the framework computes it in float32. Layers
with weights have exact sums instead of rounded ones, so that a result may differ where a float sum comes to lie at a
rounding step.

Where no QuantizeLinear follows, or an operand is no 8-bit value, the operator is computed in float32 on the host.
"""

import numpy as np
import onnx

from lepton.graph import Add, GraphError, Mean, Mul, Op, Quantization, Sub

from .convolutions import convolution, transposed
from .importer import Importer, attributes, dequantized
from .operands import FULL, as_int8, from_image, image
from .products import GemmOptions, constant_product, product, rows
from .values import BYTES, Computed, Constant, Pending, Value

NOT_QUANTIZED = ("works on float32 values; quantize the network first, for instance with calibration data "
                 "(`lepton compile --calibration`); what ONNX Runtime's quantizer leaves in float in the QOperator "
                 "format, it quantizes in the QDQ format")
IN_FLOAT = ("ONNX Runtime computes it in float32; results can be one step off where a sum lies on the border of two")
_INT32 = np.iinfo(np.int32)
LARGEST_ROUNDING = 1 / 64  # of a bias, in steps of the output
BINARY: dict[str, type[Op]] = {"Add": Add, "Sub": Sub, "Mul": Mul}
_MOST_AXES = 4  # of the weights of an integer layer; volumes are computed in float


class _NoInteger(Exception):
    """No integer layer gives what the float one does."""


def is_real(value: Value | None) -> bool:
    """Is it a float32 function of the elements of one int8 tensor?"""
    return isinstance(value, Computed) and value.table is not None and value.dtype == np.float32


def _is_quantized(value: Value | None) -> bool:
    return value.quantization is not None if isinstance(value, Constant) else is_real(value)


def _is_one_scale(value: Value | None) -> bool:
    if isinstance(value, Constant) and value.quantization is not None:
        return value.codes.dtype in BYTES and value.quantization.scale.size == 1 and value.quantization.scale[0] > 0
    return is_real(value)


def pending(importer: Importer, node: onnx.NodeProto):
    """A float layer: waits for the QuantizeLinear that may follow. Raises GraphError where nothing is quantized."""
    operands = tuple(importer.operand(node, i) for i in range(len(node.input)))
    if not importer.quantized:
        raise GraphError(f"{importer.where} {NOT_QUANTIZED}")
    importer.values[node.output[0]] = Pending(node, operands)


def pending_binary(importer: Importer, node: onnx.NodeProto) -> bool:
    """The same for a sum, a difference or a product of two values; False where it has to be computed in float."""
    operands = tuple(importer.operand(node, i) for i in range(len(node.input)))
    if node.op_type not in BINARY or len(operands) != 2 or not all(
            _is_one_scale(value) and _codes_of(importer, value, emit=False) is not None for value in operands):
        return False
    importer.values[node.output[0]] = Pending(node, operands)
    return True


def finish(importer: Importer, quantize: onnx.NodeProto, value: Pending) -> bool:
    """Emits a pending operator, now that `quantize` says what it is quantized to.

    False where it has to be computed in float: an operand is not what an 8-bit value stands for, or no integer layer
    has its weights or bias.
    """
    node, name = value.node, quantize.output[0]
    zero = importer.constant(quantize, 2, "the zero point")
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    activations = value.inputs[:1] if node.op_type == "ReduceMean" else value.inputs[:2]
    if not all(_is_quantized(operand) and _codes_of(importer, operand, emit=False) is not None
               for operand in activations):
        return False
    if node.op_type == "Gemm" and not GemmOptions.of(node).integer:
        return False
    where, label = importer.where, importer.label
    importer.where = f"{node.op_type} {node.name or node.output[0]!r}"
    importer.label = node.name or node.output[0]
    try:
        importer.set_codes(name, _emit(importer, value, name, importer.quantities[name]), dtype)
        if node.op_type not in BINARY:
            importer.graph.notes.append(f"{importer.where}: {IN_FLOAT}")
    except _NoInteger:  # what it has added to the graph nothing reads
        return False
    finally:
        importer.where, importer.label = where, label
    return True


def _emit(importer: Importer, value: Pending, name: str, out_q: Quantization) -> str:
    node, clamp = value.node, (_code(value.bounds[0], out_q), _code(value.bounds[1], out_q))
    x = _codes_of(importer, value.inputs[0])
    if node.op_type in BINARY:
        inputs = [x, _codes_of(importer, value.inputs[1])]
        return importer.emit(BINARY[node.op_type](clamp=clamp, in_float=True), inputs, name, out_q)
    if node.op_type == "ReduceMean":
        y = importer.emit(Mean(), [image(importer, x)], name, out_q)
        y = from_image(importer, y, 4)
        return y if attributes(node).get("keepdims", 1) else importer.reshape(y, importer.graph.tensors[y].shape[:2])
    if isinstance(value.inputs[1], Computed):
        return product(importer, x, _codes_of(importer, value.inputs[1]), name, out_q, clamp)
    given, axis = attributes(node), {"ConvTranspose": 1, "MatMul": -1}.get(node.op_type, 0)
    options = GemmOptions.of(node)
    if node.op_type == "Gemm" and not options.transposed_b:
        axis = 1
    codes, stated = value.inputs[1].codes, value.inputs[1].quantization
    if codes.dtype not in BYTES or codes.ndim > _MOST_AXES or (
            stated.scale.size > 1 and stated.axis != axis % codes.ndim):
        raise _NoInteger
    shift = 128 if codes.dtype == np.uint8 else 0
    weights, q = as_int8(importer, codes, stated.scale, (stated.zero_point + shift).astype(codes.dtype), axis)
    addend = value.inputs[2] if len(value.inputs) > 2 else None
    if node.op_type == "Gemm":
        weights, x = options.signed(importer, weights, q), options.left(importer, x)
        q = options.scaled(q, importer.graph.tensors[x].quantization.scale)
        addend = _times(addend, options.beta)
    bias = _bias(importer, addend, x, q, out_q)
    if node.op_type == "Conv":
        return convolution(importer, given, x, weights, q, bias, name, out_q, clamp)
    if node.op_type == "ConvTranspose":
        return transposed(importer, given, x, weights, q, bias, name, out_q, clamp)
    if node.op_type == "MatMul":
        return constant_product(importer, x, weights, q, name, out_q, clamp)
    return rows(importer, x, options.right(weights), q, bias, name, out_q, clamp)


def _times(value: Value | None, factor: float) -> Value | None:
    if factor == 1 or not isinstance(value, Constant):
        return value
    return Constant(value.array * value.array.dtype.type(factor))


def _code(bound: float, q: Quantization) -> int:
    """The int8 value that a real bound is quantized to."""
    return int(np.clip(np.rint(np.float32(bound) / q.scale[0]) + q.zero_point[0], *FULL))


def _codes_of(importer: Importer, value: Value, emit: bool = True) -> str | None:
    """The int8 tensor that a float value is dequantized from; None where the value is not what 8 bits stand for.

    A function whose results the tensor's own scale can say (a ReLU) becomes a table in front. Without `emit` nothing
    is added to the graph; the answer is then the empty name where something would have to be.
    """
    if isinstance(value, Constant):
        return importer.constant_codes(value) if emit else ""
    if value.origin:  # an activation's table, whose codes no tensor holds yet
        return importer.codes(value.origin) if emit else ""
    tensor = importer.graph.tensors[value.tensor]
    reals = dequantized(tensor.quantization)
    if np.array_equal(value.table, reals):
        return value.tensor
    places = np.clip(np.searchsorted(reals, value.table), 0, 255)
    if not np.array_equal(reals[places], value.table):
        return None
    return importer.tabulated(value.tensor, (places - 128).astype(np.int8)) if emit else ""


def _bias(importer: Importer, value: Value | None, x: str, weights: Quantization, output: Quantization
          ) -> np.ndarray | None:
    """The bias as int32 at the scale of the sums; _NoInteger where rounding it could be seen in the output."""
    if value is None:
        return None
    if not isinstance(value, Constant):
        raise _NoInteger
    outputs = weights.scale.size if weights.scale.size > 1 else value.array.size
    if value.array.size not in (1, outputs):
        raise _NoInteger
    scale = importer.graph.tensors[x].quantization.scale.astype(np.float64) * weights.scale
    stated = value.quantization
    if stated is not None and value.codes.dtype == np.int32 and not np.any(stated.zero_point):
        same = np.isclose(stated.scale, scale, rtol=1e-6, atol=0)
        empty = ~same & (stated.scale == 0)  # a pruned channel, whose weights have a scale in name only
        if np.all(same | empty):
            return np.where(empty, 0, value.codes).astype(np.int32).ravel()
    exact = value.array.astype(np.float64).ravel() / scale
    bias = np.rint(exact)
    if np.any(np.abs(bias - exact) * scale > LARGEST_ROUNDING * float(output.scale[0])):
        raise _NoInteger
    if not np.all(np.isfinite(bias)) or np.any((bias < _INT32.min) | (bias > _INT32.max)):
        raise _NoInteger
    return bias.astype(np.int32)


CONVERTERS = dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), pending)
