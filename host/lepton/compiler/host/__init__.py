"""Operators on the CPU, exactly as the framework that the network comes from computes them.

`Arithmetic.FIXED` is TFLite's reference kernels, `Arithmetic.FLOAT` ONNX Runtime's integer kernels. Every operator
of `lepton.graph` has a kernel here, so that whatever the chip does not take still runs, with the same result.
"""

from dataclasses import replace

import numpy as np

from ... import graph
from ..model import HostStep
from . import convert, elementwise, layers, move, pools, resize, softmax
from .call import Call

KERNELS = {
    graph.Conv2D: layers.layer, graph.DepthwiseConv2D: layers.layer, graph.TransposeConv2D: layers.layer,
    graph.FullyConnected: layers.layer, graph.MatMul: layers.matmul,
    graph.MaxPool2D: pools.max_pool, graph.AveragePool2D: pools.average_pool, graph.Mean: pools.mean,
    graph.Reduce: pools.reduce,
    graph.Table: elementwise.table, graph.Add: elementwise.add_or_sub, graph.Sub: elementwise.add_or_sub,
    graph.Mul: elementwise.multiply, graph.Maximum: elementwise.maximum, graph.Minimum: elementwise.minimum,
    graph.Div: elementwise.divide,
    graph.Prelu: elementwise.prelu, graph.Unary: elementwise.unary, graph.Softmax: softmax.softmax,
    graph.Quantize: convert.quantize, graph.Dequantize: convert.dequantize, graph.Recenter: convert.recenter,
    graph.Reshape: move.reshape, graph.Transpose: move.transpose, graph.Concat: move.concat,
    graph.Slice: move.take_slice, graph.Pad: move.pad, graph.Gather: move.gather, graph.Resize: resize.resize,
}

_IMAGES = (graph.Conv2D, graph.DepthwiseConv2D, graph.TransposeConv2D, graph.MaxPool2D, graph.AveragePool2D, graph.Mean,
           graph.Resize)


def compute(op: graph.Op, arithmetic: graph.Arithmetic, tensors: list, values: list,
            output: graph.Tensor) -> np.ndarray:
    """The result of one operator: an array of `output`'s shape and type."""
    if isinstance(op, _IMAGES) and values[0].ndim == 4 and len(values[0]) > 1:
        one = replace(output, shape=(1, *output.shape[1:]))
        images = [compute(op, arithmetic, tensors, [image[None], *values[1:]], one) for image in values[0]]
        return np.concatenate(images)
    result = KERNELS[type(op)](Call(op, arithmetic, tensors, values, output))
    return np.require(np.broadcast_to(result, output.shape), output.dtype, "C")  # ascontiguousarray has no scalars


def run(step: HostStep, values: dict[str, np.ndarray]) -> None:
    """Execute a host step: reads what it needs from `values` by name, adds its output."""
    operands = [None if t is None else t.data if t.data is not None else values[t.name] for t in step.inputs]
    values[step.output.name] = compute(step.op, step.arithmetic, list(step.inputs), operands, step.output)


def evaluate(network: graph.Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor that `network` computes, without a chip: what compiled programs are held against."""
    values = dict(inputs)
    for node in network.nodes:
        tensors = [network.tensors[name] if name else None for name in node.inputs]
        operands = [None if t is None else t.data if t.data is not None else values[t.name] for t in tensors]
        output = network.tensors[node.outputs[0]]
        values[output.name] = compute(node.op, network.arithmetic, tensors, operands, output)
    return values
