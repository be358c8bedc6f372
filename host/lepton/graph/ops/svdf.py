"""The two products of TFLite's SVDF in integers: features of the new input, and a filter over the last ones.

Source of the formulas: tensorflow/lite/kernels/svdf.cc (Prepare) and internal/reference/svdf.h (EvalIntegerSVDF).
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics.fixedpoint import multiply_by_quantized_multiplier, quantize_multiplier, wrap
from .conditions import dims, int8, of_type, per_tensor, require
from .weights import centred, product

__all__ = ["Features", "FilterFeatures"]


def _rescaled(sums: np.ndarray, first: Tensor, second: Tensor, output: Tensor) -> np.ndarray:
    """int32 sums of products in the scale of `output`; the factor is computed in float32, as LiteRT does."""
    factor = first.scale * second.scale / output.scale
    return multiply_by_quantized_multiplier(sums, *quantize_multiplier(float(factor)))


def _int16(tensor: Tensor) -> None:
    of_type(tensor, np.int16)
    per_tensor(tensor)
    require(tensor.zero_point == 0, f"{tensor.name!r} must have the zero point 0, not {tensor.zero_point}")


@dataclass(frozen=True)
class Features(Op):
    """inputs: x int8 (batch, n), weights int8 (features, n), constant, with one scale and the zero point 0.

    Output int16 (batch, features): x times the weights in the output's scale, saturated.
    """

    operands = (2, 2)

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        x, weights = (dims(t.shape) for t in inputs)
        require(len(x) == 2 and len(weights) == 2 and x[1] == weights[1], f"shapes {x} and {weights} do not multiply")
        return (x[0], weights[0]), np.dtype(np.int16)

    def check(self, signature: Signature) -> None:
        int8(*signature.inputs)
        _int16(signature.output)

    def compute(self, call: Call) -> np.ndarray:
        x, weights = call.inputs
        transposed = call.once("weights", lambda: centred(weights).T)
        sums = product(call.x.astype(np.int16) - np.int16(x.zero_point), transposed)
        return np.clip(_rescaled(sums, x, weights, call.output), -(1 << 15), (1 << 15) - 1).astype(np.int16)

    def macs(self, signature: Signature) -> int:
        return prod(signature.output.shape) * int(signature.inputs[0].shape[1])


@dataclass(frozen=True)
class FilterFeatures(Op):
    """inputs: history int16 (batch, features, time), weights int16 (features, time), constant, bias int32 (units,).

    Output int8 (batch, units): each unit sums `rank` features that follow one another, each weighted over time.
    Sums are modulo 2**32.
    """

    operands = (2, 3)

    rank: int

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        history, weights = (dims(t.shape) for t in inputs[:2])
        require(len(history) == 3 and history[1:] == weights, f"weights of shape {weights} do not fit {history}")
        require(self.rank > 0 and weights[0] % self.rank == 0, f"{weights[0]} features have no rank {self.rank}")
        return (history[0], weights[0] // self.rank), np.dtype(np.int8)

    def check(self, signature: Signature) -> None:
        _int16(signature.inputs[0])
        _int16(signature.inputs[1])
        int8(signature.output)
        bias = signature.inputs.get(2)
        units = signature.output.shape[1]
        if bias is not None:
            of_type(bias, np.int32)
            require(dims(bias.shape) == (units,), f"bias {bias.name!r} must have {units} values, not shape "
                                                  f"{dims(bias.shape)}")

    def compute(self, call: Call) -> np.ndarray:
        history, weights = (values.astype(np.int64) for values in call.values[:2])
        sums = np.einsum("bft,ft->bf", history, weights).reshape(len(history), -1, self.rank).sum(2)
        bias = call.values.get(2)
        if bias is not None:
            sums += bias
        scaled = _rescaled(wrap(sums), call.inputs[0], call.inputs[1], call.output) + call.output.zero_point
        return np.clip(scaled, -128, 127).astype(np.int8)

    def macs(self, signature: Signature) -> int:
        return prod(signature.inputs[0].shape)
