"""The graph on the CPU: every operator computes exactly what the framework that the network comes from does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from . import lookup
from .core import Arithmetic, Call, Graph, Op, OperandList, Tensor
from .numerics import torch_kernels


def compute(op: Op, arithmetic: Arithmetic, inputs: Sequence[Tensor | None], values: Sequence[np.ndarray | None],
            output: Tensor) -> np.ndarray:
    """The result of one operator: a contiguous array of `output`'s shape and type."""
    call = Call(arithmetic, OperandList(inputs), output, OperandList(values))
    if op.one_image and call.x.ndim == 4 and len(call.x) > 1:
        one = replace(output, shape=(1, *output.shape[1:]))
        rest = call.values.items[1:]
        return np.concatenate([compute(op, arithmetic, inputs, [image[None], *rest], one) for image in call.x])
    result = torch_kernels.run(op, call)
    if result is None:
        result = lookup.run(op, call)
    if result is None:
        result = op.compute(call)
    return np.require(np.broadcast_to(result, output.shape), output.dtype, "C")  # ascontiguousarray has no scalars


def operands(inputs: Sequence[Tensor | None], values: Mapping[str, np.ndarray]) -> list[np.ndarray | None]:
    """The arrays of `inputs`: constants' own data, others by name from `values`; None for an operand left out."""
    tensors = OperandList(inputs).items
    return [None if t is None else t.data if t.data is not None else values[t.name] for t in tensors]


def evaluate(network: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor that `network` computes, by name, and its inputs: what compiled programs are compared with."""
    values = dict(inputs)
    for node in network.nodes:
        tensors = network.operands(node)
        output = network.result(node)
        values[output.name] = compute(node.op, network.arithmetic, tensors, operands(tensors, values), output)
    return values
