"""A network with everything that training and the chip see differently, and images that it can learn."""

import numpy as np
import torch
from torch import nn

SHAPE = (3, 10, 10)
CLASSES = 4


def module():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Dropout(0.3), nn.Conv2d(12, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, CLASSES))


def trained(x):
    """The module, its statistics those of `x`."""
    made = module().train()
    made(x)
    return made


def data(count):
    """Classes by the channel, or the half of the image, that is brightest."""
    random = np.random.default_rng(11)
    labels = random.integers(0, CLASSES, count)
    x = random.normal(0, 0.3, (count, *SHAPE)).astype(np.float32)
    for image, label in zip(x, labels, strict=True):
        image[label % 3, : (5 if label == 3 else 10)] += 1.0
    return x, labels
