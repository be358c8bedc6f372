"""The graph between front ends and compiler (design D1): typed tensors, operators, nodes.

A front end builds a `Graph`; the compiler only reads it. Operators say what the
framework's kernels compute, with paddings made explicit and fused activations
turned into clamp ranges. `ops` has the operators, `core` what holds them together.
"""

from .core import Arithmetic, Graph, GraphError, Node, Op, Quantization, Tensor
from .ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    Dequantize,
    Div,
    FullyConnected,
    Gather,
    MatMul,
    Maximum,
    MaxPool2D,
    Mean,
    Minimum,
    Mul,
    Pad,
    Prelu,
    Quantize,
    Recenter,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Sub,
    Table,
    Transpose,
    TransposeConv2D,
    Unary,
)

__all__ = [
    "Add", "Arithmetic", "AveragePool2D", "Concat", "Conv2D", "DepthwiseConv2D", "Dequantize", "Div", "FullyConnected",
    "Gather", "Graph", "GraphError", "MatMul", "MaxPool2D", "Maximum", "Mean", "Minimum", "Mul", "Node", "Op", "Pad",
    "Prelu", "Quantization", "Quantize", "Recenter", "Reduce", "Reshape", "Resize", "Slice", "Softmax", "Sub", "Table",
    "Tensor", "Transpose", "TransposeConv2D", "Unary",
]
