"""Checks and arithmetic that layers with constant weights share."""


from math import prod

import numpy as np

from ..core import Call, GraphError, OperandList, Pair, Shape, Signature, Tensor
from ..numerics.requantize import Requantizer, from_sums, requantizer, sum_scales
from .conditions import constant, int8, quantized, require


def shape_of(inputs: OperandList[Tensor], rank: int) -> Shape:
    """The shape of the weights, which must have `rank` dimensions."""
    tensor = inputs[1]
    shape = tuple(map(int, tensor.shape))
    require(len(shape) == rank and min(shape) > 0,
            f"weights {tensor.name!r} must have {rank} dimensions of at least 1, not shape {shape}")
    return shape


def check_layer(signature: Signature, axis: int) -> None:
    """int8 in and out; constant int8 weights with scales along `axis`, their output channels; an int32 bias."""
    tensor = signature.inputs[1]
    bias = signature.inputs.get(2)
    int8(signature.inputs[0], signature.output)
    data = constant(tensor, "weights")
    require(data.dtype == np.int8, f"weights {tensor.name!r} must be int8, not {data.dtype}")
    outputs = data.shape[axis]
    q = tensor.quantization
    if q is None:
        raise GraphError(f"weights {tensor.name!r} must be quantized")
    require(q.scale.size == 1 or q.axis == axis, f"weights {tensor.name!r} must be quantized per tensor or along axis "
                                                 f"{axis} (output channels), not axis {q.axis}")
    require(q.scale.size in (1, outputs), f"weights {tensor.name!r} must have 1 or {outputs} scales")
    quantized(tensor)
    if bias is not None:
        values = constant(bias, "bias")
        require(values.dtype == np.int32 and values.size == outputs, f"bias {bias.name!r} must have {outputs} int32 "
                f"values, not {values.dtype} of shape {values.shape}")


def centred(weights: Tensor) -> np.ndarray:
    """Weights less their zero points, int16: int8 minus int8 needs 9 bits."""
    data = constant(weights, "weights")
    zero = weights.parameters.zero_point.reshape(-1).astype(np.int16)
    if zero.size > 1:
        shape = [1] * data.ndim
        shape[weights.parameters.axis or 0] = -1
        zero = zero.reshape(shape)
    return data.astype(np.int16) - zero


def exact_type(a: np.ndarray, b: np.ndarray) -> type[np.floating]:
    """The floating-point type in which a @ b of integers of up to 16 bits is exact, whatever the order of the sums:
    float32 holds integers up to 2**24, float64 up to 2**53."""
    if not a.size or not b.size:
        return np.float32
    largest = max(int(a.max()), -int(a.min()))
    return np.float32 if largest * int(np.abs(b.astype(np.int64)).sum(axis=-2).max()) <= 1 << 24 else np.float64


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b of integers of up to 16 bits, exact, as int64."""
    exact = exact_type(a, b)
    return (a.astype(exact) @ b.astype(exact)).astype(np.int64)


def finisher(call: Call, limits: Pair, in_double: bool, once: bool = False) -> Requantizer | None:
    """What makes the layer's int8 result of its int32 sums (rows, output channels), the bias being in them; None where
    numpy is to compute."""
    x, weights = call.inputs[:2]
    scales = sum_scales(call.arithmetic, x, weights, call.output, in_double)
    return requantizer(call.arithmetic, scales, call.output.zero_point, limits, prod(call.output.shape), call.often,
                       once)


def many_products(call: Call, macs: int) -> bool:
    """Whether BLAS and numpy compute a layer faster than compiled loops of integers do, as measured on Zen 4: 2 million
    products, or 16 million where numpy takes longer for the requantization in fixed point."""
    return macs >= (1 << 24 if call.fixed else 1 << 21)


def bias_of(call: Call, outputs: int) -> np.ndarray:
    """int32, zeros where there is none."""
    bias = call.values.get(2)
    return np.zeros(outputs, np.int32) if bias is None else np.ascontiguousarray(bias.reshape(-1))


def finished(call: Call, total: np.ndarray, limits: tuple[int, int], in_double: bool, once: bool = False) -> np.ndarray:
    """The layer's int8 result, of its integer sums; the last axis is that of output channels. Adds the bias."""
    x, weights = call.inputs[:2]
    bias = call.values.get(2)
    if bias is not None:
        total = total + bias.reshape(-1)
    scales = sum_scales(call.arithmetic, x, weights, call.output, in_double)
    return from_sums(call.arithmetic, total, scales, call.output.zero_point, limits, once)

