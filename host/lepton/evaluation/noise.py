"""What quantization changes in each layer: signal-to-noise of int8 values against the float network's."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..graph import Graph, Tensor
from ..graph.interpret import sequence
from .reference import Reference

# What front ends add to a framework's names: the quantizer's result, the image with channels last, the int8 tensor.
_ADDED = re.compile(r"(_QuantizeLinear_Output|/nhwc|/int8|/float|\.r|_dequantized|_quantized)+$")


@dataclass(frozen=True)
class ValueNoise:
    """One value; `decibels` is 10 log10(signal power / power of the difference), infinite where nothing differs."""

    name: str
    operator: str
    decibels: float


def layer_noise(graph: Graph, reference: Reference, inputs: Iterable[Mapping[str, np.ndarray]]) -> list[ValueNoise]:
    """The noise of each int8 value of `graph` that the float network `reference` computes too, in their order.

    inputs: those of `graph`, by name, one stream for a network with state. Values are found by their names.
    """
    signal: dict[str, float] = {}
    noise: dict[str, float] = {}
    feeds = list(inputs)
    for feed, ours in zip(feeds, sequence(graph, feeds), strict=True):
        theirs = reference.values(feed)
        for node in graph.nodes:
            tensor = graph.result(node)
            real = _real(ours[tensor.name], tensor)
            value = theirs.get(_ADDED.sub("", tensor.name))
            wanted = None if value is None or real is None else _like(value, real)
            if real is None or wanted is None:
                continue
            signal[tensor.name] = signal.get(tensor.name, 0) + float(np.square(wanted).sum())
            noise[tensor.name] = noise.get(tensor.name, 0) + float(np.square(wanted - real).sum())
    made_by = {graph.result(node).name: node for node in graph.nodes}
    return [ValueNoise(made_by[name].name or name, type(made_by[name].op).__name__, _decibels(power, noise[name]))
            for name, power in signal.items()]


def _real(values: np.ndarray, tensor: Tensor) -> np.ndarray | None:
    """The numbers that an int8 value stands for; None for other values."""
    q = tensor.quantization
    if np.dtype(tensor.dtype) != np.int8 or q is None or q.scale.size != 1:
        return None
    return (values.astype(np.float64) - tensor.zero_point) * float(tensor.scale)


def _like(value: np.ndarray, real: np.ndarray) -> np.ndarray | None:
    """The framework's value in the graph's layout; None where it has other elements.

    Channels are first or last. Where the shape leaves that open (8 channels of 8 x 8 pixels), the nearer one is meant.
    """
    if value.dtype.kind != "f" or not value.size:
        return None
    forms = [value.astype(np.float64)]
    if value.ndim > 2:
        forms.append(np.moveaxis(forms[0], 1, -1))
    fitting = [form for form in forms if form.shape == real.shape]
    return min(fitting, key=lambda form: float(np.square(form - real).sum()), default=None)


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
