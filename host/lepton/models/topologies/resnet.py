"""ResNet-18 and ResNet-50 v1.5 (He et al. 2015; v1.5 has the stride in the 3 x 3 convolution), as in torchvision."""

from lepton.graph import Graph

from .builder import Activation, TopologyBuilder

SIZE = 224  # ImageNet's images and classes, as in both papers
CLASSES = 1000


def resnet18() -> Graph:
    return _resnet("resnet18", _basic, (2, 2, 2, 2))


def resnet50() -> Graph:
    return _resnet("resnet50", _bottleneck, (3, 4, 6, 3))


def _resnet(name: str, block, depths: tuple[int, ...]) -> Graph:
    net = TopologyBuilder(name, (1, SIZE, SIZE, 3))
    x = net.conv(net.input, 64, 7, 2, padding=3, name="conv1")
    x = net.max_pool(x, 3, 2, padding=1, name="pool1")
    for stage, depth in enumerate(depths):
        for i in range(depth):
            x = block(net, x, 64 << stage, 2 if stage and not i else 1, f"s{stage + 1}.{i}")
    x = net.global_average(x, name="average")
    return net.done(net.dense(x, CLASSES, name="fc"))


def _basic(net: TopologyBuilder, x: Activation, width: int, stride: int, name: str) -> Activation:
    y = net.conv(x, width, 3, stride, padding=1, name=f"{name}.conv1")
    y = net.conv(y, width, 3, padding=1, relu=False, name=f"{name}.conv2")
    return net.add(y, _shortcut(net, x, width, stride, name), relu=True, name=f"{name}.add")


def _bottleneck(net: TopologyBuilder, x: Activation, width: int, stride: int, name: str) -> Activation:
    y = net.conv(x, width, 1, padding=0, name=f"{name}.conv1")
    y = net.conv(y, width, 3, stride, padding=1, name=f"{name}.conv2")
    y = net.conv(y, 4 * width, 1, padding=0, relu=False, name=f"{name}.conv3")
    return net.add(y, _shortcut(net, x, 4 * width, stride, name), relu=True, name=f"{name}.add")


def _shortcut(net: TopologyBuilder, x: Activation, channels: int, stride: int, name: str) -> Activation:
    if x.channels == channels and stride == 1:
        return x
    return net.conv(x, channels, 1, stride, padding=0, relu=False, name=f"{name}.shortcut")
