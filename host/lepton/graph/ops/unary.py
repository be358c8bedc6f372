"""Functions of one operand, element by element."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import compiled, onnxruntime_kernels
from ..numerics.tables import PAIRS_PAY, mapped
from .conditions import dims, int8, require

__all__ = ["Cast", "Table", "Unary"]


@dataclass(frozen=True)
class Table(Op):
    """input: x int8; any function of one int8: y = values[q + 128], values being 256 bytes, two's complement.

    A front end computes the values with the framework's own arithmetic: sigmoid, tanh, hard-swish, leaky ReLU,
    clip, requantization to another scale, and chains of them.
    """

    elementwise = True

    values: bytes

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        require(len(self.values) == 256, f"the table must have 256 values, not {len(self.values)}")
        return dims(inputs[0].shape), np.dtype(np.int8)

    def check(self, signature: Signature) -> None:
        int8(*signature.inputs, signature.output)

    def byte_map(self) -> bytes:
        return self.values[128:] + self.values[:128]

    def compute(self, call: Call) -> np.ndarray:
        by_byte = call.once("values", self.byte_map)
        few = call.x.size < PAIRS_PAY or call.x.size % 2
        loop = compiled.loop("take_bytes", call.x.size, call.often) if few else None
        if loop is None:
            return mapped(by_byte, call.x).view(np.int8)
        table = np.frombuffer(by_byte, np.int8)

        def kernel(x: np.ndarray) -> np.ndarray:
            result = np.empty(x.shape, np.int8)
            loop(table, x.reshape(-1), result.reshape(-1))
            return result
        return call.through(kernel)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), which is 0 where the exponential overflows, far below the least normal number."""
    e = np.empty_like(x)  # an array also where there are no dimensions
    np.negative(x, out=e)
    np.exp(e, out=e)
    e += 1
    return np.reciprocal(e, out=e)


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "neg": np.negative, "abs": np.abs, "sigmoid": _sigmoid,
    "relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
    "reciprocal": lambda x: (1 / x).astype(x.dtype, copy=False), "not": np.logical_not,
    "expm1": np.expm1, "sin": np.sin, "cos": np.cos, "sign": np.sign,
    "rsqrt": lambda x: (1 / np.sqrt(x)).astype(x.dtype, copy=False),
    "erf": lambda x: np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype),
}

# Functions whose last bits differ between implementations, with ONNX's names; the others are exact or rounded once.
_ROUNDED = {"exp": "Exp", "log": "Log", "sigmoid": "Sigmoid", "tanh": "Tanh", "erf": "Erf"}


_SILENT = ("neg", "abs", "not")  # of which numpy never warns


@dataclass(frozen=True)
class Unary(Op):
    """A function of a tensor that is not int8, which the host computes; one of int8 is a `Table`."""

    elementwise = True
    tabulates = (np.float32,)

    kind: str  # "exp", "log", "sqrt", "neg", "abs", "relu", "sigmoid", "tanh", "erf", "floor", "ceil", "round" (half
    # to even), "reciprocal", "not", "expm1", "sin", "cos", "sign", "rsqrt"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        require(self.kind in _FUNCTIONS, f"kind must be one of {', '.join(_FUNCTIONS)}, not {self.kind!r}")
        return dims(inputs[0].shape), np.dtype(inputs[0].dtype)

    def check(self, signature: Signature) -> None:
        require(np.dtype(signature.inputs[0].dtype) != np.int8, f"{self.kind} of int8 must be a Table")

    def compute(self, call: Call) -> np.ndarray:
        own = onnxruntime_kernels.run(call, _ROUNDED[self.kind]) if self.kind in _ROUNDED else None
        if own is not None:
            return own
        if self.kind == "relu" and call.x.dtype == np.float32:  # numpy compares with one number a few times as slowly
            loop = compiled.loop("rectify", call.x.size, call.often)
            if loop is not None:
                return call.through(lambda x: _each(loop, x))
        function = _FUNCTIONS[self.kind]

        def kernel(x: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):  # infinities and NaN are results here, as in the framework
                return function(x)
        return call.through(function if self.kind in _SILENT else kernel)


def _each(loop: compiled.Loop, x: np.ndarray) -> np.ndarray:
    result = np.empty(x.shape, x.dtype)
    loop(x.reshape(-1), result.reshape(-1))
    return result


@dataclass(frozen=True)
class Cast(Op):
    """To another data type, as numpy's astype."""

    elementwise = True

    dtype: str  # numpy's name of the output's type, "float32"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        return dims(inputs[0].shape), np.dtype(self.dtype)

    def compute(self, call: Call) -> np.ndarray:
        dtype = np.dtype(self.dtype)
        return call.through(lambda x: x.astype(dtype))
