"""Operators that move values without changing them."""

from math import prod

import numpy as np

from lepton.graph import Concat, Gather, GraphError, Pad, Reshape, Resize, Slice, Table, Transpose
from lepton.graph.ops.conditions import MAX_WINDOW

from .reader import RawOperator
from .tables import concat_table


def _like(imp, operator: RawOperator, where: str) -> tuple[str, str]:
    """Names of the first input and the output, which must be quantized alike."""
    x, y = imp.value(operator.inputs[0], where), imp.value(operator.outputs[0], where)
    imp.same_quantization([x, y], where)
    return x, y


def _reshape(imp, operator: RawOperator, where: str) -> None:
    shape = imp.shape(operator.inputs[0])
    if operator.name == "RESHAPE" and len(operator.inputs) == 2 and operator.inputs[1] >= 0:
        wanted = imp.integers(operator.inputs[1], where)
    elif operator.name == "RESHAPE":
        wanted = tuple(operator.options["shape"]) or imp.shape(operator.outputs[0])
    elif operator.name == "EXPAND_DIMS":
        (axis,) = imp.integers(operator.inputs[1], where)[:1] or (0,)
        axis = imp.axis_of(axis, len(shape) + 1, where)
        wanted = (*shape[:axis], 1, *shape[axis:])
    else:
        axes = {imp.axis_of(axis, len(shape), where) for axis in operator.options["axes"]}
        if any(shape[axis] != 1 for axis in axes):
            raise GraphError(f"{where}: the axes {sorted(axes)} of the shape {shape} must have 1 element each")
        wanted = tuple(n for axis, n in enumerate(shape) if (axis not in axes if axes else n != 1))
    imp.expect(operator.outputs[0], _resolved(wanted, prod(shape), where), where)
    imp.emit(Reshape(imp.shape(operator.outputs[0])), [imp.value(operator.inputs[0], where)],
             _like(imp, operator, where)[1], where)


def _resolved(wanted: tuple[int, ...], elements: int, where: str) -> tuple[int, ...]:
    """The shape with its -1 replaced by what is left of `elements`."""
    known = prod(n for n in wanted if n != -1)
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1 or (
            elements % known or not known if -1 in wanted else known != elements):
        raise GraphError(f"{where}: {elements} elements cannot take the shape {wanted}")
    return tuple(elements // known if n == -1 else n for n in wanted)


def _transpose(imp, operator: RawOperator, where: str) -> None:
    shape, order = imp.shape(operator.inputs[0]), imp.integers(operator.inputs[1], where)
    if sorted(axis % max(len(shape), 1) for axis in order) != list(range(len(shape))):
        raise GraphError(f"{where}: {order} is not an order of {len(shape)} axes")
    order = tuple(axis % len(shape) for axis in order)
    imp.expect(operator.outputs[0], tuple(shape[axis] for axis in order), where)
    x, y = _like(imp, operator, where)
    imp.emit(Transpose(order), [x], y, where)


def _concat(imp, operator: RawOperator, where: str) -> None:
    if operator.options["activation"] != "NONE":
        raise GraphError(f"{where}: a fused activation ({operator.options['activation']}) is not supported")
    shapes = [imp.shape(i) for i in operator.inputs]
    axis = imp.axis_of(operator.options["axis"], len(shapes[0]), where)
    if any((*s[:axis], *s[axis + 1:]) != (*shapes[0][:axis], *shapes[0][axis + 1:]) for s in shapes):
        raise GraphError(f"{where}: the shapes {shapes} differ in more than axis {axis}")
    imp.expect(operator.outputs[0], (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1:]), where)
    output, names = imp.value(operator.outputs[0], where), []
    for index in operator.inputs:
        name = imp.value(index, where)
        values = None
        if imp.is_legacy(imp.raw.tensors[index]):
            try:
                values = concat_table(imp.of(name), imp.of(output))
            except GraphError as error:
                raise GraphError(f"{where}: {error}") from None
        if values is not None:
            moved = imp.temporary(output, "operand", imp.of(name).shape)
            name = imp.emit(Table(values), [name], moved, where)
        names.append(name)
    imp.same_quantization([*names, output], where)
    imp.emit(Concat(axis), names, output, where)


def _pack(imp, operator: RawOperator, where: str) -> None:
    shape = imp.shape(operator.inputs[0])
    axis = imp.axis_of(operator.options["axis"], len(shape) + 1, where)
    if any(imp.shape(i) != shape for i in operator.inputs):
        raise GraphError(f"{where}: all inputs must have the same shape")
    imp.expect(operator.outputs[0], (*shape[:axis], len(operator.inputs), *shape[axis:]), where)
    output = imp.value(operator.outputs[0], where)
    values = [imp.value(i, where) for i in operator.inputs]
    imp.same_quantization([*values, output], where)
    one = (*shape[:axis], 1, *shape[axis:])
    parts = [imp.emit(Reshape(one), [v], imp.temporary(output, f"part{i}", one), where)
             for i, v in enumerate(values)]
    imp.emit(Concat(axis), parts, output, where)


def _unpack(imp, operator: RawOperator, where: str) -> None:
    x, shape = imp.value(operator.inputs[0], where), imp.shape(operator.inputs[0])
    axis = imp.axis_of(operator.options["axis"], len(shape), where)
    if shape[axis] != len(operator.outputs):
        raise GraphError(f"{where}: {len(operator.outputs)} outputs from axis {axis} of the shape {shape}")
    for i, index in enumerate(operator.outputs):
        imp.expect(index, (*shape[:axis], *shape[axis + 1:]), where)
        output = imp.value(index, where)
        part = imp.temporary(output, "part", (*shape[:axis], 1, *shape[axis + 1:]))
        begin, end = [0] * len(shape), list(shape)
        begin[axis], end[axis] = i, i + 1
        imp.same_quantization([x, output], where)
        imp.emit(Slice(tuple(begin), tuple(end), (1,) * len(shape)), [x], part, where)
        imp.emit(Reshape(imp.of(output).shape), [part], output, where)


def _split(imp, operator: RawOperator, where: str) -> None:
    position = 1 if operator.name == "SPLIT" else 0
    x, shape = imp.value(operator.inputs[position], where), imp.shape(operator.inputs[position])
    (axis,) = imp.integers(operator.inputs[0 if operator.name == "SPLIT" else 2], where)[:1]
    axis = imp.axis_of(axis, len(shape), where)
    begin, end, at = [0] * len(shape), list(shape), 0
    for index in operator.outputs:
        size = imp.shape(index)[axis] if len(imp.shape(index)) == len(shape) else 0
        begin[axis], end[axis] = at, at + size
        imp.expect(index, (*shape[:axis], size, *shape[axis + 1:]), where)
        output = imp.value(index, where)
        imp.same_quantization([x, output], where)
        at += size
        if at > shape[axis]:
            raise GraphError(f"{where}: the parts are larger than axis {axis} of the shape {shape}")
        imp.emit(Slice(tuple(begin), tuple(end), (1,) * len(shape)), [x], output, where)
    if at != shape[axis]:
        raise GraphError(f"{where}: the parts make {at} of the {shape[axis]} elements of axis {axis}")


def _plain_slice(imp, operator: RawOperator, where: str) -> None:
    shape = imp.shape(operator.inputs[0])
    begin, size = (imp.integers(i, where) for i in operator.inputs[1:])
    if len(begin) != len(shape) or len(size) != len(shape):
        raise GraphError(f"{where}: begin {begin} and size {size} must have {len(shape)} values")
    end = [extent if s == -1 else b + s for b, s, extent in zip(begin, size, shape, strict=True)]
    if any(not 0 <= b < e <= extent for b, e, extent in zip(begin, end, shape, strict=True)):
        raise GraphError(f"{where}: from {begin} to {tuple(end)} does not lie in the shape {shape}")
    imp.expect(operator.outputs[0], tuple(e - b for b, e in zip(begin, end, strict=True)), where)
    x, y = _like(imp, operator, where)
    imp.emit(Slice(tuple(begin), tuple(end), (1,) * len(shape)), [x], y, where)


def _strided_slice(imp, operator: RawOperator, where: str) -> None:
    options, shape = operator.options, imp.shape(operator.inputs[0])
    begins, ends, steps = (imp.integers(i, where) for i in operator.inputs[1:])
    if options["ellipsis_mask"] or options["new_axis_mask"] or options["offset"]:
        raise GraphError(f"{where}: ellipsis, new axes and offsets are not supported")
    if not len(begins) == len(ends) == len(steps) <= len(shape) or 0 in steps:
        raise GraphError(f"{where}: begin {begins}, end {ends} and strides {steps} do not fit the shape {shape}")
    begin, end, step, kept = [], [], [], []
    for axis, extent in enumerate(shape):
        if axis >= len(begins):
            b, e, s = 0, extent, 1
        else:
            first = None if options["begin_mask"] >> axis & 1 else begins[axis]
            last = None if options["end_mask"] >> axis & 1 else ends[axis]
            if options["shrink_mask"] >> axis & 1:
                b = (begins[axis] + extent) if begins[axis] < 0 else begins[axis]
                b, e, s = b, b + 1, 1
                if not 0 <= b < extent:
                    raise GraphError(f"{where}: index {begins[axis]} is outside axis {axis} of the shape {shape}")
            else:
                b, e, s = slice(first, last, steps[axis]).indices(extent)
        count = len(range(b, e, s))
        if not count:
            raise GraphError(f"{where}: the slice of axis {axis} of the shape {shape} is empty")
        begin.append(b)
        end.append(e)
        step.append(s)
        if not (axis < len(begins) and options["shrink_mask"] >> axis & 1):
            kept.append(count)
    full = tuple(len(range(*bes)) for bes in zip(begin, end, step, strict=True))
    imp.expect(operator.outputs[0], tuple(kept), where)
    x, y = _like(imp, operator, where)
    if tuple(kept) == full:
        imp.emit(Slice(tuple(begin), tuple(end), tuple(step)), [x], y, where)
    else:
        part = imp.emit(Slice(tuple(begin), tuple(end), tuple(step)), [x], imp.temporary(y, "part", full), where)
        imp.emit(Reshape(tuple(kept)), [part], y, where)


def _pad(imp, operator: RawOperator, where: str) -> None:
    shape, widths = imp.shape(operator.inputs[0]), imp.integers(operator.inputs[1], where)
    if len(widths) != 2 * len(shape) or not all(0 <= width <= MAX_WINDOW for width in widths):
        raise GraphError(f"{where}: paddings must be {2 * len(shape)} numbers in 0..{MAX_WINDOW}, not {widths} for "
                         f"the shape {shape}")
    pairs = tuple(zip(widths[::2], widths[1::2], strict=True))
    imp.expect(operator.outputs[0], tuple(n + sum(p) for n, p in zip(shape, pairs, strict=True)), where)
    x, y = _like(imp, operator, where)
    q, mode = imp.of(x).quantization, "constant"
    value = 0 if q is None or imp.of(x).dtype != np.int8 else int(q.zero_point[0])
    if operator.name == "PADV2":
        filler = imp.of(imp.constant(operator.inputs[2], where, ("INT8", "UINT8", "INT32", "INT64", "FLOAT32")))
        if filler.data.size != 1:
            raise GraphError(f"{where}: the value to pad with must be one number, not of shape {filler.shape}")
        value = filler.data.item()
    elif operator.name == "MIRROR_PAD":
        mode = operator.options["mode"].lower()
        if any(max(pair) >= n + (mode == "symmetric") for n, pair in zip(shape, pairs, strict=True)):
            raise GraphError(f"{where}: {mode} paddings {pairs} are too large for the shape {shape}")
    imp.emit(Pad(pairs, value, mode), [x], y, where)


def _gather(imp, operator: RawOperator, where: str) -> None:
    shape = imp.shape(operator.inputs[0])
    if operator.options["batch_dims"]:
        raise GraphError(f"{where}: batch_dims must be 0, not {operator.options['batch_dims']}")
    axis = imp.axis_of(operator.options["axis"], len(shape), where)
    indices = imp.value(operator.inputs[1], where, ("INT32", "INT64"))
    data = imp.of(indices).data
    if data is not None and data.size and not (data.min() >= 0 and data.max() < shape[axis]):
        raise GraphError(f"{where}: indices {data.min()}..{data.max()} are outside axis {axis} of the shape {shape}")
    imp.expect(operator.outputs[0], (*shape[:axis], *imp.of(indices).shape, *shape[axis + 1:]), where)
    x, y = _like(imp, operator, where)
    imp.emit(Gather(axis), [x, indices], y, where)


def _repeat(imp, operator: RawOperator, where: str) -> None:
    """TILE and BROADCAST_TO: a Gather for each axis that grows."""
    shape, wanted = imp.shape(operator.inputs[0]), imp.integers(operator.inputs[1], where)
    made = imp.shape(operator.outputs[0])
    if operator.name == "TILE":
        wanted = tuple(n * k for n, k in zip(shape, wanted, strict=False)) if len(wanted) == len(shape) else ()
    if made != wanted or len(made) < len(shape) or 0 in made:
        raise GraphError(f"{where}: the output is declared as {made}, the operator makes {wanted}")
    x, y = _like(imp, operator, where)
    padded = (1,) * (len(made) - len(shape)) + shape
    name = x if padded == shape else imp.emit(Reshape(padded), [x], imp.temporary(y, "rank", padded),
                                                       where)
    grown = [axis for axis in range(len(made)) if made[axis] != padded[axis]]
    if any(made[a] % padded[a] or (operator.name != "TILE" and padded[a] != 1) for a in grown):
        raise GraphError(f"{where}: {shape} cannot be broadcast to {made}")
    now = list(padded)
    for axis in grown:
        indices = imp.number(y, f"indices{axis}", np.tile(np.arange(now[axis]), made[axis] // now[axis]))
        now[axis] = made[axis]
        output = y if axis == grown[-1] else imp.temporary(y, f"axis{axis}", now)
        name = imp.emit(Gather(axis), [name, indices], output, where)
    if not grown:
        imp.emit(Reshape(imp.of(y).shape), [name], y, where)


def _resize(imp, operator: RawOperator, where: str) -> None:
    x_shape = imp.shape(operator.inputs[0])
    size = imp.integers(operator.inputs[1], where)
    if len(x_shape) != 4 or len(size) != 2 or min(size) < 1:
        raise GraphError(f"{where}: an input (1, height, width, channels) and a size of 2 numbers of at least 1 are "
                         f"needed, not {x_shape} and {size}")
    imp.expect(operator.outputs[0], (x_shape[0], *size, x_shape[3]), where)
    align, half = operator.options["align_corners"], operator.options["half_pixel"]
    if align and half:
        raise GraphError(f"{where}: align_corners and half_pixel_centers exclude each other")
    coordinates = "align_corners" if align else "half_pixel" if half else "asymmetric"
    x, y = _like(imp, operator, where)
    if operator.name == "RESIZE_BILINEAR":
        op = Resize(size, "bilinear", coordinates, unsigned=imp.is_legacy(imp.raw.tensors[operator.inputs[0]]))
    else:  # TFLite's centers are rounded down after half a pixel is added
        op = Resize(size, "nearest", coordinates, "floor" if coordinates == "asymmetric" else "round_prefer_ceil")
    imp.emit(op, [x], y, where)


def _rearrange(imp, x: str, y: str, split: tuple[int, ...], order: tuple[int, ...], where: str) -> None:
    """Reshape, transpose, reshape."""
    parts = imp.emit(Reshape(split), [x], imp.temporary(y, "split", split), where)
    moved = imp.emit(Transpose(order), [parts], imp.temporary(y, "moved", [split[a] for a in order]), where)
    imp.emit(Reshape(imp.of(y).shape), [moved], y, where)


def _blocks(imp, operator: RawOperator, where: str) -> None:
    shape, made, block = imp.shape(operator.inputs[0]), imp.shape(operator.outputs[0]), operator.options["block"]
    if len(shape) != 4 or not 1 <= block <= MAX_WINDOW:
        raise GraphError(f"{where}: an NHWC input and a block of 1..{MAX_WINDOW} are needed, not {shape} and {block}")
    n, h, w, c = shape
    if operator.name == "SPACE_TO_DEPTH":
        expected = (n, h // block, w // block, c * block * block)
        split, order = (n, h // block, block, w // block, block, c), (0, 1, 3, 2, 4, 5)
    else:
        expected = (n, h * block, w * block, c // (block * block))
        split, order = (n, h, w, block, block, c // (block * block)), (0, 1, 3, 2, 4, 5)
    imp.expect(operator.outputs[0], expected, where)
    if prod(expected) != prod(shape):
        raise GraphError(f"{where}: {shape} cannot be split in blocks of {block} to {made}")
    _rearrange(imp, *_like(imp, operator, where), split, order, where)


def _space_to_batch(imp, operator: RawOperator, where: str) -> None:
    shape, (blocks, widths) = imp.shape(operator.inputs[0]), (imp.integers(i, where) for i in operator.inputs[1:])
    if len(shape) != 4 or len(blocks) != 2 or len(widths) != 4 or min(blocks) < 1 or min(widths) < 0 or (
            max(*blocks, *widths) > MAX_WINDOW):
        raise GraphError(f"{where}: an NHWC input with 2 block sizes and 4 paddings is needed, not {shape}, {blocks}, "
                         f"{widths}")
    (by, bx), (n, h, w, c) = blocks, shape
    x, y = _like(imp, operator, where)
    if operator.name == "SPACE_TO_BATCH_ND":
        h, w = h + sum(widths[:2]), w + sum(widths[2:])
        if h % by or w % bx:
            raise GraphError(f"{where}: the padded size {h} x {w} must be a multiple of the blocks {blocks}")
        imp.expect(operator.outputs[0], (n * by * bx, h // by, w // bx, c), where)
        q = imp.of(x).quantization
        pads = ((0, 0), tuple(widths[:2]), tuple(widths[2:]), (0, 0))
        if any(widths):
            x = imp.emit(Pad(pads, 0 if q is None else int(q.zero_point[0])), [x],
                         imp.temporary(y, "padded", (n, h, w, c)), where)
        _rearrange(imp, x, y, (n, h // by, by, w // bx, bx, c), (2, 4, 0, 1, 3, 5), where)
        return
    if n % (by * bx):
        raise GraphError(f"{where}: the batch {n} must be a multiple of the blocks {blocks}")
    n //= by * bx
    full = (n, h * by, w * bx, c)
    imp.expect(operator.outputs[0], (n, h * by - sum(widths[:2]), w * bx - sum(widths[2:]), c), where)
    whole = imp.temporary(y, "whole", full) if any(widths) else y
    _rearrange(imp, x, whole, (by, bx, n, h, w, c), (2, 3, 0, 4, 1, 5), where)
    if any(widths):
        end = (n, h * by - widths[1], w * bx - widths[3], c)
        imp.emit(Slice((0, widths[0], widths[2], 0), end, (1, 1, 1, 1)), [whole], y, where)


CONVERT = {
    "RESHAPE": ((1, 2), 1, _reshape), "SQUEEZE": ((1,), 1, _reshape), "EXPAND_DIMS": ((2,), 1, _reshape),
    "TRANSPOSE": ((2,), 1, _transpose), "CONCATENATION": (range(1, 257), 1, _concat),
    "PACK": (range(1, 257), 1, _pack), "UNPACK": ((1,), 0, _unpack), "SPLIT": ((2,), 0, _split),
    "SPLIT_V": ((3,), 0, _split), "SLICE": ((3,), 1, _plain_slice), "STRIDED_SLICE": ((4,), 1, _strided_slice),
    "PAD": ((2,), 1, _pad), "PADV2": ((3,), 1, _pad), "MIRROR_PAD": ((2,), 1, _pad), "GATHER": ((2,), 1, _gather),
    "TILE": ((2,), 1, _repeat), "BROADCAST_TO": ((2,), 1, _repeat), "RESIZE_BILINEAR": ((2,), 1, _resize),
    "RESIZE_NEAREST_NEIGHBOR": ((2,), 1, _resize), "SPACE_TO_DEPTH": ((1,), 1, _blocks),
    "DEPTH_TO_SPACE": ((1,), 1, _blocks), "SPACE_TO_BATCH_ND": ((3,), 1, _space_to_batch),
    "BATCH_TO_SPACE_ND": ((3,), 1, _space_to_batch),
}
