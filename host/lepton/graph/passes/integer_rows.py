"""A layer normalization or a softmax in float32 between a Dequantize and a Quantize becomes one of int8."""

import json
from dataclasses import replace

import numpy as np

from .. import Arithmetic, Aten, Dequantize, Function, Graph, GraphError, LayerNorm, Node, Op, Quantize, Softmax
from .rewrite import Chains, Match, match, with_nodes

# ONNX's operator -> whether it subtracts the mean. Its default for epsilon is 1e-5 (LayerNormalization-17).
_ONNX = {"LayerNormalization": True, "SimplifiedLayerNormalization": False, "RMSNormalization": False}
_EPSILON = 1e-5


def integer_rows(graph: Graph) -> Graph:
    """Every Quantize of such a normalization along the last axis, with constant parameters, becomes a LayerNorm; with
    PyTorch's arithmetic, that of a softmax becomes one of int8.

    The int8 operators compute in integers, so results differ from those in float32 by 1 at most. Operators that nothing
    reads any more are left for `remove_unused`.
    """
    chains = Chains(graph)
    return with_nodes(graph, [_integer(graph, match(node, Quantize), chains) or node for node in graph.nodes])


def _integer(graph: Graph, last: Match[Quantize] | None, chains: Chains) -> Node | None:
    """What a Quantize becomes; None where it does not follow such a function of a Dequantize."""
    rows = None if last is None else chains.made_for_one(last.source, Softmax, Function, Aten)
    first = None if rows is None else chains.made(rows.source, Dequantize)
    if last is None or rows is None or first is None:
        return None
    op = _equivalent(graph, rows.node)
    if op is None:
        return None
    made = Node(op, [first.source, *rows.node.inputs[1:]], list(last.node.outputs), rows.node.name or last.node.name)
    try:
        signature = graph.signature(made)
        op.infer(signature.inputs)
        op.check(signature)
    except GraphError:
        return None
    return made


def _equivalent(graph: Graph, norm: Node) -> Op | None:
    """The LayerNorm or Softmax that a node is, if it is one along the last axis."""
    shape = tuple(graph.tensors[norm.inputs[0]].shape)
    softmax = match(norm, Softmax)
    if softmax is not None and graph.arithmetic is Arithmetic.TORCH:
        return softmax.op if softmax.op.axis % len(shape) == len(shape) - 1 else None
    if any(graph.tensors[name].data is None for name in norm.inputs[1:]) or len(norm.inputs) < 2:
        return None
    function = match(norm, Function)
    if function is not None and function.op.operator in _ONNX:
        given = dict(function.op.attributes)
        if int(given.get("axis", -1)) % len(shape) != len(shape) - 1:
            return None
        return LayerNorm(float(given.get("epsilon", _EPSILON)), _ONNX[function.op.operator])
    aten = match(norm, Aten)
    return _of_aten(aten.op) if aten is not None and aten.op.name in ("layer_norm", "rms_norm") else None


def _of_aten(op: Aten) -> LayerNorm | None:
    """aten::layer_norm(input, normalized_shape, weight, bias, eps, ...), aten::rms_norm(input, shape, weight, eps)."""
    positional, named = json.loads(op.arguments)
    centre = op.name == "layer_norm"
    names = ("input", "normalized_shape", "weight", "bias", "eps") if centre else (
        "input", "normalized_shape", "weight", "eps")
    given = dict(zip(names, positional, strict=False)) | named
    operands = [given.get(name) for name in ("input", "weight", "bias") if given.get(name) is not None]
    if operands != [{"operand": i} for i in range(len(operands))] or len(given["normalized_shape"]) != 1:
        return None
    epsilon = given.get("eps")
    default = _EPSILON if centre else float(np.finfo(np.float32).eps)
    return replace(LayerNorm(), epsilon=default if epsilon is None else float(epsilon), center=centre)
