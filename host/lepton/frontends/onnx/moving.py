"""Operators that move elements: any type stays as it is, int8 stays int8, functions are computed after the move."""

from collections.abc import Callable

import numpy as np

from lepton.graph import Gather, Pad, Slice
from lepton.graph.builder import Value
from lepton.graph.moves import expand as broadcast
from lepton.graph.moves import tile, wrapped

from .node import Converter, OnnxNode, source_of
from .operands import with_axes
from .values import AtRunTime, Computed, Constant, Tabulated


def transpose(node: OnnxNode) -> None:
    source = source_of(node)
    rank = len(source.shape)
    order = tuple(node.given.get("perm") or range(rank)[::-1])
    if sorted(order) != list(range(rank)):
        raise node.error(f"perm {order} is not an order of {rank} dimensions")
    node.set(source.moved(with_axes(source.tensor, order)))


def split(node: OnnxNode) -> None:
    """Without sizes equal parts; the last one may be smaller (Split-18)."""
    source = source_of(node)
    axis = node.axis(node.given.get("axis", 0), len(source.shape))
    extent = source.shape[axis]
    names = list(node.proto.output)
    sizes = node.given.get("split") or node.integers(1, "the sizes")
    if not sizes:
        each = -(-extent // len(names))  # rounded up
        sizes = [min(each, extent - i * each) for i in range(len(names))]
    if len(sizes) != len(names) or min(sizes) < 1 or sum(sizes) != extent:
        raise node.error(f"{extent} cannot be split into {list(sizes)} for {len(names)} outputs")
    start = 0
    for position, size in enumerate(sizes):
        if names[position]:
            node.set(source.moved(source.tensor.slice(axis, start, start + size)), position)
        start += size


def _sliced(node: OnnxNode, x: Value, begin: list[int], end: list[int], step: list[int]) -> Value:
    """numpy's x[begin:end:step] along all axes."""
    if all((first, last) == (0, extent) and (by == 1 or extent == 1)
           for first, last, by, extent in zip(begin, end, step, x.shape, strict=True)):
        return x
    return node.emit(Slice(tuple(begin), tuple(end), tuple(step)), x)


def slice_(node: OnnxNode) -> None:
    """Starts, ends and axes are attributes before opset 10."""
    source = source_of(node)
    rank = len(source.shape)
    starts = node.integers(1, "the starts")
    ends = node.integers(2, "the ends")
    if starts is None:
        starts = list(node.given.get("starts", ()))
        ends = list(node.given.get("ends", ()))
    axes = node.integers(3, "the axes") or node.given.get("axes") or list(range(len(starts)))
    steps = node.integers(4, "the steps") or [1] * len(starts)
    if ends is None or not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.error(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} must be equally many, and no "
                         "step 0")
    begin = [0] * rank
    end = list(source.shape)
    step = [1] * rank
    for first, last, stated, by in zip(starts, ends, axes, steps, strict=True):
        axis = node.axis(stated, rank)
        if by < 0:  # a start before the first element is the first one (Slice-13), unlike numpy's
            first = max(first, -source.shape[axis])
        begin[axis], end[axis], step[axis] = slice(first, last, by).indices(source.shape[axis])
        if not len(range(begin[axis], end[axis], by)):
            raise node.error(f"the slice from {first} to {last} of axis {axis}, which has {source.shape[axis]} "
                             "elements, is empty")
    node.set(source.moved(_sliced(node, source.tensor, begin, end, step)))


def pad(node: OnnxNode) -> None:
    """Widths below 0 cut, before the others pad. Widths are attributes before opset 11."""
    source = source_of(node)
    widths = _pad_widths(node, len(source.shape))
    mode = node.given.get("mode", "constant")
    stated = node.number(2, "the value")
    value = node.given.get("value", 0) if stated is None else stated
    if isinstance(source, Tabulated) and mode == "constant":
        code = _code_of(source, value)
        if code is None:  # padded in ONNX's own type
            source = Computed(node.host())
        else:
            value = code
    x = _cut(node, source, widths)
    widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode == "reflect" and any(max(w) >= n for w, n in zip(widths, x.shape, strict=True)):
        raise node.error(f"a tensor of shape {tuple(x.shape)} is too small to be reflected by {widths}")
    if mode == "wrap":
        x = wrapped(x, widths)
    elif np.any(widths):
        x = node.emit(Pad(tuple(widths), value, mode), x)
    node.set(source.moved(x))


def _pad_widths(node: OnnxNode, rank: int) -> list[tuple[int, int]]:
    """(before, after) of each axis."""
    pads = node.integers(1, "the widths") or list(node.given.get("pads", ()))
    axes = [node.axis(axis, rank) for axis in node.integers(3, "the axes") or range(rank)]
    mode = node.given.get("mode", "constant")
    if len(pads) != 2 * len(axes) or mode not in ("constant", "reflect", "edge", "wrap"):
        raise node.error(f"pads must be 2 numbers for each of {len(axes)} axes and the mode constant, reflect, edge or "
                         f"wrap, not {pads} and {mode!r}")
    widths = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        widths[axis] = (pads[i], pads[i + len(axes)])
    return widths


def _code_of(source: Tabulated, value: float) -> int | None:
    """An element of the int8 tensor that stands for `value`: its zero point if that does; None where none does."""
    places = np.flatnonzero(source.table == np.array(value).astype(source.dtype))
    if not places.size:
        return None
    # Several codes stand for one value where a function is flat; the zero point is what the chip pads with.
    zero = source.tensor.tensor.zero_point + 128
    return int(zero if zero in places else places[0]) - 128


def _cut(node: OnnxNode, source: AtRunTime, widths: list[tuple[int, int]]) -> Value:
    """`source` less what widths below 0 cut off."""
    begin = [max(-before, 0) for before, _ in widths]
    end = [n - max(-after, 0) for n, (_, after) in zip(source.shape, widths, strict=True)]
    if any(first >= last for first, last in zip(begin, end, strict=True)):
        raise node.error(f"a tensor of shape {source.shape} padded by {widths} is empty")
    return _sliced(node, source.tensor, begin, end, [1] * len(begin))


def gather(node: OnnxNode) -> None:
    source = source_of(node)
    axis = node.axis(node.given.get("axis", 0), len(source.shape))
    extent = source.shape[axis]
    indices = node.value(1)
    if isinstance(indices, Constant):
        array = indices.array.astype(np.int64)
        if array.size == 0 or np.any((array < -extent) | (array >= extent)):
            raise node.error(f"indices must lie in {-extent}..{extent - 1}")
        tensor = source.tensor.take(axis, np.where(array < 0, array + extent, array))
    else:
        tensor = node.emit(Gather(axis), source.tensor, node.host(1))
    node.set(source.moved(tensor))


def expand(node: OnnxNode) -> None:
    """Both shapes are broadcast to each other, as in numpy."""
    source = source_of(node)
    target = node.constant(1, "the shape").ravel().tolist()
    try:
        shape = np.broadcast_shapes(source.shape, tuple(target))
    except ValueError:
        raise node.error(f"a tensor of shape {source.shape} cannot be broadcast to {tuple(target)}") from None
    node.set(source.moved(broadcast(source.tensor, shape)))


def repeat(node: OnnxNode) -> None:
    """Tile."""
    source = source_of(node)
    node.set(source.moved(tile(source.tensor, node.constant(1, "the repeats").ravel().tolist())))


def blocks(move: Callable[..., Value]) -> Converter:
    """DepthToSpace and SpaceToDepth; see `moves`."""
    def convert(node: OnnxNode) -> None:
        source = source_of(node)
        size = node.given.get("blocksize", 0)
        columns_first = node.given.get("mode", "DCR") != "DCR"
        node.set(source.moved(move(source.tensor, size, channels=1, columns_first=columns_first)))
    return convert
