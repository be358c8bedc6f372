"""Operators on two values element by element, softmax, and changes of the number format."""

import numpy as np

from lepton.graph import (
    Add,
    Cast,
    Dequantize,
    GraphError,
    Maximum,
    Minimum,
    Mul,
    Prelu,
    Quantize,
    Softmax,
    Sub,
)

from ..geometry import ACTIVATION_BOUNDS
from .reader import RawOperator
from .tables import requantize
from .unary import bound

_BINARY = {"ADD": Add, "SUB": Sub, "MUL": Mul}


def _broadcast(imp, operator: RawOperator, where: str) -> list[str]:
    """Names of the operands; the output has the shape that they broadcast to."""
    shapes = [imp.shape(i) for i in operator.inputs if i >= 0]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise GraphError(f"{where}: the shapes {' and '.join(map(str, shapes))} do not broadcast") from None
    names = [imp.value(i, where) for i in operator.inputs]
    imp.expect(operator.outputs[0], shape, where)
    return names


def _alike(imp, operator: RawOperator, where: str) -> str:
    """The name of the first operand, whose shape the output has."""
    name = imp.value(operator.inputs[0], where)
    imp.expect(operator.outputs[0], imp.of(name).shape, where)
    return name


def _binary(imp, operator: RawOperator, where: str) -> None:
    kind = _BINARY[operator.name]
    names = _broadcast(imp, operator, where)
    if imp.of(names[0]).dtype == np.int8:
        for index in operator.inputs:
            imp.activation(index, where)
        imp.emit(kind(imp.clamp(operator, where)), names, operator.outputs[0], where)
        return
    if imp.of(names[0]).dtype != imp.of(names[1]).dtype:
        raise GraphError(f"{where}: {names[0]!r} and {names[1]!r} must have the same data type")
    bounds = ACTIVATION_BOUNDS.get(operator.options["activation"])
    if bounds is None:
        raise GraphError(f"{where}: fused activation must be one of {', '.join(ACTIVATION_BOUNDS)}, "
                         f"not {operator.options['activation']}")
    output = imp.value(operator.outputs[0], where)
    shape = imp.of(output).shape
    name = imp.emit(kind(), names, output if bounds == (None, None) else imp.temporary(output, "sum", shape), where)
    if bounds != (None, None):
        bound(imp, name, bounds, output, where)


def _extremum(imp, operator: RawOperator, where: str) -> None:
    names = _broadcast(imp, operator, where)
    output = imp.value(operator.outputs[0], where)
    imp.same_quantization([*names, output], where)
    imp.emit(Maximum() if operator.name == "MAXIMUM" else Minimum(), names, output, where)


def _prelu(imp, operator: RawOperator, where: str) -> None:
    _alike(imp, operator, where)
    x = imp.activation(operator.inputs[0], where)
    alpha = imp.constant(operator.inputs[1], where, ("INT8", "UINT8"))
    imp.activation(operator.inputs[1], where)
    imp.activation(operator.outputs[0], where)
    imp.emit(Prelu(), [x, alpha], operator.outputs[0], where)


def _softmax(imp, operator: RawOperator, where: str) -> None:
    imp.emit(Softmax(float(operator.options["beta"])), [_alike(imp, operator, where)], operator.outputs[0],
             where)


def _quantize(imp, operator: RawOperator, where: str) -> None:
    name = _alike(imp, operator, where)
    imp.activation(operator.outputs[0], where)
    if imp.of(name).dtype == np.float32:
        imp.emit(Quantize(), [name], operator.outputs[0], where)
    else:
        imp.activation(operator.inputs[0], where)
        requantize(imp, operator, where)


def _dequantize(imp, operator: RawOperator, where: str) -> None:
    name = _alike(imp, operator, where)
    imp.activation(operator.inputs[0], where)
    imp.value(operator.outputs[0], where, ("FLOAT32",))
    if not imp.raw.tensors[operator.inputs[0]].quantization.scale[0]:  # reals are 0, which no scale above 0 makes them
        reals = imp.emit(Dequantize(), [name], imp.temporary(imp.value(operator.outputs[0], where), "reals",
                                                             imp.of(name).shape), where)
        imp.emit(Mul(), [reals, imp.number(reals, "zero", np.zeros((), np.float32))], operator.outputs[0], where)
        return
    imp.emit(Dequantize(), [name], operator.outputs[0], where)


def _cast(imp, operator: RawOperator, where: str) -> None:
    name = _alike(imp, operator, where)
    target = imp.of(imp.value(operator.outputs[0], where)).dtype
    imp.emit(Cast(str(target)), [name], operator.outputs[0], where)


CONVERT = {
    "ADD": ((2,), 1, _binary), "SUB": ((2,), 1, _binary), "MUL": ((2,), 1, _binary),
    "MAXIMUM": ((2,), 1, _extremum), "MINIMUM": ((2,), 1, _extremum), "PRELU": ((2,), 1, _prelu),
    "SOFTMAX": ((1,), 1, _softmax), "QUANTIZE": ((1,), 1, _quantize), "DEQUANTIZE": ((1,), 1, _dequantize),
    "CAST": ((1,), 1, _cast),
}
