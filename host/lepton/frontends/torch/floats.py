"""Operators that the chip does not have, in float32 on the host, as PyTorch computes them."""

import math
import operator

import numpy as np
import torch
from torch.fx import Node

from lepton.graph import (
    Add,
    Div,
    GraphError,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Reduce,
    Reshape,
    Resize,
    Softmax,
    Sub,
    Transpose,
    Unary,
)

from .activations import ACTIVATIONS
from .moves import float_move
from .pools import FIRST_RESULTS, POOLS
from .steps import Steps

aten = torch.ops.aten

_UNARY = {aten.relu: "relu", aten.sigmoid: "sigmoid", aten.tanh: "tanh", aten.exp: "exp",
          aten.log: "log", aten.sqrt: "sqrt", aten.neg: "neg", aten.abs: "abs",
          aten.erf: "erf", aten.floor: "floor", aten.ceil: "ceil", aten.round: "round", aten.reciprocal: "reciprocal"}
_BINARY = {aten.add: Add, aten.sub: Sub, aten.mul: Mul, aten.maximum: Maximum, aten.minimum: Minimum,
           operator.add: Add, operator.mul: Mul, operator.sub: Sub}
_REDUCTIONS = {aten.mean: "mean", aten.sum: "sum", aten.amax: "max", aten.amin: "min"}


def float_operator(imp, node: Node) -> str:
    """Emits a float32 operator for the host; the name of its result. Raises GraphError where there is none."""
    steps, constant = Steps(imp, node), imp.parameter(node)
    if constant is not None:
        return imp.constant(node.name, constant.numpy() if constant.is_floating_point() else constant.float().numpy())
    if node.op != "call_function":
        raise GraphError(f"{imp.where(node)}: {node.op} is not supported")
    packet = getattr(node.target, "overloadpacket", node.target)
    if packet in _UNARY:
        return steps.do(Unary(_UNARY[packet]), steps.operand(node.args[0]))
    if packet in _BINARY and node.kwargs.get("alpha", 1) == 1:
        return steps.do(_BINARY[packet](), *map(steps.operand, node.args[:2]))
    if packet in _REDUCTIONS:
        return _reduction(steps, node, _REDUCTIONS[packet])
    composed = _COMPOSED.get(packet) or ACTIVATIONS.get(packet) or POOLS.get(packet)
    if composed is not None:
        return composed(steps, *node.args, **node.kwargs)
    moved = float_move(imp, node)
    if moved is None:
        if node.target is operator.getitem and isinstance(node.args[0], Node):
            if node.args[1] == 0 and node.args[0].target in FIRST_RESULTS:
                return FIRST_RESULTS[node.args[0].target](steps, *node.args[0].args)
            node = node.args[0]  # what has several results
        raise GraphError(f"{imp.where(node)}: operator {node.target} is supported neither in int8 nor in float32; "
                         "replace it, or leave it out of the module that is compiled")
    return moved


def _reduction(steps: Steps, node: Node, kind: str) -> str:
    x = steps.operand(node.args[0])
    rank = len(steps.shape(x))
    axes = node.args[1] if len(node.args) > 1 and node.args[1] not in (None, []) else range(rank)
    axes = tuple(sorted(axis % rank for axis in ([axes] if isinstance(axes, int) else axes)))
    keep = bool(node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False))
    return steps.do(Reduce(kind, axes, keep), x, shape=tuple(steps.imp.made[node].shape))


def _divide(steps: Steps, a, b, *, rounding_mode=None) -> str:
    if rounding_mode not in (None, "floor", "trunc"):
        raise steps.error(f"rounding_mode must be None, floor or trunc, not {rounding_mode!r}")
    quotient = steps.do(Div(), steps.operand(a), steps.operand(b))
    if rounding_mode == "floor":
        return steps.do(Unary("floor"), quotient)
    if rounding_mode == "trunc":  # towards zero: the floor of what is not negative, the ceiling of the rest
        up = steps.do(Unary("ceil"), steps.do(Minimum(), quotient, steps.operand(0.0)))
        return steps.do(Add(), steps.do(Unary("floor"), steps.do(Unary("relu"), quotient)), up)
    return quotient


def _softmax(steps: Steps, x, axis, half_to_float=None) -> str:
    return steps.do(Softmax(axis=int(axis)), steps.operand(x))


def _matmul(steps: Steps, a, b) -> str:
    return steps.do(MatMul(), steps.operand(a), steps.operand(b), shape=tuple(steps.imp.made[steps.node].shape))


def _bilinear(steps: Steps, x, size, align_corners=False, scales=None, *more) -> str:
    made, imp = tuple(steps.imp.made[steps.node].shape), steps.imp
    name, output = steps.operand(x), imp.add(steps.node.name, made, np.float32)
    inputs = imp.tensor(name).shape[2:]
    stated = None
    if scales is not None and not align_corners:  # PyTorch then looks at these, not at the sizes
        stated = tuple(float(s) for s in (scales if isinstance(scales, list | tuple) else (scales, *more)))
        if all(s == m / n for s, m, n in zip(stated, made[2:], inputs, strict=True)):
            stated = None
    op = Resize(made[2:], "bilinear", "align_corners" if align_corners else "half_pixel", scales=stated)
    return imp.image(op, [name], output, steps.node.name)


def _rsqrt(steps: Steps, x) -> str:
    return steps.do(Unary("reciprocal"), steps.do(Unary("sqrt"), steps.operand(x)))


def _normalized(steps: Steps, x: str, axes: tuple[int, ...], eps: float) -> str:
    centered = steps.do(Sub(), x, steps.reduced("mean", x, axes))
    variance = steps.reduced("mean", steps.do(Mul(), centered, centered), axes)
    deviation = steps.do(Unary("sqrt"), steps.do(Add(), variance, steps.operand(float(eps))))
    return steps.do(Mul(), centered, steps.do(Unary("reciprocal"), deviation))


def _layer_norm(steps: Steps, x, shape, weight=None, bias=None, eps=1e-5, cudnn_enable=False) -> str:
    name = steps.operand(x)
    rank = len(steps.shape(name))
    name = _normalized(steps, name, tuple(range(rank - len(shape), rank)), eps)
    name = name if weight is None else steps.do(Mul(), name, steps.operand(weight))
    return name if bias is None else steps.do(Add(), name, steps.operand(bias))


def _group_norm(steps: Steps, x, groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True) -> str:
    name = steps.operand(x)
    shape = steps.shape(name)
    grouped = (shape[0], groups, math.prod(shape[1:]) // groups)
    name = steps.do(Reshape(grouped), name, shape=grouped)
    name = steps.do(Reshape(shape), _normalized(steps, name, (2,), eps), shape=shape)
    for op, parameter in ((Mul(), weight), (Add(), bias)):
        if parameter is not None:
            values = steps.imp.parameter(parameter).numpy().reshape(-1, *[1] * (len(shape) - 2))
            name = steps.do(op, name, steps.imp.constant(f"{steps.node.name}/parameter", values))
    return name


def _instance_norm(steps: Steps, x, weight, bias, mean, variance, use_input, momentum, eps, cudnn) -> str:
    if not use_input:
        return _batch_norm(steps, x, weight, bias, mean, variance, eps=eps)
    return _group_norm(steps, x, steps.made.shape[1], weight, bias, eps)


def _norm(steps: Steps, x, order=2, axes=None, keep=False, *, dtype=None) -> str:
    if order != 2 or dtype is not None:
        raise steps.error(f"only the norm of order 2 in the input's own data type is supported, not of order {order}")
    name = steps.operand(x)
    rank = len(steps.shape(name))
    axes = tuple(sorted(axis % rank for axis in ([axes] if isinstance(axes, int) else axes or range(rank))))
    squares = steps.do(Mul(), name, name)
    return steps.do(Unary("sqrt"), steps.do(Reduce("sum", axes, bool(keep)), squares, shape=tuple(steps.made.shape)))


def _batch_norm(steps: Steps, x, weight, bias, mean, variance, training=False, momentum=0.1, eps=1e-5,
                cudnn=True) -> str:
    get = steps.imp.parameter
    scale = 1 / torch.sqrt(get(variance) + eps) * (1 if weight is None else get(weight))
    shift = (0 if bias is None else get(bias)) - get(mean) * scale
    name = steps.operand(x)
    shape = (-1, *[1] * (len(steps.shape(name)) - 2))
    for op, values in ((Mul(), scale), (Add(), shift)):
        name = steps.do(op, name, steps.imp.constant(f"{steps.node.name}/parameter", values.numpy().reshape(shape)))
    return name


def _attention(steps: Steps, query, key, value, mask=None, dropout=0.0, causal=False, *, scale=None,
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
    aten.upsample_bilinear2d: _bilinear, aten.rsqrt: _rsqrt, aten.layer_norm: _layer_norm, aten.group_norm: _group_norm,
    aten.batch_norm: _batch_norm, aten.instance_norm: _instance_norm, aten.linalg_vector_norm: _norm,
    aten.scaled_dot_product_attention: _attention,
}
