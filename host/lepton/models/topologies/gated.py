"""Networks with gates of channels (squeeze and excite, Hu et al. 2018): MobileNetV3 (Howard et al. 2019), EfficientNet
(Tan and Le 2019); and EfficientNet-Lite0, the same without gates. With TensorFlow's SAME padding."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton.graph import Graph

from .builder import Activation, TopologyBuilder

Function = Callable[[np.ndarray], np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(x + 3, 0, 6) / 6


def hard_swish(x: np.ndarray) -> np.ndarray:
    return x * hard_sigmoid(x)


@dataclass(frozen=True)
class GatedBlock:
    """An inverted residual: `expanded` channels between a 1 x 1 layer, which is left out where it would not expand, and
    a depthwise one; `squeezed`: channels in the middle of the gate, 0 without one; `function`: None for ReLU."""

    kernel: int
    expanded: int
    channels: int
    stride: int
    squeezed: int = 0
    function: Function | None = None
    gate: Function = hard_sigmoid
    squeeze: Function | None = None  # None for ReLU


def _activated(net: TopologyBuilder, x: Activation, function: Function | None, name: str) -> Activation:
    return x if function is None else net.function(x, function, name=f"{name}.function")


def inverted_residual(net: TopologyBuilder, x: Activation, block: GatedBlock, name: str) -> Activation:
    rectified = block.function is None
    y = x
    if block.expanded != x.channels:
        y = net.conv(y, block.expanded, 1, relu=rectified, name=f"{name}.expand")
        y = _activated(net, y, block.function, f"{name}.expand")
    y = net.depthwise(y, block.kernel, block.stride, relu=rectified, name=f"{name}.depth")
    y = _activated(net, y, block.function, f"{name}.depth")
    if block.squeezed:
        gate = net.global_average(y, name=f"{name}.average")
        gate = net.conv(gate, block.squeezed, 1, relu=block.squeeze is None, name=f"{name}.squeeze")
        gate = _activated(net, gate, block.squeeze, f"{name}.squeeze")
        gate = net.conv(gate, block.expanded, 1, relu=False, name=f"{name}.excite")
        y = net.multiply(y, _activated(net, gate, block.gate, f"{name}.excite"), name=f"{name}.gate")
    y = net.conv(y, block.channels, 1, relu=False, name=f"{name}.project")
    return net.add(y, x, name=f"{name}.add") if y.shape == x.shape else y


def _eighth(channels: float) -> int:
    """Channels rounded to a multiple of 8, at most a tenth below (`make_divisible` of the papers' code)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


# Kernel, expanded and output channels, gate, hard-swish, stride (MobileNetV3, tables 1 and 2).
V3_LARGE = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
    (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1),
    (5, 960, 160, 1, 1, 1))
V3_SMALL = (
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
    (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
    (5, 576, 96, 1, 1, 1))
# Kernel, expansion, output channels, repetitions, stride of the first (EfficientNet, table 1).
B0_STAGES = ((3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2), (5, 6, 112, 3, 1),
             (5, 6, 192, 4, 2), (3, 6, 320, 1, 1))


def _mobilenet_v3(name: str, rows: tuple[tuple[int, ...], ...], last: int, hidden: int) -> Graph:
    net = TopologyBuilder(name, (1, 224, 224, 3))
    x = net.function(net.conv(net.input, 16, 3, 2, relu=False, name="conv0"), hard_swish, name="conv0.function")
    for i, (kernel, expanded, channels, gated, swish, stride) in enumerate(rows, 1):
        squeezed = _eighth(expanded / 4) if gated else 0
        block = GatedBlock(kernel, expanded, channels, stride, squeezed, hard_swish if swish else None)
        x = inverted_residual(net, x, block, f"b{i}")
    x = net.function(net.conv(x, last, 1, relu=False, name="last"), hard_swish, name="last.function")
    x = net.conv(net.global_average(x, name="average"), hidden, 1, relu=False, name="hidden")
    return net.done(net.dense(net.function(x, hard_swish, name="hidden.function"), 1000, name="fc"))


def mobilenet_v3_large() -> Graph:
    return _mobilenet_v3("mobilenet_v3_large", V3_LARGE, 960, 1280)


def mobilenet_v3_small() -> Graph:
    return _mobilenet_v3("mobilenet_v3_small", V3_SMALL, 576, 1024)


def _efficientnet(name: str, function: Function | None, gated: bool) -> Graph:
    net = TopologyBuilder(name, (1, 224, 224, 3))
    x = _activated(net, net.conv(net.input, 32, 3, 2, relu=function is None, name="conv0"), function, "conv0")
    number = 0
    for kernel, expansion, channels, repetitions, stride in B0_STAGES:
        for i in range(repetitions):
            number += 1
            squeezed = x.channels // 4 if gated else 0  # of the block's input, not of its expanded channels
            block = GatedBlock(kernel, x.channels * expansion, channels, 1 if i else stride, squeezed, function,
                               sigmoid, function)
            x = inverted_residual(net, x, block, f"b{number}")
    x = _activated(net, net.conv(x, 1280, 1, relu=function is None, name="last"), function, "last")
    return net.done(net.dense(net.global_average(x, name="average"), 1000, name="fc"))


def efficientnet_b0() -> Graph:
    return _efficientnet("efficientnet_b0", silu, gated=True)


def efficientnet_lite0() -> Graph:
    return _efficientnet("efficientnet_lite0", None, gated=False)
