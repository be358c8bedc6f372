"""Dynamic quantization: 8-bit values whose scale follows from the values at run time, and exact sums of their products.

Sources: the ONNX operator specification (DynamicQuantizeLinear-11, MatMulInteger-10, ConvInteger-10), and ONNX
Runtime's core/util/qmath.h. Zero points are operands here, not part of a tensor's quantization.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..core import Call, GraphError, Op, OperandList, Shape, Signature, Tensor
from .conditions import dims, of_type, require
from .float_layers import ConvolutionOp
from .weights import exact_type, product

__all__ = ["DynamicQuantize", "IntegerConv", "IntegerMatMul"]

_RESULTS = ("codes", "scale", "zero_point")


@dataclass(frozen=True)
class DynamicQuantize(Op):
    """inputs: x float32. The range of x, 0 included, in 256 steps.

    "codes": int8 of x's shape, ONNX's uint8 values less 128; "zero_point": int8 (), likewise; "scale": float32 ().
    """

    result: str  # "codes", "scale", "zero_point"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        require(self.result in _RESULTS, f"result must be one of {', '.join(_RESULTS)}, not {self.result!r}")
        of_type(inputs[0], np.float32)
        shape = dims(inputs[0].shape)
        require(prod(shape) > 0, f"{inputs[0].name!r} must have elements, not shape {shape}")
        return shape if self.result == "codes" else (), np.dtype(np.float32 if self.result == "scale" else np.int8)

    def compute(self, call: Call) -> np.ndarray:
        x = call.x
        low = np.minimum(x.min(), np.float32(0))
        high = np.maximum(x.max(), np.float32(0))
        with np.errstate(all="ignore"):  # NaN and infinities are results here, as in the framework
            scale = (high - low) / np.float32(255) if low != high else np.float32(1)
            if self.result == "scale":
                return np.asarray(scale)
            zero = np.rint(np.fmin(np.fmax(-low / scale, np.float32(0)), np.float32(255))) - np.float32(128)
            if self.result == "zero_point":
                return np.asarray(zero, np.int8)
            codes = np.rint(np.fmin(np.fmax(x / scale, np.float32(-128) - zero), np.float32(127) - zero))
            codes += zero
        return codes.astype(np.int8)


def _zero_points(inputs: OperandList[Tensor], of_second: bool) -> None:
    """Operands 2 and 3, zero points: int8 like the first two; one of the first, one of the second or `of_second`."""
    for tensor in inputs.given:
        of_type(tensor, np.int8)
    first = inputs[2]
    second = inputs[3]
    require(prod(first.shape) == 1, f"the zero point {first.name!r} must have 1 value, not shape {dims(first.shape)}")
    require(prod(second.shape) == 1 or of_second,
            f"the zero points {second.name!r} of shape {dims(second.shape)} do not fit {inputs[1].name!r} of shape "
            f"{dims(inputs[1].shape)}")


def _centred(values: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """int16: int8 minus int8 needs 9 bits."""
    centred: np.ndarray = values.astype(np.int16) - zero.astype(np.int16)
    return centred


@dataclass(frozen=True)
class IntegerMatMul(Op):
    """inputs: a int8 (..., M, K), b int8 (..., K, N), a's zero point, b's zero point or those of its columns: (N,)
    or (..., 1, N).

    Output int32 (..., M, N): exact sums of products, modulo 2**32; batch axes broadcast as in numpy.
    """

    operands = (4, 4)

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        a, b = (dims(t.shape) for t in inputs[:2])
        require(len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2], f"shapes {a} and {b} do not multiply")
        zero = dims(inputs[3].shape)
        _zero_points(inputs, zero in ((b[-1],), (*b[:-2], 1, b[-1])))
        try:
            batch = np.broadcast_shapes(a[:-2], b[:-2])
        except ValueError:
            raise GraphError(f"batch axes of {a} and {b} do not broadcast") from None
        return (*batch, a[-2], b[-1]), np.dtype(np.int32)

    def compute(self, call: Call) -> np.ndarray:
        a, b, a_zero, b_zero = call.values
        b_zero = b_zero.reshape(()) if b_zero.size == 1 else b_zero
        return product(_centred(a, a_zero.reshape(())), _centred(b, b_zero)).astype(np.int32)

    def macs(self, signature: Signature) -> int:
        return prod(signature.output.shape) * int(signature.inputs[0].shape[-1])


@dataclass(frozen=True)
class IntegerConv(ConvolutionOp):
    """inputs: x int8 (N,C,...), weights int8 (O,C/groups,...), x's zero point, the weights' or those of O channels.

    Output int32 (N,O,...): exact sums of products, modulo 2**32; the border stands for 0.
    """

    operands = (4, 4)

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        shape = self.shape(inputs)
        _zero_points(inputs, dims(inputs[3].shape) == (shape[1],))
        return shape, np.dtype(np.int32)

    def compute(self, call: Call) -> np.ndarray:
        x, weights, x_zero, weights_zero = call.values
        pixels = _centred(x, x_zero.reshape(()))
        centred = _centred(weights, weights_zero.reshape(-1, *[1] * (weights.ndim - 1)))
        exact = exact_type(pixels, centred.reshape(len(centred), -1).T)
        sums = self.sums(pixels.astype(exact), centred.astype(exact), tuple(call.output.shape))
        return sums.astype(np.int64).astype(np.int32)
