"""A graph under construction: names, constants, and nodes whose outputs are what their operators infer.

    b = GraphBuilder(Graph("net", arithmetic=Arithmetic.FLOAT))
    x = b.input("x", (1, 8), np.float32)
    y = x * (x * 1.702).sigmoid()          # a `Value` each; numbers become constants
    b.output(y, "y")

Front ends and passes build with it; composites (`composites`, `moves`) are written on values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from . import ops
from .core import Graph, GraphError, Node, Op, OperandList, Quantization, Shape, Signature, Tensor
from .interpret import compute, operands


class GraphBuilder:
    """Adds to `graph`. `label` names the nodes that are emitted and, where no name is given, their outputs; `where`
    goes before the text of errors. A front end sets both for each operator of its network.

    `fold_bytes`: results of operators on constants alone become constants up to this size.
    """

    def __init__(self, graph: Graph, fold_bytes: int = 0):
        self.graph = graph
        self.fold_bytes = fold_bytes
        self.label = ""
        self.where = ""
        self._suffixes: dict[str, int] = {}  # name that is taken -> the next number to try

    def unique(self, name: str) -> str:
        """`name`, followed by a number where a tensor has it already."""
        candidate = name
        while candidate in self.graph.tensors:
            number = self._suffixes[name] = self._suffixes.get(name, 0) + 1
            candidate = f"{name}.{number}"
        return candidate

    def value(self, name: str) -> "Value":
        """A tensor of the graph. Raises KeyError where there is none."""
        return Value(self, self.graph.tensors[name])

    def input(self, name: str, shape: Shape, dtype: Any, quantization: Quantization | None = None) -> "Value":
        """A new input of the network."""
        self.graph.inputs.append(name)
        return self._add(Tensor(name, tuple(map(int, shape)), np.dtype(dtype), quantization))

    def constant(self, data: Any, name: str = "", quantization: Quantization | None = None) -> "Value":
        """A new constant; `data` is copied, and cannot be changed afterwards."""
        data = np.array(data, order="C")  # keeps numbers without dimensions
        data.flags.writeable = False
        name = self.unique(name or (f"{self.label}.constant" if self.label else "constant"))
        return self._add(Tensor(name, data.shape, data.dtype, quantization, data))

    def emit(self, op: Op, inputs: Sequence["Value | None"], name: str = "",
             quantization: Quantization | None = None, output: Tensor | None = None) -> "Value":
        """Appends a node; the value of its output, of the shape and type that the operator infers.

        name: of the output. quantization: that of the output; operators that only move or compare keep that of their
        first input. output: a tensor that the network declares, in place of a new one. Raises `GraphError` where the
        inputs do not fit each other, or `output` is declared otherwise.
        """
        tensors = OperandList(None if value is None else value.tensor for value in inputs)
        try:
            shape, dtype = op.infer(tensors)
        except GraphError as error:
            raise self.error(str(error)) from None
        if output is None:
            if quantization is None and op.keeps_quantization:
                quantization = tensors[0].quantization
            output = Tensor(self.unique(name or self.label or type(op).__name__), shape, dtype, quantization)
        elif (tuple(output.shape), np.dtype(output.dtype)) != (shape, dtype):
            raise self.error(f"output {output.name!r} is declared as {output.dtype} {tuple(output.shape)}, the "
                             f"operator makes {dtype} {shape}")
        if all(t.data is not None for t in tensors.given) and prod(shape) * dtype.itemsize <= self.fold_bytes:
            try:  # the verifier sees nodes only, and this one is not to become one
                op.check(Signature(self.graph.arithmetic, tensors, output))
            except GraphError as error:
                raise self.error(str(error)) from None
            output.data = compute(op, self.graph.arithmetic, tensors, operands(tensors, {}), output)
            output.data.flags.writeable = False
        else:
            names = ["" if value is None else value.name for value in inputs]
            self.graph.nodes.append(Node(op, names, [output.name], self.label or output.name))
        return self._add(output)

    def output(self, value: "Value", name: str) -> None:
        """Makes `value` an output of the network, named `name`: a tensor of its own."""
        like = value.tensor
        self.graph.tensors[name] = Tensor(name, like.shape, like.dtype, like.quantization)
        self.graph.nodes.append(Node(ops.Reshape(like.shape), [like.name], [name], name))
        self.graph.outputs.append(name)

    def error(self, text: str) -> GraphError:
        """An error whose text starts with the place in the network."""
        return GraphError(f"{self.where}: {text}" if self.where else text)

    def _add(self, tensor: Tensor) -> "Value":
        self.graph.tensors[tensor.name] = tensor
        return Value(self, tensor)


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of a graph under construction; operators on values emit nodes.

    A number as the other operand becomes a constant of the value's type.
    """

    builder: GraphBuilder
    tensor: Tensor

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def shape(self) -> Shape:
        return self.tensor.shape

    @property
    def rank(self) -> int:
        return len(self.tensor.shape)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.tensor.dtype)

    @property
    def data(self) -> np.ndarray | None:
        """The values of a constant; None for a computed tensor."""
        return self.tensor.data

    @property
    def quantization(self) -> Quantization | None:
        return self.tensor.quantization

    @property
    def parameters(self) -> Quantization:
        """See `Tensor.parameters`."""
        return self.tensor.parameters

    def operand(self, other: "Value | float | np.ndarray") -> "Value":
        """`other` as a value: numbers and arrays become constants of this one's type."""
        return other if isinstance(other, Value) else self.builder.constant(np.array(other, self.dtype))

    def apply(self, op: Op, *others: "Value | float | np.ndarray") -> "Value":
        """The operator with this value as its first operand."""
        return self.builder.emit(op, [self, *map(self.operand, others)])

    # Element by element

    def __add__(self, other: "Value | float | np.ndarray") -> "Value":
        return self.apply(ops.Add(), other)

    def __sub__(self, other: "Value | float | np.ndarray") -> "Value":
        return self.apply(ops.Sub(), other)

    def __mul__(self, other: "Value | float | np.ndarray") -> "Value":
        return self.apply(ops.Mul(), other)

    def __truediv__(self, other: "Value | float | np.ndarray") -> "Value":
        return self.apply(ops.Div(), other)

    def __neg__(self) -> "Value":
        return self.unary("neg")

    def __matmul__(self, other: "Value") -> "Value":
        return self.apply(ops.MatMul(), other)

    def maximum(self, other: "Value | float | np.ndarray") -> "Value":
        return self.apply(ops.Maximum(), other)

    def minimum(self, other: "Value | float | np.ndarray") -> "Value":
        return self.apply(ops.Minimum(), other)

    def unary(self, kind: str) -> "Value":
        """See `Unary`."""
        return self.apply(ops.Unary(kind))

    def relu(self) -> "Value":
        return self.unary("relu")

    def sigmoid(self) -> "Value":
        return self.unary("sigmoid")

    def cast(self, dtype: Any) -> "Value":
        """See `Cast`; `dtype` is anything that numpy takes for a data type."""
        return self.apply(ops.Cast(np.dtype(dtype).name))

    # Along axes

    def axis(self, axis: int) -> int:
        """Counted from the front. Raises `GraphError` where there is no such axis."""
        if not -self.rank <= axis < self.rank:
            raise self.builder.error(f"axis {axis} is outside the {self.rank} dimensions of the input")
        return axis % self.rank

    def reduce(self, kind: str, axes: Sequence[int], keep_dims: bool = True) -> "Value":
        """See `Reduce`."""
        return self.apply(ops.Reduce(kind, tuple(sorted(map(self.axis, axes))), keep_dims))

    # Moves; one that changes nothing emits no node

    def reshape(self, shape: Sequence[int]) -> "Value":
        shape = tuple(map(int, shape))
        return self if shape == tuple(self.shape) else self.apply(ops.Reshape(shape))

    def transpose(self, order: Sequence[int]) -> "Value":
        order = tuple(order)
        return self if order == tuple(range(self.rank)) else self.apply(ops.Transpose(order))

    def slice(self, axis: int, begin: int, end: int, step: int = 1) -> "Value":
        """numpy's begin:end:step along one axis; end -1 with a step below 0 means before the first."""
        axis = self.axis(axis)
        if (begin, end, step) == (0, self.shape[axis], 1):
            return self
        begins = [0] * self.rank
        ends = list(self.shape)
        steps = [1] * self.rank
        begins[axis] = begin
        ends[axis] = end
        steps[axis] = step
        return self.apply(ops.Slice(tuple(begins), tuple(ends), tuple(steps)))

    def take(self, axis: int, indices: Sequence[int] | np.ndarray) -> "Value":
        """Elements at constant places along an axis."""
        places = self.builder.constant(np.asarray(indices, np.int64), f"{self.builder.label or self.name}.indices")
        return self.apply(ops.Gather(self.axis(axis)), places)
