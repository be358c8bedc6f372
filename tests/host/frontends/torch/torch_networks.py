"""Small networks in the styles that people bring, for the tests of the PyTorch front end."""

import torch
from torch import nn
from torch.nn import functional as F


def conv_bn(inputs, outputs, kernel, stride=1, groups=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """ResNet: sums with a projection."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 16, 3)
        self.a = conv_bn(16, 32, 3, 2)
        self.b = conv_bn(32, 32, 3)
        self.shortcut = conv_bn(16, 32, 1, 2)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.b(F.relu(self.a(x))) + self.shortcut(x))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Mobile(nn.Module):
    """MobileNetV3: depthwise 5x5, hard-swish, squeeze and excite."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 16, 3, 2)
        self.expand = conv_bn(16, 32, 1)
        self.depth = conv_bn(32, 32, 5, 1, 32)
        self.squeeze = nn.Conv2d(32, 8, 1)
        self.excite = nn.Conv2d(8, 32, 1)
        self.project = conv_bn(32, 16, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = F.hardswish(self.stem(x))
        y = F.hardswish(self.depth(F.hardswish(self.expand(x))))
        y = y * F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return self.head((x + self.project(y)).mean((2, 3)))


class UNet(nn.Module):
    """Transposed convolution, concatenation, both kinds of upsampling."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 16, 3, padding=1)
        self.middle = nn.Conv2d(16, 32, 3, padding=1)
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.merge = nn.Conv2d(32, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        a = F.relu(self.down(x))
        x = self.up(F.relu(self.middle(F.max_pool2d(a, 2))))
        x = F.leaky_relu(self.merge(torch.cat([x, a], 1)), 0.1)
        x = F.interpolate(F.interpolate(x, scale_factor=2), scale_factor=0.5, mode="bilinear")
        return self.head(x)


class Shuffle(nn.Module):
    """ShuffleNet: channel split and shuffle, groups; DenseNet's normalization before the convolution."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 16, 3, 2)
        self.branch = conv_bn(8, 8, 3, 1, 2)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x):
        a, b = F.relu(self.stem(x)).chunk(2, 1)
        x = torch.cat([a, F.silu(self.branch(b))], 1)
        x = x.view(x.shape[0], 2, 8, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        return F.avg_pool2d(self.head(F.relu(self.norm(x))), 2, padding=1)


class Attention(nn.Module):
    """A transformer's block over a sequence of tokens."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.up = nn.Linear(16, 32)
        self.down = nn.Linear(32, 16)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).reshape(x.shape[0], -1, 3, 4, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(x)))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.a = conv_bn(inputs, outputs, 3, stride)
        self.b = conv_bn(outputs, outputs, 3)
        self.shortcut = conv_bn(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, x):
        return F.relu(self.b(F.relu(self.a(x))) + self.shortcut(x))


class ResNet18Like(nn.Sequential):
    """ResNet-18's topology with half of its channels."""

    def __init__(self, width=32):
        blocks = []
        channels = width
        for i, outputs in enumerate((width, 2 * width, 4 * width, 8 * width)):
            blocks += [BasicBlock(channels, outputs, 1 if i == 0 else 2), BasicBlock(outputs, outputs, 1)]
            channels = outputs
        super().__init__(conv_bn(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(channels, 100))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, factor):
        super().__init__()
        wide = inputs * factor
        self.layers = nn.Sequential(conv_bn(inputs, wide, 1), nn.ReLU6(), conv_bn(wide, wide, 3, stride, wide),
                                    nn.ReLU6(), conv_bn(wide, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNetLike(nn.Sequential):
    """MobileNetV2's blocks."""

    def __init__(self):
        blocks = []
        channels = 16
        stages = ((1, 8, 1, 1), (6, 12, 2, 2), (6, 16, 3, 2), (6, 32, 3, 2), (6, 48, 2, 1))
        for factor, outputs, count, stride in stages:
            for i in range(count):
                blocks.append(InvertedResidual(channels, outputs, stride if i == 0 else 1, factor))
                channels = outputs
        super().__init__(conv_bn(3, 16, 3, 2), nn.ReLU6(), *blocks, conv_bn(channels, 128, 1), nn.ReLU6(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 100))


NETWORKS = {"residual": (Residual, (3, 16, 12)), "mobile": (Mobile, (3, 24, 24)), "unet": (UNet, (3, 12, 16)),
            "shuffle": (Shuffle, (3, 16, 16)), "attention": (Attention, (10, 16))}


def settled(module: nn.Module) -> nn.Module:
    """In eval mode, with normalizations that do something."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.3, 0.3)
    return module.eval()
