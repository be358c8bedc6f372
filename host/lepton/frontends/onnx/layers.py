"""Layers with weights: ONNX Runtime's integer kernels, and float layers between dequantize and quantize.

ONNX Runtime has no integer kernel for some quantized layers (transposed convolutions, convolutions with a ReLU that
its quantizer would have folded) and computes them in float32. Here they become integer layers too: the same sums,
exact instead of rounded, so that a result may differ where a float sum comes to lie at a rounding step.
"""

import numpy as np
import onnx

from lepton.graph import (
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    GraphError,
    MatMul,
    Mean,
    Op,
    Quantization,
    TransposeConv2D,
)

from .importer import INT8, TO_NCHW, TO_NHWC, Importer, attributes, dequantized
from .quantities import quantization
from .values import BYTES, Computed, Constant, Pending, Value
from .windows import window

NOT_QUANTIZED = ("works on float32 values; quantize the network first, for instance with calibration data "
                 "(`lepton compile --calibration`)")
_INT32 = np.iinfo(np.int32)
LARGEST_ROUNDING = 1 / 64  # of a bias, in steps of the output
FULL = (-128, 127)


# Operands

def _weights(importer: Importer, node: onnx.NodeProto, places: tuple[int, int, int], axis: int
             ) -> tuple[np.ndarray, Quantization]:
    """Constant weights as int8, with their scales and zero points along `axis`."""
    data, scale, zero = (importer.constant(node, place, what) for place, what in
                         zip(places, ("the weights", "the scale of the weights", "their zero point"), strict=True))
    if zero is None:
        zero = np.zeros(scale.size, data.dtype)
    return _as_int8(importer, data, scale.ravel(), zero.ravel(), axis)


def _as_int8(importer: Importer, data: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int
             ) -> tuple[np.ndarray, Quantization]:
    if data.dtype not in BYTES or zero.dtype != data.dtype:
        raise GraphError(f"{importer.where}: weights and their zero points must be int8 or uint8, not {data.dtype} and "
                         f"{zero.dtype}")
    channels = data.shape[axis]
    if scale.size not in (1, channels) or zero.size not in (1, channels):
        raise GraphError(f"{importer.where}: weights of shape {data.shape} need 1 or {channels} scales and zero "
                         f"points, not {scale.size} and {zero.size}")
    if scale.size != zero.size:
        scale, zero = (np.broadcast_to(array, channels) for array in (scale, zero))
    q = quantization(scale, zero, importer.where, axis if scale.size > 1 else None)
    if scale.size == 1:
        q = Quantization(q.scale, q.zero_point, None)
    return (data.astype(np.int16) - 128).astype(np.int8) if data.dtype == np.uint8 else data, q


def _constants(importer: Importer, weights: np.ndarray, q: Quantization, axis: int, bias: np.ndarray | None,
               x: str) -> list[str]:
    """Names of the weights (output channels now along `axis`) and of the bias."""
    q = Quantization(q.scale, q.zero_point, None if q.axis is None else axis)
    names = [importer.constant_tensor(f"{importer.label}.weight", weights, q), ""]
    if bias is not None:
        if bias.dtype != np.int32 or bias.size != weights.shape[axis]:
            raise GraphError(f"{importer.where}: the bias must have {weights.shape[axis]} int32 values, not "
                             f"{bias.size} of {bias.dtype}")
        scale = importer.graph.tensors[x].quantization.scale * q.scale
        names[1] = importer.constant_tensor(
            f"{importer.label}.bias", bias.ravel(),
            Quantization(scale, np.zeros(scale.size, np.int32), 0 if scale.size > 1 else None))
    return names


def codes_as_stated(importer: Importer, node: onnx.NodeProto, position: int = 0) -> str:
    """The int8 tensor of an operand with the scale and zero point that the node states behind it."""
    value = importer.computed(node.input[position])
    zero = importer.constant(node, position + 2, "the zero point")
    zero = np.zeros(1, value.dtype) if zero is None else zero.ravel()
    scale = importer.constant(node, position + 1, "the scale").ravel()
    return importer.codes(node.input[position], quantization(scale, zero, importer.where))


def image(importer: Importer, tensor: str) -> str:
    """(N, C, H, W) or (N, C, W) as (N, H, W, C)."""
    shape = importer.graph.tensors[tensor].shape
    if len(shape) == 3:
        tensor = importer.reshape(tensor, (shape[0], shape[1], 1, shape[2]))
    elif len(shape) != 4:
        raise GraphError(f"{importer.where}: the input must be (batch, channels, height, width), not {shape}")
    return importer.transpose(tensor, TO_NHWC)


def from_image(importer: Importer, tensor: str, rank: int) -> str:
    tensor = importer.transpose(tensor, TO_NCHW)
    shape = importer.graph.tensors[tensor].shape
    return importer.reshape(tensor, (*shape[:2], shape[3])) if rank == 3 else tensor


# Convolutions

def _convolution(importer: Importer, given: dict, x: str, weights: np.ndarray, q: Quantization,
                 bias: np.ndarray | None, output: str, out_q: Quantization, clamp: tuple[int, int]) -> str:
    """Emits the layer for x (N, C, ...) and weights (O, C / groups, ...); returns the result (N, O, ...)."""
    shape = importer.graph.tensors[x].shape
    if len(weights.shape) != len(shape) or len(shape) not in (3, 4):
        raise GraphError(f"{importer.where}: weights of shape {weights.shape} do not fit the input {shape}; images "
                         "of 1 or 2 dimensions are supported")
    groups, channels, outputs = given.get("group", 1), shape[1], weights.shape[0]
    if groups < 1 or channels != weights.shape[1] * groups or outputs % groups:
        raise GraphError(f"{importer.where}: weights of shape {weights.shape} in {groups} groups do not fit "
                         f"{channels} input channels")
    kernel = tuple(weights.shape[2:])
    if tuple(given.get("kernel_shape") or kernel) != kernel:
        raise GraphError(f"{importer.where}: kernel_shape {given['kernel_shape']} is not that of the weights "
                         f"{weights.shape}")
    w = window(importer, given, kernel, shape[2:])
    fields = {"stride": w.stride, "dilation": w.dilation, "padding": w.padding, "clamp": clamp}
    weights = weights.reshape(outputs, weights.shape[1], *w.kernel)
    if groups == channels > 1:
        op: Op = DepthwiseConv2D(**fields, multiplier=outputs // channels)
        weights, axis = weights.transpose(1, 2, 3, 0), 3
    else:
        op, weights, axis = Conv2D(**fields, groups=groups), weights.transpose(0, 2, 3, 1), 0
    x = image(importer, x)
    y = importer.emit(op, [x, *_constants(importer, weights, q, axis, bias, x)], output,
                      (shape[0], *w.size, outputs), INT8, out_q)
    return from_image(importer, y, len(shape))


def qlinear_conv(importer: Importer, node: onnx.NodeProto):
    weights, q = _weights(importer, node, (3, 4, 5), 0)
    name, dtype = node.output[0], importer.value(node.input[0]).dtype
    y = _convolution(importer, attributes(node), codes_as_stated(importer, node), weights, q,
                     importer.constant(node, 8, "the bias"), name, importer.quantities[name], FULL)
    importer.set_codes(name, y, dtype)


def _transposed(importer: Importer, given: dict, x: str, weights: np.ndarray, q: Quantization,
                bias: np.ndarray | None, output: str, out_q: Quantization, clamp: tuple[int, int]) -> str:
    """The same for a transposed convolution with weights (C, O, H, W)."""
    shape = importer.graph.tensors[x].shape
    if len(shape) != 4 or weights.ndim != 4 or given.get("group", 1) != 1 or any(
            d != 1 for d in given.get("dilations", ())):
        raise GraphError(f"{importer.where}: a transposed convolution must be of a 2-D image, in one group, without "
                         "dilations")
    kernel, stride = weights.shape[2:], tuple(given.get("strides") or (1, 1))
    extra, pads = tuple(given.get("output_padding") or (0, 0)), list(given.get("pads") or (0,) * 4)
    automatic, wanted = given.get("auto_pad", "NOTSET"), given.get("output_shape")
    if min(stride) < 1 or min(extra) < 0 or min(pads) < 0 or len(stride) != 2 or len(pads) != 4 or len(extra) != 2:
        raise GraphError(f"{importer.where}: strides must be above 0, pads and output_padding not below, not {stride}, "
                         f"{pads} and {extra}")
    size = []
    for i in range(2):
        full = (shape[2 + i] - 1) * stride[i] + kernel[i] + extra[i]
        target = wanted[-2 + i] if wanted else shape[2 + i] * stride[i] if automatic.startswith("SAME") else None
        if target is not None:
            total = max(full - target, 0)
            small, large = total // 2, total - total // 2
            pads[i], pads[i + 2] = (small, large) if automatic == "SAME_UPPER" else (large, small)
        size.append(full - pads[i] - pads[i + 2])
    if min(size) < 1:
        raise GraphError(f"{importer.where}: no pixel is left of the output, whose size would be {tuple(size)}")
    if shape[1] != weights.shape[0]:
        raise GraphError(f"{importer.where}: weights of shape {weights.shape} do not fit {shape[1]} input channels")
    x = image(importer, x)
    op = TransposeConv2D(stride, ((pads[0], pads[2]), (pads[1], pads[3])), clamp)
    y = importer.emit(op, [x, *_constants(importer, weights.transpose(1, 2, 3, 0), q, 0, bias, x)], output,
                      (shape[0], *size, weights.shape[1]), INT8, out_q)
    return from_image(importer, y, 4)


# Matrix products

def _rows(importer: Importer, x: str, weights: np.ndarray, q: Quantization, bias: np.ndarray | None, output: str,
          out_q: Quantization, clamp: tuple[int, int]) -> str:
    """x (..., I) times weights (O, I)."""
    shape = importer.graph.tensors[x].shape
    if weights.ndim != 2 or not shape or shape[-1] != weights.shape[1]:
        raise GraphError(f"{importer.where}: weights for {weights.shape[-1]} inputs do not fit an input of shape "
                         f"{shape}")
    return importer.emit(FullyConnected(clamp), [x, *_constants(importer, weights, q, 0, bias, x)], output,
                         (*shape[:-1], weights.shape[0]), INT8, out_q)


def _product(importer: Importer, a: str, b: str, output: str, out_q: Quantization, clamp: tuple[int, int]) -> str:
    """Both operands computed."""
    shapes = [importer.graph.tensors[name].shape for name in (a, b)]
    if min(map(len, shapes)) < 2 or shapes[0][-1] != shapes[1][-2]:
        raise GraphError(f"{importer.where}: matrices of shapes {shapes[0]} and {shapes[1]} cannot be multiplied")
    batch = np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
    return importer.emit(MatMul(clamp), [a, b], output, (*batch, shapes[0][-2], shapes[1][-1]), INT8, out_q)


def qlinear_matmul(importer: Importer, node: onnx.NodeProto):
    name, dtype, out_q = node.output[0], importer.value(node.input[0]).dtype, importer.quantities[node.output[0]]
    b = importer.operand(node, 3)
    if isinstance(b, Constant) and b.array.ndim == 2:
        weights, q = _weights(importer, node, (3, 4, 5), 1)
        y = _rows(importer, codes_as_stated(importer, node), weights.T, q, None, name, out_q, FULL)
    else:
        y = _product(importer, codes_as_stated(importer, node), codes_as_stated(importer, node, 3), name, out_q, FULL)
    importer.set_codes(name, y, dtype)


def _plain_gemm(importer: Importer, node: onnx.NodeProto) -> bool:
    """Checks the options of a Gemm; is B given as (O, I)?"""
    given = attributes(node)
    if given.get("transA", 0) or given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
        raise GraphError(f"{importer.where}: transA must be 0, alpha and beta 1")
    return bool(given.get("transB", 0))


def qgemm(importer: Importer, node: onnx.NodeProto):
    name, dtype = node.output[0], importer.value(node.input[0]).dtype
    if name not in importer.quantities:
        raise GraphError(f"{importer.where}: its result must be quantized, too; quantize every activation to 8 bits")
    by_rows = _plain_gemm(importer, node)
    weights, q = _weights(importer, node, (3, 4, 5), 0 if by_rows else 1)
    y = _rows(importer, codes_as_stated(importer, node), weights if by_rows else weights.T, q,
              importer.constant(node, 6, "the bias"), name, importer.quantities[name], FULL)
    importer.set_codes(name, y, dtype)


# Float layers between dequantize and quantize

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
        y = _product(importer, x, _base(importer, value.inputs[1]), name, out_q, clamp)
    else:
        given, axis = attributes(node), {"ConvTranspose": 1, "MatMul": -1}.get(node.op_type, 0)
        if node.op_type == "Gemm" and not _plain_gemm(importer, node):
            axis = 1
        codes, stated = value.inputs[1].codes, value.inputs[1].quantization
        if stated.scale.size > 1 and stated.axis != axis % codes.ndim:
            raise GraphError(f"{importer.where}: the weights must be quantized per tensor or per output channel "
                             f"(axis {axis % codes.ndim}), not along axis {stated.axis}")
        shift = 128 if codes.dtype == np.uint8 else 0
        weights, q = _as_int8(importer, codes, stated.scale, (stated.zero_point + shift).astype(codes.dtype), axis)
        bias = _bias(importer, value.inputs[2] if len(value.inputs) > 2 else None, x, q, out_q)
        if node.op_type == "Conv":
            y = _convolution(importer, given, x, weights, q, bias, name, out_q, clamp)
        elif node.op_type == "ConvTranspose":
            y = _transposed(importer, given, x, weights, q, bias, name, out_q, clamp)
        else:
            y = _rows(importer, x, weights.T if axis in (1, -1) else weights, q, bias, name, out_q, clamp)
    importer.set_codes(name, y, np.uint8 if zero is None else zero.dtype)


def _code(bound: float, q: Quantization) -> int:
    """The int8 value that a real bound is quantized to."""
    return int(np.clip(np.rint(np.float32(bound) / q.scale[0]) + q.zero_point[0], *FULL))


def _base(importer: Importer, value: Value) -> str:
    """The int8 tensor that a float value is dequantized from."""
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
    exact = value.array.astype(np.float64).ravel() / scale
    bias = np.rint(exact)
    if np.any(np.abs(bias - exact) * scale > LARGEST_ROUNDING * float(output.scale[0])):
        raise GraphError(f"{importer.where}: the bias is no multiple of input scale times weight scale, and too coarse "
                         "in it for the output's scale; quantize the bias as ONNX says, to int32 with that scale")
    if not np.all(np.isfinite(bias)) or np.any((bias < _INT32.min) | (bias > _INT32.max)):
        raise GraphError(f"{importer.where}: the bias does not fit 32 bits at the scale of input times weights")
    return bias.astype(np.int32)


CONVERTERS = {"QLinearConv": qlinear_conv, "QLinearMatMul": qlinear_matmul, "QGemm": qgemm,
              **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), pending)}
