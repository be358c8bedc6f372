"""Operators that the chip does not have, in float32 on the host, as PyTorch computes them."""

import math
import operator

import numpy as np
import torch
from torch.fx import Node

from lepton.graph import (
    Add,
    GraphError,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Op,
    Reduce,
    Reshape,
    Resize,
    Softmax,
    Sub,
    Transpose,
    Unary,
)

from .moves import float_move

aten = torch.ops.aten

_UNARY = {aten.relu: "relu", aten.relu_: "relu", aten.sigmoid: "sigmoid", aten.sigmoid_: "sigmoid", aten.tanh: "tanh",
          aten.tanh_: "tanh", aten.exp: "exp", aten.log: "log", aten.sqrt: "sqrt", aten.neg: "neg", aten.abs: "abs",
          aten.erf: "erf", aten.floor: "floor", aten.ceil: "ceil", aten.round: "round", aten.reciprocal: "reciprocal"}
_BINARY = {aten.add: Add, aten.add_: Add, aten.sub: Sub, aten.sub_: Sub, aten.mul: Mul, aten.mul_: Mul,
           aten.maximum: Maximum, aten.minimum: Minimum, operator.add: Add, operator.mul: Mul, operator.sub: Sub}
_REDUCTIONS = {aten.mean: "mean", aten.sum: "sum", aten.amax: "max", aten.amin: "min"}


class _Steps:
    """Emits float32 steps that together are one PyTorch operator."""

    def __init__(self, imp, node: Node):
        self.imp, self.node = imp, node

    def operand(self, argument) -> str:
        if isinstance(argument, Node):
            return self.imp.value(argument)
        if isinstance(argument, int | float):
            return self.imp.constant(f"{self.node.name}/constant", np.array(argument, np.float32))
        raise GraphError(f"{self.imp.where(self.node)}: an operand must be a tensor or a number, not {argument!r}")

    def do(self, op: Op, *inputs: str, shape=None) -> str:
        shapes = [self.imp.tensor(name).shape for name in inputs]
        shape = np.broadcast_shapes(*shapes) if shape is None else shape
        return self.imp.emit(op, list(inputs), self.imp.add(self.node.name, shape, np.float32), self.node.name)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.imp.tensor(name).shape

    def mean(self, name: str, axes: tuple[int, ...]) -> str:
        shape = [1 if axis in axes else n for axis, n in enumerate(self.shape(name))]
        return self.do(Reduce("mean", axes, True), name, shape=shape)


def float_operator(imp, node: Node) -> str:
    """Emits a float32 operator for the host; the name of its result. Raises GraphError where there is none."""
    steps = _Steps(imp, node)
    if node.op != "call_function":
        constant = imp.parameter(node)
        if constant is None:
            raise GraphError(f"{imp.where(node)}: {node.op} is not supported")
        return imp.constant(node.name, constant.numpy())
    packet = getattr(node.target, "overloadpacket", node.target)
    if packet in _UNARY:
        return steps.do(Unary(_UNARY[packet]), steps.operand(node.args[0]))
    if packet in _BINARY and node.kwargs.get("alpha", 1) == 1:
        return steps.do(_BINARY[packet](), *map(steps.operand, node.args[:2]))
    if packet in _REDUCTIONS:
        return _reduction(steps, node, _REDUCTIONS[packet])
    if packet in _COMPOSED:
        return _COMPOSED[packet](steps, *node.args, **node.kwargs)
    moved = float_move(imp, node)
    if moved is None:
        raise GraphError(f"{imp.where(node)}: operator {node.target} is supported neither in int8 nor in float32")
    return moved


def _reduction(steps: _Steps, node: Node, kind: str) -> str:
    x = steps.operand(node.args[0])
    rank = len(steps.shape(x))
    axes = node.args[1] if len(node.args) > 1 and node.args[1] not in (None, []) else range(rank)
    axes = tuple(sorted(axis % rank for axis in ([axes] if isinstance(axes, int) else axes)))
    keep = bool(node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False))
    return steps.do(Reduce(kind, axes, keep), x, shape=tuple(steps.imp.made[node].shape))


def _divide(steps: _Steps, a, b) -> str:
    constant = steps.imp.parameter(b)
    if constant is not None:
        inverse = steps.imp.constant(f"{steps.node.name}/inverse", (1.0 / constant.float()).numpy())
    else:
        inverse = steps.do(Unary("reciprocal"), steps.operand(b))
    return steps.do(Mul(), steps.operand(a), inverse)


def _softmax(steps: _Steps, x, axis, half_to_float=None) -> str:
    return steps.do(Softmax(axis=int(axis)), steps.operand(x))


def _matmul(steps: _Steps, a, b) -> str:
    return steps.do(MatMul(), steps.operand(a), steps.operand(b), shape=tuple(steps.imp.made[steps.node].shape))


def _bilinear(steps: _Steps, x, size, align_corners=False, scales=None, *more) -> str:
    made, imp = tuple(steps.imp.made[steps.node].shape), steps.imp
    name, output = steps.operand(x), imp.add(steps.node.name, made, np.float32)
    inputs = imp.tensor(name).shape[2:]
    stated = None
    if scales is not None and not align_corners:  # PyTorch then looks at these, not at the sizes
        stated = tuple(float(s) for s in (scales if isinstance(scales, list | tuple) else (scales, *more)))
        if all(s == m / n for s, m, n in zip(stated, made[2:], inputs, strict=True)):
            stated = None
    op = Resize("bilinear", "align_corners" if align_corners else "half_pixel", scales=stated)
    return imp.image(op, [name], output, steps.node.name)


def _power(steps: _Steps, x, exponent) -> str:
    if exponent != 2:
        raise GraphError(f"{steps.imp.where(steps.node)}: only the power of 2 is supported, not of {exponent}")
    return steps.do(Mul(), *[steps.operand(x)] * 2)


def _rsqrt(steps: _Steps, x) -> str:
    return steps.do(Unary("reciprocal"), steps.do(Unary("sqrt"), steps.operand(x)))


def _silu(steps: _Steps, x) -> str:
    return steps.do(Mul(), steps.operand(x), steps.do(Unary("sigmoid"), steps.operand(x)))


def _gelu(steps: _Steps, x, approximate="none") -> str:
    x = steps.operand(x)
    half = steps.do(Mul(), x, steps.operand(0.5))
    if approximate == "none":
        bent = steps.do(Unary("erf"), steps.do(Mul(), x, steps.operand(math.sqrt(0.5))))
    else:
        cube = steps.do(Mul(), steps.do(Mul(), x, x), x)
        inner = steps.do(Add(), x, steps.do(Mul(), cube, steps.operand(0.044715)))
        bent = steps.do(Unary("tanh"), steps.do(Mul(), inner, steps.operand(math.sqrt(2 / math.pi))))
    return steps.do(Mul(), half, steps.do(Add(), bent, steps.operand(1.0)))


def _clamp(steps: _Steps, x, low=None, high=None, *, min=None, max=None) -> str:
    name, low, high = steps.operand(x), (low if low is not None else min), (high if high is not None else max)
    name = name if low is None else steps.do(Maximum(), name, steps.operand(low))
    return name if high is None else steps.do(Minimum(), name, steps.operand(high))


def _normalized(steps: _Steps, x: str, axes: tuple[int, ...], eps: float) -> str:
    centered = steps.do(Sub(), x, steps.mean(x, axes))
    variance = steps.mean(steps.do(Mul(), centered, centered), axes)
    deviation = steps.do(Unary("sqrt"), steps.do(Add(), variance, steps.operand(float(eps))))
    return steps.do(Mul(), centered, steps.do(Unary("reciprocal"), deviation))


def _layer_norm(steps: _Steps, x, shape, weight=None, bias=None, eps=1e-5, cudnn_enable=False) -> str:
    name = steps.operand(x)
    rank = len(steps.shape(name))
    name = _normalized(steps, name, tuple(range(rank - len(shape), rank)), eps)
    name = name if weight is None else steps.do(Mul(), name, steps.operand(weight))
    return name if bias is None else steps.do(Add(), name, steps.operand(bias))


def _group_norm(steps: _Steps, x, groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True) -> str:
    name = steps.operand(x)
    shape = steps.shape(name)
    name = steps.do(Reshape(), name, shape=(shape[0], groups, math.prod(shape[1:]) // groups))
    name = steps.do(Reshape(), _normalized(steps, name, (2,), eps), shape=shape)
    for op, parameter in ((Mul(), weight), (Add(), bias)):
        if parameter is not None:
            values = steps.imp.parameter(parameter).numpy().reshape(-1, *[1] * (len(shape) - 2))
            name = steps.do(op, name, steps.imp.constant(f"{steps.node.name}/parameter", values))
    return name


def _batch_norm(steps: _Steps, x, weight, bias, mean, variance, training=False, momentum=0.1, eps=1e-5,
                cudnn=True) -> str:
    get = steps.imp.parameter
    scale = 1 / torch.sqrt(get(variance) + eps) * (1 if weight is None else get(weight))
    shift = (0 if bias is None else get(bias)) - get(mean) * scale
    name = steps.operand(x)
    shape = (-1, *[1] * (len(steps.shape(name)) - 2))
    for op, values in ((Mul(), scale), (Add(), shift)):
        name = steps.do(op, name, steps.imp.constant(f"{steps.node.name}/parameter", values.numpy().reshape(shape)))
    return name


def _attention(steps: _Steps, query, key, value, mask=None, dropout=0.0, causal=False, *, scale=None,
               enable_gqa=False) -> str:
    if enable_gqa:
        raise GraphError(f"{steps.imp.where(steps.node)}: grouped-query attention is not supported")
    q, k, v = map(steps.operand, (query, key, value))
    shape, rank = steps.shape(q), len(steps.shape(k))
    order = (*range(rank - 2), rank - 1, rank - 2)
    k = steps.do(Transpose(order), k, shape=[steps.shape(k)[axis] for axis in order])
    scores = steps.do(MatMul(), q, k, shape=(*shape[:-1], steps.shape(k)[-1]))
    scores = steps.do(Mul(), scores, steps.operand(1 / math.sqrt(shape[-1]) if scale is None else scale))
    if causal:
        hidden = np.triu(np.full(steps.shape(scores)[-2:], -np.inf, np.float32), 1)
        scores = steps.do(Add(), scores, steps.imp.constant(f"{steps.node.name}/causal", hidden))
    if mask is not None:
        scores = steps.do(Add(), scores, steps.operand(mask))
    return steps.do(MatMul(), steps.do(Softmax(axis=-1), scores), v, shape=(*shape[:-1], steps.shape(v)[-1]))


_COMPOSED = {
    aten.div: _divide, aten.softmax: _softmax, aten._softmax: _softmax, aten.matmul: _matmul, aten.bmm: _matmul,
    aten.upsample_bilinear2d: _bilinear, aten.pow: _power, aten.rsqrt: _rsqrt, aten.silu: _silu, aten.gelu: _gelu,
    aten.clamp: _clamp, aten.hardtanh: _clamp, aten.layer_norm: _layer_norm, aten.group_norm: _group_norm,
    aten.batch_norm: _batch_norm, aten.scaled_dot_product_attention: _attention,
}
