"""Observers for values whose scale follows from their role in a recurrent cell (`frontends.recurrent.ScaleRule`)."""

import math

import torch
from torchao.quantization.pt2e import MinMaxObserver

from ..recurrent import ScaleRule

_LEAST = 2.0**-16  # the scale of values that are always 0, as `quantizer` has it


class GateObserver(MinMaxObserver):
    """The largest value seen, of either sign, is 127; the zero point is 0."""

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([max(self._largest() / 127, _LEAST)]), torch.zeros(1, dtype=torch.int32)

    def _largest(self) -> float:
        least = float(self.min_val)
        most = float(self.max_val)
        return max(-least, most) if math.isfinite(least) and math.isfinite(most) else 0.0


class StateObserver(GateObserver):
    """A power of two, the least with which the largest value seen is cut by half a step at most."""

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        scale = 2.0 ** math.ceil(math.log2(max(self._largest() / 127.5, _LEAST)))
        return torch.tensor([scale]), torch.zeros(1, dtype=torch.int32)


class FractionObserver(MinMaxObserver):
    """256 steps from 0 to 1, without 1 itself, whatever is seen."""

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([1 / 256]), torch.tensor([-128], dtype=torch.int32)


OBSERVERS = {ScaleRule.GATE: GateObserver, ScaleRule.STATE: StateObserver, ScaleRule.FRACTION: FractionObserver}
