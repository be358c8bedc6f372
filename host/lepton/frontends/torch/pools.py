"""Pools and the like in float32: of values that are not int8, and those whose averages the chip does not have."""

import numpy as np
import torch

from lepton.graph import MatMul, MaxPool2D, Reduce

from .importer import image_shape
from .layers import pool_window
from .steps import Steps

aten = torch.ops.aten


def _grid(steps: Steps, x: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Height and width of input and output; of (N, C, W) the height is 1."""
    shape = steps.shape(x)
    if len(shape) not in (3, 4):
        raise steps.error(f"the input must be (batch, channels, height, width) or (batch, channels, width), "
                          f"not {shape}")
    return image_shape(shape)[2:], image_shape(tuple(steps.made.shape))[2:]


def _weighted(steps: Steps, x: str, rows: np.ndarray, columns: np.ndarray) -> str:
    """Averages as products with matrices (outputs, inputs), one for each axis."""
    if len(steps.shape(x)) == 3:
        turned = steps.imp.constant(f"{steps.node.name}/columns", np.array(columns.T, np.float32, order="C"))
        return steps.do(MatMul(), x, turned, shape=tuple(steps.made.shape))
    n, c, _, width = steps.shape(x)
    rows = steps.imp.constant(f"{steps.node.name}/rows", np.array(rows, np.float32))
    x = steps.do(MatMul(), rows, x, shape=(n, c, steps.shape(rows)[0], width))
    turned = steps.imp.constant(f"{steps.node.name}/columns", np.array(columns.T, np.float32, order="C"))
    return steps.do(MatMul(), x, turned, shape=tuple(steps.made.shape))


def _adaptive(steps: Steps, x, size) -> str:
    """Every output is the average of inputs from floor to ceil of its share."""
    x, matrices = steps.operand(x), []
    for n, m in zip(*_grid(steps, x), strict=True):
        matrix = np.zeros((m, n))
        for i in range(m):
            begin, end = i * n // m, -(-(i + 1) * n // m)
            matrix[i, begin:end] = 1 / (end - begin)
        matrices.append(matrix)
    return _weighted(steps, x, *matrices)


def _average(steps: Steps, x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True,
             divisor_override=None) -> str:
    x = steps.operand(x)
    (sizes, made), w = _grid(steps, x), pool_window(len(steps.shape(x)), kernel, stride, padding)
    matrices = []
    for n, m, k, s, p in zip(sizes, made, *w, strict=True):
        matrix = np.zeros((m, n))
        for i in range(m):
            begin = i * s - p
            end = min(begin + k, n + p)  # windows may hang over the far edge of the padding (ceil_mode)
            inside = max(begin, 0), min(end, n)
            count = end - begin if count_include_pad else inside[1] - inside[0]
            matrix[i, slice(*inside)] = 1 if divisor_override else 1 / count
        matrices.append(matrix)
    if divisor_override:
        matrices[1] /= divisor_override
    return _weighted(steps, x, *matrices)


def _max(steps: Steps, x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False) -> str:
    x = steps.operand(x)
    rank = len(steps.shape(x))
    (sizes, made), (kernel, strides, paddings) = _grid(steps, x), pool_window(rank, kernel, stride, padding)
    if dilation not in (1, [1], [1, 1]):
        raise steps.error(f"the dilation of a pool must be 1, not {dilation}")
    pads = tuple((p, max((m - 1) * s + k - n - p, 0))
                 for n, m, k, s, p in zip(sizes, made, kernel, strides, paddings, strict=True))
    output = steps.imp.add(steps.node.name, tuple(steps.made.shape), np.float32)
    return steps.imp.image(MaxPool2D(kernel, strides, pads), [x], output, steps.node.name)


def _adaptive_max(steps: Steps, x, size) -> str:
    x = steps.operand(x)
    sizes, made = _grid(steps, x)
    if any(n % m for n, m in zip(sizes, made, strict=True)):
        raise steps.error(f"an image of {sizes} pixels must divide into {made}; use a size that does, or max_pool2d")
    kernel = tuple(n // m for n, m in zip(sizes, made, strict=True))
    output = steps.imp.add(steps.node.name, tuple(steps.made.shape), np.float32)
    return steps.imp.image(MaxPool2D(kernel, kernel), [x], output, steps.node.name)


def _extreme(kind: str):
    def along(steps: Steps, x, axis, keep=False) -> str:
        x = steps.operand(x)
        op = Reduce(kind, (int(axis) % len(steps.shape(x)),), bool(keep))
        return steps.do(op, x, shape=tuple(steps.made.shape))

    return along


POOLS = {aten.avg_pool2d: _average, aten.avg_pool1d: _average, aten.max_pool2d: _max, aten.max_pool1d: _max,
         aten.adaptive_avg_pool2d: _adaptive, aten.adaptive_avg_pool1d: _adaptive}
# Operators with a second result, the places, of which only the first is supported.
FIRST_RESULTS = {aten.adaptive_max_pool2d.default: _adaptive_max, aten.adaptive_max_pool1d.default: _adaptive_max,
                 aten.max_pool2d_with_indices.default: _max, aten.max.dim: _extreme("max"),
                 aten.min.dim: _extreme("min")}
