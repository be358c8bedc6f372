"""Blocks of vision networks that run on the chip as a whole, small: each takes an image (1, 8, 8, 8)."""

import torch
from torch import nn
from torch.nn import functional as F


class Enlarging(nn.Module):
    """A U-Net whose decoder enlarges bilinearly."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(8, 8, 3, padding=1)
        self.middle = nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.Conv2d(24, 8, 3, padding=1)

    def forward(self, x):
        skip = F.relu(self.down(x))
        low = F.relu(self.middle(F.max_pool2d(skip, 2)))
        return self.up(torch.cat([F.interpolate(low, scale_factor=2, mode="bilinear"), skip], 1))


class ConvNeXtBlock(nn.Module):
    """Liu et al., "A ConvNet for the 2020s", arXiv 2201.03545, figure 4, with its layer scale."""

    def __init__(self, channels=16):
        super().__init__()
        self.stem = nn.Conv2d(8, channels, 3, padding=1)
        self.depth = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 4 * channels)
        self.project = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.rand(channels) + 0.5)
        self.head = nn.Conv2d(channels, 8, 1)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.project(F.gelu(self.expand(y))) * self.scale
        return self.head(x + y.permute(0, 3, 1, 2))


class MixerBlock(nn.Module):
    """Tolstikhin et al., "MLP-Mixer", arXiv 2105.01601, figure 1, with the mean of the tokens."""

    def __init__(self, tokens=16, channels=24):
        super().__init__()
        self.patches = nn.Conv2d(8, channels, 2, 2)
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.tokens = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.channels = nn.Sequential(nn.Linear(channels, 48), nn.GELU(), nn.Linear(48, channels))
        self.head = nn.Linear(channels, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norms[1](x))
        return self.head(x.mean(1))


BLOCKS = {"enlarging": Enlarging, "convnext": ConvNeXtBlock, "mixer": MixerBlock}
