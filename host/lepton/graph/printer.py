"""A graph as text, one line for each operator."""

from dataclasses import fields

import numpy as np

from .core import Graph, Node, Tensor


def tensor_text(tensor: Tensor) -> str:
    """Type, shape and quantization: `int8[1,7,7,3] 0.5*(q-3)`."""
    text = f"{np.dtype(tensor.dtype)}[{','.join(str(int(n)) for n in tensor.shape)}]"
    q = tensor.quantization
    if q is None:
        return text
    if q.scale.size > 1:
        return f"{text} {q.scale.size} scales along {q.axis}"
    return f"{text} {float(q.scale.reshape(-1)[0]):.6g}*(q-{int(q.zero_point.reshape(-1)[0])})"


def _attributes(node: Node) -> str:
    shown = []
    for field in fields(node.op):
        value = getattr(node.op, field.name)
        if value != field.default:
            shown.append(f"{field.name}={f'{len(value)} bytes' if isinstance(value, bytes) else value}")
    return f" {{{', '.join(shown)}}}" if shown else ""


def graph_text(graph: Graph) -> str:
    """The whole graph; of constants, type and shape."""
    def operand(name: str) -> str:
        constant = name and graph.tensors[name].data is not None
        return f"{name}: {tensor_text(graph.tensors[name])}" if constant else name or "none"

    lines = [f"graph {graph.name} ({graph.arithmetic.value})"]
    lines += [f"  input  {name}: {tensor_text(graph.tensors[name])}" for name in graph.inputs]
    for node in graph.nodes:
        output = graph.tensors[node.outputs[0]]
        lines.append(f"  {output.name}: {tensor_text(output)} = {type(node.op).__name__}"
                     f"({', '.join(map(operand, node.inputs))}){_attributes(node)}")
    lines += [f"  output {name}" for name in graph.outputs]
    lines += [f"  state  {state.name}: {state.read} becomes {state.written}" for state in graph.states]
    return "\n".join(lines)
