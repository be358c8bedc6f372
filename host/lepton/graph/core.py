"""Operators, nodes and the graph that holds them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .operands import (
    FULL,
    Arithmetic,
    Call,
    GraphError,
    Kernel,
    OperandList,
    Padding,
    Pair,
    Quantization,
    Shape,
    Signature,
    Tensor,
)

__all__ = ["FULL", "Arithmetic", "Call", "Graph", "GraphError", "Kernel", "NetworkState", "Node", "Op", "OperandList",
           "Padding", "Pair", "Quantization", "Shape", "Signature", "Tensor"]


@dataclass(frozen=True)
class Op(ABC):
    """Base of the operators. A subclass is the one description of an operator; its fields are the attributes.

    Its methods raise `GraphError` without naming the node; callers add it.
    """

    operands: ClassVar[Pair] = (1, 1)  # fewest and most; optional ones are the last
    keeps_quantization: ClassVar[bool] = False  # the output has the first input's scale and zero point
    elementwise: ClassVar[bool] = False  # an output element depends on those at its index alone; operands broadcast
    rearranges: ClassVar[bool] = False  # each element of the output is one of the first input
    reorders: ClassVar[bool] = False  # the output has each element of the input once
    quantizes: ClassVar[bool] = False  # real numbers to integers, by the output's scale and zero point
    dequantizes: ClassVar[bool] = False  # integers to real numbers, by the input's scale and zero point
    tabulates: ClassVar[tuple[type, ...]] = ()  # operand types for which passes may make it a `Table`
    one_image: ClassVar[bool] = False  # `compute` takes one image (1, H, W, C) at a time

    # Fields of some operators (see `ops`), with their values for the others. Without annotations, since dataclasses
    # would make fields of them.
    clamp = FULL  # no clamp
    unsigned = False

    @abstractmethod
    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        """Shape and data type of the output. Raises `GraphError` where the inputs do not fit each other."""

    def check(self, signature: Signature) -> None:  # noqa: B027 (operators may demand nothing)
        """Raises `GraphError` where quantization, data types or attributes are not what the framework demands."""

    @abstractmethod
    def compute(self, call: Call) -> np.ndarray:
        """The result as the framework computes it, of (or broadcast to) the output's shape and type."""

    def looked_up(self, signature: Signature) -> bool:
        """True where `compute` of two 8-bit operands is slower than a look-up in a table of its results (`lookup`)."""
        return False

    def macs(self, signature: Signature) -> int:
        """Multiplications of the network's own arithmetic; 0 for operators that only compare, add or move."""
        return 0

    def byte_map(self) -> bytes | None:
        """256 results, indexed by the unsigned byte, of an operator that maps every byte of its first input by itself
        and keeps their order; None for other operators."""
        return None

    def permuted(self, order: tuple[int, ...]) -> "Op | None":
        """The operator for a first input with its axes permuted: axis i of this one's is axis order[i] of that.

        The output's axes are permuted in the same way, less `dropped_axes`. None where there is no such operator.
        """
        return None

    def padded(self, border: Padding) -> "Op | None":
        """The operator for images that still lack `border`, rows and columns of the zero point; None where there is
        no such operator."""
        return None

    def layout_matters(self, signature: Signature) -> bool:
        """True where the order of the axes in memory changes the result, as it does for the framework's sums of floats.
        """
        return False

    def dropped_axes(self, inputs: OperandList[Tensor]) -> set[int]:
        """Axes of the first input that the output does not have."""
        return set()

    def limits(self, dtype: np.dtype) -> Pair:
        """Smallest and largest quantized result."""
        info = np.iinfo(dtype)
        return (int(info.min), int(info.max)) if self.clamp == FULL else self.clamp


@dataclass(eq=False)
class Node:
    """One operator applied to named tensors; a missing bias is the empty name."""

    op: Op
    inputs: list[str]
    outputs: list[str]
    name: str = ""

    @property
    def label(self) -> str:
        """How errors name the node."""
        return f"{type(self.op).__name__} {self.name or self.outputs[0]!r}"


@dataclass(frozen=True, eq=False)
class NetworkState:
    """A value that a network keeps from one execution to the next, such as the history of a streaming network.

    `read` is the input that holds it during an execution, `written` the output that holds it afterwards; both have one
    shape, type and quantization. So the graph itself stays a function: who executes it hands the value on.
    """

    name: str
    read: str
    written: str
    initial: np.ndarray  # at the first execution, as `read` is stored


@dataclass(eq=False)
class Graph:
    """A network: nodes in execution order over named tensors.

    `inputs` and `outputs` include those of `states`; `caller_inputs` and `caller_outputs` are the others.
    `notes`: remarks of the front end about the results, one sentence for each node concerned.
    """

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    arithmetic: Arithmetic = Arithmetic.FIXED
    notes: list[str] = field(default_factory=list)
    states: list[NetworkState] = field(default_factory=list)

    @property
    def caller_inputs(self) -> list[str]:
        """Inputs that the caller gives at each execution."""
        kept = {state.read for state in self.states}
        return [name for name in self.inputs if name not in kept]

    @property
    def caller_outputs(self) -> list[str]:
        """Outputs that the caller gets from each execution."""
        kept = {state.written for state in self.states}
        return [name for name in self.outputs if name not in kept]

    def operands(self, node: Node) -> OperandList[Tensor]:
        """The tensors that `node` reads."""
        return OperandList(self.tensors[name] if name else None for name in node.inputs)

    def result(self, node: Node) -> Tensor:
        """The tensor that `node` makes."""
        return self.tensors[node.outputs[0]]

    def signature(self, node: Node) -> Signature:
        """The use of its operator that `node` is."""
        return Signature(self.arithmetic, self.operands(node), self.result(node))
