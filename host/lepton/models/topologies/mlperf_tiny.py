"""The four networks of MLPerf Tiny (Banbury et al. 2021, reference models of v1.0), up to the logits."""

from lepton.graph import Graph

from .builder import TopologyBuilder
from .mobilenet import mobilenet_v1


def image_classification() -> Graph:
    """ResNet-8 on CIFAR-10 images."""
    net = TopologyBuilder("tiny_ic", (1, 32, 32, 3))
    x = net.conv(net.input, 16, name="conv0")
    for i, channels in enumerate((16, 32, 64), 1):
        stride = 1 if i == 1 else 2
        y = net.conv(x, channels, 3, stride, name=f"s{i}.conv1")
        y = net.conv(y, channels, 3, relu=False, name=f"s{i}.conv2")
        if stride > 1:
            x = net.conv(x, channels, 1, stride, relu=False, name=f"s{i}.shortcut")
        x = net.add(y, x, relu=True, name=f"s{i}.add")
    x = net.global_average(x, name="average")
    return net.done(net.dense(x, 10, name="fc"))


def keyword_spotting() -> Graph:
    """DS-CNN on 49 frames of 10 coefficients."""
    net = TopologyBuilder("tiny_kws", (1, 49, 10, 1))
    x = net.conv(net.input, 64, (10, 4), 2, name="conv0")
    for i in range(1, 5):
        x = net.depthwise(x, name=f"b{i}.depth")
        x = net.conv(x, 64, 1, name=f"b{i}.point")
    x = net.global_average(x, name="average")
    return net.done(net.dense(x, 12, name="fc"))


def visual_wake_words() -> Graph:
    """MobileNetV1 of width 0.25 on images of 96 x 96."""
    return mobilenet_v1("tiny_vww", 96, 0.25, 2)


def anomaly_detection() -> Graph:
    """An autoencoder of fully connected layers."""
    net = TopologyBuilder("tiny_ad", (1, 640))
    x = net.input
    for i, outputs in enumerate((128,) * 4 + (8,) + (128,) * 4):
        x = net.dense(x, outputs, relu=True, name=f"fc{i}")
    return net.done(net.dense(x, 640, name="fc9"))
