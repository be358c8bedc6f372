"""Elementwise operators on two values or more, softmax, and conversions between number formats."""

import numpy as np

from lepton.graph import (
    Add,
    Cast,
    Dequantize,
    Div,
    FloorDiv,
    FloorMod,
    GraphError,
    Logic,
    LogSoftmax,
    Maximum,
    Minimum,
    Mul,
    Op,
    Power,
    Prelu,
    Quantize,
    Select,
    Softmax,
    SquaredDifference,
    Sub,
    Table,
)
from lepton.graph.ops import Compare, L2Normalize, LocalResponse
from lepton.graph.ops.conditions import same_reals

from . import tables
from .operation import Convert, Entry, Operation


def plain(made: Op) -> Convert:
    """The conversion of an operator that is one of the graph's, of all operands and without attributes."""
    return lambda op: op.emit(made, *op.all())


def _clamped(kind: type[Add] | type[Sub] | type[Mul] | type[Div]) -> Convert:
    """The fused activation is the clamp of an int8 result; on others it takes operators of its own."""
    def convert(op: Operation) -> None:
        if op.output().dtype == np.int8:
            op.emit(kind(clamp=op.clamp()), op.int8(0), op.int8(1))
            return
        op.result(op.fused(op.x(0).apply(kind(), op.x(1))))
    return convert


def _extreme(kind: type[Maximum] | type[Minimum]) -> Convert:
    def convert(op: Operation) -> None:
        a, b = op.all()
        if a.dtype == np.int8 and not same_reals(a.tensor, b.tensor):
            raise GraphError(f"{a.name!r} and {b.name!r} must have the same type and quantization")
        op.emit(kind(), a, b)
    return convert


def _prelu(op: Operation) -> None:
    op.constant(1, "INT8", "UINT8", "FLOAT32")
    if op.output().dtype == np.float32:
        op.emit(Prelu(), *op.all())
    else:
        op.int8_output()
        op.emit(Prelu(), op.int8(0), op.int8(1))


def _select(op: Operation) -> None:
    """SELECT_V2, and SELECT, whose condition of one dimension chooses rows."""
    condition, a, b = op.all()
    if op.name == "SELECT" and condition.rank == 1 and a.rank > 1:
        condition = condition.reshape((*condition.shape, *(1,) * (a.rank - 1)))
    op.emit(Select(), condition, a, b)


def _square(op: Operation) -> None:
    x = op.x(0, "FLOAT32", "INT32", "INT64")
    op.emit(Mul(), x, x)


def _sum_of_all(op: Operation) -> None:
    """ADD_N: from left to right, in the operands' own type."""
    first, *others = (op.x(position, "FLOAT32", "INT32") for position in range(len(op)))
    for other in others:
        first = first.apply(Add(), other)
    op.result(first)


def _local_response(op: Operation) -> None:
    """As LiteRT's optimized kernels compute it; its reference ones leave out the last channel of each sum."""
    x = op.x(0, "FLOAT32")
    radius = op.option("radius")
    if x.rank != 4 or radius < 0:
        raise GraphError(f"the radius must be at least 0, and the input have 4 dimensions (NHWC), not {radius} and "
                         f"{tuple(x.shape)}")
    op.emit(LocalResponse(2 * radius + 1, op.option("alpha"), op.option("beta"), op.option("bias")), x)


def _quantize(op: Operation) -> None:
    x = op.x()
    output = op.int8_output()
    if x.dtype == np.float32:
        op.emit(Quantize(), x)
    elif same_reals(op.int8().tensor, output):  # uint8 and int8 of the same numbers
        op.result(x)
    else:
        op.emit(Table(tables.requantized(x.tensor, output)), x)


def _dequantize(op: Operation) -> None:
    x = op.int8()
    reals = op.builder.emit(Dequantize(), [x])
    scale = op.tensors.raw.tensors[op.raw.inputs[0]].quantization
    # A scale of 0 makes all reals 0. The graph has SMALLEST in its place, which does not.
    op.result(reals if scale is not None and scale.scale[0] else reals * 0.0)


CONVERT: dict[str, Entry] = {
    "ADD": ((2,), 1, _clamped(Add)), "SUB": ((2,), 1, _clamped(Sub)), "MUL": ((2,), 1, _clamped(Mul)),
    "DIV": ((2,), 1, _clamped(Div)), "MAXIMUM": ((2,), 1, _extreme(Maximum)), "MINIMUM": ((2,), 1, _extreme(Minimum)),
    "FLOOR_DIV": ((2,), 1, plain(FloorDiv())), "FLOOR_MOD": ((2,), 1, plain(FloorMod())),
    "POW": ((2,), 1, plain(Power())), "SQUARED_DIFFERENCE": ((2,), 1, plain(SquaredDifference())),
    "ADD_N": (range(2, 257), 1, _sum_of_all), "SQUARE": ((1,), 1, _square), "PRELU": ((2,), 1, _prelu),
    **{name: ((2,), 1, plain(Compare(name.lower())))
       for name in ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")},
    "LOGICAL_AND": ((2,), 1, plain(Logic("and"))), "LOGICAL_OR": ((2,), 1, plain(Logic("or"))),
    "SELECT": ((3,), 1, _select), "SELECT_V2": ((3,), 1, _select),
    "SOFTMAX": ((1,), 1, lambda op: op.emit(Softmax(float(op.option("beta"))), op.x())),
    "LOG_SOFTMAX": ((1,), 1, plain(LogSoftmax())),
    "LOCAL_RESPONSE_NORMALIZATION": ((1,), 1, _local_response),
    "L2_NORMALIZATION": ((1,), 1, lambda op: op.emit(L2Normalize(op.legacy()), op.x())),
    "QUANTIZE": ((1,), 1, _quantize), "DEQUANTIZE": ((1,), 1, _dequantize),
    "CAST": ((1,), 1, lambda op: op.emit(Cast(op.output().dtype.name), op.x())),
}
