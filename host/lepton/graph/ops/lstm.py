"""TFLite's integer LSTM: int8 values, a cell of 16 bits (UNIDIRECTIONAL_SEQUENCE_LSTM, "8x8_16").

Source of the formulas: tensorflow/lite/kernels/lstm.cc (PopulateQuantizedLstmParams8x8_16) and lstm_eval.cc
(LstmStepInteger8x8_16); gates have 12 bits behind the point before their function, and 15 behind it.
"""

import math
from dataclasses import dataclass
from math import prod

import numpy as np

from ..core import Call, Op, OperandList, Quantization, Shape, Signature, Tensor
from ..numerics import fixedpoint16
from ..numerics.fixedpoint import quantize_multiplier, rounding_divide, scale_twice_rounded, split_shift
from .conditions import dims, int8, of_type, per_tensor, require

__all__ = ["Lstm16"]

_GATES = ("input", "forget", "cell", "output")
_INPUT = 3  # positions of the first operand of each kind
_RECURRENT = 7
_PEEPHOLES = 11
_BIASES = 14
_PROJECTION = 18
_LEAST = -(1 << 15)  # of int16
_MOST = (1 << 15) - 1


@dataclass(frozen=True)
class Lstm16(Op):
    """inputs: x int8 (time, batch, n), the last output int8 (batch, m), the cell int16 (batch, cells), then constants:
    weights int8 of x (cells, n) for the gates input, forget, cell and output, those of the last output (cells, m),
    int16 weights of the cell (cells,) for the gates input, forget and output, biases int32 (cells,) of the four gates,
    weights int8 (m, cells) and bias int32 (m,) of a projection.

    Without weights of the input gate, that is 1 less the forget gate. Weights of the cell and the projection may be
    left out. All have one scale and, but for x, the last output, which the results have too, the zero point 0; the
    cell's scale is a power of two from 2**-15 to 2**-9.

    Output int16 (batch, time * m + cells): the int8 results of all steps, then the cell's last value.
    """

    operands = (3, 20)

    hidden_scale: float  # of the values before the projection; without one, of the result
    hidden_zero: int
    cell_clip: int = 0  # largest magnitude of the cell's stored values; 0: no limit
    projection_clip: int = 0  # likewise of the projection's

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, h, c, recurrent, weights = (dims(inputs[i].shape) for i in (0, 1, 2, _RECURRENT + 1, _INPUT + 1))
        require(len(x) == 3 and len(h) == 2 and len(c) == 2 and h[0] == c[0] == x[1],
                f"x {x}, output {h} and cell {c} must have one batch")
        require(weights == (c[1], x[2]) and recurrent == (c[1], h[1]),
                f"weights {weights} and {recurrent} do not fit x {x}, output {h} and cell {c}")
        return (x[1], x[0] * h[1] + c[1]), np.dtype(np.int16)

    def check(self, signature: Signature) -> None:
        inputs = signature.inputs
        int8(*inputs[:2])
        of_type(inputs[2], np.int16)
        per_tensor(inputs[2])
        scale = float(inputs[2].scale)
        power = math.log2(scale)
        require(power == int(power) and -15 <= power <= -9,
                f"the scale of {inputs[2].name!r} must be a power of two from 2**-15 to 2**-9, not {scale}")
        cells = int(inputs[2].shape[1])
        features = int(inputs[0].shape[2])
        outputs = int(inputs[1].shape[1])
        shapes = {_INPUT: (4, (cells, features), np.int8), _RECURRENT: (4, (cells, outputs), np.int8),
                  _PEEPHOLES: (3, (cells,), np.int16), _BIASES: (4, (cells,), np.int32),
                  _PROJECTION: (1, (outputs, cells), np.int8), _PROJECTION + 1: (1, (outputs,), np.int32)}
        for first, (count, shape, dtype) in shapes.items():
            for tensor in (inputs.get(i) for i in range(first, first + count)):
                if tensor is not None:
                    of_type(tensor, dtype)
                    require(dims(tensor.shape) == shape and tensor.data is not None,
                            f"{tensor.name!r} must be constant and have the shape {shape}, not {dims(tensor.shape)}")
                    if dtype != np.int32:
                        per_tensor(tensor)
        self._check_parts(inputs)

    @staticmethod
    def _check_parts(inputs: OperandList[Tensor]) -> None:
        """Which operands are left out together."""
        given = [inputs.get(i) is not None for i in range(len(inputs))]
        require(given[_INPUT] == given[_RECURRENT] == given[_BIASES],
                "the input gate must have all its weights and its bias, or none of them")
        require(all(given[i] for first in (_INPUT, _RECURRENT, _BIASES) for i in range(first + 1, first + 4)),
                "weights or biases of a gate are missing")
        require(given[_PEEPHOLES + 1] == given[_PEEPHOLES + 2] and (
            given[_PEEPHOLES] == (given[_PEEPHOLES + 1] and given[_INPUT])),
            "either all gates or none must have weights of the cell")
        require(not (given[_PEEPHOLES + 1] and given[_PROJECTION]) or inputs[1].shape[1] == inputs[2].shape[1],
                "with weights of the cell there must be as many results as cells: LiteRT multiplies others wrongly")
        require(given[_PROJECTION] or (not given[_PROJECTION + 1] and inputs[1].shape[1] == inputs[2].shape[1]),
                "without a projection there must be no bias of one, and as many results as cells")

    def compute(self, call: Call) -> np.ndarray:
        parts = call.once("parts", lambda: _CellParts(self, call.inputs))
        x, h, c = call.values[:3]
        made, cell = parts.run(x, h, c.astype(np.int64))
        return np.concatenate([np.moveaxis(made, 0, 1).reshape(len(h), -1), cell], 1).astype(np.int16)

    def macs(self, signature: Signature) -> int:
        constants = [t for t in signature.inputs.given[3:] if len(t.shape) == 2]
        return sum(prod(t.shape) for t in constants) * prod(signature.inputs[0].shape[:2])


class _Factor:
    """Multiplies int32 sums by factors, which LiteRT keeps in float32, as 31 bits and a shift."""

    def __init__(self, *factors: np.floating | float, each: int = 1) -> None:
        pairs = [quantize_multiplier(float(np.float32(factor))) for factor in factors]
        multiplier, shift = (np.repeat(np.array(values, np.int64), each) for values in zip(*pairs, strict=True))
        self.multiplier = multiplier
        self.left, self.right = split_shift(shift)

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        return scale_twice_rounded(sums, self.multiplier, self.left, self.right)


def _clamped(x: np.ndarray) -> np.ndarray:
    return np.clip(x, _LEAST, _MOST)


class _GateProduct:
    """x times constant weights (outputs, n) of one or more layers side by side, exact, with their biases, scaled."""

    def __init__(self, x: Tensor, zero: int, layers: list[tuple[Tensor, Tensor | None]], unit: np.float32) -> None:
        weights = [layer.data for layer, _ in layers if layer.data is not None]
        # |x * w| summed stays exact in float32 up to 2**24 (`weights.exact_type`).
        exact = np.float32 if weights[0].shape[1] << 14 <= 1 << 24 else np.float64
        self.weights = np.concatenate(weights).T.astype(exact)
        biases = [np.zeros(len(w), np.int64) if bias is None or bias.data is None else bias.data.astype(np.int64)
                  for w, (_, bias) in zip(weights, layers, strict=True)]
        self.bias = np.concatenate(biases) - zero * np.concatenate(weights).astype(np.int64).sum(1)
        self.scale = _Factor(*(layer.scale * x.scale / unit for layer, _ in layers), each=len(weights[0]))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.scale((x.astype(self.weights.dtype) @ self.weights).astype(np.int64) + self.bias)


class _CellParts:
    """What the constants of an LSTM come to, and its steps."""

    def __init__(self, op: Lstm16, inputs: OperandList[Tensor]) -> None:
        x, h, c = inputs[:3]
        unit = np.float32(2**-12)  # of a gate before its function
        self.op = op
        self.zero = h.zero_point
        of_x = [(i, inputs.get(_INPUT + i), inputs.get(_BIASES + i)) for i in range(4)]
        of_h = [inputs.get(_RECURRENT + i) for i in range(4)]
        self.gates = [_GATES[i] for i, weights, _ in of_x if weights is not None]
        self.of_x = _GateProduct(x, x.zero_point, [(w, bias) for _, w, bias in of_x if w is not None], unit)
        self.of_h = _GateProduct(h, h.zero_point, [(w, None) for w in of_h if w is not None], unit)
        self.of_cell: dict[str, tuple[np.ndarray, _Factor]] = {}
        for i, gate in enumerate(("input", "forget", "output")):
            weights = inputs.get(_PEEPHOLES + i)
            if weights is not None and weights.data is not None:
                self.of_cell[gate] = weights.data.astype(np.int64), _Factor(float(c.scale) * weights.scale / unit)
        self.shift = int(math.log2(float(c.scale)))
        hidden = Tensor("", (), np.dtype(np.int8), Quantization(np.array([op.hidden_scale], np.float32),
                                                                np.array([op.hidden_zero], np.int32)))
        projection = inputs.get(_PROJECTION)
        self.projection = None if projection is None else _GateProduct(
            hidden, -op.hidden_zero, [(projection, inputs.get(_PROJECTION + 1))], h.scale)
        self.hidden = _Factor(2.0**-30 / float(hidden.scale))
        self.logistic = fixedpoint16.logistic().astype(np.int64)
        self.tables = {"cell": fixedpoint16.tanh(3).astype(np.int64)}
        self.tanh = fixedpoint16.tanh(15 + self.shift).astype(np.int64)

    def run(self, x: np.ndarray, h: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(results of all steps, int8 values (time, batch, m); the last cell)."""
        made = []
        for of_x in _clamped(self.of_x(x)):
            h, cell = self._step(of_x, h, cell)
            made.append(h)
        return np.stack(made), cell

    def _step(self, of_x: np.ndarray, h: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sums = _clamped(of_x + self.of_h(h)).reshape(len(h), len(self.gates), -1)

        def gate(name: str) -> np.ndarray:
            total = sums[:, self.gates.index(name)]
            if name in self.of_cell:
                weights, scale = self.of_cell[name]
                total = _clamped(total + scale(weights * cell))
            return self.tables.get(name, self.logistic)[total & 0xFFFF]

        forget = gate("forget")
        taken = gate("input") if "input" in self.gates else _MOST - forget
        cell = _clamped(rounding_divide(forget * cell, 15) + rounding_divide(taken * gate("cell"), 30 + self.shift))
        if self.op.cell_clip:
            cell = np.clip(cell, -self.op.cell_clip, self.op.cell_clip)
        hidden = self.hidden(gate("output") * self.tanh[cell & 0xFFFF])
        if self.projection is None:
            return np.clip(hidden + self.op.hidden_zero, -128, 127), cell
        hidden = np.clip(hidden - self.op.hidden_zero, -128, 127)  # which its products then add again
        made = np.clip(self.projection(hidden) + self.zero, -128, 127)
        if self.op.projection_clip:
            made = np.clip(made, -self.op.projection_clip, self.op.projection_clip)
        return made, cell
