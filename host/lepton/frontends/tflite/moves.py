"""Operators that move values without changing them."""

from math import prod

import numpy as np

from lepton.graph import GraphError, Pad, Resize, ReverseSequence
from lepton.graph import moves as composed
from lepton.graph.builder import Value
from lepton.graph.ops import Gather, GatherND, OneHot
from lepton.graph.ops.conditions import MAX_WINDOW

from .operation import Entry, Operation

# Shapes

def _reshape(op: Operation) -> None:
    x = op.x()
    shape = op.integers(1) if op.has(1) else tuple(op.option("shape")) or op.output().shape
    known = prod(n for n in shape if n != -1)
    elements = prod(x.shape)
    open_axis = -1 in shape
    if shape.count(-1) > 1 or min(shape, default=0) < -1 or (
            not known or elements % known if open_axis else known != elements):
        raise GraphError(f"{elements} elements cannot take the shape {shape}")
    op.result(x.reshape([elements // known if n == -1 else n for n in shape]))


def _squeeze(op: Operation) -> None:
    x = op.x()
    axes = {x.axis(axis) for axis in op.option("axes")} or {a for a, n in enumerate(x.shape) if n == 1}
    if any(x.shape[axis] != 1 for axis in axes):
        raise GraphError(f"the axes {sorted(axes)} of the shape {tuple(x.shape)} must have 1 element each")
    op.result(x.reshape([n for axis, n in enumerate(x.shape) if axis not in axes]))


def _expand_dims(op: Operation) -> None:
    x = op.x()
    (axis,) = op.integers(1)[:1] or (0,)
    if not -x.rank - 1 <= axis <= x.rank:
        raise GraphError(f"axis {axis} must lie in a shape of {x.rank + 1} dimensions")
    axis %= x.rank + 1
    op.result(x.reshape((*x.shape[:axis], 1, *x.shape[axis:])))


def _transpose(op: Operation) -> None:
    x = op.x()
    order = op.integers(1)
    if sorted(axis % max(x.rank, 1) for axis in order) != list(range(x.rank)):
        raise GraphError(f"{order} is not an order of {x.rank} axes")
    op.result(x.transpose([axis % x.rank for axis in order]))


# Borders

def _pad(op: Operation) -> None:
    _padded(op, 0 if op.x().dtype != np.int8 else op.x().tensor.zero_point, "constant")


def _pad_v2(op: Operation) -> None:
    filler = op.data(2)
    if filler.size != 1:
        raise GraphError(f"the value to pad with must be one number, not of shape {filler.shape}")
    _padded(op, filler.item(), "constant")


def _padded(op: Operation, value: float, mode: str) -> None:
    x = op.x()
    widths = op.integers(1)
    if len(widths) != 2 * x.rank or not all(0 <= width <= MAX_WINDOW for width in widths):
        raise GraphError(f"paddings must be {2 * x.rank} numbers in 0..{MAX_WINDOW}, not {widths} for the shape "
                         f"{tuple(x.shape)}")
    op.result(x.apply(Pad(tuple(zip(widths[::2], widths[1::2], strict=True)), value, mode)))


def _gather(op: Operation) -> None:
    x = op.x()
    indices = op.x(1, "INT32", "INT64")
    axis = x.axis(op.option("axis"))
    batch = op.option("batch_dims")
    batch += indices.rank * (batch < 0)
    if not 0 <= batch <= min(indices.rank, axis):
        raise GraphError(f"batch_dims {batch} must be at most axis {axis} and the {indices.rank} dimensions of the "
                         "indices")
    data = indices.data
    extent = x.shape[axis]
    if data is not None and data.size and not (data.min() >= 0 and data.max() < extent):
        raise GraphError(f"indices {data.min()}..{data.max()} are outside axis {axis} of the shape {tuple(x.shape)}")
    if not batch:
        op.emit(Gather(axis), x, indices)
        return
    x = x.transpose((*range(batch), axis, *(a for a in range(batch, x.rank) if a != axis)))
    taken = x.apply(GatherND(batch), indices.reshape((*indices.shape, 1)))
    between = axis - batch  # axes of x before `axis`, which follow those of the indices now
    order = (*range(batch), *range(indices.rank, indices.rank + between), *range(batch, indices.rank),
             *range(indices.rank + between, taken.rank))
    op.result(taken.transpose(order))


def _one_hot(op: Operation) -> None:
    op.emit(OneHot((op.integers(1) or (0,))[0], op.option("axis")), op.x(0), op.x(2), op.x(3))


def _tile(op: Operation) -> None:
    x = op.x()
    times = op.integers(1)
    if len(times) != x.rank or min(times, default=1) < 1:
        raise GraphError(f"{x.rank} numbers of at least 1 are needed, not {times}")
    op.result(composed.tile(x, times))


def _broadcast_to(op: Operation) -> None:
    op.result(composed.expand(op.x(), op.integers(1)))


# Images

def _resize(op: Operation) -> None:
    x = op.x()
    size = op.integers(1)
    if x.rank != 4 or len(size) != 2 or min(size) < 1:
        raise GraphError("an input (1, height, width, channels) and a size of 2 numbers of at least 1 are needed, not "
                         f"{tuple(x.shape)} and {size}")
    if op.option("align_corners") and op.option("half_pixel"):
        raise GraphError("align_corners and half_pixel_centers exclude each other")
    coordinates = "align_corners" if op.option("align_corners") else (
        "half_pixel" if op.option("half_pixel") else "asymmetric")
    if op.name == "RESIZE_BILINEAR":
        op.emit(Resize((size[0], size[1]), "bilinear", coordinates, unsigned=op.legacy()), x)
    else:  # TFLite adds half a pixel and rounds down
        nearest = "floor" if coordinates == "asymmetric" else "round_prefer_ceil"
        op.emit(Resize((size[0], size[1]), "nearest", coordinates, nearest), x)


def _blocks(op: Operation) -> tuple[Value, tuple[int, int], list[tuple[int, int]]]:
    """Image, block sizes, and what is added to or cropped from height and width."""
    x = op.x()
    blocks = op.integers(1)
    widths = op.integers(2)
    if x.rank != 4 or len(blocks) != 2 or len(widths) != 4 or min(blocks) < 1 or min(widths) < 0 or (
            max(*blocks, *widths) > MAX_WINDOW):
        raise GraphError(f"an NHWC input with 2 block sizes and 4 paddings is needed, not {tuple(x.shape)}, {blocks}, "
                         f"{widths}")
    return x, (blocks[0], blocks[1]), [(widths[0], widths[1]), (widths[2], widths[3])]


def _space_to_batch(op: Operation) -> None:
    x, (by, bx), (rows, columns) = _blocks(op)
    if any((*rows, *columns)):
        zero = x.tensor.zero_point if x.dtype == np.int8 else 0
        x = x.apply(Pad(((0, 0), rows, columns, (0, 0)), zero))
    n, h, w, c = x.shape
    if h % by or w % bx:
        raise GraphError(f"the padded size {h} x {w} must be a multiple of the blocks {(by, bx)}")
    op.result(composed.rearrange(x, (n, h // by, by, w // bx, bx, c), (2, 4, 0, 1, 3, 5),
                                 (n * by * bx, h // by, w // bx, c)))


def _batch_to_space(op: Operation) -> None:
    x, (by, bx), (rows, columns) = _blocks(op)
    n, h, w, c = x.shape
    if n % (by * bx):
        raise GraphError(f"the batch {n} must be a multiple of the blocks {(by, bx)}")
    n //= by * bx
    x = composed.rearrange(x, (by, bx, n, h, w, c), (2, 3, 0, 4, 1, 5), (n, h * by, w * bx, c))
    for axis, (before, after) in ((1, rows), (2, columns)):
        x = x.slice(axis, before, x.shape[axis] - after)
    op.result(x)


def _reverse_sequence(op: Operation) -> None:
    x = op.x(0, "UINT8", "FLOAT32", "INT32", "INT64")  # LiteRT has no kernel for int8
    op.emit(ReverseSequence(op.option("axis"), op.option("batch")), x, op.x(1))


CONVERT: dict[str, Entry] = {
    "RESHAPE": ((1, 2), 1, _reshape), "SQUEEZE": ((1,), 1, _squeeze), "EXPAND_DIMS": ((2,), 1, _expand_dims),
    "TRANSPOSE": ((2,), 1, _transpose), "PAD": ((2,), 1, _pad), "PADV2": ((3,), 1, _pad_v2),
    "MIRROR_PAD": ((2,), 1, lambda op: _padded(op, 0, op.option("mode").lower())), "GATHER": ((2,), 1, _gather),
    "GATHER_ND": ((2,), 1, lambda op: op.emit(GatherND(), *op.all())), "ONE_HOT": ((4,), 1, _one_hot),
    "EMBEDDING_LOOKUP": ((2,), 1, lambda op: op.emit(Gather(0), op.x(1), op.x(0))), "TILE": ((2,), 1, _tile),
    "BROADCAST_TO": ((2,), 1, _broadcast_to),
    "REVERSE_V2": ((2,), 1, lambda op: op.result(composed.flip(op.x(), op.integers(1)))),
    "REVERSE_SEQUENCE": ((2,), 1, _reverse_sequence),
    "RESIZE_BILINEAR": ((2,), 1, _resize), "RESIZE_NEAREST_NEIGHBOR": ((2,), 1, _resize),
    "SPACE_TO_DEPTH": ((1,), 1, lambda op: op.result(composed.space_to_depth(op.x(), op.option("block"), channels=3))),
    "DEPTH_TO_SPACE": ((1,), 1, lambda op: op.result(composed.depth_to_space(op.x(), op.option("block"), channels=3))),
    "SPACE_TO_BATCH_ND": ((3,), 1, _space_to_batch), "BATCH_TO_SPACE_ND": ((3,), 1, _batch_to_space),
}
