"""State shared by the converters of operators: the graph under construction, and the values of the module's nodes."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch.fx import Node

from lepton.graph import Arithmetic, Graph, GraphError, Op, Quantization, Shape, Tensor
from lepton.graph.builder import GraphBuilder, Value

from .execution import Execution
from .images import Images
from .nodes import Arguments, described, module_of, name_of
from .qdq import QDQ


class ImportContext(ABC):
    """Builds the graph named `name`, which computes what the module of `execution` computes."""

    def __init__(self, execution: Execution, name: str):
        self.execution = execution
        self.graph = Graph(name, arithmetic=Arithmetic.TORCH)
        self.builder = GraphBuilder(self.graph)
        self.images = Images(self.builder)
        self._members = Counter(module_of(node) for node in execution.module.graph.nodes
                                if node.op == "call_function" and node.target not in QDQ)

    # Values of nodes

    @abstractmethod
    def operand(self, node: Node) -> Value | None:
        """The int8 value that the float value of `node` is the dequantization of; None where there is none."""

    @abstractmethod
    def value(self, node: Node) -> Value:
        """The value of `node` as PyTorch has it, computed on the host where it must be."""

    def operands(self, nodes: Sequence[object]) -> list[Value] | None:
        """The int8 values of all nodes; None where one has none, or is a number."""
        found = [self.operand(node) if isinstance(node, Node) else None for node in nodes]
        values = [value for value in found if value is not None]
        return values if len(values) == len(found) else None

    def arguments(self, node: Node) -> Arguments:
        return self.execution.arguments(node)

    # Names

    def label(self, node: Node) -> str:
        """What to call the node's operator: its module's path where the module has no other, else its own name.

        The number that a layer of a Sequential has for a name is followed by the operator: "0.conv2d".
        """
        path = module_of(node)
        if not path or self._members[path] != 1:
            return node.name
        return f"{path}.{name_of(node)}" if path.rpartition(".")[2].isdigit() else path

    def at(self, node: Node, label: str = "") -> GraphBuilder:
        """The builder, which names what it emits after `label`, or the node, and says of errors that they are its."""
        self.builder.label = label or node.name
        self.builder.where = described(node)
        return self.builder

    # Tensors and operators

    def declare(self, name: str, shape: Shape, dtype: np.dtype, quantization: Quantization | None = None) -> Tensor:
        """A new tensor of the graph; the operator that makes it must be added."""
        tensor = Tensor(self.builder.unique(name), tuple(map(int, shape)), np.dtype(dtype), quantization)
        self.graph.tensors[tensor.name] = tensor
        return tensor

    def constant(self, name: str, data: np.ndarray, quantization: Quantization | None = None) -> Value:
        """Raises GraphError for an array without elements."""
        if not data.size:
            raise GraphError(f"{name!r} of shape {data.shape} has no elements; leave it out of the module")
        return self.builder.constant(data, name, quantization)

    def host(self, op: Op, inputs: Sequence[Value], node: Node) -> Value:
        """Emits an operator of the host, or a move, whose value is the node's."""
        self.execution.tensor(node)  # must have elements
        return self.at(node).emit(op, inputs, node.name)


def dtype_of(tensor: torch.Tensor) -> np.dtype:
    """numpy's data type of the same name."""
    return np.dtype(name_of_dtype(tensor))


def name_of_dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
