"""The graph on the CPU: every operator computes exactly what the network's framework computes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from . import lookup
from .core import Arithmetic, Call, Graph, Kernel, Op, OperandList, Tensor
from .numerics import torch_kernels
from .operands import NEXT


def prepare(op: Op, arithmetic: Arithmetic, inputs: Sequence[Tensor | None], output: Tensor,
            often: bool = True) -> Kernel:
    """What computes one use of an operator: the arrays of `inputs` to a contiguous array of `output`'s shape and type.

    Arrays have the tensors' shapes. Threads may share it. `often`: it is worth half a second at the first execution to
    load compiled loops for small operands too.
    """
    inputs = OperandList(inputs).items
    shape = tuple(output.shape)
    dtype = np.dtype(output.dtype)
    template = Call(arithmetic, OperandList(inputs), output, OperandList(()), often)
    tabulated = op.looked_up(template) and (often or prod(shape) >= lookup.WORTH)
    own = template.torch
    _ = template.fixed, template.quantized, template.traffic  # kept for all executions

    kept = template.kept

    def kernel(values: Sequence[np.ndarray | None]) -> np.ndarray:
        following = kept.get(NEXT)
        if following is not None:
            made: np.ndarray = following(values)  # type: ignore[operator]  # a `Kernel`, see `Call.continue_with`
            return made
        call = template.of(values)
        result = torch_kernels.run(op, call) if own else None
        if result is None and tabulated:
            result = lookup.run(op, call)
        if result is None:
            result = op.compute(call)
        # numpy's functions make scalars, not arrays, of arrays without dimensions.
        if isinstance(result, np.ndarray) and result.shape == shape and result.dtype == dtype:
            return result if result.flags.c_contiguous else np.ascontiguousarray(result)
        # Not ascontiguousarray, which gives arrays without dimensions one.
        return np.require(np.broadcast_to(result, shape), dtype, "C")

    return _each_image(op, arithmetic, inputs, output, often) if _batch(op, inputs) > 1 else kernel


def _batch(op: Op, inputs: Sequence[Tensor | None]) -> int:
    """Images that are computed one after the other."""
    x = inputs[0]
    return int(x.shape[0]) if op.one_image and x is not None and len(x.shape) == 4 else 1


def _each_image(op: Op, arithmetic: Arithmetic, inputs: Sequence[Tensor | None], output: Tensor, often: bool) -> Kernel:
    x = inputs[0]
    assert x is not None
    one = prepare(op, arithmetic, [replace(x, shape=(1, *x.shape[1:])), *inputs[1:]],
                  replace(output, shape=(1, *output.shape[1:])), often)

    def kernel(values: Sequence[np.ndarray | None]) -> np.ndarray:
        images = values[0]
        assert images is not None
        return np.concatenate([one([image[None], *values[1:]]) for image in images])
    return kernel


def compute(op: Op, arithmetic: Arithmetic, inputs: Sequence[Tensor | None], values: Sequence[np.ndarray | None],
            output: Tensor) -> np.ndarray:
    """The result of one operator: a contiguous array of `output`'s shape and type.

    The arrays may have other shapes than the tensors, which then say how these are quantized: passes compute tables of
    all values so.
    """
    arrays = OperandList(values).items
    shaped = [t if t is None or v is None or tuple(t.shape) == v.shape else replace(t, shape=v.shape)
              for t, v in zip(OperandList(inputs).items, arrays, strict=True)]
    return prepare(op, arithmetic, shaped, output, often=False)(arrays)


def operands(inputs: Sequence[Tensor | None], values: Mapping[str, np.ndarray]) -> list[np.ndarray | None]:
    """The arrays of `inputs`: constants' own data, others by name from `values`; None for an operand left out."""
    tensors = OperandList(inputs).items
    return [None if t is None else t.data if t.data is not None else values[t.name] for t in tensors]


def evaluate(network: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The values of all tensors that `network` computes, and of its inputs, by name. Tests compare compiled programs
    with them."""
    values = dict(inputs)
    for node in network.nodes:
        tensors = network.operands(node)
        output = network.result(node)
        values[output.name] = compute(node.op, network.arithmetic, tensors, operands(tensors, values), output)
    return values
