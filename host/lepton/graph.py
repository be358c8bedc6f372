"""The graph between front ends and compiler: int8 networks with TFLite's semantics (design D1).

Activations are NHWC. A front end builds a `Graph`; the compiler only reads it.
Operators say what TFLite's reference kernels compute, with paddings made
explicit and fused activations turned into clamp ranges.
"""

from dataclasses import dataclass, field

import numpy as np


class GraphError(ValueError):
    """The network is malformed, or uses something that is not supported; the text says what is."""


@dataclass(frozen=True, eq=False)
class Quantization:
    """real = scale * (q - zero_point); arrays of shape (1,) or, along `axis`, (channels,).

    `scale` is float32 as the files hold it, `zero_point` int32.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None


@dataclass(eq=False)
class Tensor:
    """A value in the graph; `data` is set for constants."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    quantization: Quantization | None = None
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Op:
    """Base of the operators. Inputs and outputs are named in the node."""


@dataclass(frozen=True)
class Conv2D(Op):
    """inputs: x (1,H,W,C), weights int8 (O,Kh,Kw,C/groups), bias int32 (O,) or none."""

    stride: tuple[int, int] = (1, 1)  # (y, x), as all pairs here
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))  # (top, bottom), (left, right)
    groups: int = 1
    clamp: tuple[int, int] = (-128, 127)  # on the quantized output


@dataclass(frozen=True)
class DepthwiseConv2D(Op):
    """inputs: x (1,H,W,C), weights int8 (1,Kh,Kw,C*multiplier), bias int32 (C*multiplier,) or none."""

    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    multiplier: int = 1
    clamp: tuple[int, int] = (-128, 127)


@dataclass(frozen=True)
class FullyConnected(Op):
    """inputs: x (1,I) or any shape of I elements, weights int8 (O,I), bias int32 (O,) or none."""

    clamp: tuple[int, int] = (-128, 127)


@dataclass(frozen=True)
class MaxPool2D(Op):
    """input: x (1,H,W,C); padding takes no part in the maximum."""

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    clamp: tuple[int, int] = (-128, 127)


@dataclass(frozen=True)
class AveragePool2D(Op):
    """input: x (1,H,W,C); padding is not counted; input and output have the same quantization."""

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    clamp: tuple[int, int] = (-128, 127)


@dataclass(frozen=True)
class Mean(Op):
    """input: x (1,H,W,C); mean over H and W, requantized (TFLite MEAN)."""


@dataclass(frozen=True)
class Add(Op):
    """inputs: a, b of the same shape (TFLite ADD)."""

    clamp: tuple[int, int] = (-128, 127)


@dataclass(frozen=True)
class Reshape(Op):
    """input: x; the same elements in NHWC order."""


@dataclass(frozen=True)
class Softmax(Op):
    """input: x (..., C); over the last axis (TFLite SOFTMAX int8)."""

    beta: float = 1.0


@dataclass(eq=False)
class Node:
    """One operator applied to named tensors; a missing bias is the empty name."""

    op: Op
    inputs: list[str]
    outputs: list[str]
    name: str = ""


@dataclass(eq=False)
class Graph:
    """A network: nodes in execution order over named tensors."""

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
