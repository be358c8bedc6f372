"""MobileNetV1 (Howard et al. 2017) and MobileNetV2 (Sandler et al. 2018), with TensorFlow's SAME padding."""

from lepton.graph import Graph

from .builder import Activation, TopologyBuilder

# Output channels at width 1.0, and stride, of the depthwise separable blocks (V1, table 1).
V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
# Expansion, output channels, repetitions, stride of the first (V2, table 2).
V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v1(name: str = "mobilenet_v1", size: int = 224, width: float = 1.0, classes: int = 1000) -> Graph:
    net = TopologyBuilder(name, (1, size, size, 3))
    x = net.conv(net.input, int(32 * width), 3, 2, name="conv0")
    for i, (channels, stride) in enumerate(V1_BLOCKS, 1):
        x = net.depthwise(x, 3, stride, name=f"b{i}.depth")
        x = net.conv(x, int(channels * width), 1, name=f"b{i}.point")
    x = net.global_average(x, name="average")
    return net.done(net.dense(x, classes, name="fc"))


def mobilenet_v2() -> Graph:
    net = TopologyBuilder("mobilenet_v2", (1, 224, 224, 3))
    x = net.conv(net.input, 32, 3, 2, name="conv0")
    block = 0
    for expansion, channels, repetitions, stride in V2_STAGES:
        for i in range(repetitions):
            block += 1
            x = _inverted_residual(net, x, expansion, channels, 1 if i else stride, f"b{block}")
    x = net.conv(x, 1280, 1, name="last")
    x = net.global_average(x, name="average")
    return net.done(net.dense(x, 1000, name="fc"))


def _inverted_residual(net: TopologyBuilder, x: Activation, expansion: int, channels: int, stride: int,
                       name: str) -> Activation:
    y = x if expansion == 1 else net.conv(x, x.channels * expansion, 1, name=f"{name}.expand")
    y = net.depthwise(y, 3, stride, name=f"{name}.depth")
    y = net.conv(y, channels, 1, relu=False, name=f"{name}.project")
    return net.add(y, x, name=f"{name}.add") if y.shape == x.shape else y
