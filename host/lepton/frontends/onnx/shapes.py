"""Operators that change the shape only, or read it."""

from collections.abc import Sequence
from math import prod

import numpy as np

from .node import OnnxNode, source_of
from .operands import with_shape
from .values import Constant


def _to_shape(node: OnnxNode, shape: Sequence[int]) -> None:
    source = source_of(node)
    if any(n < 1 for n in shape) or prod(shape) != prod(source.shape):
        raise node.error(f"a tensor of shape {source.shape} cannot become {tuple(shape)}")
    node.set(source.moved(with_shape(source.tensor, shape)))


def reshape(node: OnnxNode) -> None:
    """Reshape: 0 copies a dimension, -1 is inferred from the number of elements."""
    old = node.settled().shape
    target = node.constant(1, "the shape").ravel().tolist()
    if not node.flag("allowzero"):
        if any(n == 0 and i >= len(old) for i, n in enumerate(target)):
            raise node.error(f"the shape {target} copies dimensions that {old} does not have")
        target = [old[i] if n == 0 else n for i, n in enumerate(target)]
    if target.count(-1) == 1:  # more than one is refused below, as a negative dimension
        known = -prod(target)
        target = [(prod(old) // known if known > 0 else 0) if n == -1 else n for n in target]
    _to_shape(node, target)


def flatten(node: OnnxNode) -> None:
    shape = node.settled().shape
    axis = node.given.get("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise node.error(f"axis {axis} is outside the {len(shape)} dimensions of the input")
    axis = axis + len(shape) if axis < 0 else axis
    _to_shape(node, (prod(shape[:axis]), prod(shape[axis:])))


def squeeze(node: OnnxNode) -> None:
    """Without axes all dimensions of 1."""
    shape = node.settled().shape
    axes = {node.axis(axis, len(shape)) for axis in node.axes() or [i for i, n in enumerate(shape) if n == 1]}
    _to_shape(node, tuple(n for i, n in enumerate(shape) if i not in axes))


def unsqueeze(node: OnnxNode) -> None:
    """The axes are those of the result."""
    shape = node.settled().shape
    stated = node.axes() or []
    rank = len(shape) + len(stated)
    axes = {node.axis(axis, rank) for axis in stated}
    rest = iter(shape)  # ends early where an axis is named twice; the shape is refused then
    _to_shape(node, tuple(1 if i in axes else next(rest, 0) for i in range(rank)))


def same(node: OnnxNode) -> None:
    """Identity."""
    node.set(node.value())


def dropout(node: OnnxNode) -> None:
    """Does nothing in inference."""
    training = node.optional(2, "training_mode")
    if training is not None and training.any():
        raise node.error("it is in training mode; export the network for inference")
    node.set(node.value())


def shape_of(node: OnnxNode) -> None:
    """Shape, which is known at import: from `start` to `end`, which opset 15 has added."""
    shape = node.settled().shape[node.given.get("start", 0):node.given.get("end")]
    node.set(Constant(np.array(shape).astype(np.int64)))


def size_of(node: OnnxNode) -> None:
    """The number of elements."""
    node.set(Constant(np.array(prod(node.settled().shape)).astype(np.int64)))
