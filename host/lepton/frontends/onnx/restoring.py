"""Operators that ONNX Runtime takes apart for want of a kernel, as one node again.

It puts the definition of such an operator (a function of ONNX's) in the place of the node. Its results are those of the
parts, and so are those of a session for the one node, which the host runs (`numerics.onnxruntime_kernels`) in one step.
"""

from collections import Counter

import onnx

# Each has a converter that makes one step of it. GroupNormalization: before opset 21 it scales groups.
_OPSETS = {"GroupNormalization": 21, "HardSwish": 14, "Mish": 18}


def restore(original: onnx.ModelProto, prepared: onnx.ModelProto) -> None:
    """Puts those nodes of `original` back into `prepared`, which ONNX Runtime made of it, whose parts have no other
    readers and no operands but the node's, and constants."""
    opset = max((o.version for o in prepared.opset_import if o.domain in ("", "ai.onnx")), default=0)
    graph = prepared.graph
    wanted = [node for node in original.graph.node if node.domain in ("", "ai.onnx")
              and opset >= _OPSETS.get(node.op_type, opset + 1)]
    for node in wanted:
        parts = _parts(graph, node)
        if parts and _adopt_constants(original.graph, graph, node):
            place = max(index for index, part in enumerate(graph.node) if part.output[0] in parts)
            kept = [part for part in graph.node[:place] if part.output[0] not in parts]
            rest = list(graph.node[place + 1:])
            del graph.node[:]
            graph.node.extend([*kept, node, *rest])


def _parts(graph: onnx.GraphProto, node: onnx.NodeProto) -> set[str]:
    """First outputs of the nodes that compute the node's result from its first operand; empty where it is not taken
    apart, or not in this way."""
    result = node.output[0]
    makers = {name: part for part in graph.node for name in part.output if name}
    if result not in makers or makers[result].op_type == node.op_type:
        return set()
    constants = {tensor.name for tensor in graph.initializer} | {""}
    found: dict[str, onnx.NodeProto] = {}
    waiting = [result]
    met = False
    while waiting:
        name = waiting.pop()
        if name == node.input[0]:
            met = True
        elif name not in constants:
            part = makers.get(name)
            if part is None or any(kind in part.op_type for kind in ("Quantize", "Dequantize")):
                return set()
            if part.output[0] not in found:
                found[part.output[0]] = part
                waiting += part.input
    readers = Counter(name for part in graph.node for name in part.input)
    readers.update(value.name for value in graph.output)
    own = Counter(name for part in found.values() for name in part.input)
    inner = {name for part in found.values() for name in part.output} - {result}
    return set(found) if met and all(readers[name] == own[name] for name in inner) else set()


def _adopt_constants(original: onnx.GraphProto, graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Gives the graph the node's other operands; False where they are not constants of the original network."""
    given = {tensor.name: tensor for tensor in original.initializer}
    have = {tensor.name for tensor in graph.initializer}
    names = [name for name in node.input[1:] if name]
    if any(name not in given for name in names):
        return False
    graph.initializer.extend(given[name] for name in names if name not in have)
    return True
