"""The description of a network that a training script gives."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

Part = tuple[np.ndarray, np.ndarray]  # inputs (N, ...) float32, and labels (N, ...)
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(eq=False)
class Recipe:
    """A network, the data that train it, and what its card says of both."""

    name: str
    title: str
    field: str  # the trade it is an example for
    task: str
    data: str
    licence: str
    synthetic: str  # what of the data is synthetic, or ""
    input: str
    output: str
    metric: str  # a name in `lepton.models.metrics`
    module: nn.Module
    train: Part
    validation: Part
    test: Part
    loss: Loss
    epochs: int
    batch: int = 32
    rate: float = (
        3e-3  # the peak of the one-cycle schedule; three times Adam's own, for networks of some thousand weights
    )
    classes: tuple[str, ...] = ()
    # By the same metric on the test data: simple methods.
    baselines: dict[str, float] = dataclasses.field(default_factory=dict)
    # What ships; the first of the test data by default.
    samples: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    sample_count: int = 32
    source: str = ""  # of this script
