"""Builds int8 graphs with random weights whose activations neither saturate nor vanish.

Scales come from the moments that the activations would have if they were normally distributed: every layer
of weights gives a standard deviation of 1 before its activation (He et al. 2015, "Delving Deep into
Rectifiers"), and an output scale that reaches `REACH` standard deviations.
"""

import math
import zlib
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
    Node,
    Op,
    Quantization,
    Tensor,
)
from lepton.graph.ops.windows import output_size

REACH = 3.2
WEIGHT_DEVIATION = math.sqrt((255**2 - 1) / 12)  # of integers spread evenly over -127..127
BIAS_DEVIATION = 0.2  # in units of the sums' own deviation
INT8 = (-128, 127)


@dataclass(frozen=True)
class Moments:
    """Mean and variance of an activation in real units, taken as independent from element to element."""

    mean: float
    variance: float

    @property
    def power(self) -> float:
        """The mean square, which is what a sum with weights of mean zero sees."""
        return self.mean**2 + self.variance

    def rectified(self) -> "Moments":
        """Of max(x, 0) for a normally distributed x."""
        deviation = math.sqrt(self.variance)
        at = self.mean / deviation
        below, density = (1 + math.erf(at / math.sqrt(2))) / 2, math.exp(-at * at / 2) / math.sqrt(2 * math.pi)
        mean = self.mean * below + deviation * density
        return Moments(mean, self.power * below + self.mean * deviation * density - mean**2)


@dataclass(frozen=True)
class Activation:
    """An activation of the graph under construction."""

    name: str
    shape: tuple[int, ...]  # (1, H, W, C) or (1, I)
    moments: Moments


class TopologyBuilder:
    """A graph that grows operator by operator. The same name gives the same weights."""

    def __init__(self, name: str, shape: tuple[int, ...]):
        self.graph = Graph(name, inputs=["input"])
        self.random = np.random.default_rng(zlib.crc32(name.encode()))
        scale = 1 / 74  # random int8 values have a standard deviation of 74
        self.input = self._value("input", shape, Moments(0.0, 1.0), scale, 0)

    def done(self, output: Activation) -> Graph:
        self.graph.outputs = [output.name]
        return self.graph

    def conv(self, x: Activation, channels: int, kernel: int | tuple[int, int] = 3, stride: int = 1, *, name: str,
             relu: bool = True, padding: int | None = None) -> Activation:
        """A convolution; `padding` pixels on every side (PyTorch's way), or TFLite's SAME if None."""
        kernel, pads = self._window(x, kernel, stride, padding)
        weights = (channels, *kernel, x.shape[3])
        op = Conv2D(stride=(stride, stride), padding=pads, clamp=INT8)
        shape, inside = self._output(x, kernel, stride, pads, channels), self._inside(x, kernel, stride, pads)
        return self._weighted(op, x, weights, 0, math.prod(weights[1:]), shape, inside, name, relu)

    def depthwise(self, x: Activation, kernel: int | tuple[int, int] = 3, stride: int = 1, *, name: str,
                  relu: bool = True) -> Activation:
        """A depthwise convolution with TFLite's SAME padding and one output per channel."""
        kernel, pads = self._window(x, kernel, stride, None)
        op = DepthwiseConv2D(stride=(stride, stride), padding=pads, clamp=INT8)
        shape, inside = self._output(x, kernel, stride, pads, x.shape[3]), self._inside(x, kernel, stride, pads)
        return self._weighted(op, x, (1, *kernel, x.shape[3]), 3, math.prod(kernel), shape, inside, name, relu)

    def dense(self, x: Activation, outputs: int, *, name: str, relu: bool = False) -> Activation:
        """A fully connected layer over all elements of `x`."""
        inputs = math.prod(x.shape)
        op = FullyConnected(INT8, keep_dims=False)
        return self._weighted(op, x, (outputs, inputs), 0, inputs, (1, outputs), 1.0, name, relu)

    def add(self, a: Activation, b: Activation, *, name: str, relu: bool = False) -> Activation:
        moments = Moments(a.moments.mean + b.moments.mean, a.moments.variance + b.moments.variance)
        value = self._activation(name, a.shape, moments, relu)
        return self._append(Add(clamp=INT8), [a.name, b.name], value)

    def max_pool(self, x: Activation, kernel: int, stride: int, *, name: str, padding: int | None = None) -> Activation:
        pair, pads = self._window(x, kernel, stride, padding)
        moments = x.moments  # of a rectified x: the largest of a few lies about a deviation higher
        moments = Moments(moments.mean + math.sqrt(moments.variance), moments.variance)
        return self._pool(MaxPool2D(pair, (stride, stride), pads), x, self._output(x, pair, stride, pads, x.shape[3]),
                          moments, name)

    def global_average(self, x: Activation, *, name: str) -> Activation:
        """The average over all pixels, as an average pool of one window."""
        kernel = x.shape[1:3]
        # a part of the variance is that of channels with different means, and stays
        moments = replace(x.moments, variance=x.moments.variance / 3)
        return self._pool(AveragePool2D(kernel, kernel), x, (1, 1, 1, x.shape[3]), moments, name)

    # Shapes

    @staticmethod
    def _window(x: Activation, kernel, stride: int, padding: int | None):
        kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        if padding is not None:
            return kernel, ((padding, padding), (padding, padding))
        return kernel, tuple(same_padding(x.shape[1 + i], kernel[i], stride) for i in (0, 1))

    @staticmethod
    def _output(x: Activation, kernel, stride: int, pads, channels: int) -> tuple[int, ...]:
        return (1, *(output_size(x.shape[1 + i], kernel[i], stride, 1, pads[i]) for i in (0, 1)), channels)

    @staticmethod
    def _inside(x: Activation, kernel, stride: int, pads) -> float:
        """The share of all windows' pixels that lies in the image; the others are zero."""
        share = 1.0
        for axis in (0, 1):
            size, outputs = x.shape[1 + axis], output_size(x.shape[1 + axis], kernel[axis], stride, 1, pads[axis])
            at = np.arange(outputs)[:, None] * stride - pads[axis][0] + np.arange(kernel[axis])
            share *= float(((at >= 0) & (at < size)).mean())
        return share

    # Tensors and nodes

    def _weighted(self, op: Op, x: Activation, shape, axis: int, fan_in: int, out_shape, inside: float, name: str,
                  relu: bool) -> Activation:
        channels = shape[axis]
        per_channel = not isinstance(op, FullyConnected)  # as TFLite's converter quantizes them
        spread = self.random.uniform(0.6, 1.4, channels if per_channel else 1)
        scale = spread / (WEIGHT_DEVIATION * math.sqrt(fan_in * inside * x.moments.power))
        weights = self.random.integers(-127, 128, shape, np.int8)
        self._constant(f"{name}.weight", weights, scale, axis if per_channel else None)
        bias_scale = scale * float(self.graph.tensors[x.name].quantization.scale[0])
        bias = np.round(self.random.normal(0, BIAS_DEVIATION, channels) / bias_scale).astype(np.int32)
        self._constant(f"{name}.bias", bias, bias_scale, 0 if per_channel else None)
        sums = Moments(0.0, float((spread**2).mean()) + BIAS_DEVIATION**2)
        value = self._activation(name, out_shape, sums, relu)
        return self._append(op, [x.name, f"{name}.weight", f"{name}.bias"], value)

    def _pool(self, op: Op, x: Activation, shape, moments: Moments, name: str) -> Activation:
        q = self.graph.tensors[x.name].quantization  # pools keep it
        value = self._value(name, shape, moments, float(q.scale[0]), int(q.zero_point[0]))
        return self._append(op, [x.name], value)

    def _activation(self, name: str, shape, moments: Moments, relu: bool) -> Activation:
        """The output of a layer: its scale reaches `REACH` deviations, and zero is the lowest value after a ReLU.

        With that zero point the clamp of ReLU, and of ReLU6 at a scale of 6/255, is the range of int8.
        """
        highest = abs(moments.mean) + REACH * math.sqrt(moments.variance)
        highest *= self.random.uniform(0.9, 1.1)  # scales of real networks differ
        if relu:
            return self._value(name, shape, moments.rectified(), highest / 255, -128)
        return self._value(name, shape, moments, highest / 120, int(self.random.integers(-7, 8)))

    def _value(self, name: str, shape, moments: Moments, scale: float, zero: int) -> Activation:
        q = Quantization(np.array([scale], np.float32), np.array([zero], np.int32))
        shape = tuple(int(n) for n in shape)
        self.graph.tensors[name] = Tensor(name, shape, np.dtype(np.int8), q)
        return Activation(name, shape, moments)

    def _constant(self, name: str, data: np.ndarray, scale: np.ndarray, axis: int | None) -> None:
        scale = scale.astype(np.float32)
        self.graph.tensors[name] = Tensor(name, data.shape, data.dtype,
                                          Quantization(scale, np.zeros(scale.shape, np.int32), axis), data)

    def _append(self, op: Op, inputs: list[str], value: Activation) -> Activation:
        self.graph.nodes.append(Node(op, inputs, [value.name], value.name))
        return value
