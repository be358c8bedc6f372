"""Resize and Upsample: nearest picks elements, the others compute in float32 on the host."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeVar

import numpy as np
import onnx

from lepton.graph import Resize
from lepton.graph.builder import Value

from .node import OnnxNode, source_of
from .operands import from_image, image
from .values import BYTES, UINT8, AtRunTime
from .windows import of_image
from .worker import CHANNELS_LAST

T = TypeVar("T")

_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")  # that the graph's Resize has
_OTHER_SUMS = ("its weighted sums are added in another order than ONNX Runtime's; 8-bit values made of them can be one "
               "step off")
_WITH_ATTRIBUTES = 11  # the opset since which Resize has modes of coordinates and rounding, and takes sizes


@dataclass(frozen=True)
class Request:
    """What a Resize is to do: the sizes of all axes, and their scales where the node states them."""

    sizes: tuple[int, ...]
    scales: np.ndarray | None
    mode: str
    coordinates: str
    nearest: str
    plain: bool  # neither antialias nor exclude_outside

    @classmethod
    def of(cls, node: OnnxNode, shape: tuple[int, ...]) -> "Request":
        given = node.given
        modern = node.kind == "Resize" and node.state.opset >= _WITH_ATTRIBUTES
        sizes, scales = _sizes(node, shape, modern)
        mode = given.get("mode", "nearest")
        if mode not in ("nearest", "linear", "bilinear", "cubic"):
            raise node.error(f"the mode must be nearest, linear or cubic, not {mode!r}")
        coordinates = given.get("coordinate_transformation_mode", "half_pixel") if modern else "asymmetric"
        if coordinates == "tf_crop_and_resize":
            raise node.error("coordinate_transformation_mode 'tf_crop_and_resize' is not supported")
        if mode == "nearest" and not modern and any(m < n for m, n in zip(sizes, shape, strict=True)):
            raise node.error("a nearest resize to a smaller image needs opset 11 or later")
        return cls(sizes, scales, "linear" if mode == "bilinear" else mode, coordinates,
                   given.get("nearest_mode", "round_prefer_floor") if modern else "floor",
                   not node.flag("antialias") and not node.flag("exclude_outside"))

    def of_images(self, shape: tuple[int, ...]) -> bool:
        """Whether the graph's Resize does it: height and width of images, or the width of lines."""
        return (len(shape) in (3, 4) and self.sizes[:2] == shape[:2] and self.coordinates in _COORDINATES and self.plain
                and self.mode != "cubic")


def _sizes(node: OnnxNode, shape: tuple[int, ...], modern: bool) -> tuple[tuple[int, ...], np.ndarray | None]:
    """The sizes of all axes, and their scales where the node states those."""
    rank = len(shape)
    scales = node.optional(2 if modern else 1, "the scales")
    if scales is None and "scales" in node.given:
        scales = np.array(node.given["scales"], np.float32)
    scales = scales if scales is not None and scales.size else None
    sizes = node.integers(3, "the sizes") if modern else None
    axes = [node.axis(axis, rank) for axis in node.given.get("axes") or range(rank)]  # an attribute since opset 18
    policy = node.given.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        raise node.error(f"keep_aspect_ratio_policy {policy!r} is not supported")
    if scales is not None:
        of_axes = dict(zip(axes, _as_many(node, scales.tolist(), axes), strict=True))
        if not np.all(np.isfinite(scales) & (scales > 0)):
            raise node.error(f"scales must be finite and above 0, not {scales.tolist()}")
        scales = np.array([of_axes.get(i, 1) for i in range(rank)], np.float32)
        # Resize-11: floor(size * scale), in float32 as ONNX Runtime multiplies (upsamplebase.h, ComputeOutputShape).
        made = tuple(int(np.floor(n * s)) for n, s in zip(shape, scales, strict=True))
    else:
        sizes_of_axes = dict(zip(axes, _as_many(node, sizes, axes), strict=True))
        made = tuple(sizes_of_axes.get(i, n) for i, n in enumerate(shape))
    if min(made, default=1) < 1:
        raise node.error(f"a tensor of shape {shape} cannot become {made}")
    return made, scales


def _as_many(node: OnnxNode, stated: Sequence[T] | None, axes: list[int]) -> Sequence[T]:
    if stated is None or len(stated) != len(axes):
        raise node.error(f"there must be a size or a scale for each of {len(axes)} axes, not "
                         f"{0 if stated is None else len(stated)}")
    return stated


def resize(node: OnnxNode) -> None:
    source = source_of(node)
    wanted = Request.of(node, source.shape)
    if wanted.of_images(source.shape):
        _image(node, source, wanted)
    elif wanted.mode == "nearest":
        tensor = source.tensor
        for axis, (old, new) in enumerate(zip(source.shape, wanted.sizes, strict=True)):
            if old != new:
                places = _evaluated(node, wanted, axis, np.arange(old, dtype=np.float32))
                tensor = tensor.take(axis, places.astype(np.int64))
        node.set(source.moved(tensor))
    elif source.dtype in BYTES:
        raise node.error(f"mode {wanted.mode!r} of 8-bit values is supported only in float32")
    else:
        node.set_host(_weighted(node, wanted))


def _image(node: OnnxNode, source: AtRunTime, wanted: Request) -> None:
    scales = None if wanted.scales is None else of_image([float(s) for s in wanted.scales[2:]], 1.0)
    op = Resize(of_image(wanted.sizes[2:], 1), "nearest" if wanted.mode == "nearest" else "bilinear",
                wanted.coordinates, wanted.nearest, scales)
    rank = len(source.shape)
    if wanted.mode == "nearest":
        q = source.tensor.quantization
        node.set(source.moved(from_image(node.emit(op, image(source.tensor), q=q), rank)))
    elif source.dtype not in BYTES:
        node.set_host(from_image(node.emit(op, image(node.host())), rank))
    else:  # ONNX Runtime computes with integers where it has the channels last
        op = replace(op, unsigned=source.dtype == UINT8, in_float=node.proto.doc_string != CHANNELS_LAST)
        x = node.codes()
        node.set_codes(from_image(node.emit(op, image(x), q=x.parameters), rank), source.dtype)


def _evaluated(node: OnnxNode, wanted: Request, axis: int, data: np.ndarray) -> np.ndarray:
    """`data` with its last axis resized by ONNX Runtime as the node resizes `axis`."""
    kept = [a for a in node.proto.attribute if a.name not in ("axes", "scales")]
    one = onnx.NodeProto(op_type=node.kind, name=node.proto.name, input=["x"], output=["y"], attribute=kept)
    scales = None if wanted.scales is None else np.array([*[1] * (data.ndim - 1), wanted.scales[axis]], np.float32)
    if node.kind == "Upsample" or node.state.opset < _WITH_ATTRIBUTES:
        one.input.append("scales")
        return node.state.evaluate(one, [data, scales])
    sizes = np.array([*data.shape[:-1], wanted.sizes[axis]], np.int64) if scales is None else None
    one.input.extend(["", "" if scales is None else "scales", "sizes" if scales is None else ""])
    return node.state.evaluate(one, [data, None, scales, sizes])


def _weighted(node: OnnxNode, wanted: Request) -> Value:
    """Every axis by a matrix: what ONNX Runtime makes of each single pixel. Its own sums may be in another order."""
    node.state.graph.notes.append(f"{node.builder.where}: {_OTHER_SUMS}")
    x = node.host()
    rank = x.rank
    for axis, (old, new) in enumerate(zip(x.shape, wanted.sizes, strict=True)):
        if old == new and wanted.plain:
            continue
        matrix = _evaluated(node, wanted, axis, np.eye(old, dtype=np.float32)[None, None])[0, 0]
        order = (*(i for i in range(rank) if i != axis), axis)
        last = x.transpose(order)
        rows = last.reshape((prod(last.shape[:-1]), old)) @ node.state.constant(matrix, f"{node.builder.label}.weights")
        x = rows.reshape((*last.shape[:-1], new)).transpose(np.argsort(order).tolist())
    return x
