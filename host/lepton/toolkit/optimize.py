"""Pruning as far as accuracy allows, and what it gains."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..compiler import compile_graph
from ..deployment import Deployment
from .chip import LeptonChip
from .pruning import flattened, narrowed, pruned, strengths, widths
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


def searched(network: "LeptonNetwork", chip: LeptonChip, x: torch.Tensor, y: torch.Tensor, target: int, epochs: int,
             verbose: bool) -> OptimizationReport:
    """`LeptonNetwork.optimize` with a target: the widths of the convolutions by the compiler's cost model.

    A block of channels of each layer is taken out once, to see how many cycles that saves. Then blocks go in the
    order of cycles saved for the share of the layer's weights that is lost, until the prediction meets the target.
    """
    from ..frontends.torch import quantize

    original = network.module
    before = figures(network, chip, x, y)
    if before.predicted_cycles <= target:
        note = f"not pruned: {before.predicted_cycles} cycles are predicted already"
        return OptimizationReport(before, before, [note])
    if network.quantization_aware or not isinstance(original, nn.Sequential):
        note = "not pruned: only a chain of layers before quantization-aware training can lose channels"
        return OptimizationReport(before, before, [note])
    block = chip.config.columns
    example = x[:2]

    def cycles(keep: dict[int, int]) -> float:
        candidate = narrowed(original, keep)[0]
        return compile_graph(quantize(candidate.eval(), example), chip.config).cycles

    keep = widths(original)
    layers = flattened(original)
    saved = {i: before.predicted_cycles - cycles({i: -(-channels // block) * block - block})
             for i, channels in keep.items() if channels > block}
    now = float(before.predicted_cycles)
    while now > target:
        worth = {i: gain / _lost(layers[i], keep[i], block) for i, gain in saved.items()
                 if keep[i] > block and gain > 0}
        if not worth:
            return OptimizationReport(before, before, [
                f"not pruned: {round(now)} cycles is the least that narrower convolutions reach, not {target}"])
        best = max(worth, key=lambda i: worth[i])
        keep[best] = -(-keep[best] // block) * block - block
        now = cycles(keep)
    network.module, notes = narrowed(original, keep)
    Trainer(network.module, x, y, network.optimizer, network.loss,
            Settings(epochs, validation=network.validation, verbose=verbose)).run()
    return OptimizationReport(before, figures(network, chip, x, y), notes)


def _lost(layer: nn.Module, width: int, block: int) -> float:
    """The share of a layer's weights that its weakest block holds, of the `width` strongest channels."""
    strong = strengths(layer).sort(descending=True).values[:width]
    return float(strong[-block:].sum() / strong.sum()) + _ROUNDING


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
