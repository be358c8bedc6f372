"""Where accuracy is lost: signal-to-noise of every layer of a converted module against the float one."""

import math
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from .execution import Recorder
from .operators import Kind, kind
from .qdq import QDQ


@dataclass(frozen=True)
class LayerNoise:
    """One layer; `decibels` is 10 log10(signal power / power of the difference), infinite where nothing differs."""

    name: str
    operator: str
    decibels: float


def layer_noise(exported: GraphModule, converted: GraphModule, x: torch.Tensor) -> list[LayerNoise]:
    """The noise of each operator that both modules have, in order of execution, on one input.

    exported: what `export_module` gave; converted: what convert_pt2e made of it.
    """
    signals = _results(exported, x)
    ours = _results(converted, x)
    operators = {node.name: str(node.target) for node in exported.graph.nodes}
    return [LayerNoise(name, operators[name], _decibels(signal, ours[name])) for name, signal in signals.items()
            if name in ours and ours[name].shape == signal.shape]


def _results(module: GraphModule, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The float results of the module's operators by the nodes' names."""
    recorder = Recorder(module)
    with torch.no_grad():
        recorder.run(x)
    results: dict[str, torch.Tensor] = {}
    for node, value in recorder.made.items():
        if node.op == "call_function" and node.target not in QDQ and isinstance(value, torch.Tensor) and (
                value.is_floating_point()):
            results[node.name] = value
            source = node.args[0] if kind(node) is Kind.NORMALIZATION else None
            if isinstance(source, Node) and len(source.users) == 1 and kind(source) in (Kind.CONVOLUTION, Kind.LINEAR):
                results[source.name] = value  # conversion folds the normalization into the layer before it
    return results


def _decibels(signal: torch.Tensor, other: torch.Tensor) -> float:
    noise = float((other - signal).double().square().mean())
    power = float(signal.double().square().mean())
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power else -math.inf
