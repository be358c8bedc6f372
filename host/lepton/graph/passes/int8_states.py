"""States that are quantized where they are read and dequantized before they are kept: int8 instead of float32."""

from dataclasses import replace

import numpy as np

from .. import Dequantize, Graph, NetworkState, Node, Quantize, Reshape, Tensor
from ..interpret import compute
from ..ops.conditions import same_reals
from .rewrite import Chains, match, readers, unique


def int8_states(graph: Graph) -> Graph:
    """The same network with int8 states where a float32 state always holds int8 values of one scale and zero point.

    Quantizing a dequantized value returns the same code, so results do not change. Only an initial value is rounded
    again.
    """
    for state in graph.states:
        codes = _kept_codes(graph, state)
        if codes is not None:
            graph = _with_codes(graph, state, codes)
    return graph


def _kept_codes(graph: Graph, state: NetworkState) -> Tensor | None:
    """The int8 value whose real numbers the state holds; None for other states."""
    chains = Chains(graph)
    written, _ = chains.before(state.written, Reshape)
    last = chains.made(written, Dequantize)
    if last is None:
        return None
    codes = graph.tensors[last.source]
    quantized = [graph.result(user) for user in readers(graph).get(state.read, ()) if match(user, Quantize)]
    if np.dtype(codes.dtype) != np.int8 or codes.parameters.scale.size != 1 or codes.data is not None:
        return None
    return codes if all(same_reals(made, codes) for made in quantized) else None


def _with_codes(graph: Graph, state: NetworkState, codes: Tensor) -> Graph:
    tensors = dict(graph.tensors)
    shape = tensors[state.read].shape
    q = codes.quantization
    for name in (state.read, state.written):
        tensors[name] = Tensor(name, shape, np.dtype(np.int8), q)
    real = unique(f"{state.read}/float", tensors)
    tensors[real] = Tensor(real, shape, np.dtype(np.float32))
    nodes = []
    needs_real = False
    for node in graph.nodes:
        if node.outputs[0] == state.written:
            nodes.append(Node(Reshape(tuple(shape)), [codes.name], [state.written], node.name))
        elif match(node, Quantize) and node.inputs[0] == state.read:
            nodes.append(Node(Reshape(tuple(shape)), [state.read], list(node.outputs), node.name))
        elif state.read in node.inputs:
            needs_real = True
            nodes.append(replace(node, inputs=[real if name == state.read else name for name in node.inputs]))
        else:
            nodes.append(node)
    if needs_real:
        nodes.insert(0, Node(Dequantize(), [state.read], [real], real))
    else:
        del tensors[real]
    source = Tensor(state.read, shape, np.dtype(np.float32))
    initial = compute(Quantize(), graph.arithmetic, [source], [state.initial], tensors[state.read])
    states = [replace(other, initial=initial) if other is state else other for other in graph.states]
    return replace(graph, nodes=nodes, tensors=tensors, states=states)
