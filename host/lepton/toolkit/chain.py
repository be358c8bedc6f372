"""The layers of a network: a chain to which layers are added."""

from typing import Self

import torch
from torch import nn

from ..text import dimensions, grouped, table
from . import layers as rules
from .layers import LayerError
from .pruning import flattened

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
                                            "hardswish": nn.Hardswish, "silu": nn.SiLU}


class LayerChain:
    """A torch module with the shapes of its input and output, without the batch. `print` shows its layers."""

    def __init__(self, module: nn.Module, shape: tuple[int, ...], *, input_shape: tuple[int, ...], name: str) -> None:
        self.name = name
        self.module = module
        self.input_shape = input_shape
        self.output_shape = shape

    def changed(self) -> None:
        """Called after each change of the layers."""

    def add_conv_layer(self, in_channels: int | None, out_channels: int, kernel_size: int, *, stride: int = 1,
                       padding: str | int = "same", activation: str | None = "relu") -> Self:
        """Add a square convolution. in_channels: those of what precedes it, or None. Raises `LayerError`."""
        made = rules.convolution(self.output_shape, in_channels, out_channels, kernel_size, stride, padding)
        return self._add(made.shape, nn.Conv2d(made.inputs, made.outputs, made.kernel, made.stride, made.padding),
                         *_activation(activation))

    def add_pooling_layer(self, kernel_size: int, stride: int | None = None) -> Self:
        """Add a maximum pool; the stride is the kernel's size where it is None. Raises `LayerError`."""
        step, shape = rules.pooling(self.output_shape, kernel_size, stride)
        return self._add(shape, nn.MaxPool2d(kernel_size, step))

    def add_dense_layer(self, in_features: int | None, out_features: int, *,
                        activation: str | None = None) -> Self:
        """Add a dense layer behind all values, or behind the averages of all channels where in_features is their
        number. None stands for all values. Raises `LayerError`."""
        count, averaged = rules.dense(self.output_shape, in_features)
        if not isinstance(out_features, int) or out_features < 1:
            raise LayerError(f"add_dense_layer: out_features must be a whole number of at least 1, not "
                             f"{out_features!r}")
        before: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if averaged else []
        if len(self.output_shape) > 1:
            before.append(nn.Flatten())
        return self._add((out_features,), *before, nn.Linear(count, out_features), *_activation(activation))

    def _add(self, shape: tuple[int, ...], *added: nn.Module) -> Self:
        self.module = nn.Sequential(*flattened(self.module), *added)
        self.output_shape = shape
        self.changed()
        return self

    def __str__(self) -> str:
        rows = []
        value = torch.zeros(2, *self.input_shape)
        self.module.eval()
        with torch.no_grad():
            for i, layer in enumerate(flattened(self.module)):
                value = layer(value)
                rows.append([str(i), type(layer).__name__, dimensions(value.shape[1:]),
                             grouped(sum(p.numel() for p in layer.parameters()))])
        rows.append(["total", "", "", grouped(sum(p.numel() for p in self.module.parameters()))])
        return f"{self.name}: input {dimensions(self.input_shape)}\n" + table(
            ("layer", "kind", "output", "parameters"), rows, 3, total=True)


def _activation(name: str | None) -> list[nn.Module]:
    if name is None or name == "linear":
        return []
    if name not in _ACTIVATIONS:
        raise LayerError(f"activation must be one of {', '.join(_ACTIVATIONS)} or None, not {name!r}")
    return [_ACTIVATIONS[name]()]
