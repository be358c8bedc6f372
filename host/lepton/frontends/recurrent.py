"""Recurrent cells, described once: LSTM, GRU and RNN as the products, sums and functions that they consist of.

A front end gives its values and `CellOperators`, which make its own framework's operators of them. All time steps are
written one after the other; what does not depend on the state, the product of the inputs with their weights, is one
product over all of them. Values of all steps that are of one kind share a scale (`Range`), so that all steps have the
same weights, records and tables.

Formulas: Hochreiter and Schmidhuber 1997 with the forget gates of Gers et al. 2000 (LSTM), Cho et al. 2014 (GRU), in
the form of the documentation of torch.nn.LSTM and torch.nn.GRU and of ONNX's LSTM-22, GRU-22 and RNN-22.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

import numpy as np

V = TypeVar("V")


class ScaleRule(Enum):
    """How the scale of int8 values follows from those seen. All zero points are 0, but that of FRACTION.

    GATE: the largest is 127. STATE: that, rounded up to a power of two, so that products and sums of such values are
    exact in integers. FRACTION: 1/256 with zero point -128, for values from 0 to 1.
    """

    GATE = auto()
    STATE = auto()
    FRACTION = auto()


@dataclass(frozen=True)
class Range:
    """Values with the same `name` in one network share a scale."""

    name: str
    scale: ScaleRule


@dataclass(frozen=True)
class CellFunction:
    """A function of one value, as ONNX names it in small letters, with its parameters by name."""

    name: str
    parameters: tuple[tuple[str, float], ...] = ()


SIGMOID = CellFunction("sigmoid")
TANH = CellFunction("tanh")
RELU = CellFunction("relu")


class CellOperators(Protocol[V]):
    """Makes a framework's operators. A sequence has an axis of time; a step of it is (batch, channels).

    Results get the scale of `within`; moves keep their operand's.
    """

    def linear(self, x: V, weights: np.ndarray, bias: np.ndarray | None, within: Range) -> V:
        """x @ weights.T + bias along the last axis."""

    def add(self, a: V, b: V, within: Range) -> V: ...

    def subtract(self, a: V, b: V, within: Range) -> V: ...

    def multiply(self, a: V, b: V, within: Range) -> V: ...

    def apply(self, function: CellFunction, x: V, within: Range) -> V: ...

    def clip(self, x: V, limit: float, within: Range) -> V:
        """x between -limit and limit."""

    def constant(self, values: np.ndarray) -> V: ...

    def step(self, sequence: V, time: int) -> V: ...

    def channels(self, x: V, start: int, stop: int) -> V: ...

    def join(self, steps: Sequence[V]) -> V:
        """The sequence of some steps."""

    def beside(self, sequences: Sequence[V]) -> V:
        """Sequences joined along their channels."""

    def named(self, x: V, within: Range) -> V:
        """`x`, which comes from outside, with the scale of `within`."""


@dataclass(frozen=True)
class CellWeights:
    """Of one direction of one layer, float32, with the gates along the first axis, H rows each, in the cell's order.

    inputs: (gates * H, I). states: (gates * H, R), R being H or the projection's outputs. input_bias, state_bias:
    (gates * H,). projection: (R, H) or None. peepholes: (3 * H,) for the gates i, o, f, or None.
    """

    inputs: np.ndarray
    states: np.ndarray
    input_bias: np.ndarray
    state_bias: np.ndarray
    projection: np.ndarray | None = None
    peepholes: np.ndarray | None = None


@dataclass(frozen=True)
class CellOptions:
    """What a cell leaves open. functions: of the gates, of the new value, and of an LSTM's output.

    clip: bound of what goes into the functions, or None. after_product: the reset gate of a GRU multiplies the product
    with the state (torch, `linear_before_reset` of ONNX), else the state. coupled: an LSTM's forget gate is 1 less its
    input gate.
    """

    functions: tuple[CellFunction, ...]
    clip: float | None = None
    after_product: bool = True
    coupled: bool = False


@dataclass
class Cell(Generic[V]):
    """One direction of one layer. `h` and `c` are its state, None for zeros; `name` is that of its scales."""

    steps: CellOperators[V]
    weights: CellWeights
    options: CellOptions
    name: str
    h: V | None = None
    c: V | None = None
    gates: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        self.size = self.weights.states.shape[0] // self.gates
        self.gate = self._range("gates", self._gate_scale())
        self.state = self._range("state", ScaleRule.STATE)
        if self.h is not None:
            self.h = self.steps.named(self.h, self.state)

    def inputs(self, x: V) -> V:
        """What all steps take of the inputs: their product with the weights, and all biases that can be in it."""
        return self.steps.linear(x, self.weights.inputs, self.weights.input_bias + self.weights.state_bias, self.gate)

    def advance(self, inputs: V) -> V:
        """One step: the new state `h`, from what it takes of the inputs."""
        total = self._with_state(inputs, slice(None), self.gate)
        self.h = self.steps.apply(self.options.functions[0], self._clipped(total), self.state)
        return self.h

    def _gate_scale(self) -> ScaleRule:
        """Powers of two where a product of two values is among what is added up."""
        return ScaleRule.GATE if self.weights.peepholes is None else ScaleRule.STATE

    def _range(self, what: str, scale: ScaleRule) -> Range:
        return Range(f"{self.name}.{what}", scale)

    def _with_state(self, inputs: V, rows: slice, within: Range) -> V:
        if self.h is None:
            return inputs
        return self.steps.add(self.steps.linear(self.h, self.weights.states[rows], None, within), inputs, within)

    def _clipped(self, x: V) -> V:
        return x if self.options.clip is None else self.steps.clip(x, self.options.clip, self.gate)

    def _gate(self, x: V, index: int) -> V:
        return self.steps.channels(x, index * self.size, (index + 1) * self.size)

    def _opened(self, function: CellFunction, x: V, what: str) -> V:
        """A gate's function; only a sigmoid is known to be from 0 to 1."""
        scale = ScaleRule.FRACTION if function == SIGMOID else ScaleRule.STATE
        return self.steps.apply(function, self._clipped(x), self._range(what, scale))


class Lstm(Cell[V]):
    """Gates in the order i, f, g, o."""

    def __post_init__(self) -> None:
        self.gates = 4
        super().__post_init__()
        self.cell = self._range("cell", ScaleRule.STATE)
        self.peeps = self.weights.peepholes is not None
        if self.c is not None:
            self.c = self.steps.named(self.c, self.cell)

    def advance(self, inputs: V) -> V:
        steps = self.steps
        of_gates, of_new, of_output = self.options.functions
        total = self._with_state(inputs, slice(None), self.gate)
        i, f, g, o = (self._gate(total, index) for index in range(4))
        before = self.c
        # The sigmoids one after the other: the chip keeps their table.
        entering = self._opened(of_gates, self._peeped(i, before, 0), "opening")
        kept = before
        if before is not None and not self.options.coupled:
            kept = steps.multiply(self._opened(of_gates, self._peeped(f, before, 2), "opening"), before, self.cell)
        leaving = None if self.peeps else self._opened(of_gates, o, "opening")
        new = steps.apply(of_new, self._clipped(g), self._range("new", ScaleRule.STATE))
        if before is not None and self.options.coupled:  # (1 - i) * c + i * g = c + i * (g - c)
            new = steps.subtract(new, before, self._range("change", ScaleRule.STATE))
        added = steps.multiply(new, entering, self.cell)
        self.c = added if kept is None else steps.add(kept, added, self.cell)
        if leaving is None:
            leaving = self._opened(of_gates, self._peeped(o, self.c, 1), "opening")
        seen = steps.apply(of_output, self.c, self._range("seen", ScaleRule.STATE))
        if self.weights.projection is None:
            self.h = steps.multiply(seen, leaving, self.state)
        else:
            hidden = steps.multiply(seen, leaving, self._range("hidden", ScaleRule.STATE))
            self.h = steps.linear(hidden, self.weights.projection, None, self.state)
        return self.h

    def _peeped(self, x: V, c: V | None, index: int) -> V:
        """`x` plus the cell times a weight for each channel."""
        if self.weights.peepholes is None or c is None:
            return x
        factor = self.weights.peepholes[index * self.size:(index + 1) * self.size]
        seen = self.steps.multiply(c, self.steps.constant(factor), self.gate)
        return self.steps.add(x, seen, self.gate)


class Gru(Cell[V]):
    """Gates in the order r, z, n. With u = 1 - z = sigmoid(-...), the new state is h + u * (n - h)."""

    def __post_init__(self) -> None:
        self.gates = 3
        super().__post_init__()
        self.negated = self.options.functions[0] == SIGMOID
        if self.negated:
            sign = np.repeat(np.array([1, -1, 1], np.float32), self.size)
            w = self.weights
            self.weights = replace(w, inputs=w.inputs * sign[:, None], states=w.states * sign[:, None],
                                   input_bias=w.input_bias * sign, state_bias=w.state_bias * sign)

    def _gate_scale(self) -> ScaleRule:
        return ScaleRule.STATE if self.options.after_product else ScaleRule.GATE

    def inputs(self, x: V) -> V:
        of_new = slice(2 * self.size, None) if self.options.after_product else slice(0, 0)
        bias = self.weights.input_bias + self.weights.state_bias
        bias[of_new] = self.weights.input_bias[of_new]
        return self.steps.linear(x, self.weights.inputs, bias, self.gate)

    def advance(self, inputs: V) -> V:
        steps = self.steps
        size = self.size
        of_gates, of_new = self.options.functions
        of_both = slice(0, 2 * size)
        opening = self._opened(of_gates, self._with_state(steps.channels(inputs, 0, 2 * size), of_both, self.gate),
                               "opening")
        reset = self._gate(opening, 0)
        update = self._gate(opening, 1)
        total = self._new(self._gate(inputs, 2), reset)
        new = steps.apply(of_new, self._clipped(total), self._range("new", ScaleRule.STATE))
        self.h = self._updated(new, update)
        return self.h

    def _new(self, inputs: V, reset: V) -> V:
        """What goes into the function of the new value."""
        steps = self.steps
        rows = slice(2 * self.size, None)
        states = self.weights.states[rows]
        bias = self.weights.state_bias[rows]
        if not self.options.after_product:
            if self.h is None:
                return inputs
            held = steps.multiply(self.h, reset, self._range("held", ScaleRule.STATE))
            return steps.add(steps.linear(held, states, None, self.gate), inputs, self.gate)
        of_state = self._range("of_state", ScaleRule.STATE)
        if self.h is not None:
            product = steps.linear(self.h, states, bias, of_state)
        elif bias.any():
            product = steps.constant(bias)
        else:
            return inputs
        return steps.add(steps.multiply(product, reset, self.gate), inputs, self.gate)

    def _updated(self, new: V, update: V) -> V:
        """h + u * (n - h), or n + z * (h - n) where the update gate is no sigmoid."""
        steps = self.steps
        share = self._range("share", ScaleRule.STATE)
        change = self._range("change", ScaleRule.STATE)
        if self.h is None:
            if self.negated:
                return steps.multiply(new, update, self.state)
            return steps.subtract(new, steps.multiply(new, update, share), self.state)
        first, second = (new, self.h) if self.negated else (self.h, new)
        part = steps.multiply(steps.subtract(first, second, change), update, share)
        return steps.add(part, second, self.state)


def run(cell: Cell[V], x: V, length: int, backward: bool = False) -> list[V]:
    """The states after each of the first `length` steps of a sequence, in the order of time."""
    inputs = cell.inputs(x)
    times = range(length)[::-1] if backward else range(length)
    made = {time: cell.advance(cell.steps.step(inputs, time)) for time in times}
    return [made[time] for time in range(length)]
