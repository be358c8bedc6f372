"""PyTorch's functions of floats, as PyTorch names them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..core import Call, GraphError, Op, OperandList, Shape, Tensor
from ..numerics.aten import FUNCTIONS
from .conditions import require

__all__ = ["Aten"]


_parsed = lru_cache(maxsize=1024)(json.loads)  # what it returns is only read


@dataclass(frozen=True)
class Aten(Op):
    """An ATen operator that no other operator here describes, on the host.

    inputs: the operator's tensors in the order in which `arguments` names them, int8 where it only moves values. Its
    contract is PyTorch's. Computed by PyTorch's own kernel where that is installed, else in numpy (`numerics.aten`).
    """

    operands = (1, 64)

    operator: str  # "gelu.default"
    shape: Shape  # of the output; every ATen operator has a rule of its own for it, which PyTorch applies at import
    dtype: str  # of the output, by numpy's name
    arguments: str = '[[{"operand": 0}], {}]'  # JSON: positional and named arguments; {"operand": i} is the i-th input
    result: int | None = None  # index of the result, where the operator has several

    @property
    def name(self) -> str:
        return self.operator.partition(".")[0]

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        require(self.name in FUNCTIONS, f"the ATen operator {self.operator} is not supported on the host")
        return tuple(map(int, self.shape)), np.dtype(self.dtype)

    def compute(self, call: Call) -> np.ndarray:
        with np.errstate(all="ignore"):  # infinities and NaN are results here, as in the framework
            made = self._applied(FUNCTIONS[self.name])(*call.values.items)
        return np.asarray(made).astype(self.dtype)

    def with_torch(self, torch: Any) -> Callable[..., Any]:
        """What computes the result of PyTorch's own kernel from its tensors."""
        packet, _, overload = self.operator.partition(".")
        return self._applied(getattr(getattr(torch.ops.aten, packet), overload))

    def _applied(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` of the arguments, in which operands are named by their place."""
        positional, named = _parsed(self.arguments)
        result = self.result

        def decoded(value: Any, operands: Sequence[Any]) -> Any:
            if isinstance(value, dict):
                return operands[value["operand"]]
            return [decoded(v, operands) for v in value] if isinstance(value, list) else value

        def apply(*operands: Any) -> Any:
            try:
                given = [decoded(value, operands) for value in positional]
                made = function(*given, **{name: decoded(value, operands) for name, value in named.items()})
                return made if result is None else made[result]
            except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                text = str(error).strip().split("\n")[0]
                raise GraphError(f"{self.operator} cannot be computed: {type(error).__name__}: {text}") from error
        return apply
