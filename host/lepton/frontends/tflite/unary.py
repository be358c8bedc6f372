"""Functions of one value: tables of int8 values, operators on others."""

from collections.abc import Callable

import numpy as np

from lepton.graph import Add, Compare, Div, GraphError, Maximum, Minimum, Mul, Op, Prelu, Select, Table, Unary

from ..geometry import ACTIVATION_BOUNDS
from . import tables
from .reader import RawOperator

BOUNDS = {"RELU": ACTIVATION_BOUNDS["RELU"], "RELU6": ACTIVATION_BOUNDS["RELU6"],
          "RELU_N1_TO_1": ACTIVATION_BOUNDS["RELU_N1_TO_1"], "RELU_0_TO_1": (0.0, 1.0)}
_FUNCTIONS = {"LOGISTIC": "sigmoid", "TANH": "tanh", "ABS": "abs", "NEG": "neg", "EXP": "exp", "LOG": "log",
              "SQRT": "sqrt", "RSQRT": "rsqrt", "FLOOR": "floor", "CEIL": "ceil", "ROUND": "round", "SIN": "sin",
              "COS": "cos", "SIGN": "sign", "LOGICAL_NOT": "not"}
_NOT_UINT8 = ("ABS", "EXP", "LOG", "ELU", "RSQRT", "SQRT", "NEG")
_REALS = ("FLOAT32", "INT32", "INT64")


class Floats:
    """Operators on the float32 value `x` whose last result is the file's tensor `output`."""

    def __init__(self, imp, x: str, output: str, where: str) -> None:
        self.imp, self.x, self.output, self.where = imp, x, output, where

    def number(self, value: float) -> str:
        return self.imp.number(self.output, "number", np.array(value, np.float32))

    def __call__(self, op: Op, *inputs: str, last: bool = False, dtype: type = np.float32) -> str:
        made = self.output if last else self.imp.temporary(self.output, "step", self.imp.of(self.x).shape, dtype)
        return self.imp.emit(op, list(inputs), made, self.where)


def bound(imp, name: str, bounds: tuple[float | None, float | None], output: str, where: str) -> None:
    """`output` is `name` of any type but int8, no less and no more than the bounds, of which there is at least one."""
    steps = [(kind, value) for kind, value in zip((Maximum, Minimum), bounds, strict=True) if value is not None]
    for i, (kind, value) in enumerate(steps):
        limit = imp.number(output, f"bound{i}", np.array(value, imp.of(output).dtype))
        made = output if i == len(steps) - 1 else imp.temporary(output, f"step{i}", imp.of(output).shape)
        name = imp.emit(kind(), [name, limit], made, where)


def _hard_swish(f: Floats) -> None:
    moved = f(Minimum(), f(Maximum(), f(Add(), f.x, f.number(3)), f.number(0)), f.number(6))
    f(Div(), f(Mul(), f.x, moved), f.number(6), last=True)


def _elu(f: Floats) -> None:
    below = f(Compare("less"), f.x, f.number(0), dtype=np.bool_)
    f(Select(), below, f(Unary("expm1"), f.x), f.x, last=True)


def _gelu(f: Floats, approximate: bool) -> None:
    if approximate:
        cube = f(Mul(), f(Mul(), f(Mul(), f.x, f.x), f.x), f.number(0.044715))
        inner = f(Unary("tanh"), f(Mul(), f(Add(), f.x, cube), f.number(tables.SQRT_2_PI)))
    else:
        inner = f(Unary("erf"), f(Mul(), f.x, f.number(tables.SQRT_HALF)))
    f(Mul(), f(Mul(), f.x, f.number(0.5)), f(Add(), inner, f.number(1)), last=True)


_COMPOSED: dict[str, Callable[[Floats, dict], object]] = {
    "HARD_SWISH": lambda f, options: _hard_swish(f),
    "ELU": lambda f, options: _elu(f),
    "GELU": lambda f, options: _gelu(f, bool(options["approximate"])),
    "LEAKY_RELU": lambda f, options: f(Prelu(), f.x, f.number(options["alpha"]), last=True),
}


def _unary(imp, operator: RawOperator, where: str) -> None:
    kind, name = operator.name, imp.value(operator.inputs[0], where)
    imp.expect(operator.outputs[0], imp.of(name).shape, where)
    output = imp.value(operator.outputs[0], where)
    if imp.of(name).dtype == np.int8:
        _int8(imp, operator, name, output, where)
        return
    if imp.of(name).dtype != imp.of(output).dtype:
        raise GraphError(f"{where}: {name!r} and {output!r} must have the same data type")
    if kind in BOUNDS:
        bound(imp, name, BOUNDS[kind], output, where)
    elif kind in _FUNCTIONS:
        imp.emit(Unary(_FUNCTIONS[kind]), [name], output, where)
    elif imp.of(name).dtype == np.float32:
        _COMPOSED[kind](Floats(imp, name, output, where), operator.options or {})
    else:
        raise GraphError(f"{where}: {name!r} must be FLOAT32, INT8 or UINT8, not {imp.of(name).dtype}")


def _int8(imp, operator: RawOperator, name: str, output: str, where: str) -> None:
    kind = operator.name
    imp.activation(operator.inputs[0], where)
    imp.activation(operator.outputs[0], where)
    if kind in _NOT_UINT8 and imp.is_legacy(imp.raw.tensors[operator.inputs[0]]):
        raise GraphError(f"{where}: uint8 is not supported, in LiteRT either")
    try:
        values = tables.values(kind, imp.of(name), imp.of(output), operator.options or {}, BOUNDS.get(kind))
    except ValueError as error:  # scales too far apart for TFLite's multipliers; GraphError is one too
        raise GraphError(f"{where}: {error}") from None
    imp.emit(Table(values), [name], output, where)


CONVERT = {name: ((1,), 1, _unary) for name in (*BOUNDS, *_FUNCTIONS, *_COMPOSED)}
