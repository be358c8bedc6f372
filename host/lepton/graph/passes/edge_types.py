"""Types of a network's inputs and outputs: float32, int8 or uint8, with the names, shapes and layouts unchanged.

8-bit inputs and outputs leave the conversion from and to real numbers to the caller, by the scale and zero point of the
tensor.
"""

from dataclasses import replace

import numpy as np

from .. import Dequantize, Graph, GraphError, Node, Op, Quantization, Quantize, Recenter, Reshape, Tensor

TYPES = ("float32", "int8", "uint8")
_CENTRE = {"int8": 0, "uint8": 128}  # zero point of int8 values that mean the same as others of this type: 128 more


def edge_types(graph: Graph, input_type: str | None = None, output_type: str | None = None) -> Graph:
    """The network with inputs and outputs of other types; None leaves them as they are.

    States, and inputs and outputs that hold no real numbers, such as indices, stay. Raises `GraphError` for a type that
    is none of `TYPES`, and for an input or output that the network uses or computes in float32 and has no 8-bit form.
    """
    for what, dtype in (("inputs", input_type), ("outputs", output_type)):
        if dtype is not None and dtype not in TYPES:
            raise GraphError(f"the type of {what} must be one of {', '.join(TYPES)}, not {dtype!r}")
    if input_type is None and output_type is None:
        return graph
    nodes = [replace(node, inputs=list(node.inputs), outputs=list(node.outputs)) for node in graph.nodes]
    graph = replace(graph, nodes=nodes, inputs=list(graph.inputs), outputs=list(graph.outputs),
                    tensors={name: replace(tensor) for name, tensor in graph.tensors.items()})
    if input_type is not None:
        for name in graph.caller_inputs:
            _set_input(graph, name, input_type)
    if output_type is not None:
        for name in dict.fromkeys(graph.caller_outputs):
            _set_output(graph, name, output_type)
    return graph


def _unchanged(tensor: Tensor, dtype: str) -> bool:
    """Whether a tensor has the type already, or holds no real numbers."""
    own = np.dtype(tensor.dtype).name
    return own == dtype or not (own == "float32" or (own in _CENTRE and tensor.quantization is not None))


def _set_input(graph: Graph, name: str, dtype: str) -> None:
    tensor = graph.tensors[name]
    if _unchanged(tensor, dtype):
        return
    if np.dtype(tensor.dtype) == np.float32:
        _quantize_before(graph, name)
    own = np.dtype(tensor.dtype).name
    if own == dtype:
        return
    inner = _set_aside(graph, name)
    if name in graph.outputs:
        raise GraphError(f"input {name!r} is an output as well, and cannot have another type than it")
    outer = _typed(tensor, name, dtype)
    steps: list[tuple[Op, str]] = []
    if dtype != "int8":
        steps.append((Quantize() if dtype == "float32" else Recenter(), "int8"))
    if own == "uint8":
        steps.append((Recenter(), "uint8"))
    graph.nodes[:0] = _chain(graph, outer, steps, inner)


def _set_output(graph: Graph, name: str, dtype: str) -> None:
    tensor = graph.tensors[name]
    if _unchanged(tensor, dtype):
        return
    if name in graph.inputs:
        raise GraphError(f"output {name!r} is an input as well, and cannot have another type than it")
    if np.dtype(tensor.dtype) == np.float32:
        tensor = _quantized_behind(graph, name)
    own = np.dtype(tensor.dtype).name
    if own == dtype:
        return
    inner = _set_aside(graph, name)
    steps: list[tuple[Op, str]] = [] if own == "int8" else [(Recenter(), "int8")]
    if dtype != "int8":
        steps.append((Dequantize() if dtype == "float32" else Recenter(), dtype))
    graph.nodes += _chain(graph, inner, steps, _typed(inner, name, dtype))


def _typed(tensor: Tensor, name: str, dtype: str) -> Tensor:
    """A tensor for the same real numbers as `tensor`, which is int8 or uint8, in another type."""
    q = tensor.parameters
    if dtype == "float32":
        return Tensor(name, tensor.shape, np.dtype(np.float32))
    shift = _CENTRE[dtype] - _CENTRE[np.dtype(tensor.dtype).name]
    return Tensor(name, tensor.shape, np.dtype(dtype), Quantization(q.scale, q.zero_point + np.int32(shift)))


def _set_aside(graph: Graph, name: str) -> Tensor:
    """Gives a tensor another name, everywhere but in the lists of inputs and outputs."""
    tensor = graph.tensors.pop(name)
    tensor.name = _unused(graph, f"{name}/{np.dtype(tensor.dtype).name}")
    graph.tensors[tensor.name] = tensor
    for node in graph.nodes:
        node.inputs = [tensor.name if n == name else n for n in node.inputs]
        node.outputs = [tensor.name if n == name else n for n in node.outputs]
    return tensor


def _unused(graph: Graph, name: str) -> str:
    while name in graph.tensors:
        name += "_"
    return name


def _chain(graph: Graph, first: Tensor, steps: list[tuple[Op, str]], last: Tensor) -> list[Node]:
    """Nodes from `first` to `last`, each step an operator with the type of its result; both tensors join the graph."""
    nodes: list[Node] = []
    value = first
    eight = last if np.dtype(first.dtype) == np.float32 else first
    graph.tensors.update({first.name: first, last.name: last})
    for i, (op, dtype) in enumerate(steps):
        made = last if i == len(steps) - 1 else _typed(eight, _unused(graph, f"{first.name}/{dtype}"), dtype)
        graph.tensors[made.name] = made
        nodes.append(Node(op, [value.name], [made.name], f"{first.name}/{dtype}"))
        value = made
    return nodes


def _quantize_before(graph: Graph, name: str) -> None:
    """Makes a float32 input that is quantized before it is used an int8 one.

    Its Quantize becomes a Reshape to the same shape, which costs nothing; what moves values before it moves int8.
    """
    path = [graph.tensors[name]]
    while True:
        users = [node for node in graph.nodes if path[-1].name in node.inputs]
        if path[-1].name in graph.outputs or len(users) != 1 or not (
                users[0].op.reorders or users[0].op.quantizes):
            raise GraphError(f"input {name!r} cannot have 8 bits, since the network uses it in float32; leave its type "
                             "as it is")
        made = graph.result(users[0])
        if users[0].op.quantizes:
            if made.parameters.scale.size != 1 or made.parameters.zero_point.size != 1:
                raise GraphError(f"input {name!r} cannot have 8 bits, since it has several scales; leave its type as "
                                 "it is")
            users[0].op = Reshape(tuple(made.shape))
            for tensor in path:
                tensor.dtype = made.dtype
                tensor.quantization = made.quantization
            return
        path.append(made)


def _quantized_behind(graph: Graph, name: str) -> Tensor:
    """The int8 or uint8 tensor `name` instead of the float32 one, which is dequantized before it leaves.

    What moves values behind the Dequantize is repeated on 8-bit values; what nothing reads any more is removed by a
    pass of the compiler.
    """
    moves: list[Node] = []
    value = name
    while True:
        producer = next((node for node in graph.nodes if value in node.outputs), None)
        if producer is None or not (producer.op.reorders or producer.op.dequantizes):
            raise GraphError(f"output {name!r} cannot have 8 bits, since the network computes it in float32; leave its "
                             "type as it is")
        value = producer.inputs[0]
        if producer.op.dequantizes:
            break
        moves.insert(0, producer)
    source = graph.tensors[value]
    if np.dtype(source.dtype).name not in _CENTRE or source.parameters.scale.size != 1:
        raise GraphError(f"output {name!r} cannot have 8 bits, since it is made of {np.dtype(source.dtype)} values; "
                         "leave its type as it is")
    final = _set_aside(graph, name)
    steps = [move.op for move in moves] or [Reshape(tuple(final.shape))]
    shapes = [graph.result(move).shape for move in moves] or [final.shape]
    previous = source
    for i, (op, shape) in enumerate(zip(steps, shapes, strict=True)):
        label = name if i == len(steps) - 1 else _unused(graph, f"{name}/{i}")
        made = Tensor(label, shape, source.dtype, source.quantization)
        graph.tensors[label] = made
        graph.nodes.append(Node(op, [previous.name], [label], f"{name}/moved{i}"))
        previous = made
    return previous
