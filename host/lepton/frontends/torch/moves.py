"""Operators that move values: the same int8 steps, or the same float32 numbers, in other places."""

import operator
from collections.abc import Callable

import numpy as np
import torch
from torch.fx import Node

from lepton.graph import Concat, Gather, GraphError, Maximum, Minimum, Op, Pad, Reshape, Resize, Slice, Transpose

from .context import same
from .quantizer import JOINS, SPLITS

aten = torch.ops.aten


class _Moved:
    """Emits the steps of one move, on int8 or on float32 tensors."""

    def __init__(self, imp, node: Node, source: str):
        self.imp, self.node, self.name = imp, node, source

    def step(self, op: Op, *more: str) -> "_Moved":
        self.name = self.imp.host(op, [self.name, *more], self.node)
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return self.imp.tensor(self.name).shape

    def reshape(self, shape) -> "_Moved":
        return self if tuple(shape) == self.shape else self.step(Reshape(tuple(shape)))

    def transpose(self, order) -> "_Moved":
        order = tuple(order)
        if order == tuple(range(len(order))):
            return self
        return self.step(Transpose(order))

    def slice(self, axis: int, begin: int, end: int, step: int = 1) -> "_Moved":
        shape = list(self.shape)
        begins, ends, steps = [0] * len(shape), list(shape), [1] * len(shape)
        begins[axis], ends[axis], steps[axis] = begin, end, step
        return self.step(Slice(tuple(begins), tuple(ends), tuple(steps)))


def _made(m: _Moved) -> tuple[int, ...]:
    return tuple(m.imp.made[m.node].shape)


def _reshape(m: _Moved):
    m.reshape(_made(m))


def _permute(m: _Moved):
    rank = len(m.shape)
    m.transpose([axis % rank for axis in m.node.args[1]])


def _swap(m: _Moved):
    rank, order = len(m.shape), list(range(len(m.shape)))
    a, b = (m.node.args[1:3] if len(m.node.args) > 2 else (0, 1))
    order[a % rank], order[b % rank] = order[b % rank], order[a % rank]
    m.transpose(order)


def _slice(m: _Moved):
    axis, begin, end, step = (*m.node.args[1:], *(0, None, None, 1)[len(m.node.args) - 1:])
    axis = axis % len(m.shape)
    begin, end, step = slice(begin, end, step).indices(m.shape[axis])
    m.slice(axis, begin, end, step)


def _select(m: _Moved):
    axis, index = m.node.args[1] % len(m.shape), m.node.args[2]
    index %= m.shape[axis]
    m.slice(axis, index, index + 1).reshape(_made(m))


def _part(m: _Moved):
    """One result of a split: `m.node` is the getitem."""
    split, index = m.node.args
    parts = m.imp.made[split]
    axis = (split.args[2] if len(split.args) > 2 else split.kwargs.get("dim", 0))
    if split.target is aten.unbind.int:
        axis = (split.args[1] if len(split.args) > 1 else 0) % len(m.shape)
        m.slice(axis, index, index + 1).reshape(_made(m))
        return
    axis %= len(m.shape)
    begin = sum(part.shape[axis] for part in parts[:index])
    m.slice(axis, begin, begin + parts[index].shape[axis])


def _pad(m: _Moved):
    pairs, x = list(m.node.args[1]), m.imp.tensor(m.name)
    mode = m.node.args[2] if m.node.target is aten.pad.default and len(m.node.args) > 2 else "constant"
    value = m.node.args[3 if m.node.target is aten.pad.default else 2] if len(m.node.args) > (
        3 if m.node.target is aten.pad.default else 2) else 0.0
    rank, widths = len(m.shape), [(0, 0)] * len(m.shape)
    for i in range(len(pairs) // 2):
        before, after = pairs[2 * i:2 * i + 2]
        axis = rank - 1 - i
        if min(before, after) < 0:  # cuts off
            m.slice(axis, max(-before, 0), m.shape[axis] - max(-after, 0))
        widths[axis] = (max(before, 0), max(after, 0))
    if mode == "circular":
        for axis, (before, after) in enumerate(widths):
            if before or after:
                _taken(m, axis, np.arange(-before, m.shape[axis] + after) % m.shape[axis])
        return
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
    if mode not in names:
        raise GraphError(f"{m.imp.where(m.node)}: padding must be one of {', '.join(names)}, circular, not {mode!r}")
    value = 0.0 if value is None else float(value)
    if x.quantization is not None:
        steps = round(value / float(x.quantization.scale[0])) + int(x.quantization.zero_point[0])
        value = min(max(steps, -128), 127)
    if any(map(any, widths)):
        m.step(Pad(tuple(widths), value, names[mode]))


def _nearest(m: _Moved):
    m.transpose((0, 2, 3, 1)).step(Resize(_made(m)[2:], "nearest", "asymmetric", "floor"))
    m.transpose((0, 3, 1, 2))


def _shuffle(m: _Moved):
    n, c, h, w = m.shape
    r = int(m.node.args[1])
    if m.node.target is aten.pixel_shuffle.default:
        m.reshape((n, c // (r * r), r, r, h, w)).transpose((0, 1, 4, 2, 5, 3)).reshape(_made(m))
    elif m.node.target is aten.pixel_unshuffle.default:
        m.reshape((n, c, h // r, r, w // r, r)).transpose((0, 1, 3, 5, 2, 4)).reshape(_made(m))
    else:
        m.reshape((n, r, c // r, h, w)).transpose((0, 2, 1, 3, 4)).reshape(_made(m))


def _expand(m: _Moved):
    made = _made(m)
    m.reshape((1,) * (len(made) - len(m.shape)) + m.shape)
    for axis, (now, wanted) in enumerate(zip(m.shape, made, strict=True)):
        if now != wanted:
            _taken(m, axis, np.zeros(wanted))


def _flip(m: _Moved):
    for axis in m.node.args[1]:
        axis %= len(m.shape)
        m.slice(axis, m.shape[axis] - 1, -1, -1)


def _taken(m: _Moved, axis: int, indices: np.ndarray):
    name = m.imp.constant(f"{m.node.name}/indices", indices.astype(np.int64))
    m.step(Gather(axis), name)


def _roll(m: _Moved):
    shifts, axes = m.node.args[1], (m.node.args[2] if len(m.node.args) > 2 else [])
    shape = m.shape
    if not axes:  # over all elements in their order
        m.reshape((int(np.prod(shape)),))
    for shift, axis in zip(shifts, axes or [0], strict=True):
        axis %= len(m.shape)
        _taken(m, axis, np.roll(np.arange(m.shape[axis]), shift))
    m.reshape(shape)


def _repeat(m: _Moved):
    counts = m.node.args[1]
    m.reshape((1,) * (len(counts) - len(m.shape)) + m.shape)
    for axis, count in enumerate(counts):
        if count != 1:
            _taken(m, axis, np.tile(np.arange(m.shape[axis]), count))


def _nothing(m: _Moved):
    """`detach` of a trained module."""


_STEPS: dict[object, Callable[[_Moved], None]] = {
    aten.flatten.using_ints: _reshape, aten.view.default: _reshape,
    aten._unsafe_view.default: _reshape, aten.reshape.default: _reshape,
    aten.squeeze.default: _reshape, aten.squeeze.dim: _reshape, aten.squeeze.dims: _reshape,
    aten.unsqueeze.default: _reshape, aten.unflatten.int: _reshape, aten.permute.default: _permute,
    aten.transpose.int: _swap, aten.t.default: _swap, aten.slice.Tensor: _slice, aten.select.int: _select,
    aten.pad.default: _pad, aten.constant_pad_nd.default: _pad, aten.upsample_nearest2d.vec: _nearest,
    aten.upsample_nearest2d.default: _nearest, aten.pixel_shuffle.default: _shuffle,
    aten.pixel_unshuffle.default: _shuffle, aten.channel_shuffle.default: _shuffle, aten.expand.default: _expand,
    aten.expand_as.default: _expand, aten.flip.default: _flip, aten.roll.default: _roll, aten.repeat.default: _repeat,
    aten.detach.default: _nothing,
}
_EXTREMA = {aten.maximum.default: Maximum, aten.minimum.default: Minimum}


def _one(imp, node: Node) -> str | None:
    source = imp.operand(node.args[0])
    if source is None:
        return None
    moved = _Moved(imp, node, source)
    _STEPS[node.target](moved)
    return moved.name


def _item(imp, node: Node) -> str | None:
    split = node.args[0]
    if not isinstance(split, Node) or split.target not in SPLITS:
        return None
    source = imp.operand(split.args[0])
    if source is None:
        return None
    moved = _Moved(imp, node, source)
    _part(moved)
    return moved.name


def _join_names(imp, node: Node, names: list[str]) -> str:
    made, axis = tuple(imp.made[node].shape), (node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0))
    axis %= len(made)
    if node.target is aten.stack.default:
        one = (*made[:axis], 1, *made[axis + 1:])
        names = [_Moved(imp, node, name).reshape(one).name for name in names]
    return imp.host(Concat(axis), names, node)


def _join(imp, node: Node) -> str | None:
    names = [imp.operand(part) for part in node.args[0]]
    if None in names or not all(same(imp.tensor(names[0]).quantization, imp.tensor(n).quantization) for n in names):
        return None
    return _join_names(imp, node, names)


def _extremum(imp, node: Node) -> str | None:
    names = [imp.operand(part) for part in node.args[:2]]
    if None in names or not same(imp.tensor(names[0]).quantization, imp.tensor(names[1]).quantization):
        return None
    return imp.host(_EXTREMA[node.target](), names, node)


# Functions that give the int8 tensor of a moved value, or None where its operands are not int8 on one grid.
MOVES = (dict.fromkeys(_STEPS, _one) | {operator.getitem: _item} | dict.fromkeys(JOINS, _join)
         | dict.fromkeys(_EXTREMA, _extremum))


def float_move(imp, node: Node) -> str | None:
    """Emits the move on float32 tensors; None for other operators."""
    if node.target in _STEPS:
        moved = _Moved(imp, node, imp.value(node.args[0]))
        _STEPS[node.target](moved)
        return moved.name
    if node.target is operator.getitem and isinstance(node.args[0], Node) and node.args[0].target in SPLITS:
        moved = _Moved(imp, node, imp.value(node.args[0].args[0]))
        _part(moved)
        return moved.name
    if node.target in JOINS:
        return _join_names(imp, node, [imp.value(part) for part in node.args[0]])
    return None
