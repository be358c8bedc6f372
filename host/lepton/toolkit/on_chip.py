"""Training with the chip's forward pass: int8 on the device, gradients by the float simulation."""

import torch
from torch import nn
from torch.fx import GraphModule
from torchao.quantization.pt2e import disable_observer, enable_observer

from ..compiler import compile_graph
from ..frontends.torch import quantize
from .chip import LeptonChip
from .serving import Serving


class Rounded(nn.Module):
    """A module of `prepare_qat`. Its ranges follow the training inputs alone: validation does not move them."""

    def __init__(self, prepared: GraphModule) -> None:
        super().__init__()
        self.prepared = prepared

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.prepared(x)

    def train(self, mode: bool = True) -> "Rounded":
        super().train(mode)
        self.prepared.apply(enable_observer if mode else disable_observer)
        return self

    def close(self) -> None:
        """Give back what training has taken."""


class ChipForward(Rounded):
    """A frozen module of `prepare_qat` whose outputs a chip computes.

    Whenever the weights have changed they are quantized, compiled and loaded again. The chip's outputs, float32
    (N, ...), are those of the network that `quantize` makes of the present weights. Gradients are those of the
    simulation: the rounding and the difference between chip and simulation count as identity (the straight-through
    estimator of Bengio, Léonard and Courville, "Estimating or Propagating Gradients Through Stochastic Neurons", 2013).
    inferences and cycles count what the chip did; cycles stay 0 on a device that does not count them.
    """

    def __init__(self, prepared: GraphModule, chip: LeptonChip, name: str) -> None:
        super().__init__(prepared)
        self.inferences = 0
        self.cycles = 0
        self._chip = chip
        self._name = name
        self._serving: Serving | None = None
        self._loaded: tuple[int, ...] = ()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        simulated = self.prepared(x)
        with torch.no_grad():
            computed = self._computed(x).reshape(simulated.shape)
        return simulated + (computed - simulated).detach()

    def close(self) -> None:
        """Free the chip's memory."""
        if self._serving is not None:
            self._serving.close()
            self._serving = None

    def _computed(self, x: torch.Tensor) -> torch.Tensor:
        version = tuple(value._version for value in self.prepared.state_dict(keep_vars=True).values())
        if self._serving is None or version != self._loaded:
            self.close()
            graph = quantize(self.prepared, x[:1], name=self._name)
            self._serving = Serving(compile_graph(graph, self._chip.config), self._chip)
            self._loaded = version
        before = self._serving.cycles
        outputs = self._serving.outputs(x.numpy())
        self.cycles += self._serving.cycles - before
        self.inferences += len(x)
        return torch.from_numpy(outputs).float()
