"""Operators that join tensors or take parts of one."""

import numpy as np

from lepton.graph import Concat, GraphError, Slice, Table
from lepton.graph import moves as composed
from lepton.graph.builder import Value
from lepton.graph.ops.conditions import same_reals

from . import tables
from .operation import Entry, Operation


def _concat(op: Operation) -> None:
    if op.option("activation") != "NONE":
        raise GraphError(f"a fused activation ({op.option('activation')}) is not supported")
    parts = op.all()
    output = op.output()
    for position, part in enumerate(parts):
        if op.legacy(position):  # whose operands may have scales of their own
            values = tables.concat_table(part.tensor, output)
            parts[position] = part if values is None else op.builder.emit(Table(values), [part],
                                                                          quantization=output.quantization)
    _alike(parts, output.dtype)
    op.emit(Concat(parts[0].axis(op.option("axis"))), *parts)


def _alike(values: list[Value], dtype: np.dtype) -> None:
    first = values[0]
    for value in values:
        if value.dtype != first.dtype or (dtype == np.int8 and not same_reals(first.tensor, value.tensor)):
            raise GraphError(f"{first.name!r} and {value.name!r} must have the same type and quantization")


def _pack(op: Operation) -> None:
    parts = op.all()
    if any(part.shape != parts[0].shape for part in parts):
        raise GraphError("all inputs must have the same shape")
    axis = op.option("axis")
    rank = parts[0].rank + 1
    if not -rank <= axis < rank:
        raise GraphError(f"axis {axis} must lie in a shape of {rank} dimensions")
    _alike(parts, parts[0].dtype)
    op.result(composed.stack(parts, axis))


def _unpack(op: Operation) -> None:
    x = op.x()
    axis = x.axis(op.option("axis"))
    if x.shape[axis] != op.results:
        raise GraphError(f"{op.results} outputs from axis {axis} of the shape {tuple(x.shape)}")
    for position, part in enumerate(composed.unstack(x, axis)):
        op.result(part, position)


def _split(op: Operation) -> None:
    x = op.x(1)
    axis = x.axis((op.integers(0) or (0,))[0])
    if x.shape[axis] % op.results:
        raise GraphError(f"{x.shape[axis]} elements of axis {axis} cannot be split into {op.results} parts")
    _parts(op, x, axis, [x.shape[axis] // op.results] * op.results)


def _split_v(op: Operation) -> None:
    x = op.x()
    sizes = list(op.integers(1))
    axis = x.axis((op.integers(2) or (0,))[0])
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(n for n in sizes if n != -1)
    _parts(op, x, axis, sizes)


def _parts(op: Operation, x: Value, axis: int, sizes: list[int]) -> None:
    if len(sizes) != op.results:
        raise GraphError(f"{len(sizes)} sizes for {op.results} outputs")
    for position, part in enumerate(composed.split(x, axis, sizes)):
        op.result(part, position)


def _slice(op: Operation) -> None:
    x = op.x()
    begin = op.integers(1)
    size = op.integers(2)
    if len(begin) != x.rank or len(size) != x.rank:
        raise GraphError(f"begin {begin} and size {size} must have {x.rank} values")
    end = [extent if s == -1 else b + s for b, s, extent in zip(begin, size, x.shape, strict=True)]
    if any(not 0 <= b < e <= extent for b, e, extent in zip(begin, end, x.shape, strict=True)):
        raise GraphError(f"from {begin} to {tuple(end)} does not lie in the shape {tuple(x.shape)}")
    op.emit(Slice(tuple(begin), tuple(end), (1,) * x.rank), x)


def _strided_slice(op: Operation) -> None:
    """Each axis from begin to end by stride. Bits of the masks, one for each position of the three lists, leave an end
    open, take one place and drop the axis, add an axis, or stand for all axes that no other position does."""
    x = op.x()
    lists = [op.integers(position) for position in (1, 2, 3)]
    masks = {key: op.option(f"{key}_mask") for key in ("begin", "end", "ellipsis", "new_axis", "shrink")}
    positions = range(len(lists[0]))
    own = [p for p in positions if not (masks["ellipsis"] | masks["new_axis"]) >> p & 1]
    if len({len(values) for values in lists}) != 1 or len(own) > x.rank or any(lists[2][p] == 0 for p in own) or (
            sum(masks["ellipsis"] >> p & 1 for p in positions) > 1):
        raise GraphError(f"begin {lists[0]}, end {lists[1]} and strides {lists[2]} do not fit the shape "
                         f"{tuple(x.shape)}")
    picks: list[tuple[int, int, int]] = []
    kept: list[int] = []
    for position in (*positions, None):  # None: behind the lists, where the axes that are left are whole
        if position is None or masks["ellipsis"] >> position & 1:
            later = [] if position is None else [p for p in own if p > position]
            whole = x.shape[len(picks):x.rank - len(later)]
            picks += [(0, extent, 1) for extent in whole]
            kept += whole
        elif masks["new_axis"] >> position & 1:
            kept.append(1)
        else:
            pick, drops = _pick(op, x.shape[len(picks)], [values[position] for values in lists],
                                {key: bool(mask >> position & 1) for key, mask in masks.items()})
            picks.append(pick)
            kept += [] if drops else [len(range(*pick))]
    begin, end, step = zip(*picks, strict=True) if picks else ((), (), ())
    op.result(x.apply(Slice(begin, end, step)).reshape(kept))


def _pick(op: Operation, extent: int, numbers: list[int], masks: dict[str, bool]) -> tuple[tuple[int, int, int], bool]:
    """(begin, end, step) along one axis, and whether the axis disappears."""
    begin, end, step = numbers
    if masks["shrink"]:
        place = begin + extent * (begin < 0)
        if not 0 <= place < extent:
            raise GraphError(f"index {begin} is outside an axis of {extent} elements")
        return (place, place + 1, 1), True
    if op.option("offset"):
        end += begin
    pick = slice(None if masks["begin"] else begin, None if masks["end"] else end, step).indices(extent)
    if not len(range(*pick)):
        raise GraphError(f"the slice from {begin} to {end} by {step} of an axis of {extent} elements is empty")
    return pick, False


CONVERT: dict[str, Entry] = {
    "CONCATENATION": (range(1, 257), 1, _concat), "PACK": (range(1, 257), 1, _pack), "UNPACK": ((1,), 0, _unpack),
    "SPLIT": ((2,), 0, _split), "SPLIT_V": ((3,), 0, _split_v), "SLICE": ((3,), 1, _slice),
    "STRIDED_SLICE": ((4,), 1, _strided_slice),
}
