"""Functions of one int8 value, as tables that PyTorch itself computes."""

from collections.abc import Callable

import torch
from torch.fx import Node

from lepton.graph import Table

from .quantizer import ACTIVATIONS, NORMALIZATIONS, UNARY

aten = torch.ops.aten

_ARITHMETIC = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.add.Scalar, aten.mul.Scalar,
               aten.pow.Tensor_Scalar, aten.sqrt.default, aten.rsub.Scalar, aten.maximum.default,
               aten.minimum.default, aten.reciprocal.default, aten.square.default)
POINTWISE = (*UNARY, *ACTIVATIONS, *_ARITHMETIC)


def table(imp, quantize: Node, output: str, label: str) -> bool:
    """Emits a Table if the value to be quantized is a function of one int8 value; False otherwise.

    PyTorch itself computes the 256 results.
    """
    found = chain_of(imp, quantize.args[0], POINTWISE, lambda node, constant: constant.numel() == 1)
    if found is None:
        return False
    chain, roots, name = found
    if imp.tensor(name).shape != imp.tensor(output).shape:
        return False
    q = imp.tensor(name).quantization
    steps = torch.arange(-128, 128, dtype=torch.int8)
    reals = (steps.to(torch.int32) - int(q.zero_point[0])).to(torch.float32) * float(q.scale[0])
    values = imp.requantized(quantize, evaluate(imp, chain, dict.fromkeys(roots, reals)))
    imp.emit(Table(values.numpy().tobytes()), [name], output, label)
    return True


def chain_of(imp, node: Node, operators: tuple,
             allowed: Callable[[Node, torch.Tensor], bool]) -> tuple[list[Node], list[Node], str] | None:
    """The `operators` that lead from one int8 tensor to `node`: (nodes in order of execution, the values that they
    start from, the tensor's name); None where other operators, several tensors or none lead there.

    allowed: says of an operator and one of its constants whether they may be part of it.
    """
    chain: list[Node] = []
    roots: list[Node] = []
    if not _collect(imp, node, operators, allowed, chain, roots) or not chain:
        return None
    names = {imp.operand(root) for root in roots}
    return (chain, roots, names.pop()) if len(names) == 1 else None


def _collect(imp, node: Node, operators: tuple, allowed, chain: list[Node], roots: list[Node]) -> bool:
    if node in chain or node in roots:
        return True
    if imp.operand(node) is not None:
        roots.append(node)
        return True
    if node.target not in operators:
        return False
    for argument in (*node.args, *node.kwargs.values()):
        if isinstance(argument, Node):
            constant = imp.parameter(argument)
            if not allowed(node, constant) if constant is not None else not _collect(
                    imp, argument, operators, allowed, chain, roots):
                return False
    chain.append(node)
    return True


def evaluate(imp, chain: list[Node], values: dict[Node, torch.Tensor], lines: bool = False) -> torch.Tensor:
    """What PyTorch makes of `values` of the chain's roots; with `lines` in float64 and without the clamps."""
    env = dict(values)

    def evaluated(node: Node, argument):
        if not isinstance(argument, Node):
            return argument
        value = env[argument] if argument in env else imp.parameter(argument)
        if argument not in env and value.numel() == 1 and node.target not in NORMALIZATIONS:
            value = value.reshape(())
        if lines and value.is_floating_point():
            value = value.double()
        return value.clone()  # some operators work in place

    with torch.no_grad():
        for node in chain:
            arguments = [evaluated(node, a) for a in node.args]
            named = {name: evaluated(node, a) for name, a in node.kwargs.items()}
            env[node] = arguments[0] if lines and node.target in ACTIVATIONS else node.target(*arguments, **named)
    return env[chain[-1]]
