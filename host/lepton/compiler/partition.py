"""Which operators the chip computes, and for the others why not: the limits of its commands, as a table of rules.

A rule looks at one node and returns None, or the reason why the host has to take it. Layers that turn out not to fit
the memories are added by `compile`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..arch.commands import Tensor as TensorCommand
from ..graph import (
    Add,
    Arithmetic,
    AveragePool2D,
    Call,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    GraphError,
    MaxPool2D,
    Mean,
    Node,
    Pad,
    Reshape,
    Resize,
    Slice,
    Sub,
    Table,
    Tensor,
    TransposeConv2D,
)
from ..graph.numerics.fixedpoint import quantize_multiplier
from ..graph.numerics.requantize import sum_scales
from .images import image_shape
from .operands import image_of, written_image

_BYTE = TensorCommand.find("kernel_x").maximum  # stride and dilation have as many bits in a command
_PHASES = 8  # each is a layer of its own
_SIGNED = TensorCommand.find("iy0").maximum  # rows and columns are counted from the padding on


class NotOnChip(GraphError):
    """The chip cannot take some nodes after all; `reasons` has pairs of a node and the reason."""

    def __init__(self, *reasons: tuple[Node, str]):
        super().__init__("; ".join(text for _, text in reasons))
        self.reasons = reasons


def refusal(graph: Graph, node: Node) -> str | None:
    """Why the chip cannot compute a node; None where it can. The graph must have passed the verifier."""
    rule = RULES.get(type(node.op))
    if rule is None:
        return "the chip has no operation for it"
    tensors = [graph.tensors[name] for name in [*node.inputs, *node.outputs] if name]
    for tensor in tensors:
        if tensor.data is None and np.dtype(tensor.dtype) != np.int8:
            return f"{tensor.name!r} is {np.dtype(tensor.dtype)}"
        if tensor.data is None:
            try:
                image_shape(tuple(tensor.shape), node.label)
            except GraphError:
                return f"shape {tuple(map(int, tensor.shape))} is not one image"
    return rule(graph, node)


def _window(image, kernel, stride=(1, 1), dilation=(1, 1), padding=((0, 0), (0, 0))) -> str | None:
    for what, pair in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        if max(pair) > _BYTE:
            return f"{what} {tuple(map(int, pair))} is above {_BYTE}"
    for size, pads in zip(image[:2], padding, strict=True):
        if size + sum(pads) > _SIGNED:
            return f"height and width with padding are at most {_SIGNED}, not {size + sum(pads)}"
    return None


def _constants(graph: Graph, node: Node) -> str | None:
    if any(graph.tensors[name].data is not None for name in node.inputs):
        return "an operand of it is constant"
    return None


def _weights(graph: Graph, node: Node) -> str | None:
    x, weights, output = (graph.tensors[n] for n in (*node.inputs[:2], node.outputs[0]))
    if x.data is not None:
        return "its input is constant"
    scales = sum_scales(graph.arithmetic, x, weights, output, in_double=not node.op.unsigned)
    if quantize_multiplier(float(np.max(scales)))[1] > 31:
        return "the scale of input times weights is 2**31 times that of the output"
    return None


def _conv(graph: Graph, node: Node) -> str | None:
    op, kernel = node.op, graph.tensors[node.inputs[1]].data.shape[1:3]
    image = image_of(graph, node.inputs[0])
    return _window(image, kernel, op.stride, op.dilation, op.padding) or _weights(graph, node)


def _fully_connected(graph: Graph, node: Node) -> str | None:
    try:
        image = written_image(graph, node)
    except GraphError as error:
        return str(error)
    return _window(image, (1, 1)) or _weights(graph, node)


def _max_pool(graph: Graph, node: Node) -> str | None:
    op = node.op
    if isinstance(op, MaxPool2D) and op.dilation != (1, 1):
        return f"a pool with dilation {op.dilation}"
    return _constants(graph, node) or _window(image_of(graph, node.inputs[0]), op.kernel, op.stride, (1, 1), op.padding)


def _average_pool(graph: Graph, node: Node) -> str | None:
    op = node.op
    if op.count_padding and np.any(op.padding) and graph.arithmetic is Arithmetic.FIXED:
        return "padded pixels count in the average"
    return _max_pool(graph, node)


def _mean(graph: Graph, node: Node) -> str | None:
    image = image_of(graph, node.inputs[0])
    return _constants(graph, node) or _window(image, image[:2])


def _add(graph: Graph, node: Node) -> str | None:
    a, b = (tuple(graph.tensors[name].shape) for name in node.inputs)
    if a != b:
        return f"shapes {a} and {b} differ"
    return _constants(graph, node) or _window(image_of(graph, node.inputs[0]), (1, 1))


def _table(graph: Graph, node: Node) -> str | None:
    return _constants(graph, node) or _window(image_of(graph, node.inputs[0]), (1, 1))


def phase_steps(graph: Graph, node: Node) -> tuple[int, int]:
    """Output pixels for each input pixel of a Resize or TransposeConv2D, (y, x)."""
    if isinstance(node.op, TransposeConv2D):
        return node.op.stride
    source, output = (image_of(graph, name) for name in (node.inputs[0], node.outputs[0]))
    return output[0] // source[0], output[1] // source[1]


def _resize(graph: Graph, node: Node) -> str | None:
    """Nearest neighbours where every input pixel becomes a rectangle of output pixels."""
    source, output = (graph.tensors[name] for name in (node.inputs[0], node.outputs[0]))
    if node.op.mode != "nearest":
        return f"the chip has no {node.op.mode} interpolation"
    steps = phase_steps(graph, node)
    for axis, step in enumerate(steps):
        size = source.shape[1 + axis]
        if not 1 <= step <= _PHASES or output.shape[1 + axis] != size * step:
            return f"height and width of the output are not 1 to {_PHASES} times those of the input"
        rows = np.arange(size, dtype=np.int32)
        # what the host's kernel does with the numbers of rows or columns themselves
        place = Tensor("places", (1, size, 1, 1), np.dtype(np.int32), None)
        one = replace(node.op, size=(size * step, 1),
                      scales=None if node.op.scales is None else (node.op.scales[axis], 1.0))
        result = Tensor("resized", (1, size * step, 1, 1), np.dtype(np.int32), None)
        places = one.compute(Call(graph.arithmetic, [place], result, [rows.reshape(1, size, 1, 1)]))
        if not np.array_equal(places.reshape(-1), np.repeat(rows, step)):
            return "it does not repeat every input pixel equally often"
    return _constants(graph, node)


def _transposed(graph: Graph, node: Node) -> str | None:
    op, output = node.op, image_of(graph, node.outputs[0])
    if max(op.stride) > _PHASES:
        return f"stride {op.stride} is above {_PHASES}"
    if output[0] % op.stride[0] or output[1] % op.stride[1]:
        return f"height and width of the output are no multiples of stride {op.stride}"
    kernel = graph.tensors[node.inputs[1]].data.shape[1:3]
    return _window(image_of(graph, node.inputs[0]), kernel) or _weights(graph, node)


def _concat(graph: Graph, node: Node) -> str | None:
    """Of channels: it only renames lanes."""
    last = len(graph.tensors[node.inputs[0]].shape) - 1
    if node.op.axis % (last + 1) != last:
        return f"axis {node.op.axis} is not the last, that of channels"
    return _constants(graph, node)


def _cut_axes(graph: Graph, node: Node) -> list[int]:
    """The axes of which a Slice leaves something out."""
    op, shape = node.op, graph.tensors[node.inputs[0]].shape
    return [i for i, axis in enumerate(zip(op.begin, op.end, op.step, shape, strict=True))
            if axis[:3] != (0, axis[3], 1)]


def cuts_image(graph: Graph, node: Node) -> bool:
    """Is it a Slice that takes pixels away? One of channels only renames lanes."""
    return isinstance(node.op, Slice) and min(_cut_axes(graph, node), default=-1) in (1, 2) and len(node.op.begin) == 4


def _slice(graph: Graph, node: Node) -> str | None:
    op, axes, rank = node.op, _cut_axes(graph, node), len(node.op.begin)
    if 0 in graph.tensors[node.outputs[0]].shape:
        return "the result has no elements"
    if cuts_image(graph, node):
        if 3 in axes:
            return "it cuts both pixels and channels"
        if min(op.step[1:3]) < 1 or max(op.step[1:3]) > _BYTE:
            return f"steps {op.step[1:3]} must be in 1..{_BYTE}"
    elif any(axis != rank - 1 for axis in axes):
        return "it cuts another axis than the channels, or the rows and columns, of one image"
    return _constants(graph, node)


def _pad(graph: Graph, node: Node) -> str | None:
    op, rank = node.op, len(node.op.widths)
    if op.mode != "constant":
        return f"the chip pads with a constant, not in mode {op.mode!r}"
    if any(any(widths) for axis, widths in enumerate(op.widths) if axis < rank - 3) or (
            rank < 4 and any(any(widths) for widths in op.widths[:-1])):
        return "it pads another axis than the channels, rows and columns of one image"
    padding = tuple(op.widths[-3:-1]) if rank == 4 else ((0, 0), (0, 0))
    return _constants(graph, node) or _window(image_of(graph, node.inputs[0]), (1, 1), padding=padding)


def _reshape(graph: Graph, node: Node) -> str | None:
    return _constants(graph, node)


RULES: dict[type, Callable[[Graph, Node], str | None]] = {
    Conv2D: _conv, DepthwiseConv2D: _conv, FullyConnected: _fully_connected, MaxPool2D: _max_pool,
    AveragePool2D: _average_pool, Mean: _mean, Add: _add, Sub: _add, Table: _table, Reshape: _reshape,
    Concat: _concat, Slice: _slice, Pad: _pad, Resize: _resize, TransposeConv2D: _transposed,
}
