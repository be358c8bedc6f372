"""Comparisons, logic and choices, on the host; shapes broadcast as in numpy."""

from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled
from ..numerics.fixedpoint import quantize_multiplier, saturating_doubling_high_multiply
from ..numerics.functions import divide_by_any_power
from .conditions import broadcast, int8, of_type, require, same_quantization, same_type

__all__ = ["Compare", "Logic", "Select"]

# Bits by which int8 operands are shifted before they are multiplied by their scales, so that less is lost to rounding
# (ComparisonQuantized in tensorflow/lite/kernels/comparisons.cc).
_LEFT_SHIFT = 8
_BOOL = np.dtype(np.bool_)
_COMPARISONS = {"equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
                "greater": np.greater, "greater_equal": np.greater_equal}
_CONNECTIVES = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


@dataclass(frozen=True)
class Compare(Op):
    """inputs: a, b of one type, and of one quantization if they have any; output bool.

    With `Arithmetic.FIXED`, quantized operands may have different scales: both are multiplied by their own.
    """

    operands = (2, 2)
    elementwise = True

    kind: str  # "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        require(self.kind in _COMPARISONS, f"kind must be one of {', '.join(_COMPARISONS)}, not {self.kind!r}")
        same_type(*inputs)
        return broadcast(*inputs), _BOOL

    def check(self, signature: Signature) -> None:
        if self._scales(signature):
            int8(*signature.inputs)
        else:
            same_quantization(*signature.inputs)

    def looked_up(self, signature: Signature) -> bool:
        return self._scales(signature)

    @staticmethod
    def _scales(signature: Signature) -> bool:
        return signature.fixed and all(np.dtype(t.dtype) == np.int8 and t.quantization is not None
                                       for t in signature.inputs)

    def compute(self, call: Call) -> np.ndarray:
        """FIXED: as TFLite's ComparisonQuantized, in integers."""
        a, b = call.values
        if self._scales(call):
            a, b = (self._scaled(x, t) for x, t in zip(call.values, call.inputs, strict=True))
            return _COMPARISONS[self.kind](a, b)
        return call.through_all(_COMPARISONS[self.kind])

    @staticmethod
    def _scaled(x: np.ndarray, tensor: Tensor) -> np.ndarray:
        multiplier, shift = quantize_multiplier(float(tensor.scale))
        centred = x.astype(np.int64) - tensor.zero_point
        scaled = saturating_doubling_high_multiply(centred << _LEFT_SHIFT, multiplier)
        return divide_by_any_power(scaled, np.asarray(-shift))


@dataclass(frozen=True)
class Logic(Op):
    """inputs: a, b bool; output bool."""

    operands = (2, 2)
    elementwise = True

    kind: str  # "and", "or", "xor"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        require(self.kind in _CONNECTIVES, f"kind must be one of {', '.join(_CONNECTIVES)}, not {self.kind!r}")
        for tensor in inputs:
            of_type(tensor, np.bool_)
        return broadcast(*inputs), _BOOL

    def compute(self, call: Call) -> np.ndarray:
        return call.through_all(_CONNECTIVES[self.kind])


@dataclass(frozen=True)
class Select(Op):
    """inputs: condition bool, a, b of one type and quantization; a where the condition holds, else b."""

    operands = (3, 3)
    elementwise = True

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        of_type(inputs[0], np.bool_)
        return broadcast(*inputs), same_type(*inputs[1:])

    def check(self, signature: Signature) -> None:
        for tensor in signature.inputs[1:]:
            same_quantization(tensor, signature.output)

    def compute(self, call: Call) -> np.ndarray:
        """One type of equal shapes by a compiled loop: numpy chooses bytes one at a time."""
        loop = call.once("loop", lambda: self._loop(call))
        if loop is None:
            return call.through_all(np.where)
        word = np.int8 if call.values[1].dtype.itemsize == 1 else np.int32

        def kernel(condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
            result = np.empty(a.shape, a.dtype)
            loop(condition.reshape(-1).view(np.int8), a.reshape(-1).view(word), b.reshape(-1).view(word),
                 result.reshape(-1).view(word))
            return result
        return call.through_all(kernel)

    @staticmethod
    def _loop(call: Call) -> compiled.Loop | None:
        condition, a, b = call.values
        name = {1: "select_bytes", 4: "select_words"}.get(a.dtype.itemsize)
        if name is None or condition.shape != a.shape or a.shape != b.shape:
            return None
        return compiled.loop(name, a.size, call.often)
