"""Operators that move elements: any type goes through unchanged, int8 stays int8, a function stays to be computed."""

from dataclasses import replace
from math import prod

import numpy as np
import onnx

from lepton.graph import Concat, Gather, GraphError, Op, Pad, Slice, Table

from .importer import INT8, Importer, attributes, checked_axis
from .quantities import quantization
from .values import BYTES, CODES, Computed, Constant, Joined


def source_of(importer: Importer, name: str) -> Computed:
    """The value to move: 8-bit values as their tensor's own codes, so that a table stays beside what computes it."""
    value = importer.computed(name)
    if value.dtype in BYTES and value.table is not None:
        importer.codes(name)
        value = importer.computed(name)
    return value


def set_moved(importer: Importer, name: str, source: Computed, tensor: str):
    importer.values[name] = Computed(tensor, importer.graph.tensors[tensor].shape, source.dtype, source.table)


def emit_moved(importer: Importer, op: Op, source: Computed, name: str) -> str:
    return importer.emit(op, [source.tensor], name)


def integers(importer: Importer, node: onnx.NodeProto, position: int, what: str) -> list[int] | None:
    array = importer.constant(node, position, what)
    return None if array is None else [int(v) for v in array.ravel()]


def _to_shape(importer: Importer, node: onnx.NodeProto, shape: tuple[int, ...]):
    source = source_of(importer, node.input[0])
    if any(n < 1 for n in shape) or prod(shape) != prod(source.shape):
        raise GraphError(f"{importer.where}: a tensor of shape {source.shape} cannot become {tuple(shape)}")
    set_moved(importer, node.output[0], source, importer.reshape(source.tensor, tuple(shape)))


def reshape(importer: Importer, node: onnx.NodeProto):
    old, given = importer.settled(node.input[0]).shape, attributes(node)
    target = integers(importer, node, 1, "the shape")
    target = list(given.get("shape", ())) if target is None else target
    if not given.get("allowzero", 0):
        if any(n == 0 and i >= len(old) for i, n in enumerate(target)):
            raise GraphError(f"{importer.where}: the shape {target} copies dimensions that {old} does not have")
        target = [old[i] if n == 0 else n for i, n in enumerate(target)]
    if target.count(-1) == 1:
        known = -prod(target)
        target = [(prod(old) // known if known > 0 else 0) if n == -1 else n for n in target]
    _to_shape(importer, node, tuple(target))


def flatten(importer: Importer, node: onnx.NodeProto):
    shape = importer.settled(node.input[0]).shape
    axis = attributes(node).get("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise GraphError(f"{importer.where}: axis {axis} is outside the {len(shape)} dimensions of the input")
    axis = axis + len(shape) if axis < 0 else axis
    _to_shape(importer, node, (prod(shape[:axis]), prod(shape[axis:])))


def squeeze(importer: Importer, node: onnx.NodeProto):
    shape = importer.settled(node.input[0]).shape
    axes = attributes(node).get("axes") or integers(importer, node, 1, "the axes")
    if not axes:
        axes = [i for i, n in enumerate(shape) if n == 1]
    axes = {checked_axis(importer, axis, len(shape)) for axis in axes}
    _to_shape(importer, node, tuple(n for i, n in enumerate(shape) if i not in axes))


def unsqueeze(importer: Importer, node: onnx.NodeProto):
    shape = importer.settled(node.input[0]).shape
    axes = attributes(node).get("axes") or integers(importer, node, 1, "the axes") or []
    rank = len(shape) + len(axes)
    axes = {checked_axis(importer, axis, rank) for axis in axes}
    rest = iter(shape)
    _to_shape(importer, node, tuple(1 if i in axes else next(rest, 0) for i in range(rank)))


def same(importer: Importer, node: onnx.NodeProto):
    """Identity, and Dropout, which does nothing in inference."""
    training = importer.constant(node, 2, "training_mode") if node.op_type == "Dropout" else None
    if training is not None and training.any():
        raise GraphError(f"{importer.where} is in training mode; export the network for inference")
    importer.values[node.output[0]] = importer.value(node.input[0])


def shape_of(importer: Importer, node: onnx.NodeProto):
    """Shape and Size, which are known at import."""
    shape, given = importer.settled(node.input[0]).shape, attributes(node)
    value = np.array(prod(shape)) if node.op_type == "Size" else np.array(shape[given.get("start", 0):given.get("end")])
    importer.values[node.output[0]] = Constant(value.astype(np.int64))


def transpose(importer: Importer, node: onnx.NodeProto):
    source = source_of(importer, node.input[0])
    rank = len(source.shape)
    order = tuple(attributes(node).get("perm") or range(rank)[::-1])
    if sorted(order) != list(range(rank)):
        raise GraphError(f"{importer.where}: perm {order} is not an order of {rank} dimensions")
    set_moved(importer, node.output[0], source, importer.transpose(source.tensor, order))


def concat(importer: Importer, node: onnx.NodeProto):
    names = list(node.input)
    sources = [source_of(importer, name) for name in names]
    first, q = sources[0], importer.graph.tensors[sources[0].tensor].quantization
    alike = first.table is not None and all(
        s.table is not None and np.array_equal(s.table, first.table)
        and importer.graph.tensors[s.tensor].quantization.zero_point[0] == q.zero_point[0]
        and importer.graph.tensors[s.tensor].quantization.scale[0] == q.scale[0] for s in sources)
    if alike:
        tensors, table, dtype = [s.tensor for s in sources], first.table, first.dtype
    elif first.dtype in BYTES:
        tensors, table, dtype = [importer.codes(name, q) for name in names], CODES[first.dtype], first.dtype
    elif all(s.table is not None for s in sources):
        axis = checked_axis(importer, attributes(node).get("axis", 0), len(first.shape))
        shape = _joined_shape(importer, [s.shape for s in sources], axis)
        importer.values[node.output[0]] = Joined(tuple(sources), axis, shape)
        return
    else:
        tensors, table, dtype, q = [importer.host(name) for name in names], None, first.dtype, None
    tensor = _concat(importer, node, tensors, q)
    importer.values[node.output[0]] = Computed(tensor, importer.graph.tensors[tensor].shape, dtype, table)


def _concat(importer: Importer, node: onnx.NodeProto, tensors: list[str], q) -> str:
    axis = checked_axis(importer, attributes(node).get("axis", 0), len(importer.graph.tensors[tensors[0]].shape))
    return importer.emit(Concat(axis), tensors, node.output[0], q)


def _joined_shape(importer: Importer, shapes: list[tuple[int, ...]], axis: int) -> tuple[int, ...]:
    if any(s[:axis] + s[axis + 1:] != shapes[0][:axis] + shapes[0][axis + 1:] for s in shapes):
        raise GraphError(f"{importer.where}: tensors of shapes {shapes} cannot be joined along axis {axis}")
    return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1:])


def qlinear_concat(importer: Importer, node: onnx.NodeProto):
    """ONNX Runtime brings each input to the output's scale by a table of its own, then joins them."""
    name, tensors, q = node.output[0], [], importer.quantities[node.output[0]]
    out_scale, out_zero = (importer.constant(node, i, "the output's quantization") for i in (0, 1))
    dtype = out_zero.dtype
    for i in range(2, len(node.input), 3):
        scale, zero = (importer.constant(node, i + k, "the inputs' quantization") for k in (1, 2))
        operand = importer.operand(node, i)
        if isinstance(operand, Constant):
            importer.quantities.setdefault(node.input[i], quantization(scale.ravel(), zero.ravel(), importer.where))
        value = importer.computed(node.input[i])
        importer.values[node.input[i]] = value
        one = onnx.helper.make_node("QLinearConcat", ["a", "b", "c", "d", "e"], ["y"], axis=0, domain="com.microsoft")
        if value.table is None:
            raise GraphError(f"{importer.where}: inputs must be int8 or uint8, not {value.dtype}")
        table = importer.evaluate(one, [out_scale, out_zero, value.table, scale, zero])
        codes = (table.astype(np.int16) - (128 if dtype == np.uint8 else 0)).astype(np.int8)
        here = importer.graph.tensors[value.tensor].quantization
        if np.array_equal(codes, CODES[INT8]) and here.scale[0] == q.scale[0] and here.zero_point[0] == q.zero_point[0]:
            tensors.append(value.tensor)
        else:
            tensors.append(importer.emit(Table(codes.tobytes()), [value.tensor], f"{name}.part", q))
    importer.set_codes(name, _concat(importer, node, tensors, q), dtype)


def split(importer: Importer, node: onnx.NodeProto):
    given, source = attributes(node), source_of(importer, node.input[0])
    axis = checked_axis(importer, given.get("axis", 0), len(source.shape))
    sizes = given.get("split") or integers(importer, node, 1, "the sizes")
    if not sizes:
        each = -(-source.shape[axis] // len(node.output))
        sizes = [min(each, source.shape[axis] - i * each) for i in range(len(node.output))]
    if len(sizes) != len(node.output) or min(sizes) < 1 or sum(sizes) != source.shape[axis]:
        raise GraphError(f"{importer.where}: {source.shape[axis]} cannot be split into {list(sizes)} for "
                         f"{len(node.output)} outputs")
    start = 0
    for name, size in zip(node.output, sizes, strict=True):
        begin, end = [0] * len(source.shape), list(source.shape)
        begin[axis], end[axis] = start, start + size
        start += size
        if name:
            set_moved(importer, name, source, _sliced(importer, source, name, begin, end, [1] * len(begin)))


def _sliced(importer: Importer, source: Computed, name: str, begin: list, end: list, step: list) -> str:
    shape = tuple(len(range(*triple)) for triple in zip(begin, end, step, strict=True))
    if shape == source.shape and min(step) == 1:
        return source.tensor
    return emit_moved(importer, Slice(tuple(begin), tuple(end), tuple(step)), source, name)


def slice_(importer: Importer, node: onnx.NodeProto):
    given, source = attributes(node), source_of(importer, node.input[0])
    rank = len(source.shape)
    starts, ends, axes, steps = (integers(importer, node, i, what) for i, what in
                                 enumerate(("the starts", "the ends", "the axes", "the steps"), 1))
    starts, ends = (given.get("starts"), given.get("ends")) if starts is None else (starts, ends)
    axes = axes or given.get("axes") or list(range(len(starts)))
    steps = steps or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise GraphError(f"{importer.where}: starts {starts}, ends {ends}, axes {axes} and steps {steps} must be as "
                         "many, and no step 0")
    begin, end, step = [0] * rank, list(source.shape), [1] * rank
    for first, last, axis, by in zip(starts, ends, axes, steps, strict=True):
        axis = checked_axis(importer, axis, rank)
        begin[axis], end[axis], step[axis] = slice(first, last, by).indices(source.shape[axis])
        if not len(range(begin[axis], end[axis], by)):
            raise GraphError(f"{importer.where}: nothing is left of axis {axis}, {source.shape[axis]} long, from "
                             f"{first} to {last}")
    set_moved(importer, node.output[0], source, _sliced(importer, source, node.output[0], begin, end, step))


def pad(importer: Importer, node: onnx.NodeProto):
    """Widths below 0 cut, before the others pad; "wrap" repeats the tensor."""
    given, name = attributes(node), node.output[0]
    source = source_of(importer, node.input[0])
    rank = len(source.shape)
    pads = integers(importer, node, 1, "the widths") or list(given.get("pads", given.get("paddings", ())))
    axes = integers(importer, node, 3, "the axes")
    axes = [checked_axis(importer, a, rank) for a in (axes or range(rank))]
    mode = given.get("mode", "constant")
    if len(pads) != 2 * len(axes) or mode not in ("constant", "reflect", "edge", "wrap"):
        raise GraphError(f"{importer.where}: pads must be 2 numbers for each of {len(axes)} axes and the mode "
                         f"constant, reflect, edge or wrap, not {pads} and {mode!r}")
    widths = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        widths[axis] = (pads[i], pads[i + len(axes)])
    value = importer.constant(node, 2, "the value")
    value = given.get("value", 0) if value is None else value.item()
    if source.table is not None and mode == "constant":
        places = np.flatnonzero(source.table == np.array(value).astype(source.dtype))
        zero = int(importer.graph.tensors[source.tensor].quantization.zero_point[0]) + 128
        if not places.size:  # no int8 value stands for it
            source = Computed(importer.host(node.input[0]), source.shape, source.dtype)
        else:
            value = int(zero if zero in places else places[0]) - 128
    source = _cut(importer, source, widths, name)
    widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if mode == "reflect" and any(max(w) >= n for w, n in zip(widths, source.shape, strict=True)):
        raise GraphError(f"{importer.where}: a tensor of shape {source.shape} is too small to be reflected by {widths}")
    if mode == "wrap":
        tensor = source.tensor
        for axis, (before, after) in enumerate(widths):
            if before or after:
                places = np.arange(-before, source.shape[axis] + after) % source.shape[axis]
                tensor = picked(importer, tensor, axis, places, name)
        set_moved(importer, name, source, tensor)
        return
    tensor = source.tensor
    if np.any(widths):
        tensor = emit_moved(importer, Pad(tuple(widths), value, mode), source, name)
    set_moved(importer, name, source, tensor)


def _cut(importer: Importer, source: Computed, widths: list[tuple[int, int]], name: str) -> Computed:
    """What is left of `source` when widths below 0 are cut off."""
    begin = [max(-before, 0) for before, _ in widths]
    end = [n - max(-after, 0) for n, (_, after) in zip(source.shape, widths, strict=True)]
    if any(first >= last for first, last in zip(begin, end, strict=True)):
        raise GraphError(f"{importer.where}: nothing is left of a tensor of shape {source.shape} padded by {widths}")
    tensor = _sliced(importer, source, name, begin, end, [1] * len(begin))
    return replace(source, tensor=tensor, shape=importer.graph.tensors[tensor].shape)


def picked(importer: Importer, tensor: str, axis: int, places: np.ndarray, name: str) -> str:
    """The elements of `tensor` at constant `places` along one axis."""
    index = importer.constant_tensor(f"{importer.label}.indices", places.astype(np.int64))
    return importer.emit(Gather(axis), [tensor, index], name)


def gather(importer: Importer, node: onnx.NodeProto):
    source, name = source_of(importer, node.input[0]), node.output[0]
    axis = checked_axis(importer, attributes(node).get("axis", 0), len(source.shape))
    indices = importer.operand(node, 1)
    extent = source.shape[axis]
    if isinstance(indices, Constant):
        array = indices.array.astype(np.int64)
        if array.size == 0 or np.any((array < -extent) | (array >= extent)):
            raise GraphError(f"{importer.where}: indices must lie in {-extent}..{extent - 1}")
        places = importer.constant_tensor(f"{importer.label}.indices", np.where(array < 0, array + extent, array))
    else:
        places = importer.host(node.input[1])
    tensor = importer.emit(Gather(axis), [source.tensor, places], name)
    set_moved(importer, name, source, tensor)


def expand(importer: Importer, node: onnx.NodeProto):
    """Expand and Tile: the tensor repeated along axes."""
    source = source_of(importer, node.input[0])
    target = integers(importer, node, 1, "the shape")
    rank = max(len(target), len(source.shape))
    shape = (1,) * (rank - len(source.shape)) + source.shape
    if node.op_type == "Expand":
        wanted = np.broadcast_shapes(shape, tuple(target))
        target = [w // n for w, n in zip(wanted, shape, strict=True)]
    tensor = importer.reshape(source.tensor, shape)
    for axis, times in enumerate(target):
        if times != 1:
            extent = importer.graph.tensors[tensor].shape[axis]
            tensor = picked(importer, tensor, axis, np.tile(np.arange(extent), times), node.output[0])
    set_moved(importer, node.output[0], source, tensor)


def blocks(importer: Importer, node: onnx.NodeProto):
    """DepthToSpace and SpaceToDepth."""
    given, source = attributes(node), source_of(importer, node.input[0])
    size = given.get("blocksize", 0)
    if len(source.shape) != 4 or size < 1:
        raise GraphError(f"{importer.where}: blocks of {size} need (batch, channels, height, width), not "
                         f"{source.shape}")
    n, c, h, w = source.shape
    if node.op_type == "SpaceToDepth":
        if h % size or w % size:
            raise GraphError(f"{importer.where}: {h} x {w} pixels do not divide into blocks of {size}")
        order = (0, 3, 5, 1, 2, 4) if given.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
        steps = (n, c, h // size, size, w // size, size), order, (n, c * size**2, h // size, w // size)
    else:
        if c % size**2:
            raise GraphError(f"{importer.where}: {c} channels do not divide into blocks of {size} x {size}")
        rest = c // size**2
        split, order = ((size, size, rest), (0, 3, 4, 1, 5, 2)) if given.get("mode", "DCR") == "DCR" else (
            (rest, size, size), (0, 1, 4, 2, 5, 3))
        steps = (n, *split, h, w), order, (n, rest, h * size, w * size)
    tensor = importer.transpose(importer.reshape(source.tensor, steps[0]), steps[1])
    set_moved(importer, node.output[0], source, importer.reshape(tensor, steps[2]))


CONVERTERS = {
    "Reshape": reshape, "Flatten": flatten, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Identity": same,
    "Dropout": same, "Transpose": transpose, "Concat": concat, "QLinearConcat": qlinear_concat, "Split": split,
    "Slice": slice_, "Pad": pad, "Gather": gather, "Expand": expand, "Tile": expand, "DepthToSpace": blocks,
    "SpaceToDepth": blocks, "Shape": shape_of, "Size": shape_of,
}
