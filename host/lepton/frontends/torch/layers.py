"""Layers of the chip: convolutions, linear layers, sums, pools and means of int8 values."""

import numpy as np
import torch
from torch.fx import Node

from lepton.graph import (
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    MaxPool2D,
    Mean,
    Quantization,
    Sub,
    TransposeConv2D,
)

from ..geometry import dense_transposed, same_padding
from .context import image_shape, same
from .quantizer import ACTIVATIONS, CONVOLUTIONS, LINEAR, SUMS, TRANSPOSED

aten = torch.ops.aten
_INT32 = 2**31 - 1


def layer(imp, quantize: Node, output: str, label: str) -> bool:
    """Emits the int8 operator between the operands' dequantize nodes and `quantize`; False where there is none."""
    node, bounds = quantize.args[0], [None, None]
    while node.target in ACTIVATIONS and node.target not in LAYERS:
        low, high = _bounds(node)
        bounds = [_tighter(bounds[0], low, max), _tighter(bounds[1], high, min)]
        node = node.args[0]
        if not isinstance(node, Node):
            return False
    if node.target not in LAYERS:
        return False
    q = imp.tensor(output).quantization
    clamp = tuple(default if bound is None else _step(bound, q)
                  for bound, default in zip(bounds, (-128, 127), strict=True))
    return LAYERS[node.target](imp, node, output, imp.label(node), clamp)


def _bounds(node: Node) -> tuple[float | None, float | None]:
    arguments = [*node.args[1:], None, None]
    name = str(node.target).removeprefix("aten.").split(".")[0].rstrip("_")
    if name == "relu":
        return 0.0, None
    if name == "relu6":
        return 0.0, 6.0
    if name == "hardtanh":
        return (-1.0 if arguments[0] is None else arguments[0]), (1.0 if arguments[1] is None else arguments[1])
    if name == "clamp_min":
        return arguments[0], None
    if name == "clamp_max":
        return None, arguments[0]
    return node.kwargs.get("min", arguments[0]), node.kwargs.get("max", arguments[1])


def _tighter(a, b, choose):
    return b if a is None else a if b is None else choose(a, b)


def _step(bound: float, q: Quantization) -> int:
    """The int8 value of a real bound, as PyTorch quantizes it."""
    value = float(torch.round(torch.tensor(bound, dtype=torch.float32) * (1.0 / float(q.scale[0]))))
    return int(min(max(value + int(q.zero_point[0]), -128), 127))


def _pair(value) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    return (pair * 2)[:2]


def _window(value, rank: int, across: int) -> tuple[int, int]:
    """(y, x) of an option of a layer on (N, C, H, W) or, with `across` for y, on (N, C, W)."""
    return _pair(value) if rank == 4 else (across, _pair(value)[1])


def _argument(node: Node, position: int, name: str, default):
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _bias(imp, node: Node, x: str, weights, count: int) -> str | None:
    """int32 bias in steps of input scale times weight scale; None where it is computed."""
    bias = _argument(node, 2, "bias", None)
    if bias is None:
        return ""
    scale, stored = imp.tensor(x).quantization.scale * weights.scale, imp.weights(bias)
    if stored is not None and np.allclose(stored.scale, scale, rtol=1e-5, atol=0):
        steps = stored.data
    else:  # a float bias, of a normalization that training kept apart, or one that several layers share
        values = imp.parameter(bias)
        if values is None:
            return None
        steps = np.rint(values.double().numpy() / scale.astype(np.float64))
    limited = np.clip(np.broadcast_to(steps, count), -_INT32 // 2, _INT32 // 2).astype(np.int32)
    return imp.constant(f"{imp.label(node)}.bias", limited,
                        Quantization(scale.astype(np.float32), np.zeros(scale.shape, np.int32),
                                     0 if scale.size > 1 else None))


def _weighted(imp, node: Node, axis: int, groups: int = 1):
    """(input, weights, bias) of a layer with weights along `axis` of PyTorch's array, for each of `groups`, or None."""
    x, weights = imp.operand(node.args[0]), imp.weights(node.args[1])
    if x is None or weights is None or weights.axis not in (None, axis) or (groups > 1 and weights.axis is not None):
        return None
    bias = _bias(imp, node, x, weights, weights.data.shape[axis] * groups)
    return None if bias is None else (x, weights, bias)


def _constant(imp, node: Node, data: np.ndarray, weights, axis: int) -> str:
    data = np.ascontiguousarray(data)
    data.flags.writeable = False
    axis = axis if weights.scale.size > 1 else None
    return imp.constant(f"{imp.label(node)}.weight", data, Quantization(weights.scale, weights.zero_point, axis))


def _conv2d(imp, node: Node, output: str, label: str, clamp) -> bool:
    parts = _weighted(imp, node, 0)
    if parts is None:
        return False
    x, weights, bias = parts
    rank = len(imp.tensor(x).shape)
    stride, padding = _window(_argument(node, 3, "stride", 1), rank, 1), _argument(node, 4, "padding", 0)
    dilation, groups = _window(_argument(node, 5, "dilation", 1), rank, 1), _argument(node, 6, "groups", 1)
    _, channels, height, width = image_shape(imp.tensor(x).shape)
    data = weights.data.reshape(image_shape(weights.data.shape))
    outputs, _, *kernel = data.shape
    if isinstance(padding, str):
        pads = tuple(same_padding(*axis) if padding == "same" else (0, 0)
                     for axis in zip((height, width), kernel, stride, dilation, strict=True))
    else:
        pads = tuple((p, p) for p in _window(padding, rank, 0))
    if groups == channels and groups > 1:
        op = DepthwiseConv2D(stride, dilation, pads, outputs // channels, clamp)
        constant = _constant(imp, node, data.transpose(1, 2, 3, 0), weights, 3)
    else:
        op = Conv2D(stride, dilation, pads, groups, clamp)
        constant = _constant(imp, node, data.transpose(0, 2, 3, 1), weights, 0)
    imp.image(op, [x, constant, bias], output, label)
    return True


def _conv_transpose2d(imp, node: Node, output: str, label: str, clamp) -> bool:
    groups = _argument(node, 6, "groups", 1)
    parts = _weighted(imp, node, 1, groups)
    if parts is None:
        return False
    x, weights, bias = parts
    rank = len(imp.tensor(x).shape)
    pads = tuple((p, p) for p in _window(_argument(node, 4, "padding", 0), rank, 0))
    op = TransposeConv2D(image_shape(imp.tensor(output).shape)[2:], _window(_argument(node, 3, "stride", 1), rank, 1),
                         pads, clamp)
    data = dense_transposed(weights.data.reshape(image_shape(weights.data.shape)), groups,
                            _window(_argument(node, 7, "dilation", 1), rank, 1))
    imp.image(op, [x, _constant(imp, node, data.transpose(1, 2, 3, 0), weights, 0), bias], output, label)
    return True


def _linear(imp, node: Node, output: str, label: str, clamp) -> bool:
    parts = _weighted(imp, node, 0)
    if parts is None:
        return False
    x, weights, bias = parts
    imp.emit(FullyConnected(clamp), [x, _constant(imp, node, weights.data, weights, 0), bias], output, label)
    return True


def _sum(imp, node: Node, output: str, label: str, clamp) -> bool:
    operands = [imp.operand(n) for n in node.args[:2]]
    if None in operands or node.kwargs.get("alpha", 1) != 1:
        return False
    kind = Sub if node.target is aten.sub.Tensor else Add
    imp.emit(kind(clamp), operands, output, label)
    return True


def pool_window(rank: int, kernel, stride, padding) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding (y, x) of a pool; without a stride it is the kernel."""
    kernel = _window(kernel, rank, 1)
    return kernel, _window(stride, rank, 1) if stride else kernel, _window(padding, rank, 0)


def _pool(imp, node: Node, output: str, label: str, clamp) -> bool:
    x = imp.operand(node.args[0])
    if x is None or len(imp.tensor(x).shape) not in (3, 4):
        return False
    rank = len(imp.tensor(x).shape)
    kernel, stride, padding = pool_window(rank, node.args[1], _argument(node, 2, "stride", None),
                                          _argument(node, 3, "padding", 0))
    size, made = (image_shape(imp.tensor(name).shape)[2:] for name in (x, output))
    # a window may hang over the far edge (ceil_mode)
    pads = tuple((p, max(p, (m - 1) * s + k - n - p) if (m - 1) * s + k > n + p else 0)
                 for p, k, s, n, m in zip(padding, kernel, stride, size, made, strict=True))
    if node.target in (aten.max_pool2d.default, aten.max_pool1d.default):
        if _pair(_argument(node, 4, "dilation", 1)) != (1, 1):
            return False
        op = MaxPool2D(kernel, stride, pads, clamp)
        if not _like(imp, x, output):
            return False
    else:
        counted = _argument(node, 5, "count_include_pad", True) and any(padding)
        hanging = any(after > p for p, (_, after) in zip(padding, pads, strict=True))
        if _argument(node, 6, "divisor_override", None) is not None or (counted and hanging):
            return False
        op = AveragePool2D(kernel, stride, pads, clamp, bool(counted))
    imp.image(op, [x], output, label)
    return True


def _like(imp, x: str, y: str) -> bool:
    return same(imp.tensor(x).quantization, imp.tensor(y).quantization)


def _mean(imp, node: Node, output: str, label: str, clamp) -> bool:
    x = imp.operand(node.args[0])
    if x is None or len(imp.tensor(x).shape) not in (3, 4) or tuple(clamp) != (-128, 127):
        return False
    if node.target in (aten.adaptive_avg_pool2d.default, aten.adaptive_avg_pool1d.default):
        size, made = (image_shape(imp.tensor(name).shape)[2:] for name in (x, output))
        if tuple(made) != (1, 1):
            if any(n % m for n, m in zip(size, made, strict=True)):
                return False
            kernel = tuple(n // m for n, m in zip(size, made, strict=True))
            imp.image(AveragePool2D(kernel, kernel), [x], output, label)
            return True
    elif sorted(axis % 4 for axis in node.args[1] or ()) != [2, 3]:
        return False
    if len(imp.tensor(output).shape) == 2:
        imp.emit(Mean(keep_dims=False), [imp.nhwc(x)], output, label)
    else:
        imp.image(Mean(), [x], output, label)
    return True


LAYERS = {
    **dict.fromkeys(CONVOLUTIONS, _conv2d), **dict.fromkeys(TRANSPOSED, _conv_transpose2d),
    **dict.fromkeys(LINEAR, _linear), **dict.fromkeys(SUMS, _sum),
    aten.max_pool2d.default: _pool, aten.avg_pool2d.default: _pool, aten.max_pool1d.default: _pool,
    aten.avg_pool1d.default: _pool, aten.adaptive_avg_pool2d.default: _mean, aten.adaptive_avg_pool1d.default: _mean,
    aten.mean.dim: _mean,
}
