"""States of a network whose file has them as an input and an output, as exported decoders have their caches."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .core import Graph, GraphError, NetworkState, Node, Tensor
from .ops import Reshape
from .passes import apply


def with_states(graph: Graph, pairs: Mapping[str, str]) -> Graph:
    """`graph` with states in place of inputs and outputs: `pairs` names the output that each of the inputs becomes.

    A state has the name of its input and starts with zeros. Raises `GraphError` where a name is not that of an input or
    output, and where the two differ in shape, type or quantization.
    """
    if not pairs:
        return graph
    made = replace(graph, nodes=list(graph.nodes), tensors=dict(graph.tensors), outputs=list(graph.outputs),
                   states=list(graph.states))
    for read, written in pairs.items():
        for name, known, what in ((read, made.caller_inputs, "input"), (written, made.caller_outputs, "output")):
            if name not in known:
                raise GraphError(f"the state {read!r} names the {what} {name!r}, which the network does not have; its "
                                 f"{what}s that are no states are {', '.join(known)}")
        a = graph.tensors[read]
        b = graph.tensors[written]
        if tuple(a.shape) != tuple(b.shape):
            raise GraphError(f"the state {read!r} must have one shape: it is read as {tuple(a.shape)}, and "
                             f"{written!r} has {tuple(b.shape)}; export the network so that it keeps as many values as "
                             "it is given")
        if written in graph.inputs:
            written = _copied(made, written)
        made.states.append(NetworkState(read, read, written, np.full(a.shape, a.zero_point, a.dtype)))
    return apply(made, "int8-states")


def _copied(graph: Graph, name: str) -> str:
    """A tensor of its own for an input that is an output, too."""
    like = graph.tensors[name]
    copy = f"{name}.next"
    while copy in graph.tensors:
        copy += "_"
    graph.tensors[copy] = Tensor(copy, like.shape, like.dtype, like.quantization)
    graph.nodes.append(Node(Reshape(tuple(like.shape)), [name], [copy], copy))
    graph.outputs[graph.outputs.index(name)] = copy
    return copy
