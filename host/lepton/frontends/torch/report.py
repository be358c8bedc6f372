"""Where accuracy is lost: signal-to-noise of every layer of a converted module against the float one."""

import math
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Interpreter

from .context import DEQUANTIZE, DEQUANTIZE_CHANNELS, QUANTIZE
from .quantizer import CONVOLUTIONS, LINEAR, NORMALIZATIONS


@dataclass(frozen=True)
class LayerNoise:
    """One layer; `decibels` is 10 log10(signal power / power of the difference), infinite where nothing differs."""

    name: str
    operator: str
    decibels: float


class _Recorder(Interpreter):
    def __init__(self, module: GraphModule):
        super().__init__(module)
        self.values: dict[str, torch.Tensor] = {}

    def run_node(self, n):
        value = super().run_node(n)
        if n.op == "call_function" and isinstance(value, torch.Tensor) and value.is_floating_point() and (
                n.target not in (*QUANTIZE, *DEQUANTIZE, *DEQUANTIZE_CHANNELS)):
            self.values[n.name] = value
            source = n.args[0] if n.args else None
            if n.target in NORMALIZATIONS and len(source.users) == 1 and source.target in (*CONVOLUTIONS, *LINEAR):
                self.values[source.name] = value  # conversion folds the normalization into the layer before it
        return value


def layer_noise(exported: GraphModule, converted: GraphModule, x: torch.Tensor) -> list[LayerNoise]:
    """The noise of each operator that both modules have, in order of execution, on one input.

    exported: what `export_module` gave; converted: what convert_pt2e made of it.
    """
    recorders = [_Recorder(module) for module in (exported, converted)]
    with torch.no_grad():
        for recorder in recorders:
            recorder.run(x)
    ours, operators = recorders[1].values, {n.name: str(n.target) for n in exported.graph.nodes}
    found = []
    for name, signal in recorders[0].values.items():
        if name in ours and ours[name].shape == signal.shape:
            noise = float((ours[name] - signal).double().square().mean())
            power = float(signal.double().square().mean())
            decibels = math.inf if noise == 0 else 10 * math.log10(power / noise) if power else -math.inf
            found.append(LayerNoise(name, operators[name], decibels))
    return found
