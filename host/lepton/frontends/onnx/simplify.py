"""Float networks in the forms that ONNX Runtime's quantizer takes."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lepton.graph import GraphError

from .node import attributes

# Positions of the operands that may be weights or biases.
_WEIGHTS = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1)}

# Operators whose results have their operands' infinities.
_PASS_ON = {"Add", "Sub", "Mul", "Div", "Neg", "Cast", "Concat", "Expand", "Gather", "Reshape", "Slice", "Split",
            "Squeeze", "Tile", "Transpose", "Unsqueeze"}


class _Constants:
    """The graph's initializers by name, and new ones."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.names = set(self.tensors) | {name for node in graph.node for name in (*node.input, *node.output)}

    def array(self, name: str) -> np.ndarray | None:
        return numpy_helper.to_array(self.tensors[name]) if name in self.tensors else None

    def unique(self, name: str) -> str:
        number = 1
        candidate = name
        while candidate in self.names:
            candidate = f"{name}.{number}"
            number += 1
        self.names.add(candidate)
        return candidate

    def add(self, name: str, array: np.ndarray | np.float32) -> str:
        name = self.unique(name)
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        self.tensors[name] = self.graph.initializer[-1]
        return name


def plain_layers(graph: onnx.GraphProto) -> None:
    """Changes every Gemm of `graph` to one with alpha and beta 1, A as it is, and a bias of shape (columns,) or none.

    Constants take the factors. Where A is transposed, C has several rows, or a factor belongs to a computed operand,
    operators of their own do it. In float32 the results are the same but for rounding.
    """
    constants = _Constants(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes += _gemm(node, constants) if node.op_type == "Gemm" else [node]
    del graph.node[:]
    graph.node.extend(nodes)


def _gemm(node: onnx.NodeProto, constants: _Constants) -> list[onnx.NodeProto]:
    given = attributes(node)
    alpha = given.get("alpha", 1.0)
    beta = given.get("beta", 1.0)
    a, b, c = (*node.input, "")[:3]
    weights = constants.array(b)
    bias = constants.array(c)
    before: list[onnx.NodeProto] = []
    after: list[onnx.NodeProto] = []

    def step(nodes: list[onnx.NodeProto], op: str, *inputs: str, **options: Any) -> str:
        result = constants.unique(f"{node.name}.{op.lower()}")
        nodes.append(helper.make_node(op, inputs, [result], name=constants.unique(f"{node.name}/{op}"), **options))
        return result

    if given.get("transA", 0):
        a = step(before, "Transpose", a, perm=[1, 0])
    if weights is not None and alpha != 1:
        b = constants.add(f"{b}.scaled", weights * weights.dtype.type(alpha))
        alpha = 1.0
    if bias is not None and beta != 1:
        bias = bias * bias.dtype.type(beta)
        beta = 1.0
        c = constants.add(f"{c}.scaled", bias)
    row = None if weights is None or bias is None else _as_row(bias, weights.shape[0 if given.get("transB", 0) else 1])
    if row is not None and bias is not None and bias.shape != row.shape:
        c = constants.add(f"{c}.row", row)
    apart = bool(c) and not (row is not None and alpha == 1 and np.all(np.isfinite(row)))
    result = node.output[0]
    layer = helper.make_node("Gemm", [a, b] + ([c] if c and not apart else []),
                             [result if not apart and alpha == 1 else constants.unique(f"{node.name}.product")],
                             name=node.name, transB=given.get("transB", 0))
    last = layer.output[0]
    if alpha != 1:
        last = step(after, "Mul", last, constants.add(f"{node.name}.alpha", np.float32(alpha)))
    if apart and beta != 1:
        c = step(after, "Mul", c, constants.add(f"{node.name}.beta", np.float32(beta)))
    if apart:
        last = step(after, "Add", last, c)
    if after:
        after[-1].output[0] = result
    return [*before, layer, *after]


def _as_row(bias: np.ndarray, columns: int) -> np.ndarray | None:
    """The bias of shape (columns,); None where it is not one row."""
    if bias.size not in (1, columns) or bias.shape[-1:] not in ((), (1,), (columns,)):
        return None
    return np.broadcast_to(bias.ravel(), columns)


def check_constants(graph: onnx.GraphProto) -> list[str]:
    """Names of operators that must stay in float: they read constants with infinities (masks), or results of those.

    Raises GraphError for constants that are not numbers, and for infinite weights.
    """
    infinite = set()
    for tensor in graph.initializer:
        if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            continue
        array = numpy_helper.to_array(tensor)
        if np.isnan(array).any():
            raise GraphError(f"the constant {tensor.name!r} holds values that are not numbers")
        if np.isinf(array).any():
            infinite.add(tensor.name)
    left = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in infinite and position in _WEIGHTS.get(node.op_type, ()):
                raise GraphError(f"{node.op_type} {node.name or node.output[0]!r}: the weights {name!r} hold infinite "
                                 "values, which cannot be quantized")
        if infinite & set(node.input):
            left.append(node.name)
            if node.op_type in _PASS_ON:
                infinite.update(node.output)
    return left


