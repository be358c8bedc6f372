"""The float network behind the shipped model `mnist`."""

import torch
from torch import nn
from torch.nn import functional as F


class ConvNorm(nn.Module):
    """A 3 x 3 convolution without bias (the normalization has one) and its batch normalization."""

    def __init__(self, inputs: int, outputs: int, **options):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, bias=False, **options)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


class Residual(nn.Module):
    """relu(x + two convolutions of x)."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = ConvNorm(channels, channels, padding=1)
        self.second = ConvNorm(channels, channels, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class MnistNet(nn.Module):
    """2.4 M multiply-accumulates; every kind of layer that the chip runs occurs in it.

    Input (N, 1, 28, 28) in 0..1, output (N, 10) logits.
    """

    def __init__(self):
        super().__init__()
        self.stem = ConvNorm(1, 16, padding=1)  # 28 x 28 x 16
        self.down = ConvNorm(16, 32, stride=2)  # 14 x 14 x 32
        self.pool = nn.MaxPool2d(2)  # 7 x 7 x 32
        self.residual = Residual(32)
        self.wide = ConvNorm(32, 64)  # 5 x 5 x 64
        self.average = nn.AvgPool2d(5)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        # One pixel at the end only: TFLite's SAME for a stride of 2, so that the exported file needs no PAD.
        x = self.pool(F.relu(self.down(F.pad(x, (0, 1, 0, 1)))))
        x = self.residual(x)
        x = self.average(F.relu(self.wide(x)))
        return self.classifier(self.flatten(x))
