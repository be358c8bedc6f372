"""Moves of data that take several operators; of any type, and the result has the quantization of x."""

from collections.abc import Sequence
from math import prod

import numpy as np

from . import ops
from .builder import Value

MAX_GROWN = 1 << 26  # elements of what `tile` and `expand` make: 512 MiB of int64 indices at most


def concat(values: Sequence[Value], axis: int) -> Value:
    """The values one after the other along an axis."""
    first = values[0]
    return first if len(values) == 1 else first.builder.emit(ops.Concat(first.axis(axis)), values)


def stack(values: Sequence[Value], axis: int) -> Value:
    """Along a new axis."""
    shape = values[0].shape
    axis = axis % (len(shape) + 1)
    return concat([value.reshape((*shape[:axis], 1, *shape[axis:])) for value in values], axis)


def select(x: Value, axis: int, index: int) -> Value:
    """One index along an axis, which disappears; indices below 0 count from the end."""
    axis = x.axis(axis)
    index %= x.shape[axis]
    return x.slice(axis, index, index + 1).reshape((*x.shape[:axis], *x.shape[axis + 1:]))


def unstack(x: Value, axis: int) -> list[Value]:
    """The parts at all indices along an axis."""
    return [select(x, axis, index) for index in range(x.shape[x.axis(axis)])]


def split(x: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    """Parts of the given sizes along an axis. Raises `GraphError` where they do not make up its extent."""
    axis = x.axis(axis)
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise x.builder.error(f"{x.shape[axis]} elements of axis {axis} cannot be split into {list(sizes)}")
    ends = np.cumsum(sizes)
    return [x.slice(axis, int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]


def rearrange(x: Value, parts: Sequence[int], order: Sequence[int], shape: Sequence[int]) -> Value:
    """Reshaped to `parts`, transposed by `order`, reshaped to `shape`."""
    return x.reshape(parts).transpose(order).reshape(shape)


def with_rank(x: Value, rank: int) -> Value:
    """Dimensions of 1 in front, up to `rank`."""
    return x.reshape((1,) * (rank - x.rank) + tuple(x.shape))


def tile(x: Value, counts: Sequence[int]) -> Value:
    """The whole tensor repeated `counts[i]` times along axis i; more counts than axes add axes in front."""
    x = with_rank(x, len(counts))
    counts = (1,) * (x.rank - len(counts)) + tuple(counts)
    _check_grown(x, [n * count for n, count in zip(x.shape, counts, strict=True)])
    for axis, count in enumerate(counts):
        if count != 1:
            x = x.take(axis, np.tile(np.arange(x.shape[axis]), count))
    return x


def expand(x: Value, shape: Sequence[int]) -> Value:
    """Broadcast to `shape`. Raises `GraphError` where it does not fit."""
    x = with_rank(x, len(shape))
    if any(now not in (1, wanted) for now, wanted in zip(x.shape, shape, strict=True)):
        raise x.builder.error(f"a tensor of shape {tuple(x.shape)} cannot be broadcast to {tuple(shape)}")
    _check_grown(x, shape)
    for axis, (now, wanted) in enumerate(zip(x.shape, shape, strict=True)):
        if now != wanted:
            x = x.take(axis, np.zeros(wanted, np.int64))
    return x


def _check_grown(x: Value, shape: Sequence[int]) -> None:
    """Places of the elements along each axis are constants, which must not outgrow memory."""
    if min(shape, default=1) < 1 or prod(shape) > MAX_GROWN:
        raise x.builder.error(f"the result's shape {tuple(shape)} must have dimensions of at least 1 and at most "
                              f"{MAX_GROWN} elements")


def flip(x: Value, axes: Sequence[int]) -> Value:
    for axis in map(x.axis, axes):
        x = x.slice(axis, x.shape[axis] - 1, -1, -1)
    return x


def roll(x: Value, shifts: Sequence[int], axes: Sequence[int]) -> Value:
    """Shifted along axes, what leaves at one end enters at the other; without axes over all elements in order."""
    shape = x.shape
    x = x if axes else x.reshape((int(np.prod(shape)),))
    for shift, axis in zip(shifts, axes or [0], strict=True):
        axis = x.axis(axis)
        x = x.take(axis, np.roll(np.arange(x.shape[axis]), shift))
    return x.reshape(shape)


def wrapped(x: Value, widths: Sequence[tuple[int, int]]) -> Value:
    """Padded with the other end of each axis (numpy's "wrap")."""
    for axis, (before, after) in enumerate(widths):
        if before or after:
            x = x.take(axis, np.arange(-before, x.shape[axis] + after) % x.shape[axis])
    return x


def depth_to_space(x: Value, block: int, *, channels: int, columns_first: bool = False) -> Value:
    """Channels become blocks of pixels of (N, C, H, W) or (N, H, W, C): `channels` is the axis of C, 1 or 3.

    columns_first: a channel's number is that of the depth, then the place in the block (ONNX's CRD, PyTorch's pixel
    shuffle); otherwise the place comes first (ONNX's DCR, TFLite).
    """
    n, c, h, w = _image(x, channels)
    if block < 1 or c % (block * block):
        raise x.builder.error(f"{c} channels cannot be split in blocks of {block}")
    depth = c // (block * block)
    parts = (depth, block, block) if columns_first else (block, block, depth)
    at = {"d": 0, "y": 1, "x": 2} if columns_first else {"y": 0, "x": 1, "d": 2}
    if channels == 1:
        places = {"n": 0, "h": 4, "w": 5} | {k: 1 + i for k, i in at.items()}
        order = [places[k] for k in "ndhywx"]
        return rearrange(x, (n, *parts, h, w), order, (n, depth, h * block, w * block))
    places = {"n": 0, "h": 1, "w": 2} | {k: 3 + i for k, i in at.items()}
    order = [places[k] for k in "nhywxd"]
    return rearrange(x, (n, h, w, *parts), order, (n, h * block, w * block, depth))


def space_to_depth(x: Value, block: int, *, channels: int, columns_first: bool = False) -> Value:
    """The inverse of `depth_to_space`."""
    n, c, h, w = _image(x, channels)
    if block < 1 or h % block or w % block:
        raise x.builder.error(f"an image of {h} x {w} pixels cannot be split in blocks of {block}")
    high = h // block
    wide = w // block
    inner = "cyx" if columns_first else "yxc"
    if channels == 1:
        order = ["nchywx".index(k) for k in "n" + inner + "hw"]
        return rearrange(x, (n, c, high, block, wide, block), order, (n, c * block * block, high, wide))
    order = ["nhywxc".index(k) for k in "nhw" + inner]
    return rearrange(x, (n, high, block, wide, block, c), order, (n, high, wide, c * block * block))


def _image(x: Value, channels: int) -> tuple[int, int, int, int]:
    """(N, C, H, W) of images with channels at axis 1 or 3."""
    if x.rank != 4:
        raise x.builder.error(f"images must have 4 dimensions, not shape {tuple(x.shape)}")
    n, *rest = x.shape
    c = rest.pop(channels - 1)
    return n, c, rest[0], rest[1]


def channel_shuffle(x: Value, groups: int, axis: int = 1) -> Value:
    """The channels of groups in turn: channel i of every group, then channel i + 1."""
    axis = x.axis(axis)
    count = x.shape[axis]
    if groups < 1 or count % groups:
        raise x.builder.error(f"{count} channels cannot be split in {groups} groups")
    return x.reshape((*x.shape[:axis], groups, count // groups, *x.shape[axis + 1:])).transpose(
        (*range(axis), axis + 1, axis, *range(axis + 2, x.rank + 1))).reshape(x.shape)
