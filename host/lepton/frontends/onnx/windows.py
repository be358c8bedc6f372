"""Kernels, strides, dilations and paddings of ONNX operators along height and width."""

from dataclasses import dataclass

from lepton.graph import GraphError
from lepton.graph.ops.conditions import MAX_WINDOW
from lepton.graph.ops.windows import output_size

from ..geometry import same_padding
from .importer import Importer


@dataclass(frozen=True)
class Window:
    """Of an image: (y, x) pairs; padding ((top, bottom), (left, right)); `size` is the output's."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    size: tuple[int, int]


@dataclass(frozen=True)
class Sliding:
    """The same over any number of axes."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    size: tuple[int, ...]


def window(importer: Importer, given: dict, kernel: tuple[int, ...], extents: tuple[int, ...]) -> Window:
    """From the attributes of a convolution or pool over one or two axes (one gets a height of 1)."""
    rank = len(extents)
    if rank not in (1, 2):
        raise GraphError(f"{importer.where}: images must have 1 or 2 dimensions besides batch and channels, "
                         f"not {rank}")
    w = sliding(importer, given, kernel, extents)
    if rank == 1:
        return Window((1, *kernel), (1, *w.stride), (1, *w.dilation), ((0, 0), *w.padding), (1, *w.size))
    return Window(tuple(kernel), w.stride, w.dilation, w.padding, w.size)


def sliding(importer: Importer, given: dict, kernel: tuple[int, ...], extents: tuple[int, ...]) -> Sliding:
    """Strides, dilations, paddings and the output's size that the attributes state or leave to their defaults."""
    rank = len(extents)
    if len(kernel) != rank:
        raise GraphError(f"{importer.where}: a kernel of {len(kernel)} dimensions does not fit the image {extents}")
    stride, dilation = (tuple(given.get(key) or (1,) * rank) for key in ("strides", "dilations"))
    pads = tuple(given.get("pads") or (0,) * 2 * rank)
    for what, values, count, least in (("kernel", kernel, rank, 1), ("strides", stride, rank, 1),
                                       ("dilations", dilation, rank, 1), ("pads", pads, 2 * rank, 0)):
        if len(values) != count or not all(least <= value <= MAX_WINDOW for value in values):
            raise GraphError(f"{importer.where}: {what} must be {count} numbers in {least}..{MAX_WINDOW}, not {values}")
    automatic = given.get("auto_pad", "NOTSET")
    padding, size = [], []
    for axis, extent in enumerate(extents):
        k, s, d = kernel[axis], stride[axis], dilation[axis]
        before_after = (0, 0) if automatic == "VALID" else (pads[axis], pads[axis + rank])
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            before_after = same_padding(extent, k, s, d)
            before_after = before_after if automatic == "SAME_UPPER" else before_after[::-1]
        elif automatic not in ("NOTSET", "VALID", ""):
            raise GraphError(f"{importer.where}: auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, "
                             f"not {automatic!r}")
        pixels = output_size(extent, k, s, d, before_after)
        if given.get("ceil_mode", 0):
            hangs_over = (extent + sum(before_after) - (k - 1) * d - 1) % s
            starts_inside = pixels * s < extent + before_after[0]
            if hangs_over and starts_inside:  # one more window, over padding behind the image
                missing = pixels * s + (k - 1) * d + 1 - extent - before_after[0]
                before_after = (before_after[0], missing)
                pixels += 1
        if pixels < 1:
            raise GraphError(f"{importer.where}: the kernel {kernel} with dilations {dilation} does not fit the input "
                             f"of {extents} with pads {pads}")
        padding.append(before_after)
        size.append(pixels)
    return Sliding(stride, dilation, tuple(padding), tuple(size))
