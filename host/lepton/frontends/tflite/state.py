"""Operators that read and change variables."""

import numpy as np

from lepton.graph import Concat, Features, FilterFeatures, GraphError
from lepton.graph.builder import Value

from .operation import Entry, Operation


def _var_handle(op: Operation) -> None:
    container = op.option("container")
    name = op.option("name") or "variable"
    op.tensors.variables.handles[op.raw.outputs[0]] = f"{container}/{name}" if container else name


def _name(op: Operation) -> str:
    handles = op.tensors.variables.handles
    index = op.raw.inputs[0]
    if index not in handles:
        raise GraphError("the variable must be one of the network's own (VAR_HANDLE)")
    return handles[index]


def _read_variable(op: Operation) -> None:
    op.result(op.tensors.variables.read(_name(op), op.output()))


def _assign_variable(op: Operation) -> None:
    op.tensors.variables.assign(_name(op), op.x(1))


def _call_once(op: Operation) -> None:
    op.tensors.variables.start(op.option("subgraph"))


def _svdf(op: Operation) -> None:
    """The newest features join the last ones, and each unit is a filter over all of them.

    Operands: x (batch, n), weights of the features (features, n), of the filters (features, time), bias, state (batch,
    features * time).
    """
    x = op.x(0, "INT8", "FLOAT32")
    exact = x.dtype == np.int8
    weights = op.constant(1, x.dtype.name.upper())
    filters = op.constant(2, "INT16" if exact else "FLOAT32")
    bias = op.constant(3, "INT32" if exact else "FLOAT32") if op.has(3) else None
    state = op.tensors.state(op.raw.inputs[4], "INT16" if exact else "FLOAT32")
    rank = op.option("rank")
    if x.rank != 2 or filters.rank != 2 or rank < 1 or filters.shape[0] % rank or (
            state.shape != (x.shape[0], filters.shape[0] * filters.shape[1])):
        raise GraphError(f"the input {x.shape}, filters {filters.shape}, rank {rank} and state {state.shape} do not "
                         "fit each other")
    if exact and op.option("activation") != "RELU":  # which LiteRT's kernel demands, and does not compute
        raise GraphError(f"the fused activation of int8 must be RELU, not {op.option('activation')}")
    if exact:
        new = op.builder.emit(Features(), [x, weights], quantization=state.quantization)
    else:
        new = x @ weights.transpose((1, 0))
    history = state.reshape((x.shape[0], *filters.shape))
    parts = [history.slice(2, 1, history.shape[2]), new.reshape((*new.shape, 1))]
    history = op.builder.emit(Concat(2), parts) if history.shape[2] > 1 else parts[1]
    op.tensors.assign(op.raw.inputs[4], history.reshape(state.shape))
    if exact:
        op.emit(FilterFeatures(rank), history, filters, bias)
    else:
        op.result(op.fused(_filtered(history, filters, bias, rank)))


def _filtered(history: Value, filters: Value, bias: Value | None, rank: int) -> Value:
    """float32 (batch, units): the sum over time and the `rank` features of each unit."""
    batch, features, _ = history.shape
    sums = (history * filters).reduce("sum", (2,)).reshape((batch, features // rank, rank)).reduce("sum", (2,), False)
    return sums if bias is None else sums + bias


CONVERT: dict[str, Entry] = {
    "VAR_HANDLE": ((0,), 1, _var_handle), "READ_VARIABLE": ((1,), 1, _read_variable),
    "ASSIGN_VARIABLE": ((2,), None, _assign_variable), "CALL_ONCE": ((0,), None, _call_once),
    "SVDF": ((5,), 1, _svdf),
}
