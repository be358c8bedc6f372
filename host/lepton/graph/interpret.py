"""The graph on the CPU: every operator computes exactly what the network's framework computes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from . import lookup
from .core import Arithmetic, Call, Graph, Kernel, Op, OperandList, Tensor
from .numerics import torch_kernels
from .operands import Later


class Prepared:
    """What computes one use of an operator: the arrays of the inputs to a contiguous array of the output's shape and
    type. Threads may share it. `later` has what is quicker, from the first execution on."""

    __slots__ = ("_first", "later")

    def __init__(self, first: Kernel, later: Later) -> None:
        self._first = first
        self.later = later

    def __call__(self, values: Sequence[np.ndarray | None]) -> np.ndarray:
        return (self.later.kernel or self._first)(values)


def prepare(op: Op, arithmetic: Arithmetic, inputs: Sequence[Tensor | None], output: Tensor,
            often: bool = True) -> Prepared:
    """What computes one use of an operator from arrays of the shapes of the tensors `inputs`.

    `often`: it is worth half a second at the first execution to load compiled loops for small operands too.
    """
    inputs = OperandList(inputs).items
    if _batch(op, inputs) > 1:
        return Prepared(_each_image(op, arithmetic, inputs, output, often), Later())
    shape = tuple(output.shape)
    dtype = np.dtype(output.dtype)
    template = Call(arithmetic, OperandList(inputs), output, OperandList(()), often)
    tabulated = op.looked_up(template) and (often or prod(shape) >= lookup.WORTH)
    own = template.torch
    _ = template.fixed, template.quantized, template.traffic  # kept for all executions

    def kernel(values: Sequence[np.ndarray | None]) -> np.ndarray:
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

    return Prepared(kernel, template.later)


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
    with them. States that `inputs` does not give have their initial values."""
    values = {state.read: state.initial for state in network.states} | dict(inputs)
    for node in network.nodes:
        tensors = network.operands(node)
        output = network.result(node)
        values[output.name] = compute(node.op, network.arithmetic, tensors, operands(tensors, values), output)
    return values


def sequence(network: Graph, feeds: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """`evaluate` for one execution after the other, each with the states that the one before it left."""
    kept: dict[str, np.ndarray] = {}
    for inputs in feeds:
        values = evaluate(network, {**kept, **inputs})
        kept = {state.read: values[state.written] for state in network.states}
        yield values
