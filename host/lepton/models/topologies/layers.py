"""Single layers as networks of their own: input and weights come from memory, the output goes back there."""

import math

from lepton.graph import Graph

from .builder import TopologyBuilder


def gemm(m: int, k: int, n: int) -> Graph:
    """(m, k) times (k, n): a 1 x 1 convolution over m pixels, or a fully connected layer for m = 1."""
    name = f"gemm_{m}x{k}x{n}"
    if m == 1:
        net = TopologyBuilder(name, (1, k))
        return net.done(net.dense(net.input, n, name="gemm"))
    height = next(h for h in range(math.isqrt(m), 0, -1) if m % h == 0)
    net = TopologyBuilder(name, (1, height, m // height, k))
    return net.done(net.conv(net.input, n, 1, relu=False, name="gemm"))


def conv(kernel: int, height: int, width: int, inputs: int, outputs: int) -> Graph:
    """A square convolution with stride 1 and SAME padding."""
    net = TopologyBuilder(f"conv_{kernel}x{kernel}_{height}x{width}x{inputs}_{outputs}", (1, height, width, inputs))
    return net.done(net.conv(net.input, outputs, kernel, relu=False, name="conv"))
