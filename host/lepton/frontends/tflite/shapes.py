"""Operators whose results are known at import: shapes, and what constants alone make."""

import numpy as np

from lepton.graph import GraphError

from .reader import RawOperator


def _shape(imp, operator: RawOperator, where: str) -> None:
    shape = imp.shape(operator.inputs[0])
    imp.value(operator.inputs[0], where)
    imp.known(operator.outputs[0], np.array(shape), where)


def _rank(imp, operator: RawOperator, where: str) -> None:
    imp.value(operator.inputs[0], where)
    imp.known(operator.outputs[0], np.array(len(imp.shape(operator.inputs[0]))), where)


def _fill(imp, operator: RawOperator, where: str) -> None:
    shape = imp.integers(operator.inputs[0], where)
    value = imp.data(operator.inputs[1], where)
    if value.size != 1 or min(shape, default=1) < 1 or np.prod(shape, dtype=np.int64) * value.itemsize > 1 << 24:
        raise GraphError(f"{where}: one number and a shape of at most 16 MB are needed, not {value.shape} and {shape}")
    imp.known(operator.outputs[0], np.full(shape, value.reshape(())), where)


def _range(imp, operator: RawOperator, where: str) -> None:
    start, limit, step = (imp.data(i, where).reshape(-1)[:1] for i in operator.inputs)
    if not start.size == limit.size == step.size == 1 or not step[0] or abs((limit[0] - start[0]) / step[0]) > 1 << 24:
        raise GraphError(f"{where}: from {start} to {limit} by {step} is not a range")
    imp.known(operator.outputs[0], np.arange(start[0], limit[0], step[0], start.dtype), where)


def _zeros_like(imp, operator: RawOperator, where: str) -> None:
    x = imp.of(imp.value(operator.inputs[0], where, ("FLOAT32", "INT32", "INT64")))
    imp.known(operator.outputs[0], np.zeros(x.shape, x.dtype), where)


def _broadcast_args(imp, operator: RawOperator, where: str) -> None:
    shapes = [imp.integers(i, where) for i in operator.inputs]
    try:
        made = np.broadcast_shapes(*shapes)
    except ValueError:
        raise GraphError(f"{where}: the shapes {' and '.join(map(str, shapes))} do not broadcast") from None
    imp.known(operator.outputs[0], np.array(made), where)


CONVERT = {"SHAPE": ((1,), 1, _shape), "RANK": ((1,), 1, _rank), "FILL": ((2,), 1, _fill), "RANGE": ((3,), 1, _range),
           "ZEROS_LIKE": ((1,), 1, _zeros_like), "BROADCAST_ARGS": ((2,), 1, _broadcast_args)}
