"""Builds int8 graphs with random weights whose activations neither saturate nor vanish.

Scales are computed from the moments of the activations, taken as normally distributed. Weights are scaled so that the
sums of each layer have a standard deviation of 1 (He et al. 2015, "Delving Deep into Rectifiers"); the range of an
output is `REACH` standard deviations.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lepton.frontends.geometry import same_padding
from lepton.graph import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mul,
    Op,
    Quantization,
    Table,
)
from lepton.graph.builder import GraphBuilder, Value
from lepton.graph.core import Shape
from lepton.graph.ops.windows import output_size

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]

REACH = 3.2  # standard deviations: a normally distributed value is outside in 0.14 % of the cases
WEIGHT_DEVIATION = math.sqrt((255**2 - 1) / 12)  # of integers spread evenly over -127..127
INPUT_DEVIATION = 74  # of integers spread evenly over -128..127: sqrt((256**2 - 1) / 12) = 73.9
BIAS_DEVIATION = 0.2  # in units of the sums' standard deviation
INT8 = (-128, 127)
LINEAR_RANGE = 120  # steps of an output's range without ReLU; the other 7 are for the zero point
ZERO_POINTS = (-7, 8)


@dataclass(frozen=True)
class Moments:
    """Mean and variance of an activation in real units; its elements are taken as independent."""

    mean: float
    variance: float

    @property
    def power(self) -> float:
        """The mean square: the variance of a sum of products with weights of mean 0 is proportional to it."""
        return self.mean**2 + self.variance

    def rectified(self) -> "Moments":
        """The moments of max(x, 0) for a normally distributed x (the rectified Gaussian distribution)."""
        deviation = math.sqrt(self.variance)
        at = self.mean / deviation
        positive = (1 + math.erf(at / math.sqrt(2))) / 2  # the probability that x > 0
        density = math.exp(-at * at / 2) / math.sqrt(2 * math.pi)
        mean = self.mean * positive + deviation * density
        return Moments(mean, self.power * positive + self.mean * deviation * density - mean**2)


@dataclass(frozen=True)
class Activation:
    """A value of the graph under construction, with its moments. Its shape is (1, H, W, C) or (1, I)."""

    value: Value
    moments: Moments

    @property
    def shape(self) -> Shape:
        return self.value.shape

    @property
    def channels(self) -> int:
        return self.value.shape[3]

    @property
    def quantization(self) -> Quantization:
        """Every activation has one scale and zero point."""
        found = self.value.tensor.quantization
        if found is None:
            raise ValueError(f"{self.value.name!r} has no quantization")
        return found


class TopologyBuilder:
    """A graph that grows operator by operator. The same name gives the same weights."""

    def __init__(self, name: str, shape: Shape):
        self._builder = GraphBuilder(Graph(name))
        self.random = np.random.default_rng(zlib.crc32(name.encode()))
        value = self._builder.input("input", shape, np.int8, _quantization(1 / INPUT_DEVIATION, 0))
        self.input = Activation(value, Moments(0.0, 1.0))

    def done(self, output: Activation) -> Graph:
        """The graph with this output."""
        graph = self._builder.graph
        graph.outputs = [output.value.name]
        return graph

    def conv(self, x: Activation, channels: int, kernel: int | Pair = 3, stride: int = 1, *, name: str,
             relu: bool = True, padding: int | None = None) -> Activation:
        """A convolution; `padding` pixels on every side (as in PyTorch), or TFLite's SAME if None."""
        pair = _pair(kernel)
        pads = _pads(x, pair, stride, padding)
        weights = (channels, *pair, x.channels)
        op = Conv2D(stride=(stride, stride), padding=pads, clamp=INT8)
        return self._weighted(op, x, weights, 0, math.prod(weights[1:]), _inside(x, pair, stride, pads), name, relu)

    def depthwise(self, x: Activation, kernel: int | Pair = 3, stride: int = 1, *, name: str,
                  relu: bool = True) -> Activation:
        """A depthwise convolution with TFLite's SAME padding and one output per channel."""
        pair = _pair(kernel)
        pads = _pads(x, pair, stride, None)
        op = DepthwiseConv2D(stride=(stride, stride), padding=pads, clamp=INT8)
        weights = (1, *pair, x.channels)
        return self._weighted(op, x, weights, 3, math.prod(pair), _inside(x, pair, stride, pads), name, relu)

    def dense(self, x: Activation, outputs: int, *, name: str, relu: bool = False) -> Activation:
        """A fully connected layer over all elements of `x`."""
        inputs = math.prod(x.shape)
        op = FullyConnected(INT8, keep_dims=False)
        # one scale, as TFLite's converter quantizes it
        return self._weighted(op, x, (outputs, inputs), 0, inputs, 1.0, name, relu, per_channel=False)

    def add(self, a: Activation, b: Activation, *, name: str, relu: bool = False) -> Activation:
        """The sum of two activations of the same shape."""
        moments = Moments(a.moments.mean + b.moments.mean, a.moments.variance + b.moments.variance)
        return self._activation(Add(clamp=INT8), [a.value, b.value], moments, name, relu)

    def multiply(self, a: Activation, b: Activation, *, name: str) -> Activation:
        """The product of two activations; `b` may have a single pixel, as a gate has."""
        mean = a.moments.mean * b.moments.mean
        moments = Moments(mean, a.moments.power * b.moments.power - mean**2)
        return self._activation(Mul(clamp=INT8), [a.value, b.value], moments, name, False)

    def function(self, x: Activation, function: Callable[[np.ndarray], np.ndarray], *, name: str) -> Activation:
        """A function of each value, as a table. Its range is what it makes of the range of `x`."""
        reals = (np.arange(-128, 128) - x.quantization.zero_point[0]) * float(x.quantization.scale[0])
        made = function(reals)
        likely = np.exp(-((reals - x.moments.mean) ** 2) / (2 * x.moments.variance))
        mean = float(np.average(made, weights=likely))
        moments = Moments(mean, float(np.average((made - mean) ** 2, weights=likely)))
        low = min(float(made.min()), 0.0)
        scale = (max(float(made.max()), 0.0) - low) / 255
        quantization = _quantization(scale, -128 - round(low / scale))
        values = np.clip(np.rint(made / scale) + quantization.zero_point[0], *INT8).astype(np.int8).tobytes()
        return Activation(self._builder.emit(Table(values), [x.value], name, quantization), moments)

    def max_pool(self, x: Activation, kernel: int, stride: int, *, name: str, padding: int | None = None) -> Activation:
        """A maximum pool with a square window."""
        pair = _pair(kernel)
        # of a rectified x: the largest of a few values is about one deviation higher
        moments = Moments(x.moments.mean + math.sqrt(x.moments.variance), x.moments.variance)
        return self._pool(MaxPool2D(pair, (stride, stride), _pads(x, pair, stride, padding)), x, moments, name)

    def global_average(self, x: Activation, *, name: str) -> Activation:
        """The average over all pixels, as an average pool with one window."""
        _, height, width, _ = x.shape
        # a third of the variance is taken to be between channels, and averaging over pixels does not reduce it
        moments = replace(x.moments, variance=x.moments.variance / 3)
        return self._pool(AveragePool2D((height, width), (height, width)), x, moments, name)

    # Tensors and nodes

    def _weighted(self, op: Op, x: Activation, shape: Shape, axis: int, fan_in: int, inside: float, name: str,
                  relu: bool, per_channel: bool = True) -> Activation:
        """A layer with weights of `shape`, whose output channels are its `axis`.

        `fan_in`: weights of an output; `inside`: the share of them that is not applied to padding; `per_channel`:
        whether each output channel has a scale of its own.
        """
        channels = shape[axis]
        spread = self.random.uniform(0.6, 1.4, channels if per_channel else 1)
        scale = spread / (WEIGHT_DEVIATION * math.sqrt(fan_in * inside * x.moments.power))
        weights = self.random.integers(-127, 128, shape, np.int8)
        weight = self._constant(f"{name}.weight", weights, scale, axis if per_channel else None)
        bias_scale = scale * float(x.quantization.scale[0])
        biases = np.round(self.random.normal(0, BIAS_DEVIATION, channels) / bias_scale).astype(np.int32)
        bias = self._constant(f"{name}.bias", biases, bias_scale, 0 if per_channel else None)
        sums = Moments(0.0, float((spread**2).mean()) + BIAS_DEVIATION**2)
        return self._activation(op, [x.value, weight, bias], sums, name, relu)

    def _pool(self, op: Op, x: Activation, moments: Moments, name: str) -> Activation:
        return Activation(self._builder.emit(op, [x.value], name, x.quantization), moments)

    def _activation(self, op: Op, inputs: list[Value], moments: Moments, name: str, relu: bool) -> Activation:
        """The output of a layer: its range is `REACH` deviations; after a ReLU, zero is the lowest value.

        With that zero point the clamp of ReLU, and of ReLU6 at a scale of 6/255, is the range of int8.
        """
        highest = abs(moments.mean) + REACH * math.sqrt(moments.variance)
        highest *= self.random.uniform(0.9, 1.1)  # scales of real networks differ
        if relu:
            quantization = _quantization(highest / 255, -128)
            return Activation(self._builder.emit(op, inputs, name, quantization), moments.rectified())
        quantization = _quantization(highest / LINEAR_RANGE, int(self.random.integers(*ZERO_POINTS)))
        return Activation(self._builder.emit(op, inputs, name, quantization), moments)

    def _constant(self, name: str, data: np.ndarray, scale: np.ndarray, axis: int | None) -> Value:
        scales = scale.astype(np.float32)
        return self._builder.constant(data, name, Quantization(scales, np.zeros(scales.shape, np.int32), axis))


def _quantization(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int32))


def _pair(kernel: int | Pair) -> Pair:
    return (kernel, kernel) if isinstance(kernel, int) else kernel


def _pads(x: Activation, kernel: Pair, stride: int, padding: int | None) -> Pads:
    """Padding before and after, of height and width."""
    if padding is not None:
        return (padding, padding), (padding, padding)
    return same_padding(x.shape[1], kernel[0], stride), same_padding(x.shape[2], kernel[1], stride)


def _inside(x: Activation, kernel: Pair, stride: int, pads: Pads) -> float:
    """The share of the pixels of all windows that is inside the image; the others are zero."""
    share = 1.0
    for axis in (0, 1):
        size = x.shape[1 + axis]
        outputs = output_size(size, kernel[axis], stride, 1, pads[axis])
        at = np.arange(outputs)[:, None] * stride - pads[axis][0] + np.arange(kernel[axis])
        share *= float(((at >= 0) & (at < size)).mean())
    return share
