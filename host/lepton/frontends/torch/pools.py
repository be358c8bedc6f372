"""Pools and means of int8 images."""

from torch.fx import Node

from lepton.graph import FULL, AveragePool2D, MaxPool2D, Mean, Op, Padding, Pair, Reduce, Tensor
from lepton.graph.builder import Value

from .context import ImportContext
from .images import image_shape
from .nodes import Arguments, name_of
from .qdq import on_one_grid
from .windows import pair, window


def pool(context: ImportContext, node: Node, output: Tensor, clamp: Pair) -> Value | None:
    arguments = context.arguments(node)
    x = context.operand(arguments.operand())
    if x is None or x.rank not in (3, 4):
        return None
    largest = name_of(node).startswith("max_pool")
    read = _max_pool if largest else _average_pool
    op = read(arguments, x, output, clamp)
    if op is None or (largest and not on_one_grid(x.tensor, output)):
        return None
    context.at(node)
    return context.images.emit(op, [x], output, context.label(node))


def _max_pool(arguments: Arguments, x: Value, output: Tensor, clamp: Pair) -> Op | None:
    if pair(arguments.integers("dilation")) != (1, 1):
        return None
    kernel, stride, padding = _window(arguments, x, output)
    return MaxPool2D(kernel, stride, padding, clamp)


def _average_pool(arguments: Arguments, x: Value, output: Tensor, clamp: Pair) -> Op | None:
    """None where the divisor is another than the number of values in the window, padding counted or not."""
    kernel, stride, padding = _window(arguments, x, output)
    counted = arguments.flag("count_include_pad") and any(before for before, _ in padding)
    hanging = any(after > before for before, after in padding)
    divisor = arguments.optional_integer("divisor_override") if arguments.has("divisor_override") else None
    if divisor is not None or (counted and hanging):
        return None
    return AveragePool2D(kernel, stride, padding, clamp, count_padding=counted)


def _window(arguments: Arguments, x: Value, output: Tensor) -> tuple[Pair, Pair, Padding]:
    """Kernel, stride and padding; without a stride it is the kernel.

    The far edge is padded where a window reaches over it: with ceil_mode also further than `padding`.
    """
    kernel = window(arguments, "kernel_size", x.rank, 1)
    stride = window(arguments, "stride", x.rank, 1) if arguments.integers("stride") else kernel
    padding = window(arguments, "padding", x.rank, 0)
    sizes = image_shape(x.shape)[2:]
    results = image_shape(output.shape)[2:]

    def along(axis: int) -> Pair:
        over = (results[axis] - 1) * stride[axis] + kernel[axis] - sizes[axis] - padding[axis]
        return padding[axis], max(padding[axis], over) if over > 0 else 0

    return kernel, stride, (along(0), along(1))


def mean(context: ImportContext, node: Node, output: Tensor, clamp: Pair) -> Value | None:
    """Means over whole images, over rows or columns, or over parts of equal size."""
    arguments = context.arguments(node)
    x = context.operand(arguments.operand())
    if x is None or x.rank not in (3, 4) or clamp != FULL:
        return None
    if arguments.has("output_size"):
        return _adaptive(context, node, x, output)
    axes = tuple(sorted(axis % x.rank for axis in arguments.integers("dim")))
    if axes == (2, 3):
        return _whole(context, node, x, output)
    return context.at(node, context.label(node)).emit(Reduce("mean", axes, arguments.flag("keepdim")), [x],
                                                      output=output)


def _adaptive(context: ImportContext, node: Node, x: Value, output: Tensor) -> Value | None:
    height, width = image_shape(x.shape)[2:]
    rows, columns = image_shape(output.shape)[2:]
    if (rows, columns) == (1, 1):
        return _whole(context, node, x, output)
    if height % rows or width % columns:
        return None
    kernel = (height // rows, width // columns)
    context.at(node)
    return context.images.emit(AveragePool2D(kernel, kernel), [x], output, context.label(node))


def _whole(context: ImportContext, node: Node, x: Value, output: Tensor) -> Value:
    context.at(node)
    if len(output.shape) > 2:
        return context.images.emit(Mean(), [x], output, context.label(node))
    image = context.images.nhwc(x)
    return context.at(node, context.label(node)).emit(Mean(keep_dims=False), [image], output=output)
