"""Resize and Upsample: nearest picks elements, the others compute in float32 on the host."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import onnx

from lepton.graph import Resize
from lepton.graph.builder import Value
from lepton.graph.ops import Interpolate

from .node import OnnxNode, source_of
from .operands import from_image, image
from .values import BYTES, UINT8, AtRunTime
from .windows import of_image
from .worker import CHANNELS_LAST

T = TypeVar("T")

_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")  # that the graph's Resize has
_OTHER_SUMS = ("its weighted sums are ONNX Runtime's where that is installed at run time, else added in another order; "
               "8-bit values made of them can be one step off then")
_OPTIONAL = 13  # the opset since which the region of interest and the scales may be left out
_CROP = "tf_crop_and_resize"
_POLICIES: dict[str, Callable[[Iterable[np.float32]], np.float32]] = {"not_larger": min, "not_smaller": max}
_WITHOUT_ATTRIBUTES = 10
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
    rounds_up: bool  # places of nearest pixels along axes that become shorter, as before opset 11
    roi: tuple[float, ...]  # of tf_crop_and_resize: where each axis begins, then where each ends, as parts of it

    @classmethod
    def of(cls, node: OnnxNode, shape: tuple[int, ...]) -> "Request":
        given = node.given
        modern = node.kind == "Resize" and node.state.opset >= _WITH_ATTRIBUTES
        coordinates = given.get("coordinate_transformation_mode", "half_pixel") if modern else "asymmetric"
        sizes, scales = _sizes(node, shape, modern)
        mode = given.get("mode", "nearest")
        if mode not in ("nearest", "linear", "bilinear", "cubic"):
            raise node.error(f"the mode must be nearest, linear or cubic, not {mode!r}")
        return cls(sizes, scales, "linear" if mode == "bilinear" else mode, coordinates,
                   given.get("nearest_mode", "round_prefer_floor") if modern else "floor",
                   not node.flag("antialias") and not node.flag("exclude_outside"), mode == "nearest" and not modern,
                   _region(node, len(shape)) if coordinates == _CROP else ())

    def of_images(self, shape: tuple[int, ...]) -> bool:
        """Whether the graph's Resize does it: height and width of images, or the width of lines."""
        if self.rounds_up and any(m < n for m, n in zip(self.sizes, shape, strict=True)):
            return False
        return (len(shape) in (3, 4) and self.sizes[:2] == shape[:2] and self.coordinates in _COORDINATES and self.plain
                and self.mode != "cubic")


def _axes(node: OnnxNode, rank: int) -> list[int]:
    """The axes that sizes, scales and regions are stated for (an attribute since opset 18)."""
    return [node.axis(axis, rank) for axis in node.given.get("axes") or range(rank)]


def _region(node: OnnxNode, rank: int) -> tuple[float, ...]:
    """The region of interest for all axes; whole axes where it states none."""
    stated = node.constant(1, "the region of interest").ravel().tolist()
    axes = _axes(node, rank)
    if len(stated) != 2 * len(axes) or not np.all(np.isfinite(stated)):
        raise node.error(f"the region of interest must be {2 * len(axes)} finite numbers, not {stated}")
    begin = dict(zip(axes, stated[:len(axes)], strict=True))
    end = dict(zip(axes, stated[len(axes):], strict=True))
    return *(float(begin.get(i, 0)) for i in range(rank)), *(float(end.get(i, 1)) for i in range(rank))


def _sizes(node: OnnxNode, shape: tuple[int, ...], modern: bool) -> tuple[tuple[int, ...], np.ndarray | None]:
    """The sizes of all axes, and their scales where the node states those, or has one for all axes."""
    rank = len(shape)
    scales = node.optional(2 if modern else 1, "the scales")
    if scales is None and "scales" in node.given:
        scales = np.array(node.given["scales"], np.float32)
    scales = scales if scales is not None and scales.size else None
    sizes = node.integers(3, "the sizes") if modern else None
    axes = _axes(node, rank)
    policy = node.given.get("keep_aspect_ratio_policy", "stretch")
    if policy not in ("stretch", *_POLICIES):
        raise node.error(f"keep_aspect_ratio_policy must be stretch, {' or '.join(_POLICIES)}, not {policy!r}")
    if scales is not None:
        of_axes = dict(zip(axes, _as_many(node, scales.tolist(), axes), strict=True))
        if not np.all(np.isfinite(scales) & (scales > 0)):
            raise node.error(f"scales must be finite and above 0, not {scales.tolist()}")
        scales = np.array([of_axes.get(i, 1) for i in range(rank)], np.float32)
        # Resize-11: floor(size * scale), in float32 as ONNX Runtime multiplies (upsamplebase.h, ComputeOutputShape),
        # which does not look at a region of interest for that.
        made = tuple(int(np.floor(n * s)) for n, s in zip(shape, scales, strict=True))
    else:
        sizes_of_axes = dict(zip(axes, _as_many(node, sizes, axes), strict=True))
        made = tuple(sizes_of_axes.get(i, n) for i, n in enumerate(shape))
        if policy != "stretch":
            # AdjustOutputSizeAsPolicy in upsamplebase.h: one scale in float32, sizes rounded half away from zero
            one = _POLICIES[policy](np.float32(made[i]) / np.float32(shape[i]) for i in axes)
            scales = np.array([one if i in sizes_of_axes else 1 for i in range(rank)], np.float32)
            made = tuple(int(np.floor(n * s + np.float32(0.5))) for n, s in zip(shape, scales, strict=True))
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
    # ONNX Runtime interpolates floats of three dimensions as volumes, with eight products in each sum.
    volume = wanted.mode == "linear" and len(source.shape) == 3 and source.dtype not in BYTES
    if wanted.of_images(source.shape) and not volume:
        _image(node, source, wanted)
    elif node.given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.error("keep_aspect_ratio_policy is supported for nearest and linear resizes of images only")
    elif wanted.mode == "nearest" and not wanted.roi:
        tensor = source.tensor
        for axis, (old, new) in enumerate(zip(source.shape, wanted.sizes, strict=True)):
            if old != new:
                places = _evaluated(node, wanted, axis, np.arange(old, dtype=np.float32))
                tensor = tensor.take(axis, places.astype(np.int64))
        node.set(source.moved(tensor))
    elif source.dtype in BYTES:
        raise node.error(f"mode {wanted.mode!r} with these attributes is supported for float32 only, not for "
                         f"{source.dtype}")
    else:
        node.set_host(_interpolated(node, wanted))


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
    """`data` with its last axis resized by ONNX Runtime as the node resizes `axis`; NaN outside of the input."""
    left_out = ("axes", "scales", "extrapolation_value", "keep_aspect_ratio_policy")
    kept = [a for a in node.proto.attribute if a.name not in left_out]
    one = onnx.NodeProto(op_type=node.kind, name=node.proto.name, input=["x"], output=["y"], attribute=kept)
    scales = None if wanted.scales is None else np.array([*[1] * (data.ndim - 1), wanted.scales[axis]], np.float32)
    if _old(node):
        one.input.append("scales")
        return node.state.evaluate(one, [data, scales])
    empty = np.zeros(0, np.float32) if node.state.opset < _OPTIONAL else None  # stands for an operand that is left out
    roi = empty
    if wanted.roi:
        one.attribute.append(onnx.helper.make_attribute("extrapolation_value", np.nan))
        others = data.ndim - 1
        begin = wanted.roi[axis]
        end = wanted.roi[len(wanted.roi) // 2 + axis]
        roi = np.array([*[0] * others, begin, *[1] * others, end], np.float32)
    one.input.append("" if roi is None else "roi")
    if scales is not None:
        one.input.append("scales")
        return node.state.evaluate(one, [data, roi, scales])
    one.input.extend(["" if empty is None else "none", "sizes"])
    return node.state.evaluate(one, [data, roi, empty, np.array([*data.shape[:-1], wanted.sizes[axis]], np.int64)])


def _old(node: OnnxNode) -> bool:
    """Whether the operator has scales only."""
    return node.kind == "Upsample" or node.state.opset < _WITH_ATTRIBUTES


def _interpolated(node: OnnxNode, wanted: Request) -> Value:
    """By ONNX Runtime's kernel, or every axis by a matrix: what ONNX Runtime makes of each single pixel."""
    node.state.graph.notes.append(f"{node.builder.where}: {_OTHER_SUMS}")
    x = node.host()
    along = tuple(axis for axis, (old, new) in enumerate(zip(x.shape, wanted.sizes, strict=True))
                  if old != new or not wanted.plain or wanted.roi)
    matrices = [_evaluated(node, wanted, axis, np.eye(x.shape[axis], dtype=np.float32)[None, None])[0, 0]
                for axis in along]
    stated = {name: value for name, value in node.given.items() if isinstance(value, int | float | str)}
    attributes = {"mode": wanted.mode} if _old(node) else stated | {"mode": wanted.mode}
    scales = () if wanted.scales is None else tuple(map(float, wanted.scales))
    op = Interpolate(wanted.sizes, along, _WITHOUT_ATTRIBUTES if _old(node) else node.state.opset,
                     tuple(sorted(attributes.items())), wanted.roi, scales, () if scales else wanted.sizes,
                     float(node.given.get("extrapolation_value", 0.0)))
    constants = [node.state.constant(matrix, f"{node.builder.label}.weights{axis}")
                 for axis, matrix in zip(along, matrices, strict=True)]
    return node.emit(op, x, *constants)
