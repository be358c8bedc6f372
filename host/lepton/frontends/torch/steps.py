"""What the float operators of the host are made of."""

import numpy as np
import torch
from torch.fx import Node

from lepton.graph import GraphError, Op, Reduce, Slice


class Steps:
    """Emits float32 steps that together are one PyTorch operator."""

    def __init__(self, imp, node: Node):
        self.imp, self.node = imp, node

    def operand(self, argument) -> str:
        if isinstance(argument, Node):
            return self.imp.value(argument)
        if isinstance(argument, int | float):
            return self.imp.constant(f"{self.node.name}/constant", np.array(argument, np.float32))
        raise self.error(f"an operand must be a tensor or a number, not {argument!r}")

    def do(self, op: Op, *inputs: str, shape=None) -> str:
        shapes = [self.imp.tensor(name).shape for name in inputs]
        shape = np.broadcast_shapes(*shapes) if shape is None else shape
        return self.imp.emit(op, list(inputs), self.imp.add(self.node.name, shape, np.float32), self.node.name)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.imp.tensor(name).shape

    @property
    def made(self) -> torch.Tensor:
        """What PyTorch makes of the example."""
        return self.imp.made[self.node]

    def error(self, text: str) -> GraphError:
        return GraphError(f"{self.imp.where(self.node)}: {text}")

    def reduced(self, kind: str, name: str, axes: tuple[int, ...]) -> str:
        """Dimensions are kept, at 1."""
        shape = [1 if axis in axes else n for axis, n in enumerate(self.shape(name))]
        return self.do(Reduce(kind, axes, True), name, shape=shape)

    def part(self, name: str, axis: int, index: int, count: int) -> str:
        """One of `count` equal parts along an axis."""
        shape = list(self.shape(name))
        begin, end = [0] * len(shape), list(shape)
        shape[axis] //= count
        begin[axis], end[axis] = index * shape[axis], (index + 1) * shape[axis]
        return self.do(Slice(tuple(begin), tuple(end), (1,) * len(shape)), name, shape=shape)
