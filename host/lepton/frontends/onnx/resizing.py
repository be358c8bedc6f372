"""Resize and Upsample: nearest picks elements, linear computes in float32 on the host."""

from dataclasses import replace

import numpy as np
import onnx

from lepton.graph import Add, Cast, GraphError, Minimum, Quantization, Quantize, Resize, Table, Unary

from .importer import INT8, Importer, attributes, checked_axis
from .moving import integers, set_moved, source_of
from .operands import from_image, image
from .values import BYTES, CODES, Computed
from .worker import CHANNELS_LAST


def resize(importer: Importer, node: onnx.NodeProto):
    given, name = attributes(node), node.output[0]
    source = source_of(importer, node.input[0])
    shape = source.shape
    modern = node.op_type == "Resize" and importer.opset >= 11
    scales = importer.constant(node, 2 if modern else 1, "the scales")
    if scales is None and "scales" in given:
        scales = np.array(given["scales"], np.float32)
    sizes = integers(importer, node, 3, "the sizes") if modern else None
    if scales is not None and not scales.size:
        scales = None
    if given.get("axes"):
        axes = [checked_axis(importer, axis, len(shape)) for axis in given["axes"]]
        sizes = sizes and [dict(zip(axes, sizes, strict=False)).get(i, n) for i, n in enumerate(shape)]
        if scales is not None:
            scales = np.array([dict(zip(axes, scales, strict=False)).get(i, 1) for i in range(len(shape))], np.float32)
    for option in ("antialias", "exclude_outside", "keep_aspect_ratio_policy"):
        if given.get(option) not in (None, 0, "stretch"):
            raise GraphError(f"{importer.where}: {option} {given[option]!r} is not supported")
    if len(shape) != 4 or (sizes is None and scales is None) or len(sizes if scales is None else scales) != 4:
        raise GraphError(f"{importer.where}: the input must be (batch, channels, height, width) with as many scales or "
                         f"sizes, not {shape}")
    if scales is not None:
        if not np.all(np.isfinite(scales) & (scales > 0)):
            raise GraphError(f"{importer.where}: scales must be finite and above 0, not {scales.tolist()}")
        sizes = [int(np.floor(n * s)) for n, s in zip(shape, scales.astype(np.float32), strict=True)]
    if tuple(sizes[:2]) != shape[:2] or min(sizes) < 1:
        raise GraphError(f"{importer.where}: only height and width can be resized, not {shape} to {tuple(sizes)}")
    mode = given.get("mode", "nearest")
    coordinates = given.get("coordinate_transformation_mode", "half_pixel") if modern else "asymmetric"
    nearest = given.get("nearest_mode", "round_prefer_floor") if modern else "floor"
    if mode not in ("nearest", "linear", "bilinear") or coordinates not in (
            "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        raise GraphError(f"{importer.where}: mode {mode!r} with coordinates {coordinates!r} is not supported; "
                         "supported are nearest and linear with half_pixel, pytorch_half_pixel, asymmetric and "
                         "align_corners")
    if mode == "nearest" and not modern and min(sizes[2:]) < min(shape[2:]):
        raise GraphError(f"{importer.where}: a nearest resize to a smaller image needs opset 11 or later")
    stated = None if scales is None else (float(scales[2]), float(scales[3]))
    if mode == "nearest":
        x = image(importer, source.tensor)
        t = importer.graph.tensors[x]
        y = importer.emit(Resize(tuple(sizes[2:]), "nearest", coordinates, nearest, stated), [x], name,
                          (shape[0], *sizes[2:], shape[1]),
                          t.dtype, t.quantization)
        set_moved(importer, name, source, from_image(importer, y, 4))
    else:
        _linear(importer, node, source, Resize(tuple(sizes[2:]), "bilinear", coordinates, nearest, stated),
                tuple(sizes))


def _linear(importer: Importer, node: onnx.NodeProto, source: Computed, op: Resize, sizes: tuple[int, ...]):
    """In float32. ONNX Runtime interpolates 8-bit values as they are, too, and cuts the fraction off.

    Where it has put the channels of 8-bit values last, it computes with integers.
    """
    name, dtype = node.output[0], source.dtype
    if dtype in BYTES and node.doc_string == CHANNELS_LAST:
        x = image(importer, importer.codes(node.input[0]))
        t = importer.graph.tensors[x]
        y = importer.emit(replace(op, unsigned=dtype == np.uint8), [x], name, (sizes[0], *sizes[2:], sizes[1]), t.dtype,
                          t.quantization)
        importer.set_codes(name, from_image(importer, y, 4), dtype)
        return
    x = importer.host(node.input[0])

    def unary(kind: str, x: str) -> str:
        return importer.emit(Unary(kind), [x], name, importer.graph.tensors[x].shape, np.float32)

    if dtype in BYTES:
        x = importer.emit(Cast("float32"), [x], name, importer.graph.tensors[x].shape, np.float32)
    x = image(importer, x)
    y = importer.emit(op, [x], name, (sizes[0], *sizes[2:], sizes[1]), np.float32)
    if dtype not in BYTES:
        importer.set_host(name, from_image(importer, y, 4))
        return
    whole = unary("floor", y)
    if dtype == np.int8:  # toward zero: floor where positive, ceil where negative
        below = importer.emit(Minimum(), [unary("ceil", y), importer.constant_tensor(
            f"{name}.zero", np.float32(0))], name, importer.graph.tensors[y].shape, np.float32)
        whole = importer.emit(Add(), [unary("relu", whole), below], name, importer.graph.tensors[y].shape, np.float32)
    codes = Quantization(np.ones(1, np.float32), np.array([-128 if dtype == np.uint8 else 0], np.int32))
    y = importer.emit(Quantize(), [whole], name, importer.graph.tensors[y].shape, INT8, codes)
    q = importer.graph.tensors[source.tensor].quantization
    y = importer.emit(Table(CODES[INT8].tobytes()), [y], name, importer.graph.tensors[y].shape, INT8, q)
    importer.set_codes(name, from_image(importer, y, 4), dtype)


CONVERTERS = {"Resize": resize, "Upsample": resize}
