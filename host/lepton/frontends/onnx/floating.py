"""Layers that nothing quantizes, or whose operands are no 8-bit values: in float32 on the host."""

import numpy as np
import onnx

from lepton.graph import Add, FloatConv, FloatConvTranspose, GraphError, MatMul, Mul, Reduce

from .convolutions import growing
from .elementwise import apply, clamped, number
from .importer import Importer, attributes, stated_axes
from .layers import BINARY
from .products import GemmOptions
from .values import Pending
from .windows import sliding

FLOAT32 = np.dtype(np.float32)


def _operands(importer: Importer, node: onnx.NodeProto) -> list[str]:
    """The tensors of a layer's operands; a bias that is left out is not among them."""
    names = [importer.host(name) for name in node.input if name]
    for name in names:
        if importer.graph.tensors[name].dtype != FLOAT32:
            raise GraphError(f"{importer.where}: operands must be float32, not {importer.graph.tensors[name].dtype}")
    return names


def _shapes(importer: Importer, names: list[str]) -> list[tuple[int, ...]]:
    shapes = [importer.graph.tensors[name].shape for name in names]
    if len(shapes[0]) < 3 or len(shapes[1]) != len(shapes[0]):
        raise GraphError(f"{importer.where}: weights of shape {shapes[1]} do not fit the input {shapes[0]}")
    return shapes


def _conv(importer: Importer, node: onnx.NodeProto) -> str:
    names, given = _operands(importer, node), attributes(node)
    x, weights = _shapes(importer, names)[:2]
    w = sliding(importer, given, weights[2:], x[2:])
    return importer.emit(FloatConv(w.stride, w.dilation, w.padding, given.get("group", 1)), names)


def _conv_transpose(importer: Importer, node: onnx.NodeProto) -> str:
    names, given = _operands(importer, node), attributes(node)
    x, weights = _shapes(importer, names)[:2]
    g, groups = growing(importer, given, weights[2:], x[2:]), given.get("group", 1)
    op = FloatConvTranspose(g.size, g.stride, g.dilation, tuple(before for before, _ in g.pads), groups)
    return importer.emit(op, names)


def _matmul(importer: Importer, node: onnx.NodeProto) -> str:
    return _product(importer, *_operands(importer, node))


def _product(importer: Importer, a: str, b: str) -> str:
    """A vector is a row on the left, a column on the right, as in numpy."""
    left, right = (importer.graph.tensors[name].shape for name in (a, b))
    vectors = [axis for axis, shape in ((-2, left), (-1, right)) if len(shape) == 1]
    a = importer.reshape(a, (1, *left)) if len(left) == 1 else a
    b = importer.reshape(b, (*right, 1)) if len(right) == 1 else b
    y = importer.emit(MatMul(), [a, b])
    shape = list(importer.graph.tensors[y].shape)
    for axis in vectors:
        shape[axis] = -1
    return importer.reshape(y, tuple(n for n in shape if n != -1))


def _gemm(importer: Importer, node: onnx.NodeProto) -> str:
    (a, b, *c), options = _operands(importer, node), GemmOptions.of(node)
    b = importer.transpose(b, (1, 0)) if options.transposed_b else b
    y = _product(importer, options.left(importer, a), b)
    y = apply(importer, Mul(), y, number(importer, options.alpha, y)) if options.alpha != 1 else y
    for bias in c:
        bias = apply(importer, Mul(), bias, number(importer, options.beta, bias)) if options.beta != 1 else bias
        y = apply(importer, Add(), y, bias)
    return y


def _binary(importer: Importer, node: onnx.NodeProto) -> str:
    return apply(importer, BINARY[node.op_type](), *(importer.host(name) for name in node.input))


def _mean(importer: Importer, node: onnx.NodeProto) -> str:
    x = importer.host(node.input[0])
    rank, keep = len(importer.graph.tensors[x].shape), bool(attributes(node).get("keepdims", 1))
    axes = tuple(sorted(axis % rank for axis in stated_axes(importer, node)))
    return importer.emit(Reduce("mean", axes, keep), [x])


_RULES = {**dict.fromkeys(BINARY, _binary), "ReduceMean": _mean, "Conv": _conv, "ConvTranspose": _conv_transpose,
          "Gemm": _gemm, "MatMul": _matmul}


def in_float(importer: Importer, value: Pending) -> str:
    """The tensor of a pending value in float32, with the bounds of the activations behind it."""
    return clamped(importer, _RULES[value.node.op_type](importer, value.node), *value.bounds)
