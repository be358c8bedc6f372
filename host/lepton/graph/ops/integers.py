"""Division of integers, on the host; shapes broadcast as in numpy."""

from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics.quotients import by_zero, whole
from .conditions import broadcast, require, same_type

__all__ = ["IntegerDivision"]

_KINDS = ("quotient", "modulo", "remainder")


@dataclass(frozen=True)
class IntegerDivision(Op):
    """inputs: a, b integers of one type, not quantized.

    The quotient is rounded towards 0; the modulo has the sign of b, the remainder that of a. Raises `GraphError` for a
    division by 0, which ends ONNX Runtime's process.
    """

    operands = (2, 2)
    elementwise = True

    kind: str  # "quotient", "modulo", "remainder"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        require(self.kind in _KINDS, f"kind must be one of {', '.join(_KINDS)}, not {self.kind!r}")
        return broadcast(*inputs), same_type(*inputs)

    def check(self, signature: Signature) -> None:
        dtype = np.dtype(signature.output.dtype)
        require(dtype.kind in "iu" and signature.output.quantization is None,
                f"operands must be integers that are not quantized, not {dtype}")

    def compute(self, call: Call) -> np.ndarray:
        a, b = call.values
        kernel = whole(call, floor=self.kind == "modulo", rest=self.kind != "quotient")
        if kernel is not None:
            return call.through_all(kernel)
        if not np.all(b):
            raise by_zero(call.inputs[1].name)
        if self.kind == "modulo":
            return np.mod(a, b)
        rest = np.fmod(a, b)
        return rest if self.kind == "remainder" else (a - rest) // b
