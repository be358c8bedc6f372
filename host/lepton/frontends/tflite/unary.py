"""Functions of one value: tables of int8 values, operators on others."""

from collections.abc import Callable

import numpy as np

from lepton.graph import GraphError, Select, Table
from lepton.graph.builder import Value
from lepton.graph.composites import clamp, gelu, leaky_relu
from lepton.graph.ops import Compare

from ..geometry import ACTIVATION_BOUNDS
from . import tables
from .operation import Entry, Operation

BOUNDS = {"RELU": ACTIVATION_BOUNDS["RELU"], "RELU6": ACTIVATION_BOUNDS["RELU6"],
          "RELU_N1_TO_1": ACTIVATION_BOUNDS["RELU_N1_TO_1"], "RELU_0_TO_1": (0.0, 1.0)}
_FUNCTIONS = {"LOGISTIC": "sigmoid", "TANH": "tanh", "ABS": "abs", "NEG": "neg", "EXP": "exp", "LOG": "log",
              "SQRT": "sqrt", "RSQRT": "rsqrt", "FLOOR": "floor", "CEIL": "ceil", "ROUND": "round", "SIN": "sin",
              "COS": "cos", "SIGN": "sign", "LOGICAL_NOT": "not"}
_NOT_UINT8 = ("ABS", "EXP", "LOG", "ELU", "RSQRT", "SQRT", "NEG")


def _hard_swish(x: Value) -> Value:
    """In the order of LiteRT's kernel: x * min(max(x + 3, 0), 6) / 6."""
    return x * clamp(x + 3, 0, 6) / 6


def _elu(x: Value) -> Value:
    return x.apply(Compare("less"), 0).apply(Select(), x.unary("expm1"), x)


_COMPOSED: dict[str, Callable[[Operation, Value], Value]] = {
    "HARD_SWISH": lambda op, x: _hard_swish(x),
    "ELU": lambda op, x: _elu(x),
    "GELU": lambda op, x: gelu(x, tanh=bool(op.option("approximate"))),
    "LEAKY_RELU": lambda op, x: leaky_relu(x, op.option("alpha")),
}


def _unary(op: Operation) -> None:
    x = op.x()
    if x.dtype == np.int8:
        _int8(op, op.int8())
    elif op.name in BOUNDS:
        op.result(clamp(x, *BOUNDS[op.name]))
    elif op.name in _FUNCTIONS:
        op.result(x.unary(_FUNCTIONS[op.name]))
    elif x.dtype == np.float32:
        op.result(_COMPOSED[op.name](op, x))
    else:
        raise GraphError(f"{x.name!r} must be FLOAT32, INT8 or UINT8, not {x.dtype}")


def _int8(op: Operation, x: Value) -> None:
    if op.name in _NOT_UINT8 and op.legacy():
        raise GraphError("uint8 is not supported, in LiteRT either")
    values = tables.values(op.name, x.tensor, op.int8_output(), op.raw.options or {}, BOUNDS.get(op.name))
    op.emit(Table(values), x)


CONVERT: dict[str, Entry] = {name: ((1,), 1, _unary) for name in (*BOUNDS, *_FUNCTIONS, *_COMPOSED)}
