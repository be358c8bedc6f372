"""Tensors, nodes and the graph that holds them."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np


class GraphError(ValueError):
    """The network is malformed, or uses something that is not supported; the text says what is."""


class Arithmetic(Enum):
    """How the framework that a network comes from brings results to their scale."""

    FIXED = "fixed"  # TFLite's reference kernels: int32 multiplier and shift, computed from double scales
    FLOAT = "float"  # ONNX Runtime: float32 scale, round half to even
    TORCH = "torch"  # PyTorch: float32 reals times 1 / scale, round half to even, then the zero point is added


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
    """A value in the graph; `data` is set for constants.

    Activations that the chip computes with are int8, per-tensor quantized, NHWC. Others (float32, int32, int64,
    uint8, bool) live on the host.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    quantization: Quantization | None = None
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Op:
    """Base of the operators. Inputs and outputs are named in the node."""


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
    arithmetic: Arithmetic = Arithmetic.FIXED
