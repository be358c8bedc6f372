"""Float layers between dequantize and quantize.

ONNX Runtime has no integer kernel for some quantized layers (transposed convolutions, convolutions with a ReLU that
its quantizer would have folded) and computes them in float32. Here they become integer layers too: the same sums,
exact instead of rounded, so that a result may differ where a float sum comes to lie at a rounding step.
"""

import numpy as np
import onnx

from lepton.graph import GraphError, Mean, Quantization

from .convolutions import convolution, transposed
from .importer import INT8, Importer, attributes, dequantized
from .operands import FULL, as_int8, from_image, image
from .products import plain_gemm, product, rows
from .values import Computed, Constant, Pending, Value

NOT_QUANTIZED = ("works on float32 values; quantize the network first, for instance with calibration data "
                 "(`lepton compile --calibration`); what ONNX Runtime's quantizer leaves in float in the QOperator "
                 "format, it quantizes in the QDQ format")
_INT32 = np.iinfo(np.int32)
LARGEST_ROUNDING = 1 / 64  # of a bias, in steps of the output


def _operand_position(node: onnx.NodeProto) -> int:
    return 2 if node.op_type in ("Conv", "ConvTranspose", "Gemm") else len(node.input)


def pending(importer: Importer, node: onnx.NodeProto):
    """A float layer of dequantized operands: waits for the QuantizeLinear that follows."""
    operands = tuple(importer.operand(node, i) for i in range(len(node.input)))
    for value in operands[:_operand_position(node)]:
        quantized = value.quantization is not None if isinstance(value, Constant) else (
            isinstance(value, Computed) and value.table is not None and value.dtype == np.float32)
        if not quantized:
            raise GraphError(f"{importer.where} {NOT_QUANTIZED}")
    importer.values[node.output[0]] = Pending(node, operands)


def finish(importer: Importer, quantize: onnx.NodeProto, value: Pending):
    """Emits a pending layer, now that `quantize` says what it is quantized to."""
    node, name = value.node, quantize.output[0]
    out_q = importer.quantities[name]
    zero = importer.constant(quantize, 2, "the zero point")
    importer.where = f"{node.op_type} {node.name or node.output[0]!r}"
    importer.label = node.name or node.output[0]
    clamp = tuple(_code(bound, out_q) for bound in value.bounds)
    x = _base(importer, value.inputs[0])
    if node.op_type == "ReduceMean":
        y = importer.emit(Mean(), [image(importer, x)], name,
                          (importer.graph.tensors[x].shape[0], 1, 1, importer.graph.tensors[x].shape[1]), INT8, out_q)
        y = from_image(importer, y, 4)
        if not attributes(node).get("keepdims", 1):
            y = importer.reshape(y, importer.graph.tensors[y].shape[:2])
    elif isinstance(value.inputs[1], Computed):
        y = product(importer, x, _base(importer, value.inputs[1]), name, out_q, clamp)
    else:
        given, axis = attributes(node), {"ConvTranspose": 1, "MatMul": -1}.get(node.op_type, 0)
        if node.op_type == "Gemm" and not plain_gemm(importer, node):
            axis = 1
        codes, stated = value.inputs[1].codes, value.inputs[1].quantization
        if stated.scale.size > 1 and stated.axis != axis % codes.ndim:
            raise GraphError(f"{importer.where}: the weights must be quantized per tensor or per output channel "
                             f"(axis {axis % codes.ndim}), not along axis {stated.axis}")
        shift = 128 if codes.dtype == np.uint8 else 0
        weights, q = as_int8(importer, codes, stated.scale, (stated.zero_point + shift).astype(codes.dtype), axis)
        bias = _bias(importer, value.inputs[2] if len(value.inputs) > 2 else None, x, q, out_q)
        if node.op_type == "Conv":
            y = convolution(importer, given, x, weights, q, bias, name, out_q, clamp)
        elif node.op_type == "ConvTranspose":
            y = transposed(importer, given, x, weights, q, bias, name, out_q, clamp)
        else:
            y = rows(importer, x, weights.T if axis in (1, -1) else weights, q, bias, name, out_q, clamp)
    importer.set_codes(name, y, np.uint8 if zero is None else zero.dtype)


def _code(bound: float, q: Quantization) -> int:
    """The int8 value that a real bound is quantized to."""
    return int(np.clip(np.rint(np.float32(bound) / q.scale[0]) + q.zero_point[0], *FULL))


def _base(importer: Importer, value: Value) -> str:
    """The int8 tensor that a float value is dequantized from."""
    if value.origin:  # an activation's table, whose codes no tensor holds yet
        return importer.codes(value.origin)
    tensor = importer.graph.tensors[value.tensor]
    if not np.array_equal(value.table, dequantized(tensor.quantization)):
        raise GraphError(f"{importer.where}: its input must be quantized; quantize every activation to 8 bits")
    return value.tensor


def _bias(importer: Importer, value: Value | None, x: str, weights: Quantization, output: Quantization
          ) -> np.ndarray | None:
    """The bias as int32 at the scale of the sums. Raises GraphError where rounding it could be seen in the output."""
    if value is None:
        return None
    if not isinstance(value, Constant):
        raise GraphError(f"{importer.where}: the bias must be constant")
    scale = importer.graph.tensors[x].quantization.scale.astype(np.float64) * weights.scale
    stated = value.quantization
    if stated is not None and value.codes.dtype == np.int32 and not np.any(stated.zero_point) and np.allclose(
            stated.scale, scale, rtol=1e-6, atol=0):
        return value.codes.ravel()
    exact = value.array.astype(np.float64).ravel() / scale
    bias = np.rint(exact)
    if np.any(np.abs(bias - exact) * scale > LARGEST_ROUNDING * float(output.scale[0])):
        raise GraphError(f"{importer.where}: the bias is no multiple of input scale times weight scale, and too coarse "
                         "in it for the output's scale; quantize the bias as ONNX says, to int32 with that scale")
    if not np.all(np.isfinite(bias)) or np.any((bias < _INT32.min) | (bias > _INT32.max)):
        raise GraphError(f"{importer.where}: the bias does not fit 32 bits at the scale of input times weights")
    return bias.astype(np.int32)


CONVERTERS = dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), pending)
