"""int8 inputs and outputs: the caller converts from and to real numbers."""

from dataclasses import replace

from .. import Graph, GraphError, Node


def int8_edges(graph: Graph) -> Graph:
    """Takes Quantize, Dequantize and changes of layout off the edges of the network.

    Inputs become what the first layer reads, outputs what the last one makes: int8, channels last, with the names
    of the float32 tensors that they replace. States stay as they are. Raises GraphError where an input is not quantized
    at once, or used in several ways.
    """
    nodes = [replace(node, inputs=list(node.inputs), outputs=list(node.outputs)) for node in graph.nodes]
    graph = replace(graph, nodes=nodes, tensors={name: replace(tensor) for name, tensor in graph.tensors.items()})
    callers = {*graph.caller_inputs, *graph.caller_outputs}
    graph.inputs = [_inner_input(graph, name) if name in callers else name for name in graph.inputs]
    graph.outputs = [_inner_output(graph, name) if name in callers else name for name in graph.outputs]
    return graph


def _users(graph: Graph, name: str) -> list[Node]:
    return [node for node in graph.nodes if name in node.inputs]


def _inner_input(graph: Graph, name: str) -> str:
    inner = name
    path: list[Node] = []
    while len(users := _users(graph, inner)) == 1 and (users[0].op.reorders or users[0].op.quantizes):
        path.append(users[0])
        inner = users[0].outputs[0]
    if all(node.op.reorders for node in path):
        raise GraphError(f"input {name!r} is not quantized before it is used")
    return _rename(graph, inner, name, path)


def _inner_output(graph: Graph, name: str) -> str:
    inner = name
    path: list[Node] = []
    while (producer := next((n for n in graph.nodes if inner in n.outputs), None)) is not None and (
            producer.op.reorders or producer.op.dequantizes) and not (
            path and (inner in graph.outputs or len(_users(graph, inner)) > 1)):
        path.append(producer)
        inner = producer.inputs[0]
    if all(node.op.reorders for node in path):
        raise GraphError(f"output {name!r} is not int8 before it leaves")
    return _rename(graph, inner, name, path)


def _rename(graph: Graph, inner: str, name: str, path: list[Node]) -> str:
    """Gives tensor `inner` the place and name of `name`, and removes the nodes of `path` between the two."""
    for node in path:
        graph.nodes.remove(node)
        for gone in {*node.inputs, *node.outputs} - {inner}:
            graph.tensors.pop(gone, None)
    tensor = graph.tensors.pop(inner)
    tensor.name = name
    graph.tensors[name] = tensor
    for node in graph.nodes:
        node.inputs = [name if n == inner else n for n in node.inputs]
        node.outputs = [name if n == inner else n for n in node.outputs]
    return name
