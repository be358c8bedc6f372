"""The verifier: raises `GraphError`, which names the node and the fault, where a graph is not well formed.

The declared shape and type of a node's output must be those that its operator infers, and the operator's own checks
must pass. The compiler decides later whether chip or host computes a node.
"""

import numpy as np

from .core import Graph, GraphError, Node, OperandList, Signature, Tensor
from .ops import OPERATORS
from .ops.conditions import same_quantization


def verify(network: Graph) -> Graph:
    """`network` itself; raises `GraphError` for the first thing that is wrong."""
    where = f"graph {network.name!r}"
    inputs = network.caller_inputs
    outputs = network.caller_outputs
    if not network.nodes or not inputs or not outputs:
        raise GraphError(f"{where}: must have at least one operator, one input and one output, not "
                         f"{len(network.nodes)}, {len(inputs)} and {len(outputs)}")
    for name in [*network.inputs, *network.outputs]:
        if name not in network.tensors:
            raise GraphError(f"{where}: tensor {name!r} is not in the graph")
    for name in network.inputs:
        _input(network, name, where)
    _states(network, where)
    defined = set(network.inputs)
    for node in network.nodes:
        verify_node(network, node, defined)
        defined.add(node.outputs[0])
    for name in network.outputs:
        if name not in defined:
            raise GraphError(f"{where}: nothing produces output {name!r}")
    return network


def _input(network: Graph, name: str, where: str) -> None:
    tensor = network.tensors[name]
    if network.inputs.count(name) > 1:
        raise GraphError(f"{where}: input {name!r} is listed twice")
    if tensor.data is not None:
        raise GraphError(f"{where}: input {name!r} must not be a constant")
    if any(int(n) < 1 for n in tensor.shape):
        raise GraphError(f"{where}: input {name!r} must have dimensions of at least 1, not shape {tensor.shape}")
    q = tensor.quantization
    if np.dtype(tensor.dtype) == np.int8 and (q is None or q.scale.size != 1 or q.zero_point.size != 1):
        raise GraphError(f"{where}: {name!r} must have one scale and one zero point")


def _states(network: Graph, where: str) -> None:
    for names, what in (([state.name for state in network.states], "states have the name"),
                        ([state.read for state in network.states], "states are read as"),
                        ([state.written for state in network.states], "states are written by")):
        for name in names:
            if names.count(name) > 1:
                raise GraphError(f"{where}: {names.count(name)} {what} {name!r}")
    for state in network.states:
        about = f"{where}: state {state.name!r}"
        if state.read not in network.inputs:
            raise GraphError(f"{about} is read as {state.read!r}, which is not an input")
        if network.outputs.count(state.written) != 1:
            raise GraphError(f"{about} is written by {state.written!r}, which must be one output, not "
                             f"{network.outputs.count(state.written)}")
        read = network.tensors[state.read]
        written = network.tensors[state.written]
        forms = [(np.dtype(x.dtype), tuple(map(int, x.shape))) for x in (read, written, state.initial)]
        if len(set(forms)) > 1:
            texts = [f"{dtype} {shape}" for dtype, shape in forms]
            raise GraphError(f"{about} must have one type and shape: it is read as {texts[0]}, written as {texts[1]}, "
                             f"and starts with {texts[2]}")
        try:
            same_quantization(read, written)
        except GraphError as error:
            raise GraphError(f"{about}: {error}") from None


def verify_node(network: Graph, node: Node, defined: set[str]) -> None:
    """Raises `GraphError` where `node` breaks its operator's contract. `defined`: tensors with a value before it."""
    inputs = _operands(network, node, defined)
    output = network.tensors[node.outputs[0]]
    if output.name in defined or output.data is not None:
        raise GraphError(f"{node.label}: {output.name!r} is produced twice, or is a constant")
    try:
        shape, dtype = node.op.infer(inputs)
        if tuple(map(int, output.shape)) != tuple(shape):
            raise GraphError(f"{output.name!r} must have shape {tuple(shape)}, not {tuple(map(int, output.shape))}")
        if np.dtype(output.dtype) != dtype:
            raise GraphError(f"{output.name!r} must be {dtype}, not {np.dtype(output.dtype)}")
        node.op.check(Signature(network.arithmetic, inputs, output))
    except GraphError as error:
        raise GraphError(f"{node.label}: {error}") from None
    for tensor in inputs.given:  # after the checks: an operand that must be constant is to be named as such
        _defined(tensor, node, defined)


def _operands(network: Graph, node: Node, defined: set[str]) -> OperandList[Tensor]:
    """The tensors of the inputs. All names of the node are checked."""
    kind = type(node.op).__name__
    if OPERATORS.get(kind) is not type(node.op):
        raise GraphError(f"{node.label}: operator {kind} is not supported; supported are {', '.join(OPERATORS)}")
    for name in [*filter(None, node.inputs), *node.outputs]:
        if name not in network.tensors:
            raise GraphError(f"{node.label}: tensor {name!r} is not in the graph")
    least, most = node.op.operands
    if not least <= len(node.inputs) <= most or len(node.outputs) != 1:
        count = f"{least}" if most == least else f"{least} to {most}"
        raise GraphError(f"{node.label}: must have {count} inputs and 1 output, not {len(node.inputs)} and "
                         f"{len(node.outputs)}")
    for index, name in enumerate(node.inputs):
        if name:
            _constant(network.tensors[name], node)
            if index == 0:
                _defined(network.tensors[name], node, defined)
        elif index < least:
            raise GraphError(f"{node.label}: operand {index} is missing")
    return network.operands(node)


def _defined(tensor: Tensor, node: Node, defined: set[str]) -> None:
    if tensor.data is None and tensor.name not in defined:
        raise GraphError(f"{node.label}: input {tensor.name!r} is used before anything produces it")


def _constant(tensor: Tensor, node: Node) -> None:
    if tensor.data is not None and (tuple(tensor.data.shape) != tuple(tensor.shape)
                                    or tensor.data.dtype != np.dtype(tensor.dtype)):
        raise GraphError(f"{node.label}: constant {tensor.name!r} is declared as {np.dtype(tensor.dtype)} of shape "
                         f"{tuple(tensor.shape)}, its data is {tensor.data.dtype} of shape {tensor.data.shape}")
