"""Fewer channels: the least of each convolution's outputs are taken out, with what the next layer made of them."""

from itertools import chain

import torch
from torch import nn

# What may stand between a convolution and the layer that reads it, and treats each channel by itself.
_BETWEEN = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.SiLU, nn.MaxPool2d, nn.AvgPool2d,
            nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.BatchNorm2d)


def flattened(module: nn.Module) -> list[nn.Module]:
    """The layers of a network that is one chain, in order; a module that is no chain is one layer."""
    if isinstance(module, nn.Sequential):
        return list(chain.from_iterable(flattened(child) for child in module))
    return [module]


def pruned(module: nn.Module, share: float, multiple: int) -> tuple[nn.Sequential, list[str]]:
    """A copy of a chain of layers without about `share` of each convolution's channels, and what was taken out.

    The channels whose weights have the least sum of magnitudes go (Li et al., "Pruning Filters for Efficient
    ConvNets", 2017). multiple: channels come in such blocks on the chip, so that others would save no cycles. The last
    convolution or dense layer keeps its outputs.
    """
    keep = {i: max(multiple, -(-round(channels * (1 - share)) // multiple) * multiple)
            for i, channels in widths(module).items()}
    return narrowed(module, keep)


def widths(module: nn.Module) -> dict[int, int]:
    """The channels of each convolution of a chain that can lose some, by its place in `flattened`."""
    layers = flattened(module)
    return {i: layer.out_channels for i, layer in enumerate(layers)
            if isinstance(layer, nn.Conv2d) and layer.groups == 1 and _reader(layers, i) is not None}


def narrowed(module: nn.Module, keep: dict[int, int]) -> tuple[nn.Sequential, list[str]]:
    """A copy whose convolutions have at most `keep` channels each, the strongest, and what was taken out."""
    layers = [_copied(layer) for layer in flattened(module)]
    notes = []
    for i, channels in widths(module).items():
        left = min(channels, keep.get(i, channels))
        reader = _reader(layers, i)
        if left == channels or reader is None:
            continue
        kept = strengths(layers[i]).argsort(descending=True)[:left].sort().values
        _narrow(layers, i, reader, kept)
        notes.append(f"layer {i}: {channels} channels to {left}")
    return nn.Sequential(*layers), notes


def strengths(layer: nn.Module) -> torch.Tensor:
    """The sum of magnitudes of each output channel's weights."""
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach().abs().sum((1, 2, 3))


def _copied(layer: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(layer)


def _reader(layers: list[nn.Module], at: int) -> int | None:
    """The layer that reads the channels of the convolution `at`; None where they cannot be followed to one."""
    for i in range(at + 1, len(layers)):
        layer = layers[i]
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1):
            return i
        if not isinstance(layer, _BETWEEN):
            return None
    return None


def _narrow(layers: list[nn.Module], at: int, reader: int, kept: torch.Tensor) -> None:
    convolution = layers[at]
    assert isinstance(convolution, nn.Conv2d)
    channels = convolution.out_channels
    convolution.weight = nn.Parameter(convolution.weight.detach()[kept].clone())
    if convolution.bias is not None:
        convolution.bias = nn.Parameter(convolution.bias.detach()[kept].clone())
    convolution.out_channels = len(kept)
    for layer in layers[at + 1:reader]:
        if isinstance(layer, nn.BatchNorm2d):
            layer.num_features = len(kept)
            for name in ("weight", "bias"):
                if getattr(layer, name) is not None:
                    setattr(layer, name, nn.Parameter(getattr(layer, name).detach()[kept].clone()))
            for name in ("running_mean", "running_var"):
                if getattr(layer, name) is not None:
                    setattr(layer, name, getattr(layer, name)[kept].clone())
    after = layers[reader]
    if isinstance(after, nn.Conv2d):
        after.weight = nn.Parameter(after.weight.detach()[:, kept].clone())
        after.in_channels = len(kept)
    elif isinstance(after, nn.Linear):
        pixels = after.in_features // channels
        weight = after.weight.detach().reshape(after.out_features, channels, pixels)[:, kept]
        after.weight = nn.Parameter(weight.reshape(after.out_features, -1).clone())
        after.in_features = len(kept) * pixels
