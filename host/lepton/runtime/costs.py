"""What the host's work costs: multiplications, bytes, and time on the machine that does it."""

import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..graph import GraphError, OperandList, Signature
from ..program import ChipStep, CompiledModel, HostStep

# Rounds of `measured`: at least _FEWEST, since the first one makes tables that later ones keep and a single other one
# may be disturbed; at most _REPEATS, for the least of seven changes by a few per cent from call to call.
_FEWEST = 3
_REPEATS = 7
# Seconds after which no further round is started: once there are _FEWEST rounds, and in any case. They bound the time
# of `lepton compile --explain` for a network whose host steps take seconds.
_ENOUGH = 1.0
_TOO_LONG = 20.0
LAYOUT = "Layout"  # `HostCost.op` of what brings a job's tensors into the chip's layout and back


class Stopwatch:
    """Adds up the time that its `with` blocks take."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *exc: object) -> None:
        self.seconds += time.perf_counter() - self._started


@dataclass(frozen=True)
class HostCost:
    """One step's work on the host: an operator, or the change of layout around a job."""

    step: int  # index in `CompiledModel.steps`
    name: str
    op: str  # the operator's name, or LAYOUT
    macs: int  # of the network's own arithmetic
    bytes: int  # read and written, constants included
    seconds: float


def cost_of(index: int, step: HostStep | ChipStep, seconds: float) -> HostCost:
    """The cost of a step that took the host `seconds`."""
    if isinstance(step, ChipStep):
        return HostCost(index, step.name, LAYOUT, 0, sum(b.size for b in (*step.inputs, *step.outputs)), seconds)
    signature = Signature(step.arithmetic, OperandList(step.inputs), step.output)
    return HostCost(index, step.name, type(step.op).__name__, step.op.macs(signature), signature.traffic, seconds)


def measured(model: CompiledModel) -> list[HostCost]:
    """Every step's cost on this machine: the host's work of one inference on arbitrary values.

    It is done several times and the least counts, since other work on the machine only adds. No kernel's time depends
    on the values.
    """
    rounds: list[list[HostCost]] = []
    started = time.perf_counter()
    while not rounds or (len(rounds) < _REPEATS and time.perf_counter() - started
                         < (_ENOUGH if len(rounds) >= _FEWEST else _TOO_LONG)):
        rounds.append(_once(model))
    return [min(step, key=lambda cost: cost.seconds) for step in zip(*rounds, strict=True)]


def _once(model: CompiledModel) -> list[HostCost]:
    costs = []
    for index, step in enumerate(model.steps):
        if isinstance(step, ChipStep):
            tensors = [made_up(b.layout.shape, b.dtype) for b in step.inputs]
            raw = [np.zeros(b.size, np.uint8) for b in step.outputs]
            started = time.perf_counter()
            for binding, values in zip(step.inputs, tensors, strict=True):
                binding.to_device(values)
            for binding, data in zip(step.outputs, raw, strict=True):
                binding.from_device(data)
        else:
            operands = _made_up_operands(step)
            started = time.perf_counter()
            step.run(operands)
        costs.append(cost_of(index, step, time.perf_counter() - started))
    return costs


def prepare(step: HostStep) -> None:
    """Computes the step once on arbitrary values, which makes and loads what all of its executions share."""
    with suppress(GraphError):  # for values that it does not take, such as a divisor 0
        step.run(_made_up_operands(step))


def _made_up_operands(step: HostStep) -> dict[str, np.ndarray]:
    return {t.name: made_up(t.shape, t.dtype) for t in step.inputs if t is not None and t.data is None}


def made_up(shape: tuple[int, ...], dtype: np.dtype | str) -> np.ndarray:
    """Values of a tensor that any operator takes: random bytes, ones for reals, zeros (also indices) for the rest."""
    if np.dtype(dtype).itemsize == 1 and np.dtype(dtype) != np.bool_:
        return np.random.default_rng(0).integers(0, 256, tuple(shape), np.uint8).view(dtype)
    return np.full(tuple(shape), 1 if np.dtype(dtype).kind == "f" else 0, dtype)
