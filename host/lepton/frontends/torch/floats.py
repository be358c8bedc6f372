"""Operators that are not int8, on the host, as PyTorch computes them.

Those that the graph has an operator for are read here, one line each; all others are `Aten`, with PyTorch's own
arguments.
"""

import json
import operator
from collections.abc import Callable

import numpy as np
import torch
from torch.fx import Node

from lepton.graph import (
    Add,
    Aten,
    Cast,
    Div,
    GraphError,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Op,
    Reduce,
    Resize,
    Softmax,
    Sub,
    Unary,
)
from lepton.graph.numerics.aten import FUNCTIONS, SEVERAL
from lepton.graph.numerics.aten_pools import FIRST_ONLY

from .moves import float_move

aten = torch.ops.aten


def _reduced(kind: str) -> Callable[[torch.Tensor, Node], Op]:
    def read(x: torch.Tensor, node: Node) -> Op:
        axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        axes = range(x.ndim) if axes is None or axes == [] else [axes] if isinstance(axes, int) else axes
        keep = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
        return Reduce(kind, tuple(sorted(axis % x.ndim for axis in axes)), bool(keep))

    return read


def _plain(op: Op) -> Callable[[torch.Tensor, Node], Op]:
    return lambda x, node: op


def _softmax(x: torch.Tensor, node: Node) -> Op:
    return Softmax(axis=int(node.args[1]))


# Operator -> what reads it, given the first operand's value and the node. Operands are the first arguments.
_ONE = {
    **{getattr(aten, name): _plain(Unary(name)) for name in (
        "relu", "sigmoid", "tanh", "exp", "log", "sqrt", "neg", "abs", "erf", "floor", "ceil", "round", "reciprocal")},
    aten.mean: _reduced("mean"), aten.sum: _reduced("sum"), aten.amax: _reduced("max"), aten.amin: _reduced("min"),
    aten.softmax: _softmax, aten._softmax: _softmax,
}
_TWO = {
    aten.add: Add(), aten.sub: Sub(), aten.mul: Mul(), aten.div: Div(), aten.maximum: Maximum(),
    aten.minimum: Minimum(), operator.add: Add(), operator.mul: Mul(), operator.sub: Sub(),
    aten.matmul: MatMul(), aten.bmm: MatMul(), aten.mm: MatMul(),
}
_CONVERSIONS = (aten.to, aten._to_copy, aten.type_as)
_TYPES = ("float32", "int32", "int64", "bool")  # of values on the host


def readable(node: Node) -> bool:
    """Is there an operator for the node on the host, were its operands not int8?"""
    packet = getattr(node.target, "overloadpacket", node.target)
    return packet in (*_ONE, *_TWO, *_CONVERSIONS, aten.upsample_bilinear2d) or _name(node) in (*FUNCTIONS, *FIRST_ONLY)


def _name(node: Node) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]


def float_operator(imp, node: Node) -> str:
    """Emits an operator for the host; the name of its result. Raises GraphError where there is none."""
    constant = imp.parameter(node)
    if constant is not None:
        return imp.constant(node.name, _array(constant))
    if node.op != "call_function":
        raise GraphError(f"{imp.where(node)}: {node.op} is not supported")
    source, result = node, None
    if node.target is operator.getitem and _name(node.args[0]) in (*SEVERAL, *FIRST_ONLY):
        source, result = node.args
        if _name(source) in FIRST_ONLY and result != 0:
            raise GraphError(f"{imp.where(source)}: only the largest values are supported, not their places")
    made = imp.made[node]
    if not isinstance(made, torch.Tensor) or str(made.dtype).removeprefix("torch.") not in _TYPES:
        raise GraphError(f"{imp.where(node)}: values must be of type {', '.join(_TYPES)}, not "
                         f"{getattr(made, 'dtype', type(made).__name__)}; leave it out of the module that is compiled")
    name = _standard(imp, node) or float_move(imp, node)
    if name is not None:
        return name
    if _name(source) in (*FUNCTIONS, *FIRST_ONLY):
        return _aten(imp, node, source, result)
    culprit = node.args[0] if node.target is operator.getitem and isinstance(node.args[0], Node) else node
    raise GraphError(f"{imp.where(culprit)}: operator {culprit.target} is supported neither in int8 nor on the host; "
                     "replace it, or leave it out of the module that is compiled")


def _array(constant: torch.Tensor) -> np.ndarray:
    kept = str(constant.dtype).removeprefix("torch.") in _TYPES
    return (constant if kept else constant.float() if constant.is_floating_point() else constant.long()).numpy()


def _standard(imp, node: Node) -> str | None:
    """An operator that the graph describes itself, on float32 only."""
    packet = getattr(node.target, "overloadpacket", node.target)
    if packet in _CONVERSIONS:
        return imp.host(Cast(str(imp.made[node].dtype).removeprefix("torch.")), [imp.value(node.args[0])], node)
    if imp.made[node].dtype != torch.float32 or node.kwargs.get("alpha", 1) != 1 or node.kwargs.get("rounding_mode"):
        return None
    if packet in _ONE and imp.made[node.args[0]].dtype == torch.float32:
        return imp.host(_ONE[packet](imp.made[node.args[0]], node), [imp.value(node.args[0])], node)
    if packet is aten.upsample_bilinear2d:
        return _bilinear(imp, node)
    if packet not in _TWO:
        return None
    names = [_real(imp, node, argument) for argument in node.args[:2]]
    if None in names or (packet in (aten.matmul, aten.bmm, aten.mm) and any(
            len(imp.tensor(name).shape) < 2 for name in names)):
        return None
    return imp.host(_TWO[packet], names, node)


def _real(imp, node: Node, argument) -> str | None:
    """An operand as float32; None where it is computed and has another type."""
    constant = imp.parameter(argument)
    if constant is not None:
        return imp.constant(f"{node.name}/constant", constant.float().numpy())
    name = imp.value(argument)
    return name if imp.tensor(name).dtype == np.float32 else None


def _bilinear(imp, node: Node) -> str:
    x, _, corners, *scales = (*node.args, None)[:5]
    made = tuple(imp.made[node].shape)
    scales = [s for s in (scales[0] if isinstance(scales[0], list | tuple) else scales) if s is not None]
    stated = (float(scales[0]), float(scales[-1])) if scales and not corners else None
    op = Resize(made[2:], "bilinear", "align_corners" if corners else "half_pixel", scales=stated)
    return imp.image(op, [imp.value(x)], imp.add(node.name, made, np.float32), node.name)


def _aten(imp, node: Node, source: Node, result: int | None) -> str:
    operands: list[str] = []

    def encoded(argument):
        if isinstance(argument, list | tuple):
            return [encoded(one) for one in argument]
        if isinstance(argument, Node):
            if not isinstance(imp.made[argument], torch.Tensor):
                return imp.made[argument]
            operands.append(imp.value(argument))
            return {"operand": len(operands) - 1}
        if argument is None or isinstance(argument, bool | int | float | str):
            return argument
        raise GraphError(f"{imp.where(source)}: the argument {argument!r} is not supported")

    options = {name: value for name, value in source.kwargs.items()
               if not isinstance(value, torch.dtype | torch.device | torch.layout)}
    arguments = json.dumps([[encoded(a) for a in source.args], {n: encoded(a) for n, a in options.items()}])
    made = imp.made[node]
    op = Aten(str(source.target).removeprefix("aten."), tuple(made.shape), str(made.dtype).removeprefix("torch."),
              arguments, result)
    return imp.host(op, operands, node)
