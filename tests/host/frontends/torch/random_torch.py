"""Random small PyTorch networks of everyday layers, quantized by PT2E with `LeptonQuantizer`."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

KINDS = ("conv", "depthwise", "residual", "difference", "activation", "max", "average", "concat", "cut", "pad")


class RandomNetwork(nn.Module):
    """`example` is an input's shape; every seed makes another network."""

    def __init__(self, seed: int, operators: int = 5):
        super().__init__()
        self.random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.example = (1, 3, *(int(n) for n in self.random.integers(6, 12, 2)))
        self.layers = nn.ModuleList()
        self.steps = []
        shape = self._conv(self.example)
        for _ in range(operators):
            shape = getattr(self, f"_{self.random.choice(KINDS)}")(shape)
        # a map shows more differences than what a mean leaves of it
        self.classifier = nn.Linear(shape[1], 7) if self.random.random() < 0.3 else None

    def _layer(self, layer: nn.Module) -> nn.Module:
        self.layers.append(layer)
        return layer

    def _then(self, step, shape):
        """Note a step; the shape that it makes."""
        self.steps.append(step)
        with torch.no_grad():
            self.eval()
            return tuple(step(torch.zeros(shape)).shape)

    def _conv(self, shape, groups=1):
        kernel = int(self.random.choice([1, 3]))
        stride = int(self.random.choice([1, 1, 2]))
        stride = 1 if min(shape[2:]) < 4 else stride
        outputs = shape[1] if groups > 1 else int(self.random.integers(4, 20))
        layer = self._layer(nn.Sequential(
            nn.Conv2d(shape[1], outputs, kernel, stride, kernel // 2, groups=groups), nn.BatchNorm2d(outputs)))
        return self._then(layer, shape)

    def _depthwise(self, shape):
        return self._conv(shape, shape[1])

    def _parallel(self, shape):
        return self._layer(nn.Conv2d(shape[1], shape[1], 3, padding=1))

    def _residual(self, shape):
        layer = self._parallel(shape)
        return self._then(lambda x: F.relu(x + layer(x)), shape)

    def _difference(self, shape):
        layer = self._parallel(shape)
        return self._then(lambda x: layer(x) - x, shape)

    def _activation(self, shape):
        kind = self.random.choice([F.relu, F.silu, F.hardswish, torch.sigmoid, torch.tanh, F.leaky_relu])
        layer = self._parallel(shape)
        return self._then(lambda x: kind(layer(x)), shape)

    def _max(self, shape):
        size = 2 if min(shape[2:]) >= 4 else 1
        return self._then(lambda x: F.max_pool2d(x, size + 1, size, 1), shape)

    def _average(self, shape):
        kernel, padding = (2, 0) if self.random.random() < 0.5 and min(shape[2:]) >= 2 else (3, 1)
        return self._then(lambda x: F.avg_pool2d(x, kernel, 1, padding), shape)

    def _concat(self, shape):
        layer = self._parallel(shape)
        return self._then(lambda x: torch.cat([layer(x), x], 1), shape)

    def _cut(self, shape):
        return self._then(lambda x: x[:, :, ::2, ::2], shape) if min(shape[2:]) >= 4 else shape

    def _pad(self, shape):
        return self._then(lambda x: F.pad(x, (0, 1, 1, 0, 1, 2)), shape)

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x if self.classifier is None else self.classifier(x.mean((2, 3)))
