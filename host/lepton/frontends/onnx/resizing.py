"""Resize and Upsample: nearest picks elements, the others compute in float32 on the host."""

from dataclasses import dataclass, replace

import numpy as np
import onnx

from lepton.graph import Add, Cast, GraphError, MatMul, Minimum, Quantization, Quantize, Resize, Table, Unary

from .importer import INT8, Importer, attributes, checked_axis
from .moving import integers, picked, set_moved, source_of
from .operands import from_image, image
from .values import BYTES, CODES, Computed
from .worker import CHANNELS_LAST

_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")  # that the graph's Resize has


@dataclass(frozen=True)
class Request:
    """What a Resize is to do: the sizes of all axes, and their scales where the node states them."""

    sizes: tuple[int, ...]
    scales: np.ndarray | None
    mode: str
    coordinates: str
    nearest: str
    plain: bool  # neither antialias nor exclude_outside


def _request(importer: Importer, node: onnx.NodeProto, shape: tuple[int, ...]) -> Request:
    given, rank = attributes(node), len(shape)
    modern = node.op_type == "Resize" and importer.opset >= 11
    scales = importer.constant(node, 2 if modern else 1, "the scales")
    if scales is None and "scales" in given:
        scales = np.array(given["scales"], np.float32)
    sizes = integers(importer, node, 3, "the sizes") if modern else None
    scales = scales if scales is not None and scales.size else None
    axes = [checked_axis(importer, axis, rank) for axis in given.get("axes") or range(rank)]
    if given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise GraphError(f"{importer.where}: keep_aspect_ratio_policy {given['keep_aspect_ratio_policy']!r} is not "
                         "supported")
    stated = sizes if scales is None else scales
    if stated is None or len(stated) != len(axes):
        raise GraphError(f"{importer.where}: there must be a size or a scale for each of {len(axes)} axes, not "
                         f"{0 if stated is None else len(stated)}")
    if scales is None:
        sizes = [dict(zip(axes, sizes, strict=True)).get(i, n) for i, n in enumerate(shape)]
    else:
        if not np.all(np.isfinite(scales) & (scales > 0)):
            raise GraphError(f"{importer.where}: scales must be finite and above 0, not {scales.tolist()}")
        scales = np.array([dict(zip(axes, scales, strict=True)).get(i, 1) for i in range(rank)], np.float32)
        sizes = [int(np.floor(n * s)) for n, s in zip(shape, scales, strict=True)]
    if min(sizes, default=1) < 1:
        raise GraphError(f"{importer.where}: a tensor of shape {shape} cannot become {tuple(sizes)}")
    mode = given.get("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear", "cubic"):
        raise GraphError(f"{importer.where}: the mode must be nearest, linear or cubic, not {mode!r}")
    coordinates = given.get("coordinate_transformation_mode", "half_pixel") if modern else "asymmetric"
    if coordinates == "tf_crop_and_resize":
        raise GraphError(f"{importer.where}: coordinate_transformation_mode 'tf_crop_and_resize' is not supported")
    if mode == "nearest" and not modern and any(m < n for m, n in zip(sizes, shape, strict=True)):
        raise GraphError(f"{importer.where}: a nearest resize to a smaller image needs opset 11 or later")
    plain = not given.get("antialias", 0) and not given.get("exclude_outside", 0)
    return Request(tuple(sizes), scales, "linear" if mode == "bilinear" else mode, coordinates,
                   given.get("nearest_mode", "round_prefer_floor") if modern else "floor", plain)


def resize(importer: Importer, node: onnx.NodeProto):
    name, source = node.output[0], source_of(importer, node.input[0])
    shape = source.shape
    wanted = _request(importer, node, shape)
    if len(shape) in (3, 4) and wanted.sizes[:2] == shape[:2] and wanted.coordinates in _COORDINATES and wanted.plain \
            and wanted.mode != "cubic":
        _image(importer, node, source, wanted)
    elif wanted.mode == "nearest":
        tensor = source.tensor
        for axis, (old, new) in enumerate(zip(shape, wanted.sizes, strict=True)):
            if old != new:
                row = _evaluated(importer, node, wanted, axis, np.arange(old, dtype=np.float32))
                tensor = picked(importer, tensor, axis, row.astype(np.int64), name)
        set_moved(importer, name, source, tensor)
    else:
        importer.set_host(name, _weighted(importer, node, source, wanted))


def _image(importer: Importer, node: onnx.NodeProto, source: Computed, wanted: Request):
    """Height and width of (batch, channels, height, width), or the width of (batch, channels, width)."""
    rank = len(source.shape)
    stated = None if wanted.scales is None else (1.0, *map(float, wanted.scales[2:]))[-2:]
    size = (1, *wanted.sizes[2:])[-2:]
    op = Resize(size, "nearest" if wanted.mode == "nearest" else "bilinear", wanted.coordinates, wanted.nearest, stated)
    if wanted.mode != "nearest":
        _linear(importer, node, source, op)
        return
    x = image(importer, source.tensor)
    y = importer.emit(op, [x], node.output[0], importer.graph.tensors[x].quantization)
    set_moved(importer, node.output[0], source, from_image(importer, y, rank))


def _evaluated(importer: Importer, node: onnx.NodeProto, wanted: Request, axis: int, data: np.ndarray) -> np.ndarray:
    """`data` with its last axis resized by ONNX Runtime as the node resizes `axis`."""
    kept = [a for a in node.attribute if a.name not in ("axes", "scales")]
    one = onnx.NodeProto(op_type=node.op_type, name=node.name, input=["x"], output=["y"], attribute=kept)
    ones = [1] * (data.ndim - 1)
    sizes = np.array([*data.shape[:-1], wanted.sizes[axis]], np.int64)
    scales = None if wanted.scales is None else np.array([*ones, wanted.scales[axis]], np.float32)
    if node.op_type == "Upsample" or importer.opset < 11:
        one.input.append("scales")
        return importer.evaluate(one, [data, scales])
    one.input.extend(["", "scales" if scales is not None else "", "sizes" if scales is None else ""])
    return importer.evaluate(one, [data, None, scales, sizes if scales is None else None])


def _weighted(importer: Importer, node: onnx.NodeProto, source: Computed, wanted: Request) -> str:
    """Every axis by a matrix: what ONNX Runtime makes of each single pixel. Its own sums may be in another order."""
    if source.dtype in BYTES:
        raise GraphError(f"{importer.where}: mode {wanted.mode!r} of 8-bit values is supported only in float32")
    tensor = importer.host(node.input[0])
    rank = len(source.shape)
    for axis, (old, new) in enumerate(zip(source.shape, wanted.sizes, strict=True)):
        if old == new and wanted.plain:
            continue
        matrix = _evaluated(importer, node, wanted, axis, np.eye(old, dtype=np.float32)[None, None])[0, 0]
        order = (*(i for i in range(rank) if i != axis), axis)
        x = importer.transpose(tensor, order)
        shape = importer.graph.tensors[x].shape
        x = importer.reshape(x, (int(np.prod(shape[:-1])), old))
        weights = importer.constant_tensor(f"{importer.label}.weights", matrix)
        x = importer.emit(MatMul(), [x, weights], node.output[0])
        tensor = importer.transpose(importer.reshape(x, (*shape[:-1], new)), tuple(np.argsort(order).tolist()))
    return tensor


def _linear(importer: Importer, node: onnx.NodeProto, source: Computed, op: Resize):
    """In float32. ONNX Runtime interpolates 8-bit values as they are, too, and cuts the fraction off.

    Where it has put the channels of 8-bit values last, it computes with integers.
    """
    name, dtype, rank = node.output[0], source.dtype, len(source.shape)
    if dtype in BYTES and node.doc_string == CHANNELS_LAST:
        x = image(importer, importer.codes(node.input[0]))
        q = importer.graph.tensors[x].quantization
        y = importer.emit(replace(op, unsigned=dtype == np.uint8), [x], name, q)
        importer.set_codes(name, from_image(importer, y, rank), dtype)
        return
    x = importer.host(node.input[0])

    def unary(kind: str, x: str) -> str:
        return importer.emit(Unary(kind), [x], name)

    if dtype in BYTES:
        x = importer.emit(Cast("float32"), [x], name)
    x = image(importer, x)
    y = importer.emit(op, [x], name)
    if dtype not in BYTES:
        importer.set_host(name, from_image(importer, y, rank))
        return
    whole = unary("floor", y)
    if dtype == np.int8:  # toward zero: floor where positive, ceil where negative
        below = importer.emit(Minimum(), [unary("ceil", y), importer.constant_tensor(
            f"{name}.zero", np.float32(0))], name)
        whole = importer.emit(Add(), [unary("relu", whole), below], name)
    codes = Quantization(np.ones(1, np.float32), np.array([-128 if dtype == np.uint8 else 0], np.int32))
    y = importer.emit(Quantize(), [whole], name, codes)
    q = importer.graph.tensors[source.tensor].quantization
    y = importer.emit(Table(CODES[INT8].tobytes()), [y], name, q)
    importer.set_codes(name, from_image(importer, y, rank), dtype)


CONVERTERS = {"Resize": resize, "Upsample": resize}
