"""Operators that read and change variables."""

from lepton.graph import GraphError

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


CONVERT: dict[str, Entry] = {
    "VAR_HANDLE": ((0,), 1, _var_handle), "READ_VARIABLE": ((1,), 1, _read_variable),
    "ASSIGN_VARIABLE": ((2,), None, _assign_variable), "CALL_ONCE": ((0,), None, _call_once),
}
