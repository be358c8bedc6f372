"""Functions that are linear in one int8 value for each channel, as depthwise convolutions of one pixel.

A normalization that is not fused into a convolution, a scale or an offset for each channel, a clamp after them: PyTorch
itself computes the results of the 256 values in each channel, and weight, bias and scale are chosen so that the layer's
integers round to the same value for all of them. A bias is a whole number of steps of input scale times weight scale,
so the weight decides how fine it can be: where 127 does not give every value, others do.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.fx import Node

from lepton.graph import Arithmetic, DepthwiseConv2D, Quantization, Tensor
from lepton.graph.builder import Value
from lepton.graph.numerics.requantize import float_scales

from .context import ImportContext
from .execution import Execution
from .operators import POINTWISE, Kind, kind
from .qdq import requantized
from .tables import Chain, chain_of, evaluate

_WEIGHTS = np.arange(127, 0, -1)  # candidates: the largest int8 weight has the finest steps of the bias
_BIAS_LIMIT = 2**30  # leaves room in int32 for the product of weight and input, at most 127 * 255
_FLAT = 2.0**-16  # output steps that a step of the bias of a constant channel is
_TOLERATED = 2  # of the 256 values of a channel may differ from PyTorch's, by one: its own sums are rounded to float32
# Relative to the largest value: what float64 (2e-16) leaves of a straight line after a few operators.
_STRAIGHT = 1e-9
_LEVEL = 1e-12  # a line that rises by less over all 256 values is constant


@dataclass(frozen=True)
class Lines:
    """Parameters of a depthwise layer, one of each for every channel."""

    weights: np.ndarray  # int8 (channels,)
    scales: np.ndarray  # float32 (channels,), of the weights
    biases: np.ndarray  # int32 (channels,)
    differing: int  # values of the 256 of each channel that the layer rounds in another way than PyTorch


@dataclass(frozen=True)
class _Line:
    """The parameters of one channel, see `Lines`."""

    weight: int
    scale: float
    bias: int
    differing: int


def affine(context: ImportContext, quantize: Node, output: Tensor, label: str) -> Value | None:
    """Emits a depthwise layer if the value to be quantized is a line of one int8 value for each channel."""
    result = context.arguments(quantize).operand()
    chain = chain_of(context, result, (*POINTWISE, Kind.NORMALIZATION), lambda node, constant: True)
    if chain is None or chain.value.shape != output.shape or chain.value.rank not in (2, 3, 4):
        return None
    x = chain.value
    axis = _channel_axis(context.execution, chain, x.rank)
    if axis is None:
        return None
    wanted, exact = _by_channel(context.execution, chain, quantize, axis)
    source = x.tensor.parameters
    layer = fit(wanted, exact, source, output.parameters)
    if layer is None:
        return None
    zeros = np.zeros(layer.scales.shape, np.int32)
    weights = context.constant(f"{label}.weight", layer.weights.reshape(1, 1, 1, -1),
                               Quantization(layer.scales, zeros, 3))
    bias = context.constant(f"{label}.bias", layer.biases,
                            Quantization((source.scale * layer.scales).astype(np.float32), zeros, 0))
    context.at(result, label)
    emit = context.images.emit if axis == 1 else context.images.emit_rows
    return emit(DepthwiseConv2D(clamp=(int(wanted.min()), int(wanted.max()))), [x, weights, bias], output, label)


def _by_channel(execution: Execution, chain: Chain, quantize: Node, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """What PyTorch makes of the 256 int8 values in each channel: int64 and float64 (channels, 256), the latter before
    it is clamped and quantized."""
    x = chain.value
    channels = x.shape[axis]
    shape, place = _all_values(x.rank, channels, axis)
    codes = (torch.arange(-128, 128) - x.tensor.zero_point).reshape(place).expand(shape).contiguous()
    scale = float(x.tensor.scale)
    made = evaluate(execution, chain, dict.fromkeys(chain.roots, codes.float() * scale))
    exact = evaluate(execution, chain, dict.fromkeys(chain.roots, codes.double() * scale), lines=True)

    def rows(values: torch.Tensor) -> np.ndarray:
        return np.moveaxis(values.expand(shape).numpy(), axis, 0).reshape(channels, 256)

    return rows(requantized(execution, quantize, made)).astype(np.int64), rows(exact)


def _channel_axis(execution: Execution, chain: Chain, rank: int) -> int | None:
    """The one axis along which the constants of the chain differ; None where there is no such axis."""
    axes = set()
    for node in chain.nodes:
        if kind(node) is Kind.NORMALIZATION:
            axes.add(1)
            continue
        for argument in node.args:
            constant = execution.parameter(argument) if isinstance(argument, Node) else None
            if constant is None or constant.numel() == 1:
                continue
            extents = (1,) * (rank - constant.ndim) + tuple(constant.shape)
            several = [axis for axis, extent in enumerate(extents) if extent > 1]
            if len(extents) != rank or len(several) != 1:
                return None
            axes.add(several[0])
    allowed = (1, 2) if rank == 3 else (1,)
    axis = axes.pop() if len(axes) == 1 else None
    return axis if axis in allowed else None


def _all_values(rank: int, channels: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape that holds 256 values for each channel, and that of the values alone."""
    if rank == 4:
        return (1, channels, 16, 16), (1, 1, 16, 16)
    if rank == 3:
        return ((1, channels, 256), (1, 1, 256)) if axis == 1 else ((1, 256, channels), (1, 256, 1))
    return (256, channels), (256, 1)


def fit(wanted: np.ndarray, exact: np.ndarray, source: Quantization, target: Quantization) -> Lines | None:
    """Weights, scales and biases with which the layer gives `wanted`, or the fewest other values.

    wanted: int64 (channels, 256), what PyTorch makes of -128..127. exact: float64 (channels, 256), the same before it
    is clamped and quantized. source, target: of the layer's input and output. None where a channel is no line, or
    where more than one value in 128 would differ.
    """
    codes = np.arange(-128, 128) - int(source.zero_point[0])
    unit = float(source.scale[0]) * float(np.float32(1 / float(target.scale[0])))  # input steps in output steps
    values = exact / float(target.scale[0])
    slopes = (values[:, -1] - values[:, 0]) / 255
    offsets = values[:, 0] - slopes * codes[0]
    far = np.maximum(np.abs(values).max(axis=1), 1)
    if not np.isfinite(values).all() or (
            np.abs(slopes[:, None] * codes + offsets[:, None] - values) > _STRAIGHT * far[:, None]).any():
        return None
    slopes = np.where(np.abs(slopes) * 256 > _LEVEL * far, slopes, 0.0)
    best = [_channel(row, codes, float(a), float(b), unit, source, target)
            for row, a, b in zip(wanted, slopes, offsets, strict=True)]
    if max(line.differing for line in best) > _TOLERATED:
        return None
    return Lines(np.array([line.weight for line in best], np.int8), np.array([line.scale for line in best], np.float32),
                 np.array([line.bias for line in best], np.int32), sum(line.differing for line in best))


def _channel(wanted: np.ndarray, codes: np.ndarray, slope: float, offset: float, unit: float, source: Quantization,
             target: Quantization) -> _Line:
    """The parameters of one channel: the line itself with each weight, then any other line that gives the values."""
    weights = _WEIGHTS if slope else np.zeros(1, np.int64)
    product = np.abs(slope) / weights if slope else np.full(1, _FLAT)
    signed = weights * int(np.sign(slope))
    biases = np.clip(np.rint(offset / product), -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int64)
    found = _tried(wanted, codes, signed, biases, product / unit, source, target)
    if found.differing:
        biases = np.repeat(biases, 3) + np.tile([0, 1, -1], len(signed))
        signed = np.repeat(signed, 3)
        other = _tried(wanted, codes, signed, biases, _middles(wanted, codes, signed, biases, target) / unit, source,
                       target)
        found = min(found, other, key=lambda line: line.differing)
    return found


def _tried(wanted: np.ndarray, codes: np.ndarray, weights: np.ndarray, biases: np.ndarray, scales: np.ndarray,
           source: Quantization, target: Quantization) -> _Line:
    """The first of the candidates with the fewest differing values."""
    scales = np.nan_to_num(scales, nan=0.0, posinf=0.0).astype(np.float32)
    product = float_scales(Arithmetic.TORCH, source.scale, scales, target.scale)
    sums = (weights[:, None] * codes + biases[:, None]).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        got = np.rint(np.clip(sums * product[:, None], -1000, 1000)) + int(target.zero_point[0])
    wrong = np.where(product > 0, (np.clip(got, wanted.min(), wanted.max()) != wanted).sum(axis=1), 257)
    best = int(wrong.argmin())
    return _Line(int(weights[best]), float(scales[best]), int(biases[best]), int(wrong[best]))


def _middles(wanted: np.ndarray, codes: np.ndarray, weights: np.ndarray, biases: np.ndarray,
             target: Quantization) -> np.ndarray:
    """The factor in the middle of those with which the sums of each candidate round to `wanted`; 0 where none does."""
    sums = (weights[:, None] * codes + biases[:, None]).astype(np.float64)
    steps = wanted - int(target.zero_point[0])
    low = np.where(wanted == wanted.min(), -np.inf, steps - 0.5)  # clamped: any value below it does
    high = np.where(wanted == wanted.max(), np.inf, steps + 0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_low = low / sums
        by_high = high / sums
    least = np.where(sums > 0, by_low, np.where(sums < 0, by_high, -np.inf)).max(axis=1)
    most = np.where(sums > 0, by_high, np.where(sums < 0, by_low, np.inf)).min(axis=1)
    return np.where((least <= most) & np.isfinite(least + most) & (least + most > 0), (least + most) / 2, 0.0)
