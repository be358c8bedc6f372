"""Operands of layers: int8 tensors, constant weights and biases, images with channels last."""

import numpy as np
import onnx

from lepton.graph import GraphError, Quantization

from .importer import TO_NCHW, TO_NHWC, Importer
from .quantities import quantization
from .values import BYTES, Constant

FULL = (-128, 127)


SMALLEST = np.finfo(np.float32).tiny  # below it a scale times any sum of products rounds to 0


def constant_weights(importer: Importer, node: onnx.NodeProto, places: tuple[int, int, int], axis: int
             ) -> tuple[np.ndarray, Quantization]:
    """Constant weights as `as_int8` gives them; scale and zero point at the other two `places`."""
    data, scale, zero = (importer.constant(node, place, what) for place, what in
                         zip(places, ("the weights", "the scale of the weights", "their zero point"), strict=True))
    if zero is None:
        zero = np.zeros(scale.size, data.dtype)
    return as_int8(importer, data, scale.ravel(), zero.ravel(), axis)


def constant_bias(importer: Importer, node: onnx.NodeProto, position: int, scale: int) -> np.ndarray | None:
    """The int32 bias of an integer layer; 0 where the scale of the weights, at position `scale`, is 0.

    The kernels multiply sum and bias by it.
    """
    bias = importer.constant(node, position, "the bias")
    empty = importer.constant(node, scale, "the scale of the weights").ravel() < SMALLEST
    if bias is None or not empty.any():
        return bias
    return np.where(empty, np.zeros(1, bias.dtype), bias.ravel())


def as_int8(importer: Importer, data: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int
             ) -> tuple[np.ndarray, Quantization]:
    """Weights (output channels along `axis`) as int8, with their scales and zero points.

    Channels with the scale 0, which stand for zeros whatever their codes, get their zero point as codes and the scale
    of another channel.
    """
    if data.dtype not in BYTES or zero.dtype != data.dtype:
        raise GraphError(f"{importer.where}: weights and their zero points must be int8 or uint8, not {data.dtype} and "
                         f"{zero.dtype}")
    channels = data.shape[axis]
    if scale.size not in (1, channels) or zero.size not in (1, channels):
        raise GraphError(f"{importer.where}: weights of shape {data.shape} need 1 or {channels} scales and zero "
                         f"points, not {scale.size} and {zero.size}")
    if scale.size != zero.size:
        scale, zero = (np.broadcast_to(array, channels) for array in (scale, zero))
    if np.any(empty := scale < SMALLEST):
        along = [1] * data.ndim
        along[axis] = -1
        data = np.where(empty.reshape(along if scale.size > 1 else -1), zero.reshape(along), data)
        scale = np.where(empty, scale[~empty].min(initial=1), scale).astype(np.float32)
    q = quantization(scale, zero, importer.where, axis if scale.size > 1 else None)
    if scale.size == 1:
        q = Quantization(q.scale, q.zero_point, None)
    return (data.astype(np.int16) - 128).astype(np.int8) if data.dtype == np.uint8 else data, q


def layer_constants(importer: Importer, weights: np.ndarray, q: Quantization, axis: int, bias: np.ndarray | None,
               x: str) -> list[str]:
    """Names of the weights (output channels now along `axis`) and of the bias, which may be one number for all."""
    q = Quantization(q.scale, q.zero_point, None if q.axis is None else axis)
    names = [importer.constant_tensor(f"{importer.label}.weight", weights, q), ""]
    if bias is not None:
        bias = checked_bias(importer, bias, weights.shape[axis])
        scale = importer.graph.tensors[x].quantization.scale * q.scale
        names[1] = importer.constant_tensor(
            f"{importer.label}.bias", bias,
            Quantization(scale, np.zeros(scale.size, np.int32), 0 if scale.size > 1 else None))
    return names


def checked_bias(importer: Importer, bias: np.ndarray, channels: int) -> np.ndarray:
    """The bias (channels,) int32 from one of that size, or of one number for all channels."""
    if bias.dtype != np.int32 or bias.size not in (1, channels):
        raise GraphError(f"{importer.where}: the bias must have {channels} int32 values, or 1 for all, not {bias.size} "
                         f"of {bias.dtype}")
    return np.broadcast_to(bias.ravel(), channels)


def stated_at(importer: Importer, node: onnx.NodeProto, position: int, places: tuple[int, int] | None = None
              ) -> Quantization:
    """The quantization that the node states for the operand at `position`: behind it, or at `places`."""
    of_scale, of_zero = places or (position + 1, position + 2)
    zero = importer.constant(node, of_zero, "the zero point")
    zero = np.zeros(1, importer.settled(node.input[position]).dtype) if zero is None else zero.ravel()
    return quantization(importer.constant(node, of_scale, "the scale").ravel(), zero, importer.where)


def codes_as_stated(importer: Importer, node: onnx.NodeProto, position: int = 0,
                    places: tuple[int, int] | None = None) -> str:
    """The int8 tensor of an operand with the scale and zero point that the node states for it (`stated_at`)."""
    q = stated_at(importer, node, position, places)
    if isinstance(importer.operand(node, position), Constant):
        importer.quantities.setdefault(node.input[position], q)
    importer.computed(node.input[position])
    return importer.codes(node.input[position], q)


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
