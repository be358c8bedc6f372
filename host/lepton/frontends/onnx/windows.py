"""Kernels, strides, dilations and paddings of ONNX operators along the axes of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from lepton.graph import Pair
from lepton.graph.ops.conditions import MAX_WINDOW
from lepton.graph.ops.windows import effective_kernel, output_size

from ..geometry import same_padding
from .node import OnnxNode

T = TypeVar("T")


@dataclass(frozen=True)
class Sliding:
    """A window over any number of axes; padding is (before, after) each."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]


@dataclass(frozen=True)
class Window:
    """A window over an image: (y, x) pairs; padding ((top, bottom), (left, right))."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: tuple[Pair, Pair]


@dataclass(frozen=True)
class Pooling:
    """The windows of a pool: `window` on the image without its first and last elements along each axis (`cut`).

    The window's padding is `padding` and what windows reach beyond that, where any does (`overhangs`).
    """

    window: Window
    cut: tuple[Pair, ...]
    padding: tuple[Pair, ...]
    overhangs: bool


@dataclass(frozen=True)
class Transposed:
    """The window of a transposed convolution; `size` is the output's, which padding is taken from."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]
    size: tuple[int, ...]


def of_image(values: Sequence[T], one: T) -> tuple[T, T]:
    """Values for one or two axes as those for height and width; a line has `one` along the height."""
    height, width = (one, *values)[-2:]  # the last two of two or three
    return height, width


def window(node: OnnxNode, kernel: Sequence[int], extents: Sequence[int]) -> Window:
    """From the attributes of a convolution over one or two axes."""
    if len(extents) not in (1, 2):
        raise node.error(f"images must have 1 or 2 dimensions besides batch and channels, not {len(extents)}")
    w = sliding(node, kernel, extents)
    # The chip's layers work on images; a line is one that is one pixel high.
    return Window(of_image(kernel, 1), of_image(w.stride, 1), of_image(w.dilation, 1), of_image(w.padding, (0, 0)))


def sliding(node: OnnxNode, kernel: Sequence[int], extents: Sequence[int]) -> Sliding:
    """Strides, dilations and paddings that the attributes state or leave to their defaults."""
    rank = len(extents)
    if len(kernel) != rank:
        raise node.error(f"a kernel of {len(kernel)} dimensions does not fit the image {tuple(extents)}")
    stride, dilation, pads = _attributes(node, kernel, rank)
    automatic = node.given.get("auto_pad", "NOTSET")
    padding = []
    for axis, extent in enumerate(extents):
        sizes = kernel[axis], stride[axis], dilation[axis]
        before_after = _padding(node, automatic, extent, sizes, (pads[axis], pads[axis + rank]))
        if output_size(extent, *sizes, before_after) < 1:
            raise node.error(f"the kernel {tuple(kernel)} with dilations {dilation} does not fit the input of "
                             f"{tuple(extents)} with pads {pads}")
        padding.append(before_after)
    return Sliding(stride, dilation, tuple(padding))


def _attributes(node: OnnxNode, kernel: Sequence[int],
                rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Strides, dilations and pads of a window over `rank` axes; raises `GraphError` where they are out of range."""
    stride = _stated(node, "strides", 1, rank)
    dilation = _stated(node, "dilations", 1, rank)
    pads = _stated(node, "pads", 0, 2 * rank)
    _in_range(node, "kernel", tuple(kernel), rank, 1)
    _in_range(node, "strides", stride, rank, 1)
    _in_range(node, "dilations", dilation, rank, 1)
    _in_range(node, "pads", pads, 2 * rank, 0)
    return stride, dilation, pads


def _stated(node: OnnxNode, key: str, default: int, count: int) -> tuple[int, ...]:
    """An attribute of `count` numbers; each is `default` where it is left out."""
    return tuple(node.given.get(key) or (default,) * count)


def _in_range(node: OnnxNode, what: str, values: tuple[int, ...], count: int, least: int) -> None:
    if len(values) != count or not all(least <= value <= MAX_WINDOW for value in values):
        raise node.error(f"{what} must be {count} numbers in {least}..{MAX_WINDOW}, not {values}")


def _padding(node: OnnxNode, automatic: str, extent: int, sizes: tuple[int, int, int], stated: Pair) -> Pair:
    """(before, after) along one axis, for kernel, stride and dilation `sizes`."""
    if automatic == "VALID":
        return 0, 0
    if automatic in ("NOTSET", ""):
        return stated
    if automatic not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.error(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {automatic!r}")
    less, more = same_padding(extent, *sizes)
    return (less, more) if automatic == "SAME_UPPER" else (more, less)


def pooling(node: OnnxNode, kernel: Sequence[int], extents: Sequence[int]) -> Pooling:
    """The windows of a pool over one or two axes, as ONNX Runtime places them (onnxruntime/core/providers/cpu/nn/
    pool_attributes.h): automatic paddings do not know of dilations, and may be below 0."""
    rank = len(extents)
    if rank not in (1, 2) or len(kernel) != rank:
        raise node.error(f"a kernel of {len(kernel)} dimensions does not fit the image {tuple(extents)}; images of 1 "
                         "or 2 dimensions are supported")
    stride, dilation, pads = _attributes(node, kernel, rank)
    axes = [_pooled(node, extent, (kernel[i], stride[i], dilation[i]), (pads[i], pads[i + rank]))
            for i, extent in enumerate(extents)]
    if any(axis is None for axis in axes):
        raise node.error(f"the kernel {tuple(kernel)} with dilations {dilation} does not fit the input of "
                         f"{tuple(extents)} with pads {pads}")
    cut, padding, overhang = zip(*axes, strict=True)
    whole = tuple((before, after + beyond) for (before, after), beyond in zip(padding, overhang, strict=True))
    w = Window(of_image(kernel, 1), of_image(stride, 1), of_image(dilation, 1), of_image(whole, (0, 0)))
    return Pooling(w, cut, padding, max(overhang) > 0)


def _pooled(node: OnnxNode, extent: int, sizes: tuple[int, int, int], stated: Pair) -> tuple[Pair, Pair, int] | None:
    """Along one axis: elements before the first window and behind the last one, the padding, and how far the last
    window reaches beyond it.

    None where there is no window. One that starts in the padding behind the image does not count. Averages with
    dilations take nothing from where a padding below 0 begins; maxima do.
    """
    kernel, stride, dilation = sizes
    before, after = stated
    automatic = node.given.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        before = 0
        after = 0
    elif automatic in ("SAME_UPPER", "SAME_LOWER"):
        total = (-(-extent // stride) - 1) * stride + kernel - extent
        before = _quotient(total + (automatic == "SAME_LOWER"), 2)
        after = total - before
    elif automatic not in ("NOTSET", ""):
        raise node.error(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, not {automatic!r}")
    span = effective_kernel(kernel, dilation)
    room = extent + before + after - span
    outputs = _quotient(room, stride) + 1
    if node.flag("ceil_mode"):
        outputs = -(-room // stride) + 1
        outputs -= (outputs - 1) * stride >= extent + before
    if outputs < 1:
        return None
    if any(_misses(place * stride - before, sizes, extent) for place in range(outputs)):
        raise node.error(f"a window of kernel {kernel} and dilation {dilation} would see nothing but padding "
                         f"{(before, after)}")
    reach = (outputs - 1) * stride + span
    cut = max(-before, 0), max(-after, 0) if node.kind == "AveragePool" and dilation > 1 else 0
    padding = max(before, 0), max(after, 0)
    return cut, padding, max(reach - (extent - cut[1]) - before - padding[1], 0)


def _misses(start: int, sizes: tuple[int, int, int], extent: int) -> bool:
    """Whether no tap of the window at `start` is in the image."""
    kernel, _, dilation = sizes
    first = -(-max(-start, 0) // dilation)  # the first tap that is not before the image
    return first >= kernel or start + first * dilation >= extent


def _quotient(a: int, b: int) -> int:
    """C++'s quotient of integers: toward 0."""
    return int(abs(a) // b * (-1 if a < 0 else 1))


def transposed_window(node: OnnxNode, kernel: Sequence[int], extents: Sequence[int]) -> Transposed:
    """What the attributes of a ConvTranspose state or leave to their defaults.

    The output's size and the automatic paddings are those of ONNX's operator specification (ConvTranspose-11).
    """
    rank = len(extents)
    stride = _stated(node, "strides", 1, rank)
    dilation = _stated(node, "dilations", 1, rank)
    extra = _stated(node, "output_padding", 0, rank)
    pads = _stated(node, "pads", 0, 2 * rank)
    _in_range(node, "strides", stride, rank, 1)
    _in_range(node, "dilations", dilation, rank, 1)
    _in_range(node, "output_padding", extra, rank, 0)
    _in_range(node, "pads", pads, 2 * rank, 0)
    automatic = node.given.get("auto_pad", "NOTSET")
    wanted = node.given.get("output_shape")
    if wanted and len(wanted) == rank + 2:  # ONNX Runtime takes it with batch and channels, too
        wanted = wanted[2:]
    if wanted and (len(wanted) != rank or min(wanted) < 1):
        raise node.error(f"output_shape must be {rank} numbers of at least 1, not {tuple(wanted)}")
    padding = []
    size = []
    for i, extent in enumerate(extents):
        full = (extent - 1) * stride[i] + effective_kernel(kernel[i], dilation[i]) + extra[i]
        before, after = (0, 0) if automatic == "VALID" else (pads[i], pads[i + rank])
        if wanted or automatic.startswith("SAME"):
            total = max(full - (wanted[i] if wanted else extent * stride[i]), 0)
            before = total // 2 if automatic == "SAME_UPPER" else total - total // 2
            after = total - before
        padding.append((before, after))
        # A stated size may exceed what the kernels cover, by less than a stride; the rest holds the bias alone.
        size.append(wanted[i] if wanted else full - before - after)
        if wanted and size[i] - full >= stride[i]:
            raise node.error(f"output_shape {tuple(wanted)} does not follow from the input {tuple(extents)}: dimension "
                             f"{i} can be {full + stride[i] - 1} at most")
    if min(size) < 1:
        raise node.error(f"the output's size would be {tuple(size)}; each dimension must be at least 1")
    return Transposed(stride, dilation, tuple(padding), tuple(size))
