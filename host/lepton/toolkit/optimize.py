"""Pruning as far as accuracy allows, and what it gains."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..compiler import compile_graph
from ..deployment import Deployment
from .chip import LeptonChip
from .pruning import pruned
from .report import Figures, OptimizationReport
from .training import Settings, Trainer, is_classification

if TYPE_CHECKING:
    from .network import LeptonNetwork

CHECKED = 512  # inputs on which accuracies before and after are measured: 0.2 points a step
LEAST_SHARE = 0.1  # a smaller share takes no block of channels away
_ROUNDING = 1e-9  # of differences of shares


def optimized(network: "LeptonNetwork", chip: LeptonChip, x: torch.Tensor, y: torch.Tensor, prune: float, epochs: int,
              max_drop: float, verbose: bool) -> OptimizationReport:
    """`LeptonNetwork.optimize`. x, y: the data that trained the network, whose last part validates."""
    notes: list[str] = []
    original = network.module
    before = figures(network, chip, x, y)
    graph = network.graph
    if not prune:
        return OptimizationReport(before, before, notes)
    if network.quantization_aware:
        notes.append("not pruned: quantization-aware training has fixed the layers; prune before it")
        return OptimizationReport(before, before, notes)
    if not isinstance(original, nn.Sequential):
        notes.append("not pruned: the network is no chain of layers")
        return OptimizationReport(before, before, notes)
    share = prune
    while share >= LEAST_SHARE:
        candidate, found = pruned(original, share, chip.config.columns)
        if not found:
            notes.append(f"not pruned: no convolution has more than the {chip.config.columns} channels of one block of "
                         "the chip that can go")
            break
        network.module = candidate
        settings = Settings(epochs, validation=network.validation, verbose=verbose)
        Trainer(candidate, x, y, network.optimizer, network.loss, settings).run()
        after = figures(network, chip, x, y)
        lost = 0.0
        if before.int8_accuracy is not None and after.int8_accuracy is not None:
            lost = before.int8_accuracy - after.int8_accuracy
        if lost <= max_drop + _ROUNDING:
            return OptimizationReport(before, after, notes + found)
        notes.append(f"a share of {share:g} loses {100 * lost:.1f} points of accuracy")
        share /= 2
    network.module = original
    network.graph = graph
    return OptimizationReport(before, before, notes)


def figures(network: "LeptonNetwork", chip: LeptonChip, x: torch.Tensor, y: torch.Tensor) -> Figures:
    """Of the present module, which is quantized, on the data that validate."""
    model = compile_graph(network.quantize(), chip.config)
    held = round(len(x) * network.validation) or len(x)
    some = x[-held:][:CHECKED]
    labels = y[-held:][:CHECKED]
    accuracy: float | None = None
    int8: float | None = None
    if is_classification(network.loss):
        with torch.no_grad():
            accuracy = float((network.float_module()(some).argmax(1) == labels).float().mean())
        with Deployment(model, "golden") as golden:
            made = golden.session.predict(some.numpy())
        int8 = float((np.asarray(made).argmax(1) == labels.numpy()).mean())
    measured: int | None = None
    if chip.name != "golden":
        with Deployment(model, chip.device) as board:
            measured = board.run(some[:1].numpy()).report.cycles or None
    return Figures(sum(layer.weight_bytes for layer in model.layers), accuracy, int8, round(model.cycles), measured)
