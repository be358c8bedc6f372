"""Functions of one int8 value, as tables that PyTorch itself computes."""

import torch
from torch.fx import Node

from lepton.graph import Table

from .quantizer import ACTIVATIONS, UNARY

aten = torch.ops.aten

_ARITHMETIC = (aten.add.Tensor, aten.add_.Tensor, aten.sub.Tensor, aten.sub_.Tensor, aten.mul.Tensor, aten.mul_.Tensor,
               aten.div.Tensor, aten.add.Scalar, aten.mul.Scalar, aten.pow.Tensor_Scalar, aten.sqrt.default,
               aten.rsub.Scalar, aten.maximum.default, aten.minimum.default, aten.reciprocal.default,
               aten.square.default)
POINTWISE = (*UNARY, *ACTIVATIONS, *_ARITHMETIC)


def table(imp, quantize: Node, output: str, label: str) -> bool:
    """Emits a Table if the value to be quantized is a function of one int8 value; False otherwise.

    PyTorch itself computes the 256 results.
    """
    chain, roots = [], []
    if not _collect(imp, quantize.args[0], chain, roots):
        return False
    names = {imp.operand(root) for root in roots}
    if len(names) != 1 or not chain:
        return False
    (name,) = names
    if imp.tensor(name).shape != imp.tensor(output).shape:
        return False
    q = imp.tensor(name).quantization
    steps = torch.arange(-128, 128, dtype=torch.int8)
    reals = (steps.to(torch.int32) - int(q.zero_point[0])).to(torch.float32) * float(q.scale[0])
    env = dict.fromkeys(roots, reals)

    def evaluated(argument):
        if isinstance(argument, Node):
            return env[argument] if argument in env else imp.parameter(argument).reshape(())
        return argument

    with torch.no_grad():
        for node in chain:
            # a copy: some operators work in place
            arguments = [a.clone() if isinstance(a, torch.Tensor) else a for a in map(evaluated, node.args)]
            env[node] = node.target(*arguments, **node.kwargs)
        values = quantize.target(env[quantize.args[0]], *(imp.made[a] if isinstance(a, Node) else a
                                                          for a in quantize.args[1:]))
    imp.emit(Table(values.numpy().tobytes()), [name], output, label)
    return True


def _collect(imp, node: Node, chain: list[Node], roots: list[Node]) -> bool:
    """The pointwise nodes that lead from int8 values (`roots`) to `node`, in order of execution."""
    if node in chain or node in roots:
        return True
    if imp.operand(node) is not None:
        roots.append(node)
        return True
    if node.target not in POINTWISE:
        return False
    for argument in node.args:
        if isinstance(argument, Node):
            constant = imp.parameter(argument)
            if (constant is not None and constant.numel() != 1) or (
                    constant is None and not _collect(imp, argument, chain, roots)):
                return False
    chain.append(node)
    return True
