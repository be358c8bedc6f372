"""Random PyTorch modules of what transformers and gated networks are made of, quantized by PT2E: linear layers,
products of two tensors, softmax, normalizations, gates, transposes, parameters for a row, column, pixel or channel."""

from math import prod

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

KINDS = ("linear", "linear", "convolution", "attend", "product", "norm", "softmax", "gate", "parameter", "binary",
         "function", "turn", "split", "join", "squeeze", "enlarge")
EXTENTS = (1, 2, 3, 5, 8, 17)
MAX_ELEMENTS = 4000  # of a tensor


class RandomAttention(nn.Module):
    """`example` is an input's shape, of two to four dimensions with a batch of 1 to 3."""

    def __init__(self, seed: int | list[int], operators: int = 5):
        super().__init__()
        self.random = np.random.default_rng(seed)
        torch.manual_seed(int(self.random.integers(1 << 30)))
        self.layers = nn.ModuleList()
        self.parameters_ = nn.ParameterList()
        self.steps = []
        self.kinds: list[str] = []
        rank = int(self.random.integers(2, 5))
        extents = (self.random.choice(EXTENTS, rank - 1) if self.random.random() < 0.9
                   else [300, *[1] * (rank - 2)])
        self.example = (int(self.random.choice([1, 1, 2, 3])), *(int(n) for n in extents))
        self.shape = self.example
        self._linear()
        for _ in range(6 * operators):
            if len(self.steps) > operators:
                break
            kind = str(self.random.choice(KINDS))
            made = len(self.steps)
            getattr(self, f"_{kind}")()
            self.kinds += [kind] * (len(self.steps) - made)
        self._linear()

    def _then(self, step):
        """Take a step if its result is of a size that the tests can bear."""
        with torch.no_grad():
            shape = tuple(step(torch.zeros(self.shape)).shape)
        if prod(shape) <= MAX_ELEMENTS:
            self.steps.append(step)
            self.shape = shape

    def _layer(self, layer: nn.Module) -> nn.Module:
        self.layers.append(layer)
        return layer

    def _parameter_of(self, *shape) -> nn.Parameter:
        self.parameters_.append(nn.Parameter(torch.randn(shape)))
        return self.parameters_[-1]

    def _linear(self):
        self._then(self._layer(nn.Linear(self.shape[-1], int(self.random.choice(EXTENTS)),
                                         bias=bool(self.random.integers(2)))))

    def _convolution(self):
        if len(self.shape) == 4:
            self._then(self._layer(nn.Conv2d(self.shape[1], int(self.random.choice(EXTENTS)), 3, padding=1)))

    def _attend(self):
        if len(self.shape) < 3:
            return
        query, key, value = (self._layer(nn.Linear(self.shape[-1], self.shape[-1])) for _ in range(3))
        scale = float(self.random.choice([1.0, 0.3, 5.0]))
        if self.random.random() < 0.5:
            self._then(lambda x: F.scaled_dot_product_attention(query(x), key(x), value(x), scale=scale))
        else:
            self._then(lambda x: torch.softmax(query(x) @ key(x).transpose(-2, -1) * scale, -1) @ value(x))

    def _product(self):
        if len(self.shape) >= 3:
            layer = self._layer(nn.Linear(self.shape[-1], self.shape[-1]))
            self._then(lambda x: layer(x) @ x.transpose(-2, -1))

    def _norm(self):
        width = self.shape[-1]
        choices = [nn.LayerNorm(width), nn.LayerNorm(width, elementwise_affine=False), nn.RMSNorm(width)]
        if len(self.shape) >= 3:
            choices.append(nn.GroupNorm(1, self.shape[1]))
        if len(self.shape) == 4:
            choices.append(nn.BatchNorm2d(self.shape[1]).eval())
        layer = choices[int(self.random.integers(len(choices)))]
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, 0.5, 1.5)
        self._then(self._layer(layer))

    def _softmax(self):
        self._then(lambda x: torch.softmax(x, -1))

    def _gate(self):
        axes = [axis for axis in range(1, len(self.shape)) if self.random.random() < 0.4]
        function = self.random.choice([torch.sigmoid, F.hardsigmoid, torch.tanh])
        self._then(lambda x: x * function(x.mean(axes, keepdim=True) if axes else x))

    def _parameter(self):
        shape = [1, *(n if self.random.random() < 0.5 else 1 for n in self.shape[1:])]
        other = self._parameter_of(*shape)
        kind = int(self.random.integers(4))
        self._then([lambda x: x + other, lambda x: other - x, lambda x: x * other, lambda x: x - other][kind])

    def _binary(self):
        layer = self._layer(nn.Linear(self.shape[-1], self.shape[-1]))
        kind = int(self.random.integers(3))
        self._then([lambda x: x + layer(x), lambda x: layer(x) - x, lambda x: x * layer(x)][kind])

    def _function(self):
        self._then(self.random.choice([F.gelu, F.silu, F.relu, torch.tanh, F.hardswish, torch.abs, F.elu]))

    def _turn(self):
        if len(self.shape) >= 3:
            first, second = (int(n) for n in self.random.permutation(len(self.shape) - 1)[:2] + 1)
            self._then(lambda x: x.transpose(first, second))

    def _split(self):
        if self.shape[-1] % 2 == 0:
            def gated(x):
                a, b = x.chunk(2, -1)
                return a * torch.sigmoid(b)
            self._then(gated)

    def _join(self):
        axis = int(self.random.integers(1, len(self.shape)))
        self._then(lambda x: torch.cat([x, torch.relu(x)], axis))

    def _squeeze(self):
        if len(self.shape) == 4:
            self._then(lambda x: x.flatten(2).transpose(1, 2))

    def _enlarge(self):
        if len(self.shape) == 4:
            mode = str(self.random.choice(["nearest", "bilinear"]))
            self._then(lambda x: F.interpolate(x, scale_factor=2, mode=mode))

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x
