"""Operands of integer layers: constant weights and biases as int8 and int32, images with channels last."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lepton.graph import FULL, Pair, Quantization, Reshape, Transpose
from lepton.graph.builder import GraphBuilder, Value

from .node import OnnxNode
from .quantities import quantization
from .values import BYTES, int8_codes

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)
SMALLEST = np.finfo(np.float32).tiny  # below it a scale times any sum of products rounds to 0


@dataclass(frozen=True, eq=False)
class Int8Weights:
    """int8 weights, their quantization, and the int32 bias of a layer."""

    data: np.ndarray
    q: Quantization
    bias: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Int8Result:
    """Name, quantization and smallest and largest int8 value of what a layer computes."""

    name: str
    q: Quantization
    clamp: Pair = FULL


def constant_weights(node: OnnxNode, places: tuple[int, int, int], axis: int) -> tuple[np.ndarray, Quantization]:
    """Constant weights as `as_int8` gives them; data, scale and zero point are at the three `places`."""
    at_data, at_scale, at_zero = places
    data = node.constant(at_data, "the weights")
    scale = node.constant(at_scale, "the scale of the weights")
    zero = node.optional(at_zero, "their zero point")
    return as_int8(node.builder, data, scale.ravel(), np.zeros(scale.size, data.dtype) if zero is None
                   else zero.ravel(), axis)


def constant_bias(node: OnnxNode, position: int, scale: int) -> np.ndarray | None:
    """The int32 bias of an integer layer; 0 where the scale of the weights, at position `scale`, is 0.

    The kernels multiply sum and bias by it.
    """
    bias = node.optional(position, "the bias")
    empty = node.constant(scale, "the scale of the weights").ravel() < SMALLEST
    if bias is None or not empty.any():
        return bias
    return np.where(empty, np.zeros(1, bias.dtype), bias.ravel())


def as_int8(builder: GraphBuilder, data: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int
            ) -> tuple[np.ndarray, Quantization]:
    """Weights (output channels along `axis`) as int8, with their scales and zero points.

    Channels with the scale 0, which stand for zeros whatever their codes, get their zero point as codes and the scale
    of another channel.
    """
    if data.dtype not in BYTES or zero.dtype != data.dtype:
        raise builder.error(f"weights and their zero points must be int8 or uint8, not {data.dtype} and {zero.dtype}")
    channels = data.shape[axis]
    if scale.size not in (1, channels) or zero.size not in (1, channels):
        raise builder.error(f"weights of shape {data.shape} need 1 or {channels} scales and zero points, not "
                            f"{scale.size} and {zero.size}")
    if scale.size != zero.size:
        scale = np.broadcast_to(scale, channels)
        zero = np.broadcast_to(zero, channels)
    empty = scale < SMALLEST
    if empty.any():
        along = [1] * data.ndim
        along[axis] = -1
        data = np.where(empty.reshape(along if scale.size > 1 else -1), zero.reshape(along), data)
        scale = np.where(empty, scale[~empty].min(initial=1), scale).astype(np.float32)
    q = quantization(scale, zero, builder.where, axis if scale.size > 1 else None)
    return int8_codes(data), q


def layer_constants(x: Value, weights: Int8Weights, data: np.ndarray, axis: int) -> list[Value | None]:
    """The tensors of the weights as `data` (output channels now along `axis`) and of the bias."""
    builder = x.builder
    q = Quantization(weights.q.scale, weights.q.zero_point, None if weights.q.axis is None else axis)
    tensor = builder.constant(data, f"{builder.label}.weight", q)
    if weights.bias is None:
        return [tensor, None]
    bias = checked_bias(builder, weights.bias, data.shape[axis])
    scale = x.parameters.scale * q.scale
    bias_q = Quantization(scale, np.zeros(scale.size, np.int32), 0 if scale.size > 1 else None)
    return [tensor, builder.constant(bias, f"{builder.label}.bias", bias_q)]


def checked_bias(builder: GraphBuilder, bias: np.ndarray, channels: int) -> np.ndarray:
    """The bias (channels,) int32 from one of that size, or of one number for all channels."""
    if bias.dtype != np.int32 or bias.size not in (1, channels):
        raise builder.error(f"the bias must have {channels} int32 values, or 1 for all, not {bias.size} of "
                            f"{bias.dtype}")
    return np.broadcast_to(bias.ravel(), channels)


def with_shape(x: Value, shape: Sequence[int]) -> Value:
    """`x` reshaped; the new tensor is named after it."""
    if tuple(shape) == tuple(x.shape):
        return x
    return x.builder.emit(Reshape(tuple(map(int, shape))), [x], f"{x.name}.r")


def with_axes(x: Value, order: tuple[int, ...]) -> Value:
    """`x` transposed; the new tensor is named after it."""
    return x.builder.emit(Transpose(order), [x], f"{x.name}.t")


def image(x: Value) -> Value:
    """(N, C, H, W) or (N, C, W) as (N, H, W, C)."""
    if x.rank == 3:
        n, channels, width = x.shape
        x = with_shape(x, (n, channels, 1, width))
    elif x.rank != 4:
        raise x.builder.error(f"the input must be (batch, channels, height, width), not {tuple(x.shape)}")
    return with_axes(x, TO_NHWC)


def from_image(x: Value, rank: int) -> Value:
    """The inverse of `image`, for results of `rank` dimensions."""
    x = with_axes(x, TO_NCHW)
    n, channels, _, width = x.shape
    return with_shape(x, (n, channels, width)) if rank == 3 else x
